"""A network that edits its input gets copies: every public function leaves its images as they were, and its numbers are
those of the same network without that habit."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from small_networks import with_habit
from torch import Tensor, nn

from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.evaluation.evaluate import evaluate
from srgame.evaluation.tiling import Tiled
from srgame.filters import filters_of
from srgame.metrics import mse
from srgame.probes.attributions import channel_attributions
from srgame.probes.cosine import channel_cosine
from srgame.probes.ddr import ddr
from srgame.probes.lam import lam
from srgame.probes.responses import channel_responses
from srgame.probes.salience import channel_salience, salience_maps
from srgame.probes.scores import filter_scores
from srgame.probes.srga import srga
from srgame.shapley.audit import network_values
from srgame.shapley.exact import exact_shapley
from srgame.shapley.game import RestorationGame
from srgame.shapley.gradients import multilevel_shapley
from srgame.shapley.interactions import pair_interactions
from srgame.shapley.until import Until
from srgame.training.strategies import STRATEGIES


def random_images(count: int, side: int) -> tuple[Tensor, ...]:
    return tuple(torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(0)))


PAIRS = Pairs(("a", "b", "c"), random_images(3, 12), random_images(3, 48))
UNTIL = Until(evaluations=200)
LAYERS = ("body",)


def editing_payoff(sr: Tensor, hr: Tensor) -> Tensor:
    return -mse(sr.mul_(1.0), hr.mul_(1.0))


def game(network: nn.Module, payoff: Any = "psnr") -> RestorationGame:
    return RestorationGame(network, filters_of(network, LAYERS), PAIRS, payoff)


def losses(network: nn.Module) -> pd.DataFrame:
    lr, hr = torch.stack(PAIRS.lr), torch.stack(PAIRS.hr)
    before = lr.clone()
    rows = {}
    for name, strategy in STRATEGIES.items():
        options = {"layers": LAYERS, "count": 2} if name == "eats" else {}
        measured = strategy(network, **options)(lr, hr, np.random.default_rng(0)).minimised
        rows[name] = {loss: value.item() for loss, value in measured.items()}
        assert torch.equal(lr, before)
    return pd.DataFrame(rows)


FUNCTIONS: dict[str, Callable[[nn.Module], pd.DataFrame]] = {
    "evaluate": lambda network: evaluate(network, PAIRS),
    "evaluate twice": lambda network: pd.concat([evaluate(network, PAIRS), evaluate(network, PAIRS)]),
    "tiles": lambda network: evaluate(Tiled(network, 8, 0), PAIRS),
    "reach": lambda network: pd.DataFrame({"reach": [Tiled(network).overlap]}),
    "responses": lambda network: channel_responses(network, PAIRS.lr, LAYERS),
    "cosine": lambda network: channel_cosine(network, PAIRS.lr, LAYERS),
    "salience": lambda network: channel_salience(network, PAIRS.lr, ["tail:input"]),
    "salience maps": lambda network: salience_maps(network, PAIRS.lr[0], ["tail:input"]),
    "lam": lambda network: lam(network, PAIRS.lr, steps=4),
    "ddr": lambda network: ddr(network, {"a": PAIRS.lr, "b": PAIRS.lr[:2]}, "tail:input", seeds=(0,)),
    "srga": lambda network: srga(network, PAIRS.lr, {"b": PAIRS.lr[:2]}, "tail:input"),
    "integrated gradients": lambda network: channel_attributions(network, PAIRS, LAYERS, steps=4),
    "conductance": lambda network: channel_attributions(network, PAIRS, LAYERS, "conductance", steps=4),
    "an editing payoff": lambda network: channel_attributions(network, PAIRS, LAYERS, payoff=editing_payoff, steps=4),
    "scores": lambda network: filter_scores(network, PAIRS, LAYERS, ["responses", "shapley"], UNTIL),
    "values": lambda network: network_values(network, filters_of(network), PAIRS, until=UNTIL, game="within layers"),
    "exact": lambda network: exact_shapley(game(network)).frame(0.95),
    "exact, an editing payoff": lambda network: exact_shapley(game(network, editing_payoff)).frame(0.95),
    "interactions": lambda network: pd.DataFrame({"pair": pair_interactions(game(network), until=UNTIL).value.ravel()}),
    "multilevel": lambda network: multilevel_shapley(game(network), until=Until(evaluations=1600)).frame(0.95),
    "losses": losses,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_images_stay_and_numbers_are_those_without_the_habit(name: str) -> None:
    before = deepcopy(PAIRS)
    edited = FUNCTIONS[name](with_habit("EditsInput"))
    assert all(map(torch.equal, (*before.lr, *before.hr), (*PAIRS.lr, *PAIRS.hr)))
    expected = FUNCTIONS[name](with_habit("Plain"))
    columns = [column for column in expected if not str(column).endswith("_reduction")]
    pd.testing.assert_frame_equal(edited[columns], expected[columns], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name not in ("losses", "lam")])
def test_images_stay_if_responses_are_edited_too(name: str) -> None:
    before = deepcopy(PAIRS)
    first = FUNCTIONS[name](with_habit("EditsInputTwice"))
    assert all(map(torch.equal, (*before.lr, *before.hr), (*PAIRS.lr, *PAIRS.hr)))
    pd.testing.assert_frame_equal(first, FUNCTIONS[name](with_habit("EditsInputTwice")))


def test_attributions_of_code_that_overwrites_what_gradients_need_are_refused() -> None:
    before = deepcopy(PAIRS)
    with pytest.raises(InputError, match="overwrites values that they need"):
        FUNCTIONS["lam"](with_habit("EditsInputTwice"))
    assert all(map(torch.equal, before.lr, PAIRS.lr))
