"""The same seed gives the same numbers as when they were written down, in same_bits.json beside this file.

To write them down again, after a change that is meant to change numbers: python tests/shapley/test_same_bits.py
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from games import FormulaGame, airport, glove, voting
from torch import Tensor

from srgame import Until, marginal_contributions, multilevel_shapley, pair_interactions, sampled_shapley

WRITTEN = Path(__file__).with_name("same_bits.json")
RUNWAY = airport([1, 1, 2, 3, 5, 8, 13, 21, 34, 55])
COUNCIL = voting([5, 5, 5, 2, 2, 2, 2, 1, 1, 1], quota=14)
GLOVES = glove(3, 7)
UNIONS = [[0, 3, 4], [1, 2], [5, 6, 7, 8, 9]]
POLYNOMIAL = FormulaGame(10, lambda p: 3 * p[:, 0] * p[:, 1] * p[:, 2] + p[:, 3:].sum(1) ** 2 - p[:, ::3].prod(1))


@dataclass(frozen=True)
class Mean:
    """The mean of games, its parts."""

    parts: list[Any]
    players: int = 10

    def __call__(self, coalitions: Tensor) -> Tensor:
        return torch.stack([part(coalitions) for part in self.parts]).mean(0)


@dataclass(frozen=True)
class Smooth:
    """A game with its gradient."""

    game: FormulaGame
    players: int = 10

    def __call__(self, coalitions: Tensor) -> Tensor:
        return self.game(coalitions)

    def gradient(self, presences: Tensor) -> Tensor:
        rows = presences.double().requires_grad_()
        return torch.autograd.grad(self.game.worth(rows).sum(), rows)[0]


@dataclass(frozen=True)
class WithLowPrecision:
    """A game and its low-precision game, which errs by `error` for each player of an even number."""

    game: FormulaGame
    error: float
    players: int = 10

    @property
    def low_precision(self) -> FormulaGame:
        return FormulaGame(10, lambda p: self.game.worth(p) + self.error * (p[:, ::2].sum(1) - p[:, 0] * p[:, 7]))

    def __call__(self, coalitions: Tensor) -> Tensor:
        return self.game(coalitions)


def permutations(game: Any, replicates: int, **how: Any) -> Callable[[], Any]:
    return lambda: sampled_shapley(game, until=Until(evaluations=2 + replicates * 18), seed=7, **how)


PRECISE, IMPRECISE = (Mean([WithLowPrecision(game, error) for game in (RUNWAY, COUNCIL)]) for error in (1 / 256, 4.0))
CASES: dict[str, Callable[[], Any]] = {
    "runway": permutations(RUNWAY, 40, regression=False),
    "few replicates": permutations(COUNCIL, 5, regression=False),
    "pairs": permutations(COUNCIL, 40, antithetic=True),
    "independent, by the pilot": permutations(COUNCIL, 40, regression=False),
    "independent": permutations(GLOVES, 40, antithetic=False),
    "parts": permutations(Mean([RUNWAY, GLOVES]), 40, regression=False),
    "unions": permutations(Mean([RUNWAY, COUNCIL]), 40, unions=UNIONS),
    "precise": permutations(PRECISE, 60),
    "precise, independent": permutations(PRECISE, 60, antithetic=False),
    "imprecise": permutations(IMPRECISE, 40),
    "regression": permutations(Mean([RUNWAY, COUNCIL]), 40),
    "tolerance": lambda: sampled_shapley(RUNWAY, until=Until(tolerance=0.02), seed=3, regression=False),
    "multilevel": lambda: multilevel_shapley(Smooth(POLYNOMIAL), until=Until(evaluations=20_000), seed=7),
    "multilevel, parts": lambda: multilevel_shapley(
        Mean([Smooth(POLYNOMIAL), Smooth(RUNWAY)]), until=Until(evaluations=20_000), seed=7
    ),
    "contributions": lambda: marginal_contributions(RUNWAY, until=Until(evaluations=950), seed=7).shapley(),
    "interactions": lambda: pair_interactions(COUNCIL, until=Until(evaluations=950), seed=7),
}


def numbers_of(name: str) -> dict[str, Any]:
    """Every number of a case, written so that not a bit is lost."""
    values = CASES[name]()
    arrays = {"value": values.value, "stderr": values.stderr, "between": getattr(values, "between", None)}
    numbers = {quantity: None if array is None else array.tolist() for quantity, array in arrays.items()}
    for quantity in ("replicates", "evaluations", "ended", "variance_reduction", "used"):
        numbers[quantity] = getattr(values, quantity, None)
    return json.loads(json.dumps(numbers))


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_gives_the_numbers_that_were_written_down(name: str) -> None:
    written, numbers = json.loads(WRITTEN.read_text())[name], numbers_of(name)
    for quantity, known in written.items():
        if quantity in ("replicates", "evaluations", "ended", "used"):
            assert numbers[quantity] == known
        elif known is None:
            assert numbers[quantity] is None
        elif quantity == "variance_reduction":
            assert numbers[quantity] == pytest.approx(known, rel=1e-9)
        elif {"control_variates", "regression"} & set(
            written["used"] or ()
        ):  # a solver rounds otherwise on another processor
            np.testing.assert_allclose(numbers[quantity], known, rtol=1e-9, atol=1e-12)
        else:
            np.testing.assert_array_equal(numbers[quantity], known)


def test_the_cases_take_every_way_through_the_sampler() -> None:
    used = {name: case["used"] for name, case in json.loads(WRITTEN.read_text()).items()}
    assert "control_variates" in used["runway"]
    assert used["precise"][-1] == used["precise, independent"][-1] == "low_precision" != used["imprecise"][-1:]
    assert "antithetic" in used["parts"] and "antithetic" not in used["independent, by the pilot"]


if __name__ == "__main__":
    WRITTEN.write_text(json.dumps({name: numbers_of(name) for name in CASES}, indent=1) + "\n")
