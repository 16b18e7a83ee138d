"""captum's attributions against Shapley values, slow definitions and completeness."""

import numpy as np
import pandas as pd
import pytest
import torch
from small_networks import Foreign, with_habit
from torch import nn

from srgame.data.pairs import Pairs, load_pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.networks import SRResNet
from srgame.probes.attributions import channel_attributions
from srgame.shapley.permutations import exact_shapley
from srgame.shapley.restoration import RestorationGame


@pytest.mark.parametrize("layer", ["conv_hr", "body.0.conv2"])
def test_integrated_gradients_have_the_sum_of_shapley_values(small: SRResNet, photographs: Pairs, layer: str) -> None:
    frame = channel_attributions(small, photographs, [layer], steps=60)
    game = RestorationGame(small, filters_of(small, [layer]), photographs)
    worth = game(torch.tensor([[True] * 8, [False] * 8]))
    assert frame["attribution"].sum() == pytest.approx((worth[0] - worth[1]).item(), rel=1e-2)


def test_integrated_gradients_are_shapley_values_before_a_linear_tail(small: SRResNet, photographs: Pairs) -> None:
    frame = channel_attributions(small, photographs, ["conv_last"], payoff="-mse")
    values = exact_shapley(RestorationGame(small, filters_of(small, ["conv_last"]), photographs, payoff="-mse"))
    np.testing.assert_allclose(frame["attribution"], values.value, rtol=1e-4)


@pytest.fixture(scope="module")
def without_skip() -> nn.Sequential:
    """A network of which everything flows through its first layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(5, 48, 1), nn.PixelShuffle(4)
        )


@pytest.fixture(scope="module")
def conducted(without_skip: nn.Sequential, photographs: Pairs) -> pd.DataFrame:
    """The conductance of its first layer."""
    return channel_attributions(without_skip, photographs, ["0"], "conductance", "-mse", steps=100)


def test_conductance_leaves_activations_in_place(without_skip: nn.Sequential, conducted: pd.DataFrame) -> None:
    assert len(conducted) == 5 and without_skip[1].inplace is True


def test_conductance_is_the_flow_through_each_filter(
    without_skip: nn.Sequential, conducted: pd.DataFrame, photographs: Pairs
) -> None:
    network = without_skip
    expected = []
    for lr, hr in zip(photographs.lr, photographs.hr, strict=True):
        flow, steps = torch.zeros(5), 400
        before = network[0](torch.zeros_like(lr[None]))
        for step in range(steps):
            middle = network[0](lr[None] * ((step + 0.5) / steps)).detach().requires_grad_()
            worth = -(network[3](network[2](middle.relu())) - hr).square().mean()
            (gradient,) = torch.autograd.grad(worth, middle)
            after = network[0](lr[None] * ((step + 1) / steps)).detach()
            flow += (gradient * (after - before)).sum((0, 2, 3)).detach()
            before = after
        expected.append(flow)
    np.testing.assert_allclose(conducted["attribution"], torch.stack(expected).mean(0), rtol=0.02, atol=1e-3)


def test_conductance_is_complete_without_a_skip(
    without_skip: nn.Sequential, conducted: pd.DataFrame, photographs: Pairs
) -> None:
    grown = [
        -(without_skip(x[None]) - hr).square().mean()
        for lr, hr in zip(photographs.lr, photographs.hr, strict=True)
        for x in (lr, 0 * lr)
    ]
    assert conducted["attribution"].sum() == pytest.approx(
        ((grown[0] - grown[1] + grown[2] - grown[3]) / 2).item(), rel=0.02
    )


@pytest.mark.parametrize("method", ["integrated-gradients", "conductance"])
def test_attributions_work_on_a_network_that_cannot_be_traced(foreign: Foreign, method: str) -> None:
    pairs = load_pairs("photographs", scale=2, images=1, crop=24)
    frame = channel_attributions(foreign, pairs, ["conv", "last:input"], method, steps=10)
    assert len(frame) == 8 and np.isfinite(frame["attribution"]).all() and frame["attribution"].abs().max() > 0


def test_an_unknown_method_is_an_error(foreign: Foreign, photographs: Pairs) -> None:
    with pytest.raises(InputError, match="'guess'"):
        channel_attributions(foreign, photographs, ["conv"], "guess")


@pytest.mark.parametrize("method", ["integrated-gradients", "conductance"])
@pytest.mark.parametrize("name", ["NoGradients", "OverwritesGates"])
def test_a_network_that_cannot_be_differentiated_is_an_error(name: str, method: str) -> None:
    pairs = load_pairs("photographs", images=1, crop=48)
    with pytest.raises(InputError, match="cannot be differentiated"):
        channel_attributions(with_habit(name), pairs, ["body"], method, steps=2)


@pytest.mark.parametrize("method", ["integrated-gradients", "conductance"])
def test_code_behind_a_layer_may_overwrite_its_response(method: str) -> None:
    pairs = load_pairs("photographs", images=1, crop=48)
    frames = [
        channel_attributions(with_habit(name), pairs, ["body"], method, steps=4) for name in ("AddsInPlace", "Plain")
    ]
    np.testing.assert_allclose(frames[0]["attribution"], frames[1]["attribution"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["BatchOfOne", "BatchCoupled", "OneByOne"])
def test_a_network_whose_images_depend_on_their_batch_gets_one_at_a_time(name: str) -> None:
    pairs = load_pairs("photographs", images=1, crop=48)
    lr, hr, network, steps = pairs.lr[0][None], pairs.hr[0][None], with_habit(name), 40
    frame = channel_attributions(network, pairs, ["body"], payoff="-mse", steps=steps)
    whole: list[torch.Tensor] = []
    with network.body.register_forward_hook(lambda _, __, response: whole.append(response.detach())):
        network(lr)
    expected = torch.zeros(6)
    for step in range(steps):
        point = (whole[0] * ((step + 0.5) / steps)).requires_grad_()
        with network.body.register_forward_hook(lambda _, __, ___, point=point: point):
            worth = -(network(lr) - hr).square().mean()
        expected += (torch.autograd.grad(worth, point)[0] * whole[0]).sum((0, 2, 3)) / steps
    np.testing.assert_allclose(frame["attribution"], expected, rtol=0.1, atol=1e-5)
    with pytest.raises(InputError, match="choose integrated-gradients"):
        channel_attributions(network, pairs, ["body"], "conductance", "-mse", steps)
