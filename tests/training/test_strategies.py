"""Strategies: their losses and gradients against slower definitions."""

import pickle
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from trainings import batches, tiny

from srgame.data.images import upsample
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.networks import HAN
from srgame.training.strategies import DIL, EATS, STRATEGIES, BicubicPull, Dropout, Original


def gradients(network: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    network.zero_grad()
    loss.backward()
    return {
        name: torch.zeros_like(weights) if weights.grad is None else weights.grad.clone()
        for name, weights in network.named_parameters()
    }


def swapped(
    network: nn.Module, layer: str, rng: np.random.Generator, count: int
) -> tuple[dict[str, Tensor], list[int]]:
    """A layer's weights with some filters copied over others, drawn as EATS draws, and the filters that were copied."""
    module = network.get_submodule(layer)
    permutation = rng.permutation(module.out_channels)
    disruptors = rng.choice(permutation[count:], count)
    source = torch.arange(module.out_channels)
    source[torch.from_numpy(permutation[:count])] = torch.from_numpy(disruptors)
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
    """The gradient of each weight from two whole passes; the second has filters copied over others."""
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
    measured = gradients(network, EATS(network, **reading)(lr, hr, np.random.default_rng(step)).total())
    for name, expected in naive_eats(network, lr, hr, np.random.default_rng(step), **reading).items():
        torch.testing.assert_close(measured[name], expected, rtol=1e-9, atol=1e-13, msg=name)


@pytest.mark.parametrize("reading", READINGS, ids=str)
def test_the_awakening_loss_never_trains_the_filter_that_it_erases(reading: dict[str, Any]) -> None:
    network = tiny().double()
    lr, hr = (images.double() for images in batches()(0))
    eats = EATS(network, **reading)
    losses = eats(lr, hr, np.random.default_rng(0)).minimised
    trained = gradients(network, losses["pull" if eats.erase == "none" else "awaken"])
    for erasure in eats.erasures(np.random.default_rng(0)):
        (layer,) = erasure.filters.layers
        for gone, disruptor in zip(erasure.gone, erasure.disruptors, strict=True):
            assert trained[f"{layer}.weight"][disruptor].abs().max() > 0
            if eats.erase != "none":
                assert trained[f"{layer}.weight"][gone].abs().max() == 0 == trained[f"{layer}.bias"][gone]


def test_bicubic_pull_is_the_reading_that_erases_nothing() -> None:
    network = tiny()
    lr, hr = batches()(0)
    pull = gradients(network, BicubicPull(network, 0.3, "clean bicubic")(lr, hr, np.random.default_rng(0)).total())
    same = EATS(network, weight=0.3, target="clean bicubic", erase="none")
    expected = gradients(network, same(lr, hr, np.random.default_rng(0)).total())
    assert all(torch.equal(pull[name], gradient) for name, gradient in expected.items())
    nothing = gradients(network, BicubicPull(network, weight=0.0)(lr, hr, np.random.default_rng(0)).total())
    original = gradients(network, Original(network)(lr, hr, np.random.default_rng(0)).total())
    assert all(torch.equal(nothing[name], gradient) for name, gradient in original.items())


def test_a_reading_works_on_networks_with_layers_of_one_filter() -> None:
    network = HAN(groups=1, blocks=1, features=4, reduction=2)
    lr, hr = batches()(0)
    for teaches in ("all", "layer", "disruptor"):
        losses = EATS(network, erase="one per layer", teaches=teaches)(lr, hr, np.random.default_rng(0))
        assert all(gradient.isfinite().all() for gradient in gradients(network, losses.total()).values())


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
    assert abs(to_hr.minimised["awaken"] - to_hr.minimised["original"]) <= to_hr.watched["erasure"]
    assert bicubic.watched["erasure"] > 0
    assert not bicubic.watched["erasure"].requires_grad and not bicubic.watched["to_bicubic"].requires_grad
    assert list(bicubic.minimised) == ["original", "awaken"] and list(bicubic.watched) == ["erasure", "to_bicubic"]
    assert list(bicubic.logged()) == [*bicubic.minimised, *bicubic.watched]


@pytest.mark.parametrize(
    "copy", [deepcopy, lambda strategy: pickle.loads(pickle.dumps(strategy))], ids=["copy", "pickle"]
)
@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_a_copy_of_a_strategy_trains_its_own_network_alike(strategy: type[EATS], copy: Callable[[EATS], EATS]) -> None:
    original = strategy(tiny())
    lr, hr = batches()(0)
    original(lr, hr, np.random.default_rng(0))
    twin = copy(original)
    same = gradients(twin.network, twin(lr, hr, np.random.default_rng(0)).total())
    assert all(weights.grad is None for weights in original.network.parameters())
    gradient = gradients(original.network, original(lr, hr, np.random.default_rng(0)).total())
    assert all(torch.equal(same[name], expected) for name, expected in gradient.items())


def test_dropout_drops_whole_channels_before_the_last_conv() -> None:
    network = tiny()
    lr, hr = batches()(0)
    seen = []
    network.conv_last.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach()))
    network(lr)
    loss = Dropout(network, p=0.5)(lr, hr, np.random.default_rng(0)).minimised["original"]
    whole, dropped = seen
    gone = (dropped == 0).flatten(2).all(2)
    assert 0 < gone.sum() < gone.numel()
    torch.testing.assert_close(dropped[~gone], 2 * whole[~gone])
    assert len(network.conv_last._forward_pre_hooks) == 0
    assert loss != Dropout(network, p=0.5)(lr, hr, np.random.default_rng(1)).minimised["original"]
    without = Dropout(network, p=0.0)(lr, hr, np.random.default_rng(0))
    assert without.minimised["original"] == F.l1_loss(network(lr), hr)


