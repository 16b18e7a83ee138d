"""Multilevel Shapley values: gradients for all players at once, corrected by the contributions of some.

A marginal contribution takes one coalition per player. One backward pass gives a first-order estimate for every player:
the gradient of the worth by presences between 0 and 1. That is the cheap level. The expensive level is the mean
difference between the contributions of some players and their gradients, over fewer coalitions; it removes the bias
(multifidelity Monte Carlo: Peherstorfer, Willcox & Gunzburger 2016).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int

from srgame.errors import InputError
from srgame.shapley.coalitions import active_players, evaluated, with_dummies, worth_of_ends
from srgame.shapley.exact import exact_shapley
from srgame.shapley.game import Differentiable, Game
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.sampler import (
    ActiveValues,
    PerActive,
    Replicates,
    Rows,
    Sampler,
    deviation_between_parts,
    parts_of,
    sampled_values,
)
from srgame.shapley.sampling import Workers
from srgame.shapley.store import Store
from srgame.shapley.until import DOZEN, Until
from srgame.shapley.values import ShapleyValues, mean_of

Present = Bool[np.ndarray, " active"]
Levels = Float64[np.ndarray, "level active"]

GROUPS = 16  # of players, partly present in turn: more groups, less bias, and more backward passes
NODES = 0.5 - 0.5 / math.sqrt(3), 0.5 + 0.5 / math.sqrt(3)  # presences: the two nodes of Gauss and Legendre
BACKWARD = 3  # evaluations that take as long as one backward pass
PAIR = 2 * (1 + GROUPS * len(NODES) * BACKWARD)  # evaluations that a coalition and its complement take, with gradients
PAIRS = 4  # of coalitions in a replicate of the pilot
PILOT = 8  # replicates that decide how to split the work


def multilevel_shapley(
    game: Game,
    *,
    until: Until,
    seed: int = 0,
    progress: bool = False,
    store: Store | None = None,
    workers: Workers | None = None,
) -> ShapleyValues:
    """The Shapley values of a differentiable game of many players, estimated without bias from gradients.

    A replicate has, for each part of the game, random coalitions and their complements. In these it takes the gradients
    of all players and the contributions of some, drawn at random, which correct the gradients. The first PILOT
    replicates split the work evenly between the two; their variances decide the split of the others. If they show that
    contributions alone have less variance at equal cost (`variance_reduction["gradients"]` below 1), because gradients
    mislead, the rest is left to `sampled_shapley`. `until`, `seed`, `progress`, `store` and `workers` are as there, and
    the values add up to v(N) − v(∅) too.

    Raises InputError if the game has no gradient, or if `until` allows fewer evaluations than one replicate takes.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> game = srgame.RestorationGame(network, srgame.filters_of(network), pairs)
    >>> values = multilevel_shapley(game, until=srgame.Until(evaluations=2000))
    >>> len(values.value) == game.players, values.evaluations <= 2000
    (True, True)
    """
    active = active_players(game)
    if len(active) < 2:
        return exact_shapley(game)
    parts = parts_of(game)
    differentiable = [part for part in parts if isinstance(part, Differentiable)]
    if len(differentiable) < len(parts):
        raise InputError("a game whose worth has no gradient: sample permutations instead")
    cost, start = replicate_cost(len(active)), monotonic()
    sampler = _Multilevel(game=game, active=active, parts=differentiable, ends=worth_of_ends(parts, active), cost=cost)
    how: dict[str, Any] = {"seed": seed, "progress": progress, "workers": workers}
    try:
        return sampled_values(sampler, until, cost, PILOT, store=store, **how)
    except MisleadingError as pilot:
        rest = until.without(pilot.evaluations, monotonic() - start)
        beside = Store(store.folder / "permutations") if store else None
        values = sampled_shapley(game, until=rest, store=beside, **how)
        return replace(
            values,
            evaluations=values.evaluations + pilot.evaluations,
            variance_reduction=values.variance_reduction | {"gradients": pilot.gain},
        )


def cheaper_than_a_permutation(players: int) -> bool:
    """Whether a multilevel replicate costs no more than a permutation of the players and its reverse."""
    return replicate_cost(players) <= 2 * (players - 1)


def replicate_cost(players: int) -> int:
    """The evaluations of a replicate: half for gradients, and up to as many for contributions, two of each player."""
    return PAIRS * PAIR + min(PAIRS * PAIR, 2 * players)


class MisleadingError(Exception):
    """The gradients raise the variance: the factor by which they lower it, and the evaluations that showed it."""

    def __init__(self, gain: float, evaluations: int) -> None:
        self.gain, self.evaluations = gain, evaluations


@dataclass(frozen=True)
class Measured:
    """What one replicate measured, or what many did: then every array has the replicates as its first axis.

    values: the estimate for each part, which adds up to the part's v(N) − v(∅).
    gradients, corrections, squares: the two levels and the squared contributions, each the mean over parts.
    """

    values: Float64[np.ndarray, "*replicate part active"]
    gradients: Float64[np.ndarray, "*replicate active"]
    corrections: Float64[np.ndarray, "*replicate active"]
    squares: Float64[np.ndarray, "*replicate active"]

    def pack(self) -> Float64[np.ndarray, "*replicate row active"]:
        """All fields in one array, as the store keeps it."""
        means = np.stack([self.gradients, self.corrections, self.squares], axis=-2)
        return np.concatenate([self.values, means], axis=-2)

    @classmethod
    def unpack(cls, rows: Float64[np.ndarray, "*replicate row active"]) -> "Measured":
        """The fields of `rows`."""
        return cls(
            values=rows[..., :-3, :],
            gradients=rows[..., -3, :],
            corrections=rows[..., -2, :],
            squares=rows[..., -1, :],
        )


@dataclass(frozen=True)
class _Multilevel(Sampler):
    """Replicates of gradients and corrections, all of the same cost."""

    parts: Sequence[Differentiable]
    cost: int

    def replicate(self, rng: np.random.Generator, pilot: Sequence[Rows], _number: int) -> Rows:
        """The gradients and the corrections of each part, in coalitions of its own."""
        pairs, corrected = self.split(Measured.unpack(np.stack(pilot)) if len(pilot) else None)
        levels = np.stack([self._levels(part, pairs, corrected, rng) for part in self.parts])
        estimates = levels[:, 0] + levels[:, 1]
        missing = np.diff(self.ends, axis=1) - estimates.sum(1, keepdims=True)
        gradients, corrections, squares = levels.mean(0)
        return Measured(
            values=estimates + missing / len(self.active),  # their sum is known exactly
            gradients=gradients,
            corrections=corrections,
            squares=squares,
        ).pack()

    def estimate(self, replicates: Replicates) -> ActiveValues:
        """The mean over replicates, and its variance beside that of contributions alone."""
        measured = Measured.unpack(replicates)
        means = measured.values.mean(1)
        estimate, variance_reduction = mean_of(means), {}
        if len(replicates) >= PILOT and estimate.stderr.any():
            alone = (measured.squares.mean(0) - estimate.value**2).sum() * 2 * (len(self.active) + 1)
            here = len(replicates) * (estimate.stderr**2).sum() * self.cost
            variance_reduction["gradients"] = float(alone / here)
        return ActiveValues(
            estimate=estimate,
            means=means,
            between=deviation_between_parts(measured.values),
            variance_reduction=variance_reduction,
            used=("gradients",),
        )

    def continues(self, replicates: Replicates, affordable: float) -> None:
        """Raises MisleadingError if the pilot says so, and permutations are affordable."""
        gain = self.estimate(replicates).variance_reduction.get("gradients", math.inf)
        if gain < 1 and affordable >= 2 + DOZEN * 2 * (len(self.active) - 1):
            raise MisleadingError(gain, len(replicates) * self.cost)

    def split(self, pilot: Measured | None) -> tuple[int, int]:
        """The pairs of coalitions in a replicate, and the players corrected, as the pilot's variances decide.

        At equal cost the variance is least if each level's share of the work is the root of its variance over its cost.
        """
        pairs, corrected = self._affordable(PAIRS)
        if pilot is None:
            return pairs, corrected
        levels = np.stack([pilot.gradients[:PILOT], pilot.corrections[:PILOT]], axis=1)
        gradients, corrections = levels.var(0, ddof=1).sum(1) * (pairs, corrected)
        work = math.sqrt(gradients * PAIR), math.sqrt(corrections * 2)
        return self._affordable(round(self.cost / PAIR * work[0] / sum(work)) if sum(work) else PAIRS)

    def _affordable(self, pairs: int) -> tuple[int, int]:
        """At most this number of pairs, and as many corrections as the rest pays for; at least one for each pair."""
        pairs = max(1, min(pairs, self.cost // (PAIR + 2)))
        return pairs, min(pairs * len(self.active), (self.cost - pairs * PAIR) // 2)

    def _levels(self, part: Differentiable, pairs: int, corrected: int, rng: np.random.Generator) -> Levels:
        """Gradients, corrections and squared contributions, each the mean over pairs of coalitions."""
        shares = (np.arange(pairs) + rng.random()) / (2 * pairs)  # of players present, below ½; above in the complement
        levels = np.zeros((3, len(self.active)))
        for share, count in zip(shares, np.diff(np.arange(pairs + 1) * corrected // pairs).tolist(), strict=True):
            present = rng.random(len(self.active)) < share
            group = rng.permutation(len(present)) % GROUPS
            slopes = (self._slopes(part, present, group) + self._slopes(part, ~present, group)) / 2
            chance = _chances(np.abs(slopes), count)
            some = _drawn(chance, rng)
            contributions = (self._contributions(part, present, some) + self._contributions(part, ~present, some)) / 2
            levels[0] += slopes
            levels[1:, some] += np.stack([contributions - slopes[some], contributions**2]) / chance[some]
        return levels / pairs

    def _slopes(self, part: Differentiable, present: Present, group: Int[np.ndarray, " active"]) -> PerActive:
        """Each player's gradient while its group is partly present, and all others as in the coalition."""
        members = group == np.unique(group)[:, None]
        slopes = np.zeros(len(present))
        for node in NODES:
            presences = np.ones((len(members), self.game.players), np.float32)
            presences[:, self.active] = np.where(members, node, present)
            gradient = part.gradient(torch.from_numpy(presences)).numpy()[:, self.active]
            slopes += (gradient * members).sum(0) / len(NODES)
        if not np.isfinite(slopes).all():
            raise InputError("the worth has no finite gradient at some coalition: sample permutations instead")
        return slopes

    def _contributions(
        self, part: Game, present: Present, some: Int[np.ndarray, " some"]
    ) -> Float64[np.ndarray, " some"]:
        """The marginal contributions of some players to a coalition, with or without them."""
        switched = present ^ np.eye(len(present), dtype=bool)[some]
        worth = evaluated(part, with_dummies(self.game, self.active, np.concatenate([present[None], switched])))
        contributions: Float64[np.ndarray, " some"] = (worth[1:] - worth[0]) * np.where(present[some], -1, 1)
        return contributions


def _chances(sizes: PerActive, count: int) -> PerActive:
    """Each player's probability to be drawn: half uniform, half by size, at most 1; they add up to `count`."""
    weight = 1 / len(sizes) + sizes / (sizes.sum() or 1.0)
    chance: PerActive = weight * count / weight.sum()
    while (chance > 1).any():
        sure, rest = chance >= 1, chance < 1
        chance = np.where(sure, 1.0, weight * (count - sure.sum()) / (rest @ weight or 1.0))
    return chance


def _drawn(chance: PerActive, rng: np.random.Generator) -> Int[np.ndarray, " some"]:
    """Players drawn systematically in a random permutation, each with its own probability; their number is the sum."""
    permutation = rng.permutation(len(chance))
    steps = np.floor(np.cumsum(chance[permutation]) + rng.random())
    drawn: Int[np.ndarray, " some"] = np.sort(permutation[np.diff(steps, prepend=0) > 0])
    return drawn
