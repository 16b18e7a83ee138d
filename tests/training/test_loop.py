"""Strategies and the training loop."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from srgame.data.images import image_paths, read_rgb, upsample
from srgame.data.pairs import load_pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.networks import HAN, NETWORKS, SRResNet, load_network
from srgame.training.loop import Schedule, fit, seeded
from srgame.training.patches import Patches, mixed, moved, prefetched
from srgame.training.strategies import EATS, STRATEGIES, BicubicPull, Dropout, Original

IMAGES = [read_rgb(image_paths("photographs")[0])[top : top + 40, 180:230] for top in (20, 60, 100)]


def tiny(seed: int = 0) -> nn.Module:
    return seeded(lambda: SRResNet(features=6, blocks=2), seed)


def batches() -> Patches:
    return Patches(IMAGES, scale=4, patch=24, batch=3)


def gradients(network: nn.Module, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    network.zero_grad()
    torch.stack([loss for loss in losses.values() if loss.requires_grad]).sum().backward()
    return {
        name: torch.zeros_like(weights) if weights.grad is None else weights.grad.clone()
        for name, weights in network.named_parameters()
    }


def swapped(
    network: nn.Module, layer: str, rng: np.random.Generator, count: int
) -> tuple[dict[str, Tensor], list[int]]:
    """A layer's weights with some filters copied over others, drawn as EATS draws; and which filters were copied."""
    module = network.get_submodule(layer)
    order = rng.permutation(module.out_channels)
    disruptors = rng.choice(order[count:], count)
    source = torch.arange(module.out_channels)
    source[torch.from_numpy(order[:count])] = torch.from_numpy(disruptors)
    return {f"{layer}.{name}": value[source] for name, value in module.named_parameters()}, disruptors.tolist()


def naive_eats(
    network: nn.Module,
    lr: Tensor,
    hr: Tensor,
    rng: np.random.Generator,
    count: int = 1,
    weight: float = 1.0,
    target: str = "bicubic",
    teaches: str = "all",
    erase: str = "one",
) -> dict[str, Tensor]:
    """The gradient of each weight by two whole passes, the second with weights of filters copied over others'."""
    layers = filters_of(network).layers
    drawn = [str(rng.choice(layers))] if erase != "one per layer" else list(layers)
    weights, disruptors = dict(network.named_parameters()), {}
    for layer in drawn:
        copied, disruptors[layer] = swapped(network, layer, rng, count)
        weights |= copied if erase != "none" else {}
    targets = {"bicubic": upsample(lr, 4), "hr": hr}
    small = (F.interpolate(hr, lr.shape[-2:], mode="bicubic", antialias=True).clamp(0, 1) * 255).round() / 255
    targets["clean bicubic"] = upsample(small, 4)
    parameters = dict(network.named_parameters())
    awaken = weight * F.l1_loss(torch.func.functional_call(network, weights, (lr,)), targets[target])
    original = torch.autograd.grad(F.l1_loss(network(lr), hr), list(parameters.values()))
    taught = torch.autograd.grad(awaken, list(parameters.values()))
    total = {}
    for name, first, second in zip(parameters, original, taught, strict=True):
        layer = name.rpartition(".")[0]
        if teaches != "all" and layer not in drawn:
            second = torch.zeros_like(second)
        if teaches == "disruptor" and layer in drawn:
            others = [i for i in range(len(second)) if i not in disruptors[layer]]
            second = second.index_fill(0, torch.tensor(others), 0.0)
        total[name] = first + second
    return total


READINGS = [
    {},
    {"count": 2},
    {"weight": 0.1},
    {"weight": 0.3, "erase": "none"},
    {"target": "clean bicubic"},
    {"target": "clean bicubic", "erase": "none"},
    {"target": "hr"},
    {"teaches": "layer"},
    {"teaches": "layer", "erase": "none"},
    {"teaches": "disruptor", "count": 2},
    {"erase": "one per layer"},
    {"erase": "one per layer", "teaches": "disruptor", "weight": 0.2},
]


@pytest.mark.parametrize("reading", READINGS, ids=str)
@pytest.mark.parametrize("step", range(3))
def test_each_reading_of_eats_has_the_gradient_of_two_naive_passes(step: int, reading: dict[str, Any]) -> None:
    network = tiny().double()
    lr, hr = (images.double() for images in batches()(step))
    found = gradients(network, EATS(network, **reading)(lr, hr, np.random.default_rng(step)))
    for name, expected in naive_eats(network, lr, hr, np.random.default_rng(step), **reading).items():
        torch.testing.assert_close(found[name], expected, rtol=1e-9, atol=1e-13, msg=name)


