"""Networks of other conventions, transformers and recurrent networks give the numbers of their twins: networks written
here, in plain torch, that compute the same images and need none of srgame's help."""

import numpy as np
import other_conventions
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from every_function import FUNCTIONS
from other_conventions import SFTMD, Plain, Windowed
from small_networks import with_habit
from torch import Tensor, nn

from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.metrics import mse
from srgame.networks import adapted
from srgame.probes.responses import channel_responses
from srgame.probes.salience import salience_maps
from srgame.shapley.exact import exact_shapley
from srgame.shapley.game import RestorationGame


def random_images(side: int) -> tuple[Tensor, ...]:
    return tuple(torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0)))


PAIRS = Pairs(("a", "b", "c"), random_images(12), random_images(48))


class OfLuma(Plain):
    """Restores the luma (BT.601, as MATLAB); Cb and Cr are upsampled bicubically."""

    def forward(self, x: Tensor) -> Tensor:
        matrix = x.new_tensor([[65.481, 128.553, 24.966], [-37.797, -74.203, 112], [112, -93.786, -18.214]]) / 255
        offset = x.new_tensor([16, 128, 128])[:, None, None] / 255
        ycbcr = torch.einsum("kc,bchw->bkhw", matrix, x) + offset
        colours = F.interpolate(ycbcr[:, 1:], scale_factor=4, mode="bicubic", antialias=True)
        restored = torch.cat((self.restored(ycbcr[:, :1]), colours), 1) - offset
        return torch.einsum("ck,bkhw->bchw", torch.linalg.inv(matrix), restored)


class Enlarging(Plain):
    """SRCNN with its bicubic upsampling."""

    def forward(self, x: Tensor) -> Tensor:
        return self.restored(F.interpolate(x, scale_factor=4, mode="bicubic", antialias=True))


class Padding(Windowed):
    """Pads images to whole windows by reflection, and crops."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % self.window, 0, -height % self.window), mode="reflect")
        return super().forward(padded)[..., : 4 * height, : 4 * width]


class Knowing(SFTMD):
    """Knows its code."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x, x.new_full((len(x), 10), 0.1))


