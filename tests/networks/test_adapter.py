"""An adapted network is the network itself, for images as srgame has them; its right twin is `plain`."""

import copy
import pickle
import re
from functools import cache
from typing import Any

import numpy as np
import other_conventions
import pandas as pd
import pytest
import torch
from small_networks import images, saved
from torch import nn

from srgame import erased, evaluate, exact_shapley, filters_of, lam, resume
from srgame.data.images import upsample
from srgame.data.pairs import Pairs, load_pairs
from srgame.errors import InputError
from srgame.evaluation.evaluate import bicubic
from srgame.evaluation.tiling import Tiled, reach
from srgame.filters import evaluating
from srgame.metrics import benchmark_pair, luma, psnr
from srgame.networks import adapted, fingerprint, load_network, original, scale_of
from srgame.networks.adapter import convention_of
from srgame.networks.advice import notes, notes_on
from srgame.probes.responses import channel_responses
from srgame.probes.salience import channel_salience
from srgame.shapley.restoration import RestorationGame

LIKE_PLAIN: dict[str, dict[str, Any]] = {
    "in_bytes": {"value_range": 255},
    "signed": {"value_range": (-1, 1)},
    "signed_output": {"output_range": (-1, 1)},
    "shifted": {"mean": other_conventions.MEAN},
    "bgr": {"channels": "bgr"},
    "several": {"output": ("sr", -1)},
    "coded": {"extra_inputs": ["10", "1xhxw=0"]},
}
TOLD = LIKE_PLAIN | {
    "one_channel": {"channels": "y"},
    "enlarged_first": {"upsampled_input": 4},
    "window8": {},
    "at_least": {},
    "sftmd": {"extra_inputs": ["10=0.1"]},
    "ikc": {"output": (-1, 0)},
    "dan": {"output": (0, -1)},
}


def built(name: str) -> nn.Module:
    network: nn.Module = getattr(other_conventions, name)()
    return network


def told(name: str) -> nn.Module:
    return copy.deepcopy(_told(name))


@cache
def _told(name: str) -> nn.Module:
    return adapted(built(name), **TOLD.get(name, {}))


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return load_pairs("photographs", "b+n", images=2, crop=44)


@pytest.mark.parametrize("name", LIKE_PLAIN)
def test_an_adapted_network_restores_the_images_of_its_plain_twin(name: str) -> None:
    lr = images(2, 9, 13)
    before = lr.clone()
    torch.testing.assert_close(told(name)(lr), built("plain")(lr), atol=1e-6, rtol=0)
    assert torch.equal(lr, before)


