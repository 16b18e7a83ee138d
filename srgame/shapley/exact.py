"""Exact Shapley values: of few players from all coalitions, and of many players of a quadratic game."""

import math

import numpy as np

from srgame.errors import InputError
from srgame.shapley.coalitions import (
    MOST,
    Active,
    active_players,
    contributions_along,
    enumerated,
    evaluated,
    with_dummies,
)
from srgame.shapley.game import Game
from srgame.shapley.values import ROUNDING, ShapleyValues

MANY = 10  # players: with more, solving a quadratic game takes far fewer coalitions than enumerating all
PROOFS = 4  # random permutations that must agree


def exact_shapley(game: Game) -> ShapleyValues:
    """The Shapley values without sampling error: for any number of players if the game is quadratic, else for up to 20.

    A game is quadratic if players interact in pairs only, as filters in front of a linear tail do under −mse. Then any
    permutation and its reverse give the values, and so do each player's first and last contribution. For more than 10
    players, four random permutations and those contributions must agree within 1e-5 of the largest value, which leaves
    room for float32 rounding only; otherwise all 2ⁿ coalitions are evaluated.

    Raises InputError for more than 20 players whose game is not quadratic.
    """
    active = active_players(game)
    if len(active) <= MANY:
        return _from_all_coalitions(game)
    values, disagreement = _as_if_quadratic(game, active)
    if disagreement <= ROUNDING:
        return values
    if len(active) > MOST:
        raise InputError(
            f"{len(active)} players have 2^{len(active)} coalitions, too many to evaluate all, and the game is not "
            f"quadratic (permutations disagree by {disagreement:.1g} of the largest value): "
            "sample instead (sampled_shapley)"
        )
    return _from_all_coalitions(game)


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


def _as_if_quadratic(game: Game, active: Active) -> tuple[ShapleyValues, float]:
    """The values if the game is quadratic, and its distance from quadratic, as a share of the largest value.

    Half of a synergy of three or more players goes to each of them in the mean of first and last contribution. In a
    permutation and its reverse, it goes to the first and the last of them only. So the two disagree, even if such
    synergies are few.
    """
    alone = with_dummies(game, active, np.eye(len(active), dtype=bool))
    all_others = with_dummies(game, active, ~np.eye(len(active), dtype=bool))
    nobody, everybody = with_dummies(game, active, np.array([[False], [True]]).repeat(len(active), 1))
    worth = evaluated(game, np.concatenate([[nobody, everybody], alone, all_others]))
    ends, (first, last) = worth[:2], np.split(worth[2:], 2)
    expected = np.zeros(game.players)
    expected[active] = (first - ends[0] + ends[1] - last) / 2
    pairs = np.zeros((PROOFS, game.players))
    for proof in range(PROOFS):
        permutation = np.random.default_rng([0, proof]).permutation(len(active))
        both = np.stack([permutation, permutation[::-1]])
        pairs[proof, active] = contributions_along(game, active, ends, both).mean(0)
    value, largest = pairs.mean(0), np.abs([expected, *pairs]).max()
    disagreement = float(np.abs(pairs - expected).max() / largest) if largest > 0 else 0.0
    evaluations = len(worth) + PROOFS * 2 * (len(active) - 1)
    return _exact(value, empty=ends[0], grand=ends[1], evaluations=evaluations), disagreement


def _exact(value: np.ndarray, *, empty: float, grand: float, evaluations: int) -> ShapleyValues:
    return ShapleyValues(
        value=value,
        stderr=np.zeros_like(value),
        replicates=0,
        empty=empty,
        grand=grand,
        evaluations=evaluations,
        ended="exact",
    )
