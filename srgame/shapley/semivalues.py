"""Marginal contributions by the size of the coalition that a player joins, and the semivalues that follow from them.

A semivalue is a player's marginal contribution v(S ∪ i) − v(S), averaged over the coalitions S of a size and then, with
weights, over sizes: equal weights for the Shapley value, binomial weights for the Banzhaf value. Leave-one-out is the
contribution to the largest coalition alone. The paper's Eq. 6 claims that the Shapley value is at least leave-one-out;
that is true if returns diminish.
"""

import html
from dataclasses import dataclass
from math import comb

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int

from srgame.shapley.coalitions import (
    MARGIN,
    Active,
    active_players,
    enumerated,
    evaluated,
    prefixes,
    rounding_of,
    worth_of_ends,
)
from srgame.shapley.game import Game
from srgame.shapley.sampling import cheaper_enumerated, sample
from srgame.shapley.until import Until
from srgame.shapley.values import Estimate, PerPlayer, agreement, mean_of, with_floor

Certain = Bool[np.ndarray, "player size"]

ROUNDING = 1e-6  # of the largest contribution: nothing smaller counts as a violation
TERMS = 2  # worths in a contribution, each of which is rounded


@dataclass(frozen=True)
class Contributions:
    """Mean marginal contributions to coalitions of each size, in the unit of the payoff, and how they were computed.

    replicates: `replicates[r, i, k]` is what player i adds to k others in replicate r; dummies add 0 and do not count
        as others.
    empty, grand: the worth of the empty and of the grand coalition.
    evaluations: the number of coalitions evaluated.
    ended: the limit that ended the sampling, "interrupted" or "exact".
    rounding: the largest difference between two replicates that rounding explains.
    certain: the contributions that every replicate measures without sampling error; None if there are none.

    No error is 0 by luck. If all replicates agree on an uncertain quantity, its error is the pooled error of those on
    which they do not. If there are none, it is what the rule of three leaves open: an effect as large as the largest
    contribution seen, in fewer than 3 of as many replicates.

    >>> class Gloves:  # player 0 has a left glove, 1 and 2 have right ones; a pair is worth 1
    ...     players = 3
    ...     def __call__(self, coalitions):
    ...         return (coalitions[:, 0] & coalitions[:, 1:].any(1)).double()
    >>> contributions = marginal_contributions(Gloves())
    >>> contributions.by_size().value.round(2)  # of each player to none, one and two others
    array([[0. , 1. , 1. ],
           [0. , 0.5, 0. ],
           [0. , 0.5, 0. ]])
    >>> contributions.banzhaf().value
    array([0.75, 0.25, 0.25])
    """

    replicates: Float64[np.ndarray, "replicate player size"]
    empty: float
    grand: float
    evaluations: int
    ended: str
    rounding: float = 0.0
    certain: Certain | None = None

    def __repr__(self) -> str:
        _, players, sizes = self.replicates.shape
        how = "exact" if self.ended == "exact" else f"{len(self.replicates)} replicates, ended by {self.ended}"
        return f"<Contributions of {players} players to {sizes} sizes, {self.evaluations:,} evaluations ({how})>"

    def _repr_html_(self) -> str:
        table = self.players().to_html(max_rows=20, index=False, float_format="{:.4g}".format)
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{table}"

    def by_size(self) -> Estimate:
        """Mean contributions, "player size": the first column is v(i) − v(∅), the last one leave-one-out."""
        return self._mean(self.replicates, self.certain)

    def semivalue(self, weight: Float64[np.ndarray, " size"]) -> Estimate:
        """Each player's contributions, weighted by the size of the coalition that it joins."""
        certain = None if self.certain is None else (self.certain | (weight == 0)).all(1)
        return self._mean(self.replicates @ weight, certain)

    def shapley(self) -> Estimate:
        """Shapley values: all sizes have the same weight."""
        sizes = self.replicates.shape[2]
        return self.semivalue(np.full(sizes, 1 / max(1, sizes)))

    def banzhaf(self) -> Estimate:
        """Banzhaf values: all coalitions have the same weight."""
        others = self.replicates.shape[2] - 1
        return self.semivalue(np.array([comb(others, size) / 2**others for size in range(others + 1)]))

    def leave_one_out(self) -> PerPlayer:
        """v(N) − v(N∖i), without sampling error."""
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

        Eq. 6 claims shapley ≥ leave_one_out: it is "held" or "violated" if the whole interval says so, else "open".
        """
        shapley, banzhaf, last = self.shapley(), self.banzhaf(), self.leave_one_out()
        low, high = shapley.interval(confidence)
        claimed = last - ROUNDING * np.abs(self.replicates).max(initial=0)
        eq6 = np.select([low >= claimed, high < claimed], ["held", "violated"], "open")
        columns = {"shapley": shapley.value, "stderr": shapley.stderr, "low": low, "high": high}
        others = {"banzhaf": banzhaf.value, "banzhaf_stderr": banzhaf.stderr, "leave_one_out": last, "eq6": eq6}
        return pd.DataFrame({"player": np.arange(len(last))} | columns | others)

    def _mean(
        self, replicates: Float64[np.ndarray, "replicate ..."], certain: Bool[np.ndarray, "..."] | None
    ) -> Estimate:
        if self.ended == "exact":
            return Estimate(replicates[0], np.zeros_like(replicates[0]), 0)
        largest = float(np.abs(self.replicates).max(initial=0))
        return with_floor(mean_of(replicates), agreement(replicates, self.rounding), largest, certain)


def marginal_contributions(
    game: Game, *, until: Until | None = None, seed: int = 0, progress: bool = False
) -> Contributions:
    """The players' marginal contributions by coalition size: exact if `until` is None, else estimated.

    A replicate of n(n − 1) evaluations is a random Latin square: n permutations in which every player has every place
    once; each permutation alone is uniformly random. Players in `game.dummies` are never sampled. If all coalitions
    cost no more than FEW replicates, they are all evaluated instead.

    If all replicates agree on all contributions, a tolerance counts as reached.

    Raises InputError for more than 20 players if `until` is None, and if `until` allows fewer evaluations than one
    replicate takes.

    >>> class Gloves:  # player 0 has a left glove, 1 and 2 have right ones; a pair is worth 1
    ...     players = 3
    ...     def __call__(self, coalitions):
    ...         return (coalitions[:, 0] & coalitions[:, 1:].any(1)).double()
    >>> marginal_contributions(Gloves()).shapley().value.round(3)
    array([0.667, 0.167, 0.167])
    """
    active = active_players(game)
    n = len(active)
    if until is None or n < 2 or cheaper_enumerated(n, n * (n - 1), until):
        return _exact(game)
    (ends,) = worth_of_ends([game], active)

    def replicate(rng: np.random.Generator, *_: object) -> Float64[np.ndarray, "player size"]:
        return _replicate(game, active, ends, rng)

    rounding = TERMS * rounding_of(game) / MARGIN * float(np.abs(ends).max())
    certain = _certain(game.players, active)

    def estimate(replicates: Float64[np.ndarray, "replicate player size"]) -> Estimate:
        """No error if all replicates agree on all contributions: otherwise a symmetric game would never end."""
        return with_floor(mean_of(replicates), agreement(replicates, rounding), 0.0, certain)

    sampled = sample(replicate, until, n * (n - 1), spent=2, seed=seed, progress=progress, estimate=estimate)
    return Contributions(
        replicates=sampled.replicates,
        empty=ends[0],
        grand=ends[1],
        evaluations=sampled.evaluations,
        ended=sampled.ended,
        rounding=rounding,
        certain=certain,
    )


def leave_one_out(game: Game) -> PerPlayer:
    """v(N) − v(N∖i) for each player, from n + 1 evaluations.

    >>> class Gloves:  # player 0 has a left glove, 1 and 2 have right ones; a pair is worth 1
    ...     players = 3
    ...     def __call__(self, coalitions):
    ...         return (coalitions[:, 0] & coalitions[:, 1:].any(1)).double()
    >>> leave_one_out(Gloves())  # either right glove will do
    array([1., 0., 0.])
    """
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
    return Contributions(replicates=mean, empty=worth[0], grand=worth[-1], evaluations=len(worth), ended="exact")


def _certain(players: int, active: Active) -> Certain:
    """Contributions that every replicate measures: those of dummies, and those to no others and to all others."""
    certain = np.ones((players, len(active)), bool)
    certain[active, 1:-1] = False
    return certain


def _replicate(
    game: Game, active: Active, ends: Float64[np.ndarray, "2"], rng: np.random.Generator
) -> Float64[np.ndarray, "player size"]:
    """The marginal contribution of every player at every place."""
    permutations = _latin_square(active, rng)
    worth = evaluated(game, np.concatenate([prefixes(permutation, game.players) for permutation in permutations]))
    contributions = np.zeros((game.players, len(active)))
    steps = np.diff(worth.reshape(len(active), -1), prepend=ends[0], append=ends[1])
    contributions[permutations, np.arange(len(active))] = steps
    return contributions


def _latin_square(active: Active, rng: np.random.Generator) -> Int[np.ndarray, "permutation place"]:
    """As many permutations as players, in which every player has every place once.

    The columns are shuffled: rotations of a single permutation would share long runs of players.
    """
    row = np.arange(len(active))
    square: Int[np.ndarray, "permutation place"] = rng.permutation(active)[
        (row[:, None] + rng.permutation(row)) % len(row)
    ]
    return square