@pytest.mark.parametrize("name", LIKE_PLAIN)
def test_psnr_values_probes_and_tiles_are_those_of_the_plain_twin(name: str, pairs: Pairs) -> None:
    network, twin = told(name), built("plain")
    pd.testing.assert_frame_equal(evaluate(network, pairs), evaluate(twin, pairs), atol=1e-3)
    frames = [(channel_responses(n, pairs.lr, ["body"]), lam(n, pairs.lr[:1], steps=2)) for n in (network, twin)]
    for own, right in zip(*frames, strict=True):
        pd.testing.assert_frame_equal(own, right, atol=1e-4)
    salience = [channel_salience(n, pairs.lr, ["tail:input"])["share"].to_numpy() for n in (network, twin)]
    np.testing.assert_allclose(*salience, atol=1e-4)
    values = [exact_shapley(RestorationGame(n, filters_of(n, ["body"]), pairs)) for n in (network, twin)]
    np.testing.assert_allclose(values[0].value, values[1].value, atol=1e-4)
    lr = images(1, 50, 40)
    torch.testing.assert_close(Tiled(network, side=32)(lr), twin(lr), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", TOLD)
def test_layers_and_weights_keep_their_names_and_their_memory(name: str) -> None:
    network, inner = told(name), built(name)
    assert isinstance(original(network), type(inner))
    assert list(network.state_dict()) == list(inner.state_dict())
    assert [n for n, _ in network.named_modules()] == [n for n, _ in inner.named_modules()]
    assert network.get_submodule("restorer.head" if name in ("ikc", "dan") else "head").out_channels == 6
    with torch.no_grad():
        next(network.parameters()).fill_(0.5)
    assert (next(original(network).parameters()) == 0.5).all()
    network.load_state_dict(inner.state_dict())
    assert torch.equal(next(original(network).parameters()), next(inner.parameters()))


@pytest.mark.parametrize("name", TOLD)
def test_copies_and_pickles_restore_the_same_images(name: str) -> None:
    network, lr = told(name), images(2, 9, 13)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(other(lr), network(lr))
        assert convention_of(other) == convention_of(network) and not other.training
        assert next(other.parameters()).data_ptr() != next(network.parameters()).data_ptr()


def test_the_mode_is_one_for_the_adapter_and_the_network() -> None:
    network = told("in_bytes").train()
    assert original(network).training and network.training and network.get_submodule("head").training
    with evaluating(network):
        assert not original(network).training and not network.training
    assert original(network).training and network.training


@pytest.mark.parametrize("name", sorted(TOLD.keys() - {"ikc", "dan"}))  # whose layers run several times
def test_an_adapted_network_is_cut_and_its_filters_are_erased(name: str) -> None:
    network, lr = told(name), images(3, 10, 9)
    layers = ["head"]
    filters = filters_of(network, layers)
    present = torch.tensor([[True] * 6, [False] * 6, [True, False] * 3])
    with evaluating(network), torch.no_grad():
        cut = resume(network, layers)
        with erased(network, filters, present):
            expected = network(lr)
        with erased(cut.tail, filters, present):
            torch.testing.assert_close(cut.tail(*cut.head(lr)), expected)
    assert cut.at_cut == ("head",) and not torch.equal(expected[1], expected[2])


@pytest.mark.parametrize(("name", "window"), [("window7", 7), ("window8", 8), ("window64", 64)])
@pytest.mark.parametrize(("height", "width"), [(16, 21), (64, 70), (5, 3)])
def test_images_are_padded_by_reflection_to_whole_windows(name: str, window: int, height: int, width: int) -> None:
    network, lr = told(name), images(2, height, width)
    sides = [(0, 0), (0, 0), *((0, -side % window) for side in (height, width))]
    padded = torch.from_numpy(np.pad(lr.numpy(), sides, "reflect"))
    assert torch.equal(network(lr), built(name)(padded)[..., : 4 * height, : 4 * width])
    assert (convention_of(network).smallest, convention_of(network).multiple) == (window, window)


def test_a_network_that_wants_large_images_is_given_them() -> None:
    convention = convention_of(told("at_least"))
    assert (convention.smallest, convention.multiple, convention.scale) == (21, 1, 4)
    torch.testing.assert_close(told("at_least")(images(1, 30, 25)), built("plain")(images(1, 30, 25)))
    assert told("at_least")(images(1, 6, 30)).shape == (1, 3, 24, 120)


@pytest.mark.parametrize(("name", "expected", "side"), [("window7", 7, 168), ("window64", 64, 192)])
def test_tiles_begin_at_whole_windows(name: str, expected: int, side: int) -> None:
    network, lr = told(name), images(1, side + 8, side + 1)
    assert reach(network) == expected
    with torch.inference_mode():
        torch.testing.assert_close(Tiled(network, side)(lr), network(lr), atol=1e-6, rtol=0)


def test_one_channel_is_the_luma_and_the_colours_are_bicubic() -> None:
    network, lr = told("one_channel"), images(2, 8, 11)
    sr, smooth = network(lr), upsample(lr, 4)
    torch.testing.assert_close(luma(sr), built("one_channel")(luma(lr)))
    for channel in (0, 2):  # colour differences are Cb and Cr
        colour = sr[:, [channel]] - luma(sr) * 255 / 219
        torch.testing.assert_close(colour, smooth[:, [channel]] - luma(smooth) * 255 / 219, atol=1e-5, rtol=0)


def test_psnr_of_a_one_channel_network_on_y_is_its_own(pairs: Pairs) -> None:
    lr, hr = pairs.lr[0][None], pairs.hr[0][None]
    with torch.no_grad():
        own = psnr(built("one_channel")(luma(lr))[..., 4:-4, 4:-4], benchmark_pair(hr, hr, 4, "y")[1]).item()
    assert evaluate(told("one_channel"), pairs)["psnr_y"].iloc[0] == pytest.approx(own, abs=0.02)  # 8 bits of RGB


def test_ycbcr_is_matlabs() -> None:
    white_black_red = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]).T[None, :, :, None].repeat(1, 1, 1, 3)
    seen: list[torch.Tensor] = []

    class Same(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x)
            return x

    torch.testing.assert_close(adapted(Same(), channels="ycbcr")(white_black_red), white_black_red)
    rows = (seen[-1][0, :, :, 0].T * 255).round().int().tolist()
    assert rows == [[235, 128, 128], [16, 128, 128], [81, 90, 240]]


