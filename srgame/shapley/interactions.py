"""Interactions of pairs of players: how much more two players are worth together than each of them alone.

A negative interaction means that the two are interchangeable; a positive one that each is useful only with the other:
they are co-adapted. The interaction is v(S ∪ ij) − v(S ∪ i) − v(S ∪ j) + v(S), averaged over coalitions S of the others
(Grabisch & Roubens 1999). The Shapley interaction index averages over the coalitions of a size and then over sizes, the
Banzhaf interaction index over all coalitions.
"""

import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int

from srgame.errors import InputError, chosen
from srgame.shapley.additive import AdditiveGame, affordable_tail, tail_cost
from srgame.shapley.coalitions import (
    MARGIN,
    Active,
    active_players,
    enumerated,
    evaluated,
    rounding_of,
    with_dummies,
)
from srgame.shapley.game import Game
from srgame.shapley.sampling import Replicates, cheaper_enumerated, sample
from srgame.shapley.until import Until
from srgame.shapley.values import Estimate, agreement, mean_of, with_floor

Pairs = Int[np.ndarray, "pair 2"]
PerPair = Float64[np.ndarray, " pair"]
Measured = Float64[np.ndarray, " number"]  # of each pair, then the largest contribution and the largest worth seen

SUMS = 500  # replicates of a game of sums
TERMS = 4  # worths in an interaction, each of which is rounded
CHUNK = 2**12  # pairs whose coalitions are in memory at once


@dataclass(frozen=True)
class Index:
    """The distribution of the coalition of the others, in two equivalent forms: by size, and by random presence."""

    weight: Callable[[int, int], float]  # of one coalition, from its size and the number of others
    presence: Callable[[np.random.Generator], float]  # the probability that each of the others is present


INDICES = {
    "shapley": Index(lambda size, others: 1 / ((others + 1) * comb(others, size)), lambda rng: rng.random()),
    "banzhaf": Index(lambda size, others: 0.5**others, lambda rng: 0.5),
}


@dataclass(frozen=True)
class PairInteractions(Estimate):
    """The interaction of each of `pairs`, in the unit of the payoff, and how it was computed.

    `evaluations` is the number of coalitions evaluated, `ended` the limit that ended the sampling, "interrupted",
    "exact" or "additive tail".

    >>> class Gloves:  # player 0 has a left glove, 1 and 2 have right ones; a pair is worth 1
    ...     players = 3
    ...     def __call__(self, coalitions):
    ...         return (coalitions[:, 0] & coalitions[:, 1:].any(1)).double()
    >>> interactions = pair_interactions(Gloves())
    >>> interactions.frame()[["filter", "partner"]].shape
    (3, 2)
    """

    pairs: Pairs
    players: int
    evaluations: int
    ended: str

    def frame(self, confidence: float = 0.95) -> pd.DataFrame:
        """One row per pair: filter, partner, interaction, stderr, low and high (the interval's ends)."""
        low, high = self.interval(confidence)
        player, partner = self.pairs.T
        columns = {"filter": player, "partner": partner, "interaction": self.value, "stderr": self.stderr}
        return pd.DataFrame(columns | {"low": low, "high": high})

    def __repr__(self) -> str:
        how = "exact" if self.ended == "exact" else f"{self.replicates} replicates, ended by {self.ended}"
        return (
            f"<Interactions of {len(self.pairs)} pairs of {self.players} players: {self.precision}, "
            f"{self.evaluations:,} evaluations ({how})>"
        )

    def _repr_html_(self) -> str:
        table = self.frame().sort_values("interaction").to_html(max_rows=20, index=False, float_format="{:.4g}".format)
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{table}"

    def matrix(self) -> Float64[np.ndarray, "player player"]:
        """The interactions as a symmetric matrix; NaN on the diagonal and for pairs that were not requested."""
        matrix = np.full((self.players, self.players), np.nan)
        first, second = self.pairs.T
        matrix[first, second] = matrix[second, first] = self.value
        return matrix


