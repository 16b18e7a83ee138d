"""Interactions of pairs of players: how much more two of them are worth together than each of them alone.

Negative: the two are interchangeable, either will do. Positive: the one is useful only with the other, they are
co-adapted. That is measured by v(S ∪ ij) − v(S ∪ i) − v(S ∪ j) + v(S), averaged over coalitions S of the others: over
sizes evenly, and within a size over all coalitions (the Shapley interaction index), or over all coalitions evenly (the
Banzhaf interaction index; Grabisch & Roubens 1999, both).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64, Int

from srgame.errors import InputError, chosen
from srgame.shapley.coalitions import active_players, among, enumerated, evaluated
from srgame.shapley.game import Game
from srgame.shapley.sampling import Estimate, cheaper_enumerated, mean_of, sample
from srgame.shapley.until import Until

Pairs = Int[np.ndarray, "pair 2"]
PerPair = Float64[np.ndarray, " pair"]

CHUNK = 2**12  # pairs whose coalitions are in memory at once


@dataclass(frozen=True)
class Index:
    """Which coalitions of the others count: by size and by chance, which comes to the same."""

    weight: Callable[[int, int], float]  # of one coalition of this size of so many others
    presence: Callable[[np.random.Generator], float]  # the probability with which each other is there


INDICES = {
    "shapley": Index(lambda size, others: 1 / ((others + 1) * comb(others, size)), lambda rng: rng.random()),
    "banzhaf": Index(lambda size, others: 0.5**others, lambda rng: 0.5),
}


@dataclass(frozen=True)
class PairInteractions(Estimate):
    """The interaction of each of `pairs`, in the unit of the payoff, and how it was found.

    `evaluations` counts the coalitions that were played, `ended` says what ended the sampling.
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

    def matrix(self) -> Float64[np.ndarray, "player player"]:
        """The interactions as a symmetric matrix; NaN on the diagonal and for pairs that were not asked for."""
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

    `index` is "shapley" or "banzhaf". An independent replicate is one random coalition and its complement, in which single
    players and pairs switch sides: of all n(n − 1) / 2 pairs it sees each twice, in 2 + n(n + 1) evaluations. Whoever
    is in it is so with one probability, which is drawn evenly for "shapley" (Owen 1972) and ½ for "banzhaf"; so what
    surrounds each pair has the distribution that the index asks for. In a game without interactions of four or more
    players a single replicate is exact. Players in `game.dummies` interact with nobody and are never sampled; where a FEW
    replicates would cost as much as all coalitions, these are played.

    Raises InputError for pairs that are none, for more than 20 players if `until` is None, and where `until` allows
    fewer evaluations than one replicate takes.
    """
    asked, rule = _asked(game, pairs), chosen("interaction index", index, INDICES)
    active = active_players(game)
    alive = np.isin(asked, active).all(1)
    places = np.searchsorted(active, asked[alive])
    involved = np.unique(places)
    cost = 2 * (1 + len(involved) + len(places))
    if until is None or not len(places) or cheaper_enumerated(len(active), cost, until):
        found, evaluations, ended = _exact(game, places, rule)
    else:
        sampled = sample(
            lambda rng, _: _unit(game, active, places, rule.presence(rng), rng),
            until,
            cost,
            seed=seed,
            progress=progress,
        )
        found, evaluations, ended = mean_of(sampled.replicates), sampled.evaluations, sampled.ended
    value, stderr = np.zeros((2, len(asked)))
    value[alive], stderr[alive] = found.value, found.stderr
    return PairInteractions(value, stderr, found.replicates, asked, game.players, evaluations, ended)


def _asked(game: Game, pairs: Iterable[tuple[int, int]] | None) -> Pairs:
    if game.players < 2:
        raise InputError("a pair takes two players, and the game has fewer")
    if pairs is None:
        return np.array(list(combinations(range(game.players), 2)))
    asked = [tuple(pair) for pair in pairs]
    for pair in asked:
        if len(set(pair)) != 2 or not all(0 <= player < game.players for player in pair):
            raise InputError(f"{pair} is no pair: name two different players between 0 and {game.players - 1}")
    if not asked:
        raise InputError("no pairs, no interactions: name some, or None for all")
    return np.array(asked)


def _exact(game: Game, places: Pairs, rule: Index) -> tuple[Estimate, int, str]:
    everything = enumerated(game)
    others = len(everything.active) - 2
    weight = np.array([rule.weight(size, others) for size in range(others + 1)])
    value = np.zeros(len(places))
    for k, pair in enumerate(places.tolist()):
        size, change = everything.changes(*pair)
        value[k] = weight[size] @ change
    return Estimate(value, np.zeros(len(places)), 0), len(everything.worth), "exact"


def _unit(
    game: Game, active: Int[np.ndarray, " active"], places: Pairs, presence: float, rng: np.random.Generator
) -> PerPair:
    """Each pair's interaction in a random coalition and in its complement, averaged."""
    present = rng.random(len(active)) < presence
    mean: PerPair = (_around(game, active, places, present) + _around(game, active, places, ~present)) / 2
    return mean


def _around(
    game: Game, active: Int[np.ndarray, " active"], places: Pairs, present: Bool[np.ndarray, " active"]
) -> PerPair:
    """Each pair's interaction, given who else is in `present`: none, one or both of the pair switch sides there."""
    switched = np.unique(places)
    groups = [np.empty((1, 0), int), switched[:, None], *np.array_split(places, range(CHUNK, len(places), CHUNK))]
    none, single, *both = (evaluated(game, among(game, active, _switched(present, group))) for group in groups)
    one = np.zeros(len(active))
    one[switched] = single
    side = np.where(present, -1, 1)
    first, second = places.T
    interaction: PerPair = side[first] * side[second] * (np.concatenate(both) - one[first] - one[second] + none)
    return interaction


def _switched(
    present: Bool[np.ndarray, " active"], groups: Int[np.ndarray, "group member"]
) -> Bool[np.ndarray, "group active"]:
    """The coalition after each group of players has switched sides."""
    coalitions = np.tile(present, (len(groups), 1))
    coalitions[np.arange(len(groups))[:, None], groups] ^= True
    return coalitions
