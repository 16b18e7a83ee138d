"""What permutations and gradients share: replicates of contributions to each part of a game, and their estimate.

A part is a game of the same players; the game is the mean of its parts. In a restoration game each image is a part.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64

from srgame.shapley.coalitions import Active
from srgame.shapley.game import Game
from srgame.shapley.sampling import sample
from srgame.shapley.until import Until
from srgame.shapley.values import Estimate, PerPlayer, ShapleyValues

PerActive = Float64[np.ndarray, " active"]
Rows = Float64[np.ndarray, "row active"]
Replicates = Float64[np.ndarray, "replicate row active"]


@dataclass(frozen=True)
class ActiveValues:
    """The values of the active players, and the methods that lowered their variance (as in ShapleyValues)."""

    estimate: Estimate
    between: PerActive
    variance_reduction: dict[str, float]
    used: tuple[str, ...]


@dataclass(frozen=True)
class Sampler(ABC):
    """Computes the replicates of a game and estimates the values from them.

    ends: the worth of the empty and of the grand coalition in each part.
    """

    game: Game
    active: Active
    parts: Sequence[Game]
    ends: Float64[np.ndarray, "part 2"]

    @abstractmethod
    def replicate(self, rng: np.random.Generator, pilot: Sequence[Rows]) -> Rows:
        """A replicate as rows of numbers per active player, its named fields packed."""

    @abstractmethod
    def estimate(self, replicates: Replicates) -> ActiveValues:
        """The values, from packed replicates."""


def parts_of(game: Game) -> list[Game]:
    """The parts of the game, or the game itself."""
    return list(getattr(game, "parts", None) or [game])


def sampled_values(sampler: Sampler, until: Until, cost: int, pilot: int, **how: Any) -> ShapleyValues:
    """The values, from replicates that take `cost` evaluations each; `how` goes to `sample`."""

    def estimate(replicates: Replicates) -> Estimate:
        return sampler.estimate(replicates).estimate

    def of_all(values: PerActive) -> PerPlayer:
        everyone = np.zeros(sampler.game.players)
        everyone[sampler.active] = values
        return everyone

    sampled = sample(sampler.replicate, until, cost, spent=2, estimate=estimate, pilot=pilot, **how)
    values = sampler.estimate(sampled.replicates)
    return ShapleyValues(
        value=of_all(values.estimate.value),
        stderr=of_all(values.estimate.stderr),
        replicates=values.estimate.replicates,
        empty=sampler.ends[:, 0].mean(),
        grand=sampler.ends[:, 1].mean(),
        evaluations=sampled.evaluations,
        ended=sampled.ended,
        between=of_all(values.between),
        variance_reduction=values.variance_reduction,
        used=values.used,
    )


def deviation_between_parts(contributions: Float64[np.ndarray, "replicate part active"]) -> PerActive:
    """The standard deviation of a player's value between parts, without the variance that sampling adds."""
    replicates, parts, active = contributions.shape
    if parts < 2 or replicates < 2:
        return np.full(active, np.nan)
    sampling = contributions.var(0, ddof=1).mean(0) / replicates
    deviation: PerActive = np.sqrt((contributions.mean(0).var(0, ddof=1) - sampling).clip(0))
    return deviation
