"""Marginal contributions by the size of the coalition that is joined, and what follows from them.

A semivalue is a player's marginal contribution v(S ∪ i) − v(S), averaged over the coalitions S of a size and then, with
weights, over sizes: evenly for the Shapley value, as coin flips would have it for the Banzhaf value. Leave-one-out is
the last of them alone. The paper's Eq. 6 claims that the Shapley value is at least that: true where returns diminish.
"""

from dataclasses import dataclass
from math import comb

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int

from srgame.shapley.coalitions import active_players, among, enumerated, evaluated, prefixes
from srgame.shapley.game import Game
from srgame.shapley.sampling import Estimate, cheaper_enumerated, mean_of, sample
from srgame.shapley.until import Until

PerPlayer = Float64[np.ndarray, " player"]

ROUNDING = 1e-6  # of the largest contribution: nothing smaller counts as a violation


@dataclass(frozen=True)
class Contributions:
    """Mean marginal contributions to coalitions of each size, in the unit of the payoff, and how they were found.

    `replicates[u, i, k]` is what player i adds to k others in independent replicate u; dummies add 0 and are not among those who
    are counted. `empty` and `grand` are the worth of nobody and of everybody. `evaluations` counts the coalitions that
    were played, `ended` says what ended the sampling.
    """

    replicates: Float64[np.ndarray, "replicate player size"]
    empty: float
    grand: float
    evaluations: int
    ended: str

    def by_size(self) -> Estimate:
        """Mean contributions, "player size": the first column is v(i) − v(∅), the last one leave-one-out."""
        return self._mean(self.replicates)

    def semivalue(self, weight: Float64[np.ndarray, " size"]) -> Estimate:
        """Each player's contributions, weighted by the size of the coalition that is joined."""
        return self._mean(self.replicates @ weight)

    def shapley(self) -> Estimate:
        """Shapley values: all sizes weigh the same."""
        sizes = self.replicates.shape[2]
        return self.semivalue(np.full(sizes, 1 / max(1, sizes)))

    def banzhaf(self) -> Estimate:
        """Banzhaf values: all coalitions weigh the same."""
        others = self.replicates.shape[2] - 1
        return self.semivalue(np.array([comb(others, size) / 2**others for size in range(others + 1)]))

    def leave_one_out(self) -> PerPlayer:
        """v(N) − v(N∖i), free of sampling error."""
        last: PerPlayer = self.replicates[:, :, -1:].mean(0).sum(1)
        return last

    def frame(self, confidence: float = 0.95) -> pd.DataFrame:
        """One row per player and size: player, size, contribution, stderr, low and high (the interval's ends)."""
        mean = self.by_size()
        low, high = mean.interval(confidence)
        columns = {"contribution": mean.value, "stderr": mean.stderr, "low": low, "high": high}
        player, size = np.indices(mean.value.shape)
        flat = {name: column.ravel() for name, column in columns.items()}
        return pd.DataFrame({"player": player.ravel(), "size": size.ravel()} | flat)

    def players(self, confidence: float = 0.95) -> pd.DataFrame:
        """One row per player: shapley, stderr, low, high, banzhaf, banzhaf_stderr, leave_one_out, eq6.

        Eq. 6 claims shapley ≥ leave_one_out: it is "held" or "violated" where the whole interval says so, else "open".
        """
        shapley, banzhaf, last = self.shapley(), self.banzhaf(), self.leave_one_out()
        low, high = shapley.interval(confidence)
        claimed = last - ROUNDING * np.abs(self.replicates).max(initial=0)
        eq6 = np.select([low >= claimed, high < claimed], ["held", "violated"], "open")
        found = {"shapley": shapley.value, "stderr": shapley.stderr, "low": low, "high": high}
        others = {"banzhaf": banzhaf.value, "banzhaf_stderr": banzhaf.stderr, "leave_one_out": last, "eq6": eq6}
        return pd.DataFrame({"player": np.arange(len(last))} | found | others)

    def violation_rate(self, confidence: float = 0.95) -> tuple[float, float]:
        """Which share of the players violates Eq. 6: at least, and at most if all that is open were violated."""
        eq6 = self.players(confidence)["eq6"]
        return float((eq6 == "violated").mean()), float((eq6 != "held").mean())

    def _mean(self, replicates: Float64[np.ndarray, "replicate ..."]) -> Estimate:
        return (
            Estimate(replicates[0], np.zeros_like(replicates[0]), 0) if self.ended == "exact" else mean_of(replicates)
        )


def marginal_contributions(
    game: Game, *, until: Until | None = None, seed: int = 0, progress: bool = False
) -> Contributions:
    """The players' marginal contributions by coalition size: exact if `until` is None, else estimated.

    An independent replicate of n(n − 1) evaluations is a random Latin square, n permutations in which every player comes once at
    every place; each permutation alone is evenly random. Players in `game.dummies` are never sampled, and where a FEW replicates
    would cost as much as all coalitions, these are played.

    Raises InputError for more than 20 players if `until` is None, and where `until` allows fewer evaluations than one
    replicate takes.
    """
    active = active_players(game)
    n = len(active)
    if until is None or n < 2 or cheaper_enumerated(n, n * (n - 1), until):
        return _exact(game)
    ends = evaluated(game, among(game, active, np.array([[False], [True]]).repeat(n, 1)))
    sampled = sample(lambda rng, _: _unit(game, active, ends, rng), until, n * (n - 1), 2, seed, progress)
    return Contributions(sampled.replicates, ends[0], ends[1], sampled.evaluations, sampled.ended)


def leave_one_out(game: Game) -> PerPlayer:
    """v(N) − v(N∖i) for each player, from n + 1 evaluations."""
    worth = evaluated(game, np.concatenate([np.ones((1, game.players), bool), ~np.eye(game.players, dtype=bool)]))
    drop: PerPlayer = worth[0] - worth[1:]
    return drop


def _exact(game: Game) -> Contributions:
    everything = enumerated(game)
    n, worth = len(everything.active), everything.worth
    coalitions = np.array([comb(n - 1, size) for size in range(n)], dtype=float)
    mean = np.zeros((1, game.players, n))
    for place, player in enumerate(everything.active):
        mean[0, player] = np.bincount(*everything.changes(place), minlength=n) / coalitions
    return Contributions(mean, worth[0], worth[-1], len(worth), "exact")


def _unit(
    game: Game, active: Int[np.ndarray, " active"], ends: Float64[np.ndarray, "2"], rng: np.random.Generator
) -> Float64[np.ndarray, "player size"]:
    """What every player adds at every place, once each."""
    permutations = _latin_square(active, rng)
    worth = evaluated(game, np.concatenate([prefixes(permutation, game.players) for permutation in permutations]))
    contributions = np.zeros((game.players, len(active)))
    variance_reduction = np.diff(worth.reshape(len(active), -1), prepend=ends[0], append=ends[1])
    contributions[permutations, np.arange(len(active))] = variance_reduction
    return contributions


def _latin_square(active: Int[np.ndarray, " active"], rng: np.random.Generator) -> Int[np.ndarray, "permutation place"]:
    """As many permutations as players, in which every player comes once at every place.

    Its columns are shuffled, so that permutations share no runs of players, as the rotations of a single permutation would.
    """
    row = np.arange(len(active))
    square: Int[np.ndarray, "permutation place"] = rng.permutation(active)[
        (row[:, None] + rng.permutation(row)) % len(row)
    ]
    return square
