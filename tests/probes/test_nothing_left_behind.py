"""Probes and erasure leave the network, and what is global, as they were, also if the network raises an error."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.filters import erased, evaluating, filters_of
from srgame.probes.attributions import channel_attributions
from srgame.probes.cosine import channel_cosine
from srgame.probes.ddr import ddr
from srgame.probes.features import features
from srgame.probes.lam import lam
from srgame.probes.responses import channel_responses
from srgame.probes.salience import channel_salience, salience_maps
from srgame.probes.srga import srga
from srgame.shapley.restoration import RestorationGame


def random_images(count: int, side: int) -> tuple[Tensor, ...]:
    return tuple(torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)))


IMAGES = random_images(3, 8)
PAIRS = Pairs(("a", "b"), random_images(2, 6), random_images(2, 24))


class InterruptionError(Exception):
    pass


class Delicate(nn.Module):
    """Dropout, batch statistics and an activation in place; an error in the run of number `fails_at`."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.body = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout())
        self.last = nn.Conv2d(4, 48, 3, padding=1)
        self.fails_at, self.runs = fails_at, 0

    def forward(self, lr: Tensor) -> Tensor:
        self.runs += 1
        x = self.body(self.act(self.conv(lr)))
        if self.runs == self.fails_at:
            raise InterruptionError
        return nn.functional.pixel_shuffle(self.last(x), 4)


UNFINISHED: list[Iterator[dict[str, Tensor]]] = []


def read_one_of_three_images(network: nn.Module) -> None:
    """The reading waits for its second image, as long as something refers to it."""
    UNFINISHED.append(features(network, IMAGES, ["conv"], torch.clone))
    next(UNFINISHED[-1])


def erase(network: nn.Module) -> None:
    filters = filters_of(network)
    nothing = torch.zeros(1, len(filters), dtype=torch.bool)
    with evaluating(network), erased(network, filters, nothing):
        network(IMAGES[0][None])


def evaluate_game(network: nn.Module) -> Tensor:
    game = RestorationGame(network, filters_of(network, ["body.0"]), PAIRS)
    return game(torch.tensor([[True, False, True, False]]))


LAYERS = ["conv", "last:input"]
READERS: dict[str, Callable[[nn.Module], Any]] = {
    "erased": erase,
    "game": evaluate_game,
    "features": read_one_of_three_images,
    "responses": lambda network: channel_responses(network, IMAGES, LAYERS),
    "cosine": lambda network: channel_cosine(network, IMAGES, LAYERS),
    "salience": lambda network: channel_salience(network, IMAGES, LAYERS),
    "salience maps": lambda network: salience_maps(network, IMAGES[0], LAYERS),
    "lam": lambda network: lam(network, IMAGES, window=4, steps=2),
    "ddr": lambda network: ddr(network, {"a": IMAGES, "b": IMAGES}, "last:input", seeds=(0,)),
    "srga": lambda network: srga(network, IMAGES, {"b": [1 - image for image in IMAGES]}, "last:input"),
    "integrated gradients": lambda network: channel_attributions(network, PAIRS, LAYERS, steps=4),
    "conductance": lambda network: channel_attributions(network, PAIRS, LAYERS, "conductance", steps=4),
}


def state_of(network: nn.Module) -> dict[str, Any]:
    """All that a reader could change: of the network's modules and tensors, and of the process."""
    return {
        "modes": [module.training for module in network.modules()],
        "hooks": [
            list(hooks)
            for module in network.modules()
            for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
        ],
        "in place": [getattr(module, "inplace", None) for module in network.modules()],
        "weights": {name: value.tolist() for name, value in network.state_dict().items()},
        "requires_grad": [weights.requires_grad for weights in network.parameters()],
        "gradients": [None if w.grad is None else w.grad.tolist() for w in network.parameters()],
        "warnings": list(warnings.filters),
        "gradient mode": torch.is_grad_enabled(),
        "random numbers": (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()),
    }


def in_any_state(network: nn.Module, draw: Callable[[], bool]) -> nn.Module:
    """Each module in train or eval mode, each parameter frozen or not, with a gradient or without."""
    for module in network.modules():
        module.training = draw()
    for weights in network.parameters():
        weights.grad = torch.ones_like(weights) if draw() else None
        weights.requires_grad_(draw())
    return network


@pytest.mark.filterwarnings(
    "ignore:every coalition takes a whole run", "ignore:the norm", "ignore:coalitions are evaluated one by one"
)
@pytest.mark.parametrize("reader", READERS)
@settings(max_examples=12)
@given(st.data(), st.sampled_from([None, None, 1, 2, 3]))
def test_reading_leaves_the_network_and_the_process_as_they_were(
    reader: str, data: st.DataObject, fails_at: int | None
) -> None:
    network = in_any_state(Delicate(fails_at), lambda: data.draw(st.booleans()))
    before = state_of(network)
    with suppress(InterruptionError, InputError):
        READERS[reader](network)
    assert network.runs > 0
    assert state_of(network) == before


@pytest.mark.parametrize("reader", [name for name in READERS if name not in ("erased", "features", "game")])
def test_a_network_in_train_mode_is_read_in_eval_mode(reader: str) -> None:
    network = Delicate()
    assert network.training
    in_train_mode, in_eval_mode = READERS[reader](network), READERS[reader](network.eval())
    pd.testing.assert_frame_equal(in_train_mode, in_eval_mode)


def test_a_game_is_evaluated_in_eval_mode() -> None:
    network = Delicate()
    assert torch.equal(evaluate_game(network), evaluate_game(network.eval()))
