"""Games whose Shapley values are known: textbook games, and random ones of known form."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class FormulaGame:
    """A game whose worth is a formula of the presences, float64 "coalition player"."""

    players: int
    worth: Callable[[Tensor], Tensor]

    def __call__(self, coalitions: Tensor) -> Tensor:
        return self.worth(coalitions.double())


def glove(left: int, right: int) -> FormulaGame:
    """`left` players hold a left glove, `right` players a right one; a pair is worth 1."""
    return FormulaGame(left + right, lambda p: torch.minimum(p[:, :left].sum(1), p[:, left:].sum(1)))


def airport(costs: list[float]) -> FormulaGame:
    """The runway must be as long as the largest plane needs (Littlechild & Owen 1973)."""
    return FormulaGame(len(costs), lambda p: (p * torch.tensor(costs).double()).amax(1))


def voting(weights: list[float], quota: float) -> FormulaGame:
    """A coalition whose weights reach the quota wins 1."""
    return FormulaGame(len(weights), lambda p: (p @ torch.tensor(weights).double() >= quota).double())


def unanimity(players: int, needed: list[int]) -> FormulaGame:
    """Worth 1 if all of `needed` are there."""
    return FormulaGame(players, lambda p: p[:, needed].prod(1))


def additive(weights: list[float]) -> FormulaGame:
    """Every player adds its own weight."""
    return FormulaGame(len(weights), lambda p: p @ torch.tensor(weights).double())


def quadratic(players: int, seed: int) -> FormulaGame:
    """A random linear part and random pairwise synergies."""
    rng = torch.Generator().manual_seed(seed)
    linear = torch.randn(players, generator=rng).double()
    pairs = torch.randn(players, players, generator=rng).double()
    return FormulaGame(players, lambda p: 3 + p @ linear + ((p @ pairs) * p).sum(1))


def saturating(players: int, seed: int) -> FormulaGame:
    """A logarithm of a random additive game: returns diminish, and every order of interaction is there."""
    weights = torch.rand(players, generator=torch.Generator().manual_seed(seed)).double()
    return FormulaGame(players, lambda p: torch.log1p(p @ weights))