def test_an_input_enlarged_before_is_bicubic() -> None:
    network, lr = told("enlarged_first"), images(2, 8, 11)
    assert scale_of(network) == 4
    torch.testing.assert_close(network(lr), built("enlarged_first")(upsample(lr, 4)))


def test_extra_inputs_have_their_sizes_and_numbers() -> None:
    network, lr = built("coded"), images(2, 8, 11)
    code, level = torch.linspace(0, 1, 10), torch.full((2, 1, 8, 11), -0.25)
    own = adapted(network, extra_inputs=[code, "1xhxw=-.25"])
    assert torch.equal(own(lr), network(lr, code.expand(2, -1), level))
    assert fingerprint(own) != fingerprint(told("coded"))


def test_clamped_images_lie_between_0_and_1() -> None:
    sr = adapted(built("plain"), clamp=True)(images(1, 8, 8) * 4 - 2)
    assert sr.min() == 0 and sr.max() == 1


def test_a_network_of_our_convention_needs_no_adapter() -> None:
    plain, restorer = built("plain"), built("denoiser")
    assert adapted(plain) is plain and adapted(restorer) is restorer
    assert (scale_of(plain), scale_of(restorer)) == (4, 1)


def test_a_restorer_plays_at_scale_1_on_degraded_images_of_the_same_size() -> None:
    network = built("denoiser")
    for setting in ("noise", "blur", "jpeg"):
        pairs = load_pairs("photographs", setting, scale_of(network), images=1, crop=24)
        assert pairs.lr[0].shape == pairs.hr[0].shape and not torch.equal(pairs.lr[0], pairs.hr[0])
        own = psnr(pairs.lr[0][None], pairs.hr[0][None]).item()
        assert evaluate(bicubic(1), pairs)["psnr_rgb"].item() == pytest.approx(own)  # the input itself, whole
    game = RestorationGame(network, filters_of(network, ["body"]), pairs)
    values = exact_shapley(game).value
    everyone = torch.tensor([[False] * 6, [True] * 6])
    assert values.sum() == pytest.approx(float(game(everyone).diff()), abs=1e-9)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("one_channel", "1 channels.*--channels y"),
        ("several", "dict.*--output-index 0"),
        ("coded", "'code' and 'level'.*--extra-input 10"),
    ],
)
def test_a_network_that_restores_no_image_is_refused_with_the_sizes_tried_and_a_remedy(name: str, remedy: str) -> None:
    with pytest.raises(InputError, match=f"16×16 to 256×256 pixels .*{remedy}"):
        adapted(built(name))


class Fixed(nn.Module):
    """Positions are learned for one size, as in a transformer without interpolation."""

    def __init__(self, height: int | None, width: int | None) -> None:
        super().__init__()
        self.height, self.width = height, width
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        if (height, width) != (self.height or width, self.width or height):
            raise ValueError("no such positions")
        same: torch.Tensor = self.conv(x)
        return same


@pytest.mark.parametrize(
    ("network", "sentence"), [(Fixed(48, 48), "of 48×48 pixels only"), (Fixed(None, None), "16×17 pixels")]
)
def test_a_network_of_one_size_or_of_squares_is_refused(network: nn.Module, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        adapted(network)


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"channels": "cmyk"}, "'cmyk'"),
        ({"value_range": (1, 0)}, "1 to 0"),
        ({"value_range": -255}, "0 to -255"),
        ({"mean": (0.1, 0.2)}, "2 means"),
        ({"upsampled_input": 0}, "not 0"),
        ({"extra_inputs": ["ten"]}, "'ten'"),
    ],
)
def test_impossible_conventions_are_refused(options: dict[str, Any], value: str) -> None:
    with pytest.raises(InputError, match=value):
        adapted(built("plain"), **options)


