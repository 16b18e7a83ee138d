"""Shapley values where many play at once: gradients tell of all players, contributions correct them.

A marginal contribution takes a coalition of its own for every player. The gradient of the worth by presences between 0
and 1 takes one backward pass for all of them, but tells of small changes only. So many coalitions with gradients are
the cheap level, and the mean of what some players contribute less what their gradients say, in fewer coalitions, makes
up for the bias (multifidelity Monte Carlo: Peherstorfer, Willcox & Gunzburger 2016).
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int

from srgame.errors import InputError
from srgame.shapley.coalitions import active_players, among, evaluated
from srgame.shapley.game import Differentiable, Game
from srgame.shapley.permutations import (
    Estimated,
    PerActive,
    Rows,
    Sampler,
    ShapleyValues,
    between,
    exact_shapley,
    sampled_by,
)
from srgame.shapley.sampling import Workers, mean_of
from srgame.shapley.store import Store
from srgame.shapley.until import Until

Present = Bool[np.ndarray, " active"]

GROUPS = 16  # of players, who are half present in turn: the more, the smaller the bias, and the dearer a gradient
NODES = 0.5 - 0.5 / math.sqrt(3), 0.5 + 0.5 / math.sqrt(3)  # presences: Gauss and Legendre's two
BACKWARD = 3  # evaluations that a gradient takes the time of
PAIR = 2 * (1 + GROUPS * len(NODES) * BACKWARD)  # evaluations that a coalition and its complement take, with gradients
PAIRS = 4  # of coalitions in a replicate, at first
PILOT = 8  # replicates that tell how to split the work


def multilevel_shapley(
    game: Game,
    *,
    until: Until,
    seed: int = 0,
    progress: bool = False,
    store: Store | None = None,
    workers: Workers | None = None,
) -> ShapleyValues:
    """The Shapley values of a differentiable game of many players, estimated without bias from two levels.

    A replicate has, for each part of the game, some coalitions and their complements, in which every player's gradient is
    taken, and some players, drawn at random, whose contribution to one of these pairs corrects it. The first PILOT
    replicates split the work evenly; what they vary by says how the others do. `until`, `seed`, `progress`, `kept` and
    `workers` are as in `sampled_shapley`, and the values add up to v(N) − v(∅) as they do there. `gains["gradients"]`
    is by what factor all this lowers the variance of as many contributions alone.

    Raises InputError where the game has no gradient, or `until` allows fewer evaluations than one replicate takes.
    """
    active = active_players(game)
    if len(active) < 2:
        return exact_shapley(game)
    sampler = _TwoLevels(game, active)
    how = {"seed": seed, "progress": progress, "store": store, "workers": workers}
    return sampled_by(sampler, until, sampler.cost, PILOT, **how)


def cheaper_than_a_permutation(players: int) -> bool:
    """Whether a replicate of two levels costs no more than a permutation of so many players and its reverse."""
    return unit_cost(players) <= 2 * (players - 1)


def unit_cost(players: int) -> int:
    """Evaluations: half of them for gradients, and at most as many for corrections, of each player once."""
    return PAIRS * PAIR + min(PAIRS * PAIR, 2 * players)


class _TwoLevels(Sampler):
    """Replicates of gradients and corrections, all of the same cost, and how that is split between the two."""

    def __init__(self, game: Game, active: Int[np.ndarray, " active"]) -> None:
        super().__init__(game, active)
        self.smooth = [part for part in self.parts if isinstance(part, Differentiable)]
        if len(self.smooth) < len(self.parts):
            raise InputError("a game whose worth has no gradient: sample permutations instead")
        self.cost = unit_cost(len(active))
        self.decided: tuple[int, int] | None = None

    def replicate(self, rng: np.random.Generator, before: Sequence[Rows]) -> Rows:
        """Rows: the estimate of each part; then, of their mean, gradients, corrections and squared contributions."""
        pairs, corrected = self.split(before)
        levels = np.stack([self._of_part(part, pairs, corrected, rng) for part in self.smooth])
        estimates = levels[:, 0] + levels[:, 1]
        missing = np.diff(self.ends, axis=1) - estimates.sum(1, keepdims=True)
        return np.concatenate([estimates + missing / len(self.active), levels.mean(0)])  # the sum is known: so it fits

    def _of_part(self, part: Differentiable, pairs: int, corrected: int, rng: np.random.Generator) -> Rows:
        """Rows: gradients, corrections, squared contributions, each the mean over pairs of coalitions."""
        shares = (np.arange(pairs) + rng.random()) / (2 * pairs)  # of those who are there; of the complements above ½
        rows = np.zeros((3, len(self.active)))
        for share, count in zip(shares, np.diff(np.arange(pairs + 1) * corrected // pairs).tolist(), strict=True):
            there = rng.random(len(self.active)) < share
            group = rng.permutation(len(there)) % GROUPS
            slopes = (self._slopes(part, there, group) + self._slopes(part, ~there, group)) / 2
            chance = _chances(np.abs(slopes), count)
            some = _drawn(chance, rng)
            contributions = (self._contributions(part, there, some) + self._contributions(part, ~there, some)) / 2
            rows[0] += slopes
            rows[1:, some] += np.stack([contributions - slopes[some], contributions**2]) / chance[some]
        return rows / pairs

    def _slopes(self, part: Differentiable, there: Present, group: Int[np.ndarray, " active"]) -> PerActive:
        """Each player's gradient where its group is partly present, and who else is in the coalition wholly."""
        members = group == np.unique(group)[:, None]
        slopes = np.zeros(len(there))
        for node in NODES:
            presences = np.ones((len(members), self.game.players), np.float32)
            presences[:, self.active] = np.where(members, node, there)
            found = part.gradient(torch.from_numpy(presences)).numpy()[:, self.active]
            slopes += (found * members).sum(0) / len(NODES)
        if not np.isfinite(slopes).all():
            raise InputError("the worth has no finite gradient at some coalition: sample permutations instead")
        return slopes

    def _contributions(
        self, part: Game, there: Present, some: Int[np.ndarray, " some"]
    ) -> Float64[np.ndarray, " some"]:
        """What some players contribute to a coalition: joining it, or having joined it."""
        switched = there ^ np.eye(len(there), dtype=bool)[some]
        worth = evaluated(part, among(self.game, self.active, np.concatenate([there[None], switched])))
        joined: Float64[np.ndarray, " some"] = (worth[1:] - worth[0]) * np.where(there[some], -1, 1)
        return joined

    def split(self, before: Sequence[Rows] | Float64[np.ndarray, "replicate row active"]) -> tuple[int, int]:
        """The pairs of coalitions with gradients in a replicate, and the players corrected: as the pilot's variances ask.

        At equal cost the variance is least where each level's work is as the root of its variance over its cost.
        """
        if len(before) < PILOT:
            return self._affordable(PAIRS)
        if self.decided is None:
            pilot = np.stack(list(before[:PILOT]))[:, len(self.parts) :]
            pairs, corrected = self._affordable(PAIRS)
            gradients, corrections = pilot[:, :2].var(0, ddof=1).sum(1) * (pairs, corrected)
            spent = math.sqrt(gradients * PAIR), math.sqrt(corrections * 2)
            self.decided = self._affordable(round(self.cost / PAIR * spent[0] / sum(spent)) if sum(spent) else PAIRS)
        return self.decided

    def _affordable(self, pairs: int) -> tuple[int, int]:
        """So many pairs, and as many corrections as the replicate's cost leaves room for; at least one for each pair."""
        pairs = max(1, min(pairs, self.cost // (PAIR + 2)))
        return pairs, min(pairs * len(self.active), (self.cost - pairs * PAIR) // 2)

    def estimate(self, replicates: Float64[np.ndarray, "replicate row active"]) -> Estimated:
        """The mean over replicates, and what the same contributions would tell alone."""
        parts = len(self.parts)
        found, variance_reduction = mean_of(replicates[:, :parts].mean(1)), {}
        if len(replicates) >= PILOT and found.stderr.any():
            alone = (replicates[:, -1].mean(0) - found.value**2).sum() * 2 * (len(self.active) + 1)
            variance_reduction["gradients"] = float(alone / (len(replicates) * (found.stderr**2).sum() * self.cost))
        return Estimated(found, between(replicates[:, :parts]), variance_reduction, ("gradients",))


def _chances(sizes: PerActive, count: int) -> PerActive:
    """Each player's chance to be among `count`: half of it alike, half by its size, and none above 1."""
    weight = 1 / len(sizes) + sizes / (sizes.sum() or 1.0)
    chance: PerActive = weight * count / weight.sum()
    while (chance > 1).any():
        sure, rest = chance >= 1, chance < 1
        chance = np.where(sure, 1.0, weight * (count - sure.sum()) / (rest @ weight or 1.0))
    return chance


def _drawn(chance: PerActive, rng: np.random.Generator) -> Int[np.ndarray, " some"]:
    """Players drawn systematically, in random permutation, each with its own chance; how many is the sum of the chances."""
    permutation = rng.permutation(len(chance))
    steps = np.floor(np.cumsum(chance[permutation]) + rng.random())
    drawn: Int[np.ndarray, " some"] = np.sort(permutation[np.diff(steps, prepend=0) > 0])
    return drawn