class Features(nn.Module):
    """The MLP of a transformer: its features are linear, with channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 6, 3, padding=1)
        self.norm, self.fc1, self.fc2 = nn.LayerNorm(6), nn.Linear(6, 8), nn.Linear(8, 6)
        self.tail = nn.Conv2d(6, 48, 3, padding=1)

    def mixed(self, x: Tensor) -> Tensor:
        z = x.permute(0, 2, 3, 1)
        return (z + self.fc2(F.gelu(self.fc1(self.norm(z))))).permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        detail = F.pixel_shuffle(self.tail(self.mixed(self.head(x))), 4)
        return 0.1 * detail + F.interpolate(x, scale_factor=4, mode="bilinear")


class Convs(Features):
    """The same with convs of 1×1 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(6, 8, 1), nn.Conv2d(8, 6, 1)

    def mixed(self, x: Tensor) -> Tensor:
        mean, deviation = x.mean(1, keepdim=True), (x.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
        return x + self.fc2(F.gelu(self.fc1((x - mean) / deviation)))


class Unrolled(nn.Module):
    """Recursive of small_networks, with a conv for each of the three calls of its body."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 48, 3, padding=1)
        self.first, self.second, self.third = (nn.Conv2d(6, 6, 3, padding=1) for _ in range(3))
        self.register_buffer("mean", torch.tensor([0.45, 0.44, 0.40]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        z = self.head(x - self.mean).relu()
        for conv in (self.first, self.second, self.third):
            z = z + conv(z).relu()
        sr = F.pixel_shuffle(self.tail(z), 4) * 0.2
        return sr + F.interpolate(x - self.mean, scale_factor=4, mode="bilinear") + self.mean


def with_weights_of(network: nn.Module, twin: nn.Module) -> nn.Module:
    """The twin with the network's weights; those of a linear layer become a conv of 1×1 pixels."""
    own, state = network.state_dict(), twin.state_dict()
    same = {"first": "body", "second": "body", "third": "body"}
    for name in state:
        layer, _, kind = name.partition(".")
        state[name] = own[f"{same.get(layer, layer)}.{kind}" if kind else name].reshape(state[name].shape)
    twin.load_state_dict(state)
    return twin.eval()


def case(name: str) -> tuple[nn.Module, nn.Module]:
    """A network, and its twin."""
    built = {"features": Features, "recursive": lambda: with_habit("Recursive")}.get(name)
    twins = {"one_channel": OfLuma(4, 1), "enlarged_first": Enlarging(1), "window8": Padding(8), "sftmd": Knowing()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = (built or getattr(other_conventions, name))().eval()
    twin = with_weights_of(network, {"features": Convs(), "recursive": Unrolled()}.get(name) or twins[name])
    told = {
        "one_channel": {"channels": "y"},
        "enlarged_first": {"upsampled_input": 4},
        "window8": {},
        "sftmd": {"extra_inputs": ["10=0.1"]},
    }
    return adapted(network, **told[name]) if name in told else network, twin


# The layer of the network, and the layer of the twin.
CASES = {
    "one_channel": ("body", "body"),
    "enlarged_first": ("body", "body"),
    "window8": ("body", "body"),
    "sftmd": ("body.0.conv1", "body.0.conv1"),
    "features": ("fc1", "fc1"),
    "recursive": ("body@2", "second"),
}


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name not in ("multilevel", "evaluate twice")])
@pytest.mark.parametrize("name", CASES)
def test_numbers_are_those_of_the_plain_twin(name: str, function: str) -> None:
    if name == "window8" and function in ("tiles", "reach"):
        pytest.skip("the twin does not say where its windows begin; networks/test_adapter.py tests tiles")
    layers = CASES[name]
    frames = [FUNCTIONS[function](network, PAIRS, layer) for network, layer in zip(case(name), layers, strict=True)]
    own, right = (frame.replace({"layer": {layer: "layer"}}) for frame, layer in zip(frames, layers, strict=True))
    columns = [column for column in right if not str(column).endswith("_reduction") and column != "rank"]
    pd.testing.assert_frame_equal(own[columns], right[columns], rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("name", CASES)
def test_a_twin_restores_the_same_images(name: str) -> None:
    network, twin = case(name)
    with torch.inference_mode():
        torch.testing.assert_close(network(torch.stack(PAIRS.lr)), twin(torch.stack(PAIRS.lr)), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("layer", ["body@1", "body@3", "body@2:input", "body@3:input"])
def test_a_call_is_erased_alone(layer: str) -> None:
    """φ of -MSE by the definition: all coalitions, one run each, a hook of our own that counts the calls."""
    name, _, number = layer.removesuffix(":input").partition("@")
    worths = {}
    for coalition in np.ndindex(*[2] * 6):
        absent = torch.tensor([not present for present in coalition])
        network, calls = with_habit("Recursive"), []

        def erase(values: Tensor, absent: Tensor = absent, calls: list[int] = calls) -> Tensor:
            calls.append(1)
            return values.masked_fill(absent[:, None, None], 0) if len(calls) == int(number) else values

        body = network.get_submodule(name)
        if layer.endswith(":input"):
            body.register_forward_pre_hook(lambda _, given, erase=erase: (erase(given[0]),))
        else:
            body.register_forward_hook(lambda _, __, response, erase=erase: erase(response))
        with torch.no_grad():
            worths[coalition] = -mse(network(PAIRS.lr[0][None].clone()), PAIRS.hr[0][None]).item()
    pairs = next(iter(PAIRS))
    game = RestorationGame(with_habit("Recursive"), filters_of(with_habit("Recursive"), [layer]), pairs, "-mse")
    rows = torch.tensor(list(worths), dtype=torch.bool)
    torch.testing.assert_close(game(rows).double(), torch.tensor(list(worths.values())).double(), rtol=1e-5, atol=1e-8)
    assert exact_shapley(game).value.sum() == pytest.approx(worths[(1,) * 6] - worths[(0,) * 6], rel=1e-3)


def test_a_call_that_does_not_happen_is_refused() -> None:
    network = with_habit("Recursive")
    with pytest.raises(InputError, match=r"no 'body@4': the network calls 'body' 3 time"):
        exact_shapley(RestorationGame(network, filters_of(network, ["body@4"]), PAIRS))
    with pytest.raises(InputError, match=r"'body' runs 3 times per image.*body@1 to body@3"):
        channel_responses(network, PAIRS, ["body"])
    with pytest.raises(InputError, match=r"'body:input' runs 3 times per image.*body@1:input to body@3:input"):
        channel_responses(network, PAIRS, ["body:input"])
    assert filters_of(network, ["body@3", "head", "body@2"]).layers == ("head", "body@2", "body@3")


def test_windows_of_an_image_belong_to_it() -> None:
    """Linear features of windows, which lie along the first axis: statistics over all of them."""
    network, seen = with_habit("Windows"), []
    network.get_submodule("fc").register_forward_hook(lambda _, __, response: seen.append(response.detach()))
    frame = channel_responses(network, PAIRS.lr[:1], ["fc"])
    assert seen[0].shape == (9, 16, 6)  # windows, pixels, features
    np.testing.assert_allclose(frame["mean_abs"], seen[0].abs().mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(frame["std"], seen[0].flatten(0, 1).std(0, correction=0), rtol=5e-3)
    with pytest.raises(InputError, match="'fc' responds with 1 axes of space"):
        salience_maps(network, PAIRS.lr[0], ["fc"])