def test_bicubic_pull_is_the_sum_of_two_distances() -> None:
    network = tiny()
    lr, hr = batches()(0)
    losses = BicubicPull(network)(lr, hr, np.random.default_rng(0)).minimised
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
        ("dil", {"types": 1}),
        ("dil", {"rate": 0.0}),
    ],
)
def test_impossible_options_are_refused(strategy: str, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        STRATEGIES[strategy](tiny(), **options)


def naive_dil(network: nn.Module, steps: Sequence[int], bfloat16: bool = False) -> list[tuple[list[Tensor], float]]:
    """θ − θ_task and the mean loss of each of these steps from copies of the network, five types and Adam by hand."""
    squares, count, made = [torch.zeros_like(value) for value in network.parameters()], 0, []
    for step in steps:
        lr, hr = batches()(step)
        task, losses = deepcopy(network), []
        for row in np.random.default_rng(step).permutation(5):
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                loss = F.l1_loss(task(lr[row : row + 1]), hr[row : row + 1])
            slopes = torch.autograd.grad(loss, list(task.parameters()))
            count += 1
            for value, slope, square in zip(task.parameters(), slopes, squares, strict=True):
                square.mul_(0.999).add_(0.001 * slope**2)
                value.data -= 1e-3 * slope / ((square / (1 - 0.999**count)).sqrt() + 1e-8)
            losses.append(loss.item())
        pairs = zip(network.parameters(), task.parameters(), strict=True)
        made.append(([(value - moved).detach() for value, moved in pairs], float(np.mean(losses))))
    return made


@pytest.mark.parametrize("bfloat16", [False, True])
def test_dil_descends_on_each_type_in_turn_and_carries_its_moments_over(bfloat16: bool) -> None:
    network = tiny()
    dil = DIL(network, rate=1e-3)
    for step, (expected, loss) in enumerate(naive_dil(network, range(3), bfloat16)):
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            losses = dil(*batches()(step), np.random.default_rng(step))
        measured = gradients(network, losses.total())
        for (name, gradient), moved in zip(measured.items(), expected, strict=True):
            torch.testing.assert_close(gradient, moved, rtol=1e-3, atol=2e-6, msg=f"{step}: {name}")
        half = sum((each**2).sum().item() for each in expected) / 2
        assert losses.minimised["meta"].item() == pytest.approx(half, rel=1e-4)
        assert losses.watched["original"].item() == pytest.approx(loss, rel=1e-5)


def test_the_gradient_of_dil_is_exactly_how_far_the_task_network_moved() -> None:
    network = tiny()
    dil = DIL(network)
    before = deepcopy(network.state_dict())
    measured = gradients(network, dil(*batches()(0), np.random.default_rng(0)).total())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(torch.equal(gradient, before[name] - dil._task[name]) for name, gradient in measured.items())


def test_the_order_of_types_is_drawn_with_the_generator_of_the_step() -> None:
    lr, hr = batches()(0)
    drawn = {
        seed: gradients(network := tiny(), DIL(network)(lr, hr, np.random.default_rng(seed)).total())["conv_hr.weight"]
        for seed in (0, 1, 3)
    }
    again = gradients(network := tiny(), DIL(network)(lr, hr, np.random.default_rng(0)).total())["conv_hr.weight"]
    assert torch.equal(drawn[0], again) and not any(torch.equal(drawn[0], drawn[seed]) for seed in (1, 3))


def test_dil_trains_only_weights_that_need_gradients() -> None:
    network = tiny()
    network.conv_first.requires_grad_(False)
    measured = gradients(network, DIL(network)(*batches()(0), np.random.default_rng(0)).total())
    assert measured["conv_first.weight"].abs().max() == 0 < measured["conv_hr.weight"].abs().max()


def test_types_of_distortion_must_share_a_batch_evenly() -> None:
    with pytest.raises(InputError, match=r"4 types .* 5 patches"):
        DIL(tiny(), types=4)(*batches()(0), np.random.default_rng(0))


def test_eats_skips_layers_of_a_single_filter() -> None:
    network = HAN(groups=1, blocks=1, features=4, reduction=2)
    assert 1 in filters_of(network).widths
    assert "csa.conv" not in EATS(network).layers and len(EATS(network).layers) > 5
