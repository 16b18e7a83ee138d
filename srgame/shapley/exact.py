"""Shapley values without sampling error: of few players from all coalitions, and of many if interactions cancel."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64

from srgame.errors import InputError
from srgame.shapley.coalitions import (
    MOST,
    Active,
    active_players,
    enumerated,
    evaluated,
    rounding_of,
    with_dummies,
    worth_of_ends,
)
from srgame.shapley.game import Game
from srgame.shapley.values import PerPlayer, ShapleyValues

MANY = 12  # players: with more, all coalitions are many more than those that a quadratic game takes
PAIRS = 1024  # random coalitions that must agree, each with its complement
PRESENT = 0.25, 0.75  # the probability of a player to be in such a coalition is drawn between these


def exact_shapley(game: Game) -> ShapleyValues:
    """The Shapley values without sampling error: for any number of players if the game is quadratic, else for up to 20.

    A game is quadratic if players interact in pairs only, as filters in front of a linear tail do under −mse. Then a
    player's value is the mean of its first and its last contribution, v(i) − v(∅) and v(N) − v(N∖i), and
    v(S) − v(N∖S) is the sum of the values in S minus the sum of those outside. With more than 12 players, this is
    compared for 1,024 random coalitions S and for S = N. If all agree within the rounding of the worth
    (coalitions.rounding_of), the values are returned; otherwise all 2ⁿ coalitions are evaluated. Agreement is evidence,
    not a proof: an effect that fewer than one coalition in a thousand shows can be missed.

    Raises InputError for more than 20 players whose game is not quadratic.

    >>> class Gloves:  # player 0 has a left glove, 1 and 2 have right ones; a pair is worth 1
    ...     players = 3
    ...     def __call__(self, coalitions):
    ...         return (coalitions[:, 0] & coalitions[:, 1:].any(1)).double()
    >>> exact_shapley(Gloves()).value.round(3)
    array([0.667, 0.167, 0.167])
    """
    active = active_players(game)
    if len(active) <= MANY:
        return _from_all_coalitions(game)
    compared = _compared(game, active)
    if compared.agree:
        return compared.values
    if len(active) > MOST:
        raise InputError(
            f"{len(active)} players have 2^{len(active)} coalitions, too many to evaluate all, and the game is not "
            f"quadratic ({compared.disagreeing} of {PAIRS + 1} coalitions disagree, by up to "
            f"{compared.disagreement:.1g}): sample instead (sampled_shapley)"
        )
    return _from_all_coalitions(game)


def first_and_last(
    game: Game, active: Active, ends: Float64[np.ndarray, "2"]
) -> tuple[Float64[np.ndarray, "2 active"], float]:
    """Each player's first and last contribution, and the largest worth seen, in 2n evaluations."""
    alone = np.eye(len(active), dtype=bool)
    worth = evaluated(game, with_dummies(game, active, np.concatenate([alone, ~alone])))
    first, last = np.split(worth, 2)
    return np.stack([first - ends[0], ends[1] - last]), float(np.abs([*worth, *ends]).max())


@dataclass(frozen=True)
class _Compared:
    """The values if the game is quadratic, and the difference of each coalition from what they predict."""

    values: ShapleyValues
    difference: Float64[np.ndarray, " coalition"]
    tolerance: float

    @property
    def disagreeing(self) -> int:
        agree = np.isfinite(self.difference) & (self.difference <= self.tolerance)
        return int((~agree).sum())

    @property
    def disagreement(self) -> float:
        return float(self.difference.max())

    @property
    def agree(self) -> bool:
        return self.disagreeing == 0


def _from_all_coalitions(game: Game) -> ShapleyValues:
    """The definition: marginal contributions, averaged over the coalitions of a size and then over sizes."""
    everything = enumerated(game)
    n, worth = len(everything.active), everything.worth
    weight = np.array([1 / (n * math.comb(n - 1, size)) for size in range(n)])
    value = np.zeros(game.players)
    for place, player in enumerate(everything.active):
        size, contribution = everything.changes(place)
        value[player] = weight[size] @ contribution
    return _exact(value, empty=worth[0], grand=worth[-1], evaluations=len(worth))


def _compared(game: Game, active: Active) -> _Compared:
    """The values as of a quadratic game, compared with random coalitions and their complements.

    In any game, only v(S) − v(N∖S) decides the Shapley values. So whatever cancels in it needs no comparison.
    """
    n = len(active)
    chosen = _random_coalitions(n)
    (ends,) = worth_of_ends([game], active)
    contributions, largest = first_and_last(game, active, ends)
    value = contributions.mean(0)
    inside, outside = np.split(evaluated(game, with_dummies(game, active, np.concatenate([chosen, ~chosen]))), 2)
    observed = np.append(inside - outside, ends[1] - ends[0])
    predicted = np.where(np.append(chosen, np.ones((1, n), bool), axis=0), 1, -1) @ value
    everyone = np.zeros(game.players)
    everyone[active] = value + (ends[1] - ends[0] - value.sum()) / n  # what float rounding leaves
    evaluations = 2 + 2 * n + 2 * PAIRS
    return _Compared(
        values=_exact(everyone, empty=ends[0], grand=ends[1], evaluations=evaluations),
        difference=np.abs(observed - predicted),
        tolerance=rounding_of(game) * np.abs([largest, *inside, *outside]).max(),
    )


def _random_coalitions(players: int) -> Bool[np.ndarray, "coalition player"]:
    rng = np.random.default_rng(0)
    presence = rng.uniform(*PRESENT, (PAIRS, 1))
    return rng.random((PAIRS, players)) < presence


def _exact(value: PerPlayer, *, empty: float, grand: float, evaluations: int) -> ShapleyValues:
    return ShapleyValues(
        value=value,
        stderr=np.zeros_like(value),
        replicates=0,
        empty=empty,
        grand=grand,
        evaluations=evaluations,
        ended="exact",
    )