@pytest.mark.parametrize("reading", READINGS, ids=str)
def test_the_awakening_loss_never_trains_the_filter_that_it_erases(reading: dict[str, Any]) -> None:
    network = tiny().double()
    lr, hr = (images.double() for images in batches()(0))
    eats = EATS(network, **reading)
    losses = eats(lr, hr, np.random.default_rng(0))
    trained = gradients(network, {"awaken": losses["pull" if eats.erase == "none" else "awaken"]})
    for erasure in eats.erasures(np.random.default_rng(0)):
        (layer,) = erasure.filters.layers
        for gone, disruptor in zip(erasure.gone, erasure.disruptors, strict=True):
            assert trained[f"{layer}.weight"][disruptor].abs().max() > 0
            if eats.erase != "none":
                assert trained[f"{layer}.weight"][gone].abs().max() == 0 == trained[f"{layer}.bias"][gone]


def test_bicubic_pull_is_the_reading_that_erases_nothing() -> None:
    network = tiny()
    lr, hr = batches()(0)
    pull = gradients(network, BicubicPull(network, 0.3, "clean bicubic")(lr, hr, np.random.default_rng(0)))
    same = EATS(network, weight=0.3, target="clean bicubic", erase="none")
    expected = gradients(network, same(lr, hr, np.random.default_rng(0)))
    assert all(torch.equal(pull[name], gradient) for name, gradient in expected.items())
    nothing = gradients(network, BicubicPull(network, weight=0.0)(lr, hr, np.random.default_rng(0)))
    original = gradients(network, Original(network)(lr, hr, np.random.default_rng(0)))
    assert all(torch.equal(nothing[name], gradient) for name, gradient in original.items())


def test_a_reading_works_on_networks_with_layers_of_one_filter() -> None:
    network = HAN(groups=1, blocks=1, features=4, reduction=2)
    lr, hr = batches()(0)
    for teaches in ("all", "layer", "disruptor"):
        losses = EATS(network, erase="one per layer", teaches=teaches)(lr, hr, np.random.default_rng(0))
        assert all(gradient.isfinite().all() for gradient in gradients(network, losses).values())


def test_eats_erases_in_every_layer_or_in_its_share_of_them() -> None:
    layers = filters_of(tiny()).layers
    assert tuple(EATS(tiny()).layers) == layers
    third = EATS(tiny(), ratio=1 / 3).layers
    assert len(third) == 3 and third == [layers[0], layers[3], layers[6]]
    assert EATS(tiny(), layers=["conv_hr"]).layers == ["conv_hr"]
    assert "conv_last" not in EATS(tiny(), count=4).layers


def test_eats_watches_what_an_erasure_changes() -> None:
    lr, hr = batches()(0)
    bicubic, to_hr = (EATS(tiny(), target=target)(lr, hr, np.random.default_rng(0)) for target in ("bicubic", "hr"))
    assert abs(to_hr["awaken"] - to_hr["original"]) <= to_hr["erasure"]
    assert bicubic["erasure"] > 0 and not bicubic["erasure"].requires_grad and not bicubic["to_bicubic"].requires_grad


def test_dropout_drops_whole_channels_before_the_last_conv() -> None:
    network = tiny()
    lr, hr = batches()(0)
    seen = []
    network.conv_last.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach()))
    network(lr)
    loss = Dropout(network, p=0.5)(lr, hr, np.random.default_rng(0))["original"]
    whole, dropped = seen
    gone = (dropped == 0).flatten(2).all(2)
    assert 0 < gone.sum() < gone.numel()
    torch.testing.assert_close(dropped[~gone], 2 * whole[~gone])
    assert len(network.conv_last._forward_pre_hooks) == 0
    assert loss != Dropout(network, p=0.5)(lr, hr, np.random.default_rng(1))["original"]
    assert Dropout(network, p=0.0)(lr, hr, np.random.default_rng(0))["original"] == F.l1_loss(network(lr), hr)


