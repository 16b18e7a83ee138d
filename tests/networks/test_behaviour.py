"""Networks are known by what their code makes of their weights, too."""

import copy
import json
from pathlib import Path

import pytest
import torch
from small_networks import HABITS, SMALL, small, with_habit
from torch import Tensor, nn

from srgame.errors import InputError
from srgame.networks import SRResNet, adapted, behaviour_of, fingerprint, identity_of, load_network
from srgame.networks.behaviour import is_same


def sloped(network: nn.Module, slope: float) -> nn.Module:
    """The network with other code: the slope of its leaky activations is in no weight."""
    other = copy.deepcopy(network)
    for module in other.modules():
        if isinstance(module, nn.LeakyReLU):
            module.negative_slope = slope
    return other


class FewSizes(nn.Conv2d):
    """Takes multiples of 8 pixels a side only."""

    def forward(self, lr: Tensor) -> Tensor:
        assert not any(side % 8 for side in lr.shape[-2:])
        return super().forward(lr)


class OneSize(nn.Conv2d):
    def forward(self, lr: Tensor) -> Tensor:
        assert lr.shape[-2:] == (20, 20)
        return super().forward(lr)


class Noisy(nn.Conv2d):
    def forward(self, lr: Tensor) -> Tensor:
        sr = super().forward(lr)
        return sr + torch.randn_like(sr)


def test_code_that_changes_changes_the_behaviour_but_not_the_fingerprint() -> None:
    network = load_network("small-x4-eats-0")
    other = sloped(network, 0.9)
    assert fingerprint(network) == fingerprint(other) and type(network) is type(other)
    assert not is_same(behaviour_of(network), behaviour_of(other))
    assert not is_same(behaviour_of(network), behaviour_of(sloped(network, 0.11)))


@pytest.mark.parametrize("name", SMALL)
def test_a_behaviour_is_the_same_in_another_arithmetic(name: str) -> None:
    network = small(name)
    behaviour = behaviour_of(network)
    assert behaviour == behaviour_of(network.train()) and network.training
    exact = behaviour_of(copy.deepcopy(network).double()).replace("float64", "float32")
    assert is_same(behaviour, exact) and is_same(exact, behaviour)


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_up_to_its_own_rounding(precision: torch.dtype) -> None:
    half = load_network("small-x4-eats-0").to(precision)
    exact = behaviour_of(copy.deepcopy(half).float()).replace("float32", str(precision).removeprefix("torch."))
    assert is_same(exact, behaviour_of(half)) and not is_same(exact, behaviour_of(sloped(half, 0.3)))
    assert not is_same(behaviour_of(copy.deepcopy(half).float()), behaviour_of(half))


@pytest.mark.parametrize("name", HABITS)
def test_networks_of_all_habits_have_a_behaviour_and_stay_as_they_were(name: str) -> None:
    network = with_habit(name)
    before, state = fingerprint(network), torch.get_rng_state()
    assert len(behaviour_of(network).split()) == 257 and behaviour_of(network) == behaviour_of(network)
    assert fingerprint(network) == before and torch.equal(torch.get_rng_state(), state)


def test_networks_of_other_conventions_have_a_behaviour() -> None:
    few, one = FewSizes(3, 3, 1), OneSize(3, 3, 1)
    assert behaviour_of(few) == behaviour_of(adapted(few)) != ""
    assert behaviour_of(one) == "" and not is_same("", behaviour_of(few)) and not is_same(behaviour_of(few), "")
    assert not is_same(behaviour_of(few), behaviour_of(adapted(few, value_range=255)))
    noisy = Noisy(3, 3, 1)
    assert behaviour_of(noisy) == behaviour_of(noisy)


def test_a_behaviour_that_is_not_finite_is_the_same_only_at_its_place() -> None:
    assert is_same("float32 nan inf 1", "float32 nan inf 1.00001")
    assert not is_same("float32 nan inf 1", "float32 inf nan 1") and not is_same("float32 nan", "float32 1")
    assert not is_same("float32 1 2", "float32 1 2 3") and not is_same("written by hand", "float32 1 2")


def test_the_identity_that_is_stored_is_kept_if_it_is_the_same_up_to_rounding(tmp_path: Path) -> None:
    network, stored = small("srresnet-x4"), tmp_path / "game.json"
    identity = identity_of(network, stored)
    assert identity == identity_of(network) == {"weights": fingerprint(network), "behaviour": behaviour_of(network)}
    kind, first, *rest = identity["behaviour"].split()
    elsewhere = identity | {"behaviour": " ".join([kind, f"{float(first) + 1e-6:.6g}", *rest])}
    assert elsewhere != identity
    for content in (elsewhere, {"settings": elsewhere}):
        stored.write_text(json.dumps(content))
        assert identity_of(network, stored) == elsewhere
        with pytest.raises(InputError, match=f"'{tmp_path}' holds results of another network with the same weights"):
            identity_of(sloped(network, 0.9), stored)
    stored.write_text(json.dumps({"weights": identity["weights"]}))  # of an earlier version
    assert identity_of(sloped(network, 0.9), stored) == {"weights": identity["weights"]}
    stored.write_text("[damaged")
    assert identity_of(network, stored) == identity


def test_a_store_of_other_weights_is_not_said_to_be_of_other_code(tmp_path: Path) -> None:
    network, stored = small("srresnet-x4"), tmp_path / "game.json"
    stored.write_text(json.dumps(identity_of(network)))
    other = SRResNet(features=8, blocks=2)
    assert identity_of(other, stored) == identity_of(network) | {"weights": fingerprint(other)}