def pair_interactions(
    game: Game,
    pairs: Iterable[tuple[int, int]] | None = None,
    *,
    until: Until | None = None,
    index: str = "shapley",
    seed: int = 0,
    progress: bool = False,
) -> PairInteractions:
    """The interactions of the given pairs of players, by default of all: exact if `until` is None, else estimated.

    `index` is "shapley" or "banzhaf". A replicate is one random coalition and its complement, in which single players
    and pairs switch sides: it measures each of all n(n − 1) / 2 pairs twice, in 2 + n(n + 1) evaluations. Each player
    is present with the same probability, which is drawn uniformly for "shapley" (Owen 1972) and ½ for "banzhaf", so the
    others of each pair have the distribution that the index prescribes. In a game without interactions of four or more
    players a single replicate is exact. Players in `game.dummies` interact with nobody and are never sampled. If all
    coalitions cost no more than FEW replicates, they are all evaluated instead. A game with an additive tail is sampled
    as sums of images, in at most SUMS replicates.

    No error is 0 by luck, except with an additive tail, whose worth is smooth. If all replicates agree on a pair, its
    error is the pooled error of the pairs on which they do not. If they agree on all pairs, a tolerance ends the
    sampling, and the errors are what the rule of three leaves open: an effect as large as the largest contribution
    seen, in fewer than 3 of as many replicates.

    Raises InputError for invalid pairs, for more than 20 players if `until` is None, and if `until` allows fewer
    evaluations than one replicate takes.

    >>> class Gloves:  # player 0 has a left glove, 1 and 2 have right ones; a pair is worth 1
    ...     players = 3
    ...     def __call__(self, coalitions):
    ...         return (coalitions[:, 0] & coalitions[:, 1:].any(1)).double()
    >>> pair_interactions(Gloves()).frame()["interaction"].round(2).tolist()  # left and right need each other
    [0.5, 0.5, -0.5]
    """
    requested, rule = _checked(game, pairs), chosen("interaction index", index, INDICES)
    active = active_players(game)
    alive = np.isin(requested, active).all(1)
    places = np.searchsorted(active, requested[alive])
    involved = np.unique(places)
    cost = 2 * (1 + len(involved) + len(places))
    if until is not None and (sums := affordable_tail(game, until)) is not None:
        game, until = sums, replace(until, evaluations=SUMS * cost)
    if until is None or not len(places) or cheaper_enumerated(len(active), cost, until):
        estimate, evaluations, ended = _exact(game, places, rule)
    else:

        def replicate(rng: np.random.Generator, *_: object) -> Measured:
            return _replicate(game, active, places, rule.presence(rng), rng)

        estimated = partial(_estimated, game, stopping=True)
        sampled = sample(replicate, until, cost, seed=seed, progress=progress, estimate=estimated)
        estimate, evaluations, ended = _estimated(game, sampled.replicates), sampled.evaluations, sampled.ended
    if isinstance(game, AdditiveGame):
        evaluations = tail_cost(game.players)
        ended = ended if ended in ("interrupted", "seconds") else "additive tail"
    value, stderr = np.zeros((2, len(requested)))
    value[alive], stderr[alive] = estimate.value, estimate.stderr
    return PairInteractions(
        value=value,
        stderr=stderr,
        replicates=estimate.replicates,
        freedom=estimate.freedom,
        pairs=requested,
        players=game.players,
        evaluations=evaluations,
        ended=ended,
    )


def _checked(game: Game, pairs: Iterable[tuple[int, int]] | None) -> Pairs:
    if game.players < 2:
        raise InputError("a pair takes two players, and the game has fewer")
    if pairs is None:
        return np.array(list(combinations(range(game.players), 2)))
    named = [tuple(pair) for pair in pairs]
    for pair in named:
        if len(set(pair)) != 2 or not all(0 <= player < game.players for player in pair):
            raise InputError(f"{pair} is no pair: name two different players between 0 and {game.players - 1}")
    if not named:
        raise InputError("no pairs, no interactions: name some, or None for all")
    return np.array(named)


def _exact(game: Game, places: Pairs, rule: Index) -> tuple[Estimate, int, str]:
    everything = enumerated(game)
    others = len(everything.active) - 2
    weight = np.array([rule.weight(size, others) for size in range(others + 1)])
    value = np.zeros(len(places))
    for k, pair in enumerate(places.tolist()):
        size, change = everything.changes(*pair)
        value[k] = weight[size] @ change
    return Estimate(value, np.zeros(len(places)), 0), len(everything.worth), "exact"


def _estimated(game: Game, replicates: Replicates, *, stopping: bool = False) -> Estimate:
    """The mean of `_replicate`s, with an error for pairs on which they agree, perhaps by luck.

    Replicates of a game of sums agree for a reason: its worth is smooth, so no coalition is unlike all others. An
    estimate that may stop the sampling has no error if replicates agree on all pairs: otherwise a game without
    interactions would never end.
    """
    interactions, (contribution, worth) = replicates[:, :-2], replicates[:, -2:].max(0).tolist()
    estimate = mean_of(interactions)
    if isinstance(game, AdditiveGame):
        return estimate
    agree = agreement(interactions, TERMS * rounding_of(game) / MARGIN * worth)
    return with_floor(estimate, agree, largest=0.0 if stopping else contribution)


def _replicate(game: Game, active: Active, places: Pairs, presence: float, rng: np.random.Generator) -> Measured:
    """Each pair's interaction in a random coalition and in its complement, averaged."""
    present = rng.random(len(active)) < presence
    here, there = _around(game, active, places, present), _around(game, active, places, ~present)
    return np.append((here[:-2] + there[:-2]) / 2, np.maximum(here, there)[-2:])


def _around(game: Game, active: Active, places: Pairs, present: Bool[np.ndarray, " active"]) -> Measured:
    """Each pair's interaction while the others are as in `present`: none, one or both of the pair switch sides."""
    switched = np.unique(places)
    groups = [np.empty((1, 0), int), switched[:, None], *np.array_split(places, range(CHUNK, len(places), CHUNK))]
    none, single, *both = (evaluated(game, with_dummies(game, active, _switched(present, group))) for group in groups)
    one = np.zeros(len(active))
    one[switched] = single
    side = np.where(present, -1, 1)
    first, second = places.T
    interaction: PerPair = side[first] * side[second] * (np.concatenate(both) - one[first] - one[second] + none)
    return np.append(interaction, [np.abs(single - none).max(), np.abs([*none, *single]).max()])


def _switched(
    present: Bool[np.ndarray, " active"], groups: Int[np.ndarray, "group member"]
) -> Bool[np.ndarray, "group active"]:
    """The coalition after each group of players has switched sides."""
    coalitions = np.tile(present, (len(groups), 1))
    coalitions[np.arange(len(groups))[:, None], groups] ^= True
    return coalitions