def test_bicubic_pull_is_the_sum_of_two_distances() -> None:
    network = tiny()
    lr, hr = batches()(0)
    losses = BicubicPull(network)(lr, hr, np.random.default_rng(0))
    assert losses["original"] == F.l1_loss(network(lr), hr)
    assert losses["pull"] == F.l1_loss(network(lr), upsample(lr, 4))


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("dropout", {"p": 1.0}),
        ("eats", {"ratio": 0.0}),
        ("eats", {"count": 0}),
        ("eats", {"count": 99}),
        ("eats", {"weight": -0.1}),
        ("eats", {"weight": float("nan")}),
        ("bicubic-pull", {"weight": float("inf")}),
    ],
)
def test_impossible_options_are_refused(strategy: str, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        STRATEGIES[strategy](tiny(), **options)


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
        for turned in (patch, patch[:, ::-1])
    }
    for patch in (hr * 255).round().byte().permute(0, 2, 3, 1).numpy():
        assert np.ascontiguousarray(patch).tobytes() in variants


@pytest.mark.parametrize("degradation", ["bicubic", "second-order", "bsrgan"])
def test_lr_and_hr_patches_show_the_same_place(degradation: str) -> None:
    lr, hr = Patches(IMAGES, degradation, patch=24, batch=64, crop=36, seed=1)(0)
    assert lr.shape == (64, 3, 6, 6) and hr.shape == (64, 3, 24, 24)
    small = F.avg_pool2d(hr, 4)
    own = (lr - small).abs().mean((1, 2, 3))
    others = (lr - small.roll(1, 0)).abs().mean((1, 2, 3))
    assert (own < others).float().mean() > 0.85
    assert torch.equal(Patches(IMAGES, degradation, patch=24, batch=64, crop=36, seed=1)(0)[0], lr)


def test_crops_larger_than_the_image_are_reflected_and_sharpening_changes_hr() -> None:
    plain, sharp = (Patches(IMAGES, patch=24, crop=64, batch=2, sharpen=sharpen)(0)[1] for sharpen in (False, True))
    assert plain.shape == sharp.shape == (2, 3, 24, 24) and not torch.equal(plain, sharp)


@pytest.mark.parametrize("count", [2, 5])
def test_mixed_batches_hold_the_same_patches_dealt_anew_and_repeat(count: int) -> None:
    source, pool = batches(), mixed(batches(), count)
    for block in (0, 1):
        steps = range(block * count, (block + 1) * count)
        before, after = (
            [str((lr.tolist(), hr.tolist())) for step in steps for lr, hr in zip(*made(step), strict=True)]
            for made in (source, pool)
        )
        assert sorted(before) == sorted(after) and before != after
    resumed = mixed(batches(), count)
    assert torch.equal(resumed(count + 1)[0], pool(count + 1)[0])


def test_prefetched_batches_are_the_same_in_any_order() -> None:
    ahead = prefetched(batches())
    pool = prefetched(mixed(batches(), 3), ahead=3)
    for step in (0, 1, 2, 7, 3, 4):
        assert all(torch.equal(a, b) for a, b in zip(ahead(step), batches()(step), strict=True))
        assert all(torch.equal(a, b) for a, b in zip(pool(step), mixed(batches(), 3)(step), strict=True))


def test_prefetched_batches_of_a_pool_are_made_before_their_block_begins() -> None:
    made: list[int] = []

    def counted(step: int) -> tuple[Tensor, Tensor]:
        made.append(step)
        return batches()(step)

    pool = prefetched(mixed(counted, 3), ahead=3)
    pool(0)
    deadline = time.monotonic() + 20
    while len(made) < 6 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert made == [0, 1, 2, 3, 4, 5]


def test_batches_of_workers_are_those_of_one_process_in_any_order() -> None:
    source = Patches(IMAGES, "second-order", patch=24, batch=3, sharpen=True)
    made = prefetched(source, ahead=4, workers=2)
    pool = prefetched(mixed(moved(prefetched(source, ahead=2, workers=1), "cpu"), 2), ahead=2)
    for step in (0, 1, 2, 7, 8, 1):
        assert all(torch.equal(a, b) for a, b in zip(made(step), source(step), strict=True))
        assert all(torch.equal(a, b) for a, b in zip(pool(step), mixed(source, 2)(step), strict=True))


def training_by_workers(batches: str) -> "subprocess.Popen[str]":
    """A process of its own that trains on them, as two workers make them, and prints that it began and why it ended."""
    script = f"""
from pathlib import Path
from tempfile import mkdtemp
from test_loop import *
made = prefetched({batches}, workers=2)
def told(step):
    batch = made(step)
    if step == 0:
        print("made", flush=True)
    return batch
try:
    fit(Original(tiny()), told, Schedule(10**6, save_every=10**6), Path(mkdtemp()))
except InputError as error:
    print(error, flush=True)
else:
    print("stopped", flush=True)
"""
    return subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def killed(step: int) -> tuple[Tensor, Tensor]:
    if step == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    lr, hr = batches()(step)
    return lr, hr.repeat(1, 1, 9, 9)[..., :24, :24] if step < 20 else hr.repeat(99, 1, 9, 9)  # more than a pipe holds


