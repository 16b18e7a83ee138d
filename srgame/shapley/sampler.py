"""What permutations, regression and gradients share: replicates of each part of a game, and their estimate.

A part is a game of the same players; the game is the mean of its parts. In a restoration game each image is a part.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from srgame.shapley.coalitions import Active, rounding_of
from srgame.shapley.exact import first_and_last
from srgame.shapley.game import Game
from srgame.shapley.sampling import sample
from srgame.shapley.until import Until
from srgame.shapley.values import (
    AGREED,
    HEAVY_TAILS,
    Estimate,
    PerPlayer,
    ShapleyValues,
    agreement,
    heavy_tails,
    with_floor,
)

PerActive = Float64[np.ndarray, " active"]
Rows = Float64[np.ndarray, "row active"]
Replicates = Float64[np.ndarray, "replicate row active"]
Means = Float64[np.ndarray, "replicate active"]


@dataclass(frozen=True)
class ActiveValues:
    """The values of the active players, those of each replicate, and the methods in use (as in ShapleyValues)."""

    estimate: Estimate
    means: Means  # over parts
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
    def replicate(self, rng: np.random.Generator, pilot: Sequence[Rows], number: int) -> Rows:
        """A replicate as rows of numbers per active player, its named fields packed."""

    @abstractmethod
    def estimate(self, replicates: Replicates) -> ActiveValues:
        """The values, from packed replicates."""

    def continues(self, replicates: Replicates, affordable: float) -> None:
        """Raises an exception if the first ENOUGH replicates show that another sampler is better."""
        return None  # most have no other

    @property
    def rounding(self) -> float:
        """The largest difference between two estimates that rounding explains."""
        return rounding_of(self.game) * float(np.abs(self.ends).max())

    def agree(self, means: Means) -> Bool[np.ndarray, " active"]:
        """The players of whom all replicates agree; nobody after a single one."""
        return agreement(means, self.rounding)


def parts_of(game: Game) -> list[Game]:
    """The parts of the game, or the game itself."""
    return list(getattr(game, "parts", None) or [game])


def sampled_values(sampler: Sampler, until: Until, cost: int, pilot: int, **how: Any) -> ShapleyValues:
    """The values, from replicates that take `cost` evaluations each; `how` goes to `sample`."""

    check: PerActive | None = None
    rounding_of(sampler.game)  # a game on workers asks them for it, which an interrupted run could not do later

    def estimate(replicates: Replicates) -> Estimate:
        return _checked(sampler, sampler.estimate(replicates), check)

    def extra(replicates: Replicates, affordable: float) -> int:
        """The evaluations of the check, if all replicates agree on all players and it is affordable."""
        nonlocal check
        sampler.continues(replicates, affordable)
        needed = 2 * len(sampler.active)
        if needed > affordable or not sampler.agree(sampler.estimate(replicates).means).all():
            return 0
        contributions, _ = first_and_last(sampler.game, sampler.active, sampler.ends.mean(0))
        check = contributions.mean(0)
        return needed

    def of_all(values: PerActive) -> PerPlayer:
        everyone = np.zeros(sampler.game.players)
        everyone[sampler.active] = values
        return everyone

    sampled = sample(sampler.replicate, until, cost, spent=2, estimate=estimate, extra=extra, pilot=pilot, **how)
    values, flags = sampler.estimate(sampled.replicates), np.full(sampler.game.players, "", dtype=object)
    checked, agree = _checked(sampler, values, check), sampler.agree(values.means)
    flags[sampler.active] = np.select([agree, heavy_tails(values.means)], [AGREED, HEAVY_TAILS], "")
    return ShapleyValues(
        value=of_all(checked.value),
        stderr=of_all(checked.stderr),
        replicates=checked.replicates,
        freedom=checked.freedom,
        empty=sampler.ends[:, 0].mean(),
        grand=sampler.ends[:, 1].mean(),
        evaluations=sampled.evaluations,
        ended=sampled.ended,
        between=of_all(values.between),
        variance_reduction=values.variance_reduction,
        used=values.used,
        flags=tuple(flags.tolist()),
    )


def _checked(sampler: Sampler, values: ActiveValues, check: PerActive | None) -> Estimate:
    """The estimate, with an error for players of whom all replicates agree, perhaps by luck.

    They agree for a reason if they agree on all players, and with `check`, the mean of each player's first and last
    contribution.
    """
    estimate, agree = values.estimate, sampler.agree(values.means)
    difference = 0.0 if check is None else float(np.abs(estimate.value - check).max())
    if agree.all() and check is not None and difference <= 4 * sampler.rounding:
        return estimate
    return with_floor(estimate, agree, largest=max(float(np.abs(estimate.value).max()), difference))


def deviation_between_parts(contributions: Float64[np.ndarray, "replicate part active"]) -> PerActive:
    """The standard deviation of a player's value between parts, without the variance that sampling adds."""
    replicates, parts, active = contributions.shape
    if parts < 2 or replicates < 2:
        return np.full(active, np.nan)
    sampling = contributions.var(0, ddof=1).mean(0) / replicates
    deviation: PerActive = np.sqrt((contributions.mean(0).var(0, ddof=1) - sampling).clip(0))
    return deviation
