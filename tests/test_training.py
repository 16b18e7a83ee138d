"""Strategies and the training loop."""

import csv
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.images import image_paths, read_rgb, upsample
from srgame.networks import HAN, SRResNet, load_network
from srgame.pairs import load_pairs
from srgame.strategies import EATS, Original
from srgame.training import BicubicPatches, Schedule, fit, seeded

IMAGES = [read_rgb(image_paths("photographs")[0])[top : top + 40, 180:230] for top in (20, 60, 100)]


def tiny(seed: int = 0) -> nn.Module:
    return seeded(lambda: SRResNet(features=6, blocks=2), seed)


def batches() -> BicubicPatches:
    return BicubicPatches(IMAGES, scale=4, patch=24, batch=3)


def gradients(network: nn.Module, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    network.zero_grad()
    torch.stack(list(losses.values())).sum().backward()
    return {name: weights.grad.clone() for name, weights in network.named_parameters()}


def naive_eats(network: nn.Module, lr: Tensor, hr: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
    """Algorithm 1 as printed: two whole passes, the second with a filter's weights and bias copied over another's."""
    layers = filters_of(network).layers
    layer = str(rng.choice(layers))
    width = network.get_submodule(layer).out_channels
    erased_filter, disruptor = (int(i) for i in rng.choice(width, 2, replace=False))
    weights = dict(network.named_parameters())
    swapped = torch.arange(width)
    swapped[erased_filter] = disruptor
    for kind in ("weight", "bias"):
        weights[f"{layer}.{kind}"] = weights[f"{layer}.{kind}"][swapped]
    sr_erased = torch.func.functional_call(network, weights, (lr,))
    return {"original": F.l1_loss(network(lr), hr), "awaken": F.l1_loss(sr_erased, upsample(lr, 4))}


@pytest.mark.parametrize("step", range(12))
def test_eats_has_the_gradient_of_two_naive_passes(step: int) -> None:
    network = tiny().double()
    lr, hr = (images.double() for images in batches()(step))
    shared = EATS(network)(lr, hr, np.random.default_rng(step))
    naive = naive_eats(network, lr, hr, np.random.default_rng(step))
    assert {name: loss.item() for name, loss in shared.items()} == pytest.approx(
        {name: loss.item() for name, loss in naive.items()}, rel=1e-12
    )
    expected = gradients(network, naive)
    for name, gradient in gradients(network, EATS(network)(lr, hr, np.random.default_rng(step))).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-9, atol=1e-13)


def test_eats_erases_one_filter_in_every_layer_sooner_or_later() -> None:
    network = tiny()
    lr, hr = batches()(0)
    drawn = set()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        losses = EATS(network)(lr, hr, rng) if seed < 3 else None
        assert losses is None or losses["awaken"] > 0
        drawn.add(str(np.random.default_rng(seed).choice(filters_of(network).layers)))
    assert drawn == set(filters_of(network).layers)


def test_eats_passes_over_layers_of_a_single_filter() -> None:
    network = HAN(groups=1, blocks=1, features=4, reduction=2)
    assert 1 in filters_of(network).widths
    assert "csa.conv" not in EATS(network).layers and len(EATS(network).layers) > 5


def test_patches_are_cut_from_the_images_and_repeat() -> None:
    lr, hr = batches()(5)
    assert lr.shape == (3, 3, 6, 6) and hr.shape == (3, 3, 24, 24)
    again = batches()(5)
    assert torch.equal(lr, again[0]) and torch.equal(hr, again[1])
    assert not torch.equal(hr, batches()(6)[1])
    variants = {
        turned.tobytes()
        for image in IMAGES
        for top in range(17)
        for left in range(27)
        for patch in [image[top : top + 24, left : left + 24]]
        for flipped in (patch, patch[:, ::-1])
        for turned in (flipped, flipped.transpose(1, 0, 2))
    }
    for patch in (hr * 255).round().byte().permute(0, 2, 3, 1).numpy():
        assert np.ascontiguousarray(patch).tobytes() in variants


def test_images_smaller_than_the_patch_are_refused() -> None:
    with pytest.raises(InputError, match=r"3 of 3 images are smaller than the patch of 48 pixels \(the first: 50×40\)"):
        BicubicPatches(IMAGES, patch=48)


def test_a_side_that_the_scale_does_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match="patch of 30 pixels is no multiple of the scale 4"):
        BicubicPatches(IMAGES, patch=30)


def test_training_lowers_the_loss_and_logs_it(tmp_path: Path) -> None:
    pairs = load_pairs(images=1, crop=32)
    log = fit(Original(tiny()), batches(), Schedule(300, 5e-3, save_every=100), tmp_path, validation=pairs)
    assert log["step"].tolist() == [100, 200, 300] and log["original"].iloc[-1] < 0.93 * log["original"].iloc[0]
    with (tmp_path / "log.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["100", "200", "300"]
    assert log["psnr_y"].between(10, 60).all()
    assert load_network(tmp_path / "weights.safetensors", "srresnet").scale == 4


@pytest.mark.parametrize("strategy", [Original, EATS])
def test_a_stopped_run_resumes_bit_for_bit(tmp_path: Path, strategy: type[Original] | type[EATS]) -> None:
    whole, stopped = tiny(), tiny()
    fit(strategy(whole), batches(), Schedule(9, save_every=4), tmp_path / "whole")

    def stopping(step: int) -> tuple[Tensor, Tensor]:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return batches()(step)

    log = fit(strategy(stopped), stopping, Schedule(9, save_every=4), tmp_path / "stopped")
    assert log["step"].tolist() == [4, 6]
    resumed = tiny(seed=99)
    log = fit(strategy(resumed), batches(), Schedule(9, save_every=4), tmp_path / "stopped")
    assert log["step"].tolist() == [4, 6, 8, 9]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    def poisoned(step: int) -> tuple[Tensor, Tensor]:
        lr, hr = batches()(step)
        return lr, hr * (float("nan") if step == 5 else 1)

    with pytest.raises(InputError, match="loss of step 6 is not finite"):
        fit(Original(tiny()), poisoned, Schedule(9, save_every=4), tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["log"][-1]["step"] == 4
    assert all(value.isfinite().all() for value in state["network"].values())


def test_the_learning_rate_follows_a_cosine() -> None:
    rates = [Schedule(100, 2e-4).rate(step) for step in (0, 50, 100)]
    assert rates == pytest.approx([2e-4, 1e-4, 0])


def test_initial_weights_depend_on_the_seed_only() -> None:
    state = torch.random.get_rng_state()
    first, again, other = tiny(1), tiny(1), tiny(2)
    assert torch.equal(first.conv_hr.weight, again.conv_hr.weight)
    assert not torch.equal(first.conv_hr.weight, other.conv_hr.weight)
    assert torch.equal(torch.random.get_rng_state(), state)