def test_a_worker_that_is_killed_ends_the_training_with_a_sentence() -> None:
    printed, _ = training_by_workers("killed, ahead=8").communicate(timeout=120)
    assert printed == "made\na process that made patches was killed: give fewer workers, or free memory\n"


def slow(step: int) -> tuple[Tensor, Tensor]:
    time.sleep(1)
    return batches()(step)


def test_a_whole_group_that_is_asked_to_stop_stops_and_saves() -> None:
    process = training_by_workers("slow, ahead=0")
    assert process.stdout and process.stdout.readline() == "made\n"
    time.sleep(2)  # it waits for patches now, or soon
    os.killpg(process.pid, signal.SIGTERM)
    assert process.communicate(timeout=120)[0] == "stopped\n"


def test_workers_end_with_a_training_that_is_killed() -> None:
    process = training_by_workers("batches(), ahead=0")
    assert process.stdout and process.stdout.readline() == "made\n"
    process.kill()
    process.communicate(timeout=120)  # which waits for everyone who could write there


def test_an_unknown_degradation_to_train_on_is_refused() -> None:
    with pytest.raises(InputError, match="unknown training degradation 'fog': choose one of bicubic, second-order"):
        Patches(IMAGES, "fog", patch=24)


def test_images_smaller_than_the_patch_are_refused() -> None:
    with pytest.raises(InputError, match=r"3 of 3 images are smaller than the patch of 48 pixels \(the first: 50×40\)"):
        Patches(IMAGES, patch=48)


def test_a_side_that_the_scale_does_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match="patch or crop of 30 pixels is no multiple of the scale 4"):
        Patches(IMAGES, patch=30)


def test_training_lowers_the_loss_and_logs_it(tmp_path: Path) -> None:
    pairs = load_pairs(images=1, crop=32)
    log = fit(Original(tiny()), batches(), Schedule(300, 5e-3, save_every=100), tmp_path, validation={"clean": pairs})
    assert log["step"].tolist() == [100, 200, 300] and log["original"].iloc[-1] < 0.93 * log["original"].iloc[0]
    with (tmp_path / "log.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["100", "200", "300"]
    assert log["psnr_y_clean"].between(10, 60).all()
    assert load_network(tmp_path / "weights.safetensors", "srresnet").scale == 4


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_a_stopped_run_resumes_bit_for_bit(tmp_path: Path, strategy: type[Original]) -> None:
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


def test_a_damaged_state_and_that_of_another_run_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(Original(tiny()), batches(), Schedule(2), tmp_path)
    with pytest.raises(InputError, match=r"state.pt' is the state of another run \(strategy Original, not EATS\)"):
        fit(EATS(tiny()), batches(), Schedule(2), tmp_path)
    with pytest.raises(InputError, match=r"another run \(steps 2, not 3; data None, not Set5\)"):
        fit(Original(tiny()), batches(), Schedule(3), tmp_path, settings={"data": "Set5"})
    with monkeypatch.context() as patched, pytest.raises(InputError, match=r"another run \(processes 1, not 2\)"):
        patched.setattr("srgame.training.loop.processes.count", lambda: 2)
        fit(Original(tiny()), batches(), Schedule(2), tmp_path)
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:500])
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(InputError, match=r"state.pt' cannot be read"):
        fit(Original(tiny()), batches(), Schedule(2), tmp_path)