def test_a_convention_counts_as_part_of_the_weights_but_found_sizes_do_not() -> None:
    assert fingerprint(adapted(built("plain"), value_range=255)) != fingerprint(built("plain"))
    assert fingerprint(told("window8")) == fingerprint(built("window8"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plain", []),
        ("in_bytes", ["--range 255"]),
        ("signed_output", ["--output-range=-1..1"]),
        ("window8", ["multiples of 8"]),
        ("at_least", ["at least 21 pixels"]),
        ("denoiser", ["--scale 4 --upsampled-input"]),
    ],
)
def test_a_photograph_shows_the_convention_that_a_network_wants(name: str, said: list[str]) -> None:
    sentences = list(notes(adapted(built(name))))
    assert len(sentences) == len(said)
    assert all(part in sentence for part, sentence in zip(said, sentences, strict=True))


@pytest.mark.parametrize("name", LIKE_PLAIN)
def test_a_network_whose_convention_was_told_is_not_remarked_on(name: str) -> None:
    assert list(notes(told(name))) == []


def test_a_network_that_explodes_is_remarked_on() -> None:
    network = built("plain")
    with torch.no_grad():
        network.get_parameter("tail.weight").mul_(1e4)
    (sentence,) = notes(network)
    assert "from -" in sentence and "--range" in sentence


@pytest.mark.parametrize(("name", "flag"), [("in_bytes", "--range 255"), ("signed_output", "--output-range=-1..1")])
def test_the_users_own_pairs_show_the_convention_that_a_network_wants(name: str, flag: str) -> None:
    pairs = load_pairs(degradation="n+j", images=2)
    (sentence,) = notes_on(built(name), pairs)
    assert f"the middle of {', '.join(pairs.names)}, its" in sentence and sentence.endswith(f"give {flag}")
    found = [[], [], []]
    for lr, hr in zip(pairs.lr, pairs.hr, strict=True):  # 512×512 and 600×400 pixels
        top, left = ((side - 32) // 2 for side in lr.shape[1:])
        lr = lr[None, :, top : top + 32, left : left + 32]
        hr = hr[None, :, 4 * top : 4 * top + 128, 4 * left : 4 * left + 128]
        with torch.inference_mode():
            for values, sr in zip(found, (built(name)(lr), upsample(lr, 4), told(name)(lr)), strict=True):
                values.append(psnr(sr.clamp(0, 1), hr).item())
    assert re.findall(r"(\d+\.\d) dB", sentence) == [f"{np.mean(values):.1f}" for values in found]
    assert list(notes_on(told(name), pairs)) == [] and list(notes_on(built("plain"), pairs)) == []


def test_pairs_show_an_output_far_outside_the_range_even_if_its_psnr_is_good() -> None:
    class Spike(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sr = upsample(x, 4).clone()
            sr[..., 0, 0] = 9
            return sr

    (sentence,) = notes_on(Spike(), load_pairs(images=1, crop=64))
    assert "to 9:" in sentence and "--range" in sentence


def test_pairs_that_need_no_restoration_say_nothing_of_a_network() -> None:
    network = built("denoiser")
    with torch.no_grad():
        network.get_parameter("tail.weight").mul_(1e4)
    assert list(notes_on(network, load_pairs(degradation="clean", scale=1, images=1, crop=32))) == []
    (sentence,) = notes_on(network, load_pairs(degradation="noise", scale=1, images=1, crop=32))
    assert "that of the input" in sentence


def test_load_network_adapts_and_says_so(tmp_path: Any) -> None:
    path = saved(built("in_bytes").state_dict(), tmp_path / "bytes.pth")
    with pytest.warns(UserWarning, match=r"bytes.pth.*from -.*--range 255"):
        load_network(path, "other_conventions:in_bytes")
    network = load_network(path, "other_conventions:in_bytes", 4, value_range=255)
    torch.testing.assert_close(network(images(1, 8, 8)), built("plain")(images(1, 8, 8)), atol=1e-6, rtol=0)
    with pytest.raises(InputError, match=r"bytes\.pth' enlarges 4 times, not 2"):
        load_network(path, "other_conventions:in_bytes", 2, value_range=255)