def test_a_foreign_state_is_refused(tmp_path: Path) -> None:
    torch.save({"run": "another program's", "network": {}, "optimiser": {}, "log": []}, tmp_path / "state.pt")
    with pytest.warns(UserWarning, match="damaged or no state"), pytest.raises(InputError, match="cannot be read"):
        fit(Original(tiny()), batches(), Schedule(2), tmp_path)


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:999], lambda content: b"text"])
def test_of_a_damaged_state_the_one_before_is_used(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    whole = tiny()
    fit(Original(whole), batches(), Schedule(6, save_every=2), tmp_path)
    state = tmp_path / "state.pt"
    state.write_bytes(damage(state.read_bytes()))
    resumed = tiny(seed=99)
    with pytest.warns(UserWarning, match=r"state.pt' is damaged"):
        log = fit(Original(resumed), batches(), Schedule(6, save_every=2), tmp_path)
    assert log["step"].tolist() == [2, 4, 6]
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_network_trains_with_every_strategy(tmp_path: Path, name: str, strategy: str) -> None:
    depth = {"srresnet": {"blocks": 1}, "rrdbnet": {"blocks": 1, "growth": 4}}.get(name, {"groups": 2, "blocks": 1})
    network = NETWORKS[name](features=16, **depth)
    log = fit(STRATEGIES[strategy](network), batches(), Schedule(2), tmp_path)
    assert np.isfinite(log.to_numpy()).all() and load_network(tmp_path / "weights.safetensors").scale == 4


def test_the_moving_average_of_the_weights_is_kept_beside_them(tmp_path: Path) -> None:
    network, seen = tiny(), [tiny().state_dict()]

    def watched(step: int) -> tuple[Tensor, Tensor]:
        if step:
            seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return batches()(step)

    fit(Original(network), watched, Schedule(5, 1e-2, ema=0.8), tmp_path)
    weights, average = (load_file(tmp_path / f"weights{kind}.safetensors") for kind in ("", ".ema"))
    expected = seen[0]["conv_hr.weight"]
    for state in [*seen[1:], weights]:
        expected = 0.8 * expected + 0.2 * state["conv_hr.weight"]
    torch.testing.assert_close(average["conv_hr.weight"], expected)
    assert not torch.equal(average["conv_hr.weight"], weights["conv_hr.weight"])
    with pytest.raises(InputError, match=r"decays by a factor from 0 to below 1, not 1\.0"):
        Schedule(5, ema=1.0)


def test_tensorboard_is_shown_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, float, int]] = []
    board = SimpleNamespace(add_scalar=lambda *scalar: shown.append(scalar), flush=lambda: None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=lambda _: board))
    log = fit(Original(tiny()), batches(), Schedule(4, save_every=2), tmp_path)
    assert [(value, step) for name, value, step in shown if name == "original"] == list(
        zip(log["original"], log["step"], strict=True)
    )
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert len(fit(Original(tiny()), batches(), Schedule(4, save_every=2), tmp_path / "without")) == 2


def test_the_share_of_waiting_is_measured(tmp_path: Path) -> None:
    def slow(step: int) -> tuple[Tensor, Tensor]:
        time.sleep(0.2)
        return batches()(step)

    log = fit(Original(tiny()), slow, Schedule(3), tmp_path)
    assert 0.5 < log["waiting"].item() < 1 and log["steps_per_second"].item() < 5


def test_the_learning_rate_follows_a_cosine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []

    def stepped(optimiser: torch.optim.Adam) -> None:
        rates.append(optimiser.param_groups[0]["lr"])

    monkeypatch.setattr(torch.optim.Adam, "step", stepped)
    fit(Original(tiny()), batches(), Schedule(4, 2e-4), tmp_path)
    assert rates == pytest.approx([2e-4, (2 + 2**0.5) / 2 * 1e-4, 1e-4, (2 - 2**0.5) / 2 * 1e-4])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_in_bfloat16_an_image_has_more_than_256_values(tmp_path: Path, strategy: str) -> None:
    network = NETWORKS["rrdbnet"](features=8, blocks=1, growth=4)
    with torch.no_grad():
        network.conv_last.bias.fill_(0.7)
    images: list[Tensor] = []
    network.conv_last.register_forward_hook(lambda layer, inputs, image: images.append(image.detach().clone()))
    fit(STRATEGIES[strategy](network), batches(), Schedule(2, bfloat16=True), tmp_path)
    bright = torch.cat([image for image in images[1:] if image.min() > 0.5])  # the first only asks how a network ends
    assert bright.dtype == torch.float32 and (bright * 256 - (bright * 256).round()).abs().mean() > 0.1
    assert not torch.is_autocast_enabled("cpu") and len(network.conv_last._forward_pre_hooks) == 0


def test_initial_weights_depend_on_the_seed_only() -> None:
    state = torch.random.get_rng_state()
    first, again, other = tiny(1), tiny(1), tiny(2)
    assert torch.equal(first.conv_hr.weight, again.conv_hr.weight)
    assert not torch.equal(first.conv_hr.weight, other.conv_hr.weight)
    assert torch.equal(torch.random.get_rng_state(), state)
