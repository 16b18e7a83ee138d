"""Coalitions of a game's players: their worth, those that a permutation passes through, and all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int

from srgame.errors import InputError
from srgame.shapley.game import Game
from srgame.shapley.until import check_time

Active = Int[np.ndarray, " active"]

MOST = 20  # players whose coalitions can all be evaluated
FLOAT64 = 2.0**-40  # relative rounding of a worth in float64, with room for long sums
MARGIN = 16  # times the rounding of a worth: filters of a linear tail came to 2.4 times


def active_players(game: Game) -> Active:
    """The players that are not known to be dummies."""
    dummies = getattr(game, "dummies", None)
    return np.arange(game.players) if dummies is None else np.flatnonzero(~np.asarray(dummies))


def rounding_of(game: Game) -> float:
    """The largest difference, as a share of the worth, that rounding explains."""
    given = getattr(game, "rounding", None)
    return MARGIN * (FLOAT64 if given is None else given)


def evaluated(game: Game, coalitions: Bool[np.ndarray, "coalition player"]) -> Float64[np.ndarray, " coalition"]:
    """The worth of the coalitions. Raises DeadlineError if the deadline has passed."""
    check_time()
    return game(torch.from_numpy(coalitions)).numpy()


def with_dummies(
    game: Game, active: Active, coalitions: Bool[np.ndarray, "coalition active"]
) -> Bool[np.ndarray, "coalition player"]:
    """Coalitions of the active players as coalitions of all players; dummies are always present."""
    everyone = np.ones((len(coalitions), game.players), bool)
    everyone[:, active] = coalitions
    return everyone


def worth_of_ends(games: Sequence[Game], active: Active) -> Float64[np.ndarray, "game 2"]:
    """The worth of the empty and of the grand coalition in each game."""
    ends = np.array([[False], [True]]).repeat(len(active), 1)
    return np.array([evaluated(game, with_dummies(game, active, ends)) for game in games]).reshape(-1, 2)


def prefixes(permutation: Active, players: int) -> Bool[np.ndarray, "coalition player"]:
    """The coalitions of the first 1, 2, … n − 1 players of `permutation`; players outside it are always present."""
    position = np.full(players, -1)
    position[permutation] = np.arange(len(permutation))
    return position < np.arange(1, len(permutation))[:, None]


def contributions_along(
    game: Game,
    active: Active,
    ends: Float64[np.ndarray, "2"],
    permutations: Int[np.ndarray, "permutation active"],
) -> Float64[np.ndarray, "permutation active"]:
    """Each active player's marginal contribution in each permutation of the places in `active`."""
    coalitions = [prefixes(active[permutation], game.players) for permutation in permutations]
    worth = evaluated(game, np.concatenate(coalitions)).reshape(len(permutations), -1)
    contributions = np.empty((len(permutations), len(active)))
    np.put_along_axis(contributions, permutations, np.diff(worth, prepend=ends[0], append=ends[1]), axis=1)
    return contributions


@dataclass(frozen=True)
class Enumeration:
    """The worth of all coalitions of the active players: `active[k]` is in coalition c if bit k of c is set."""

    active: Active
    worth: Float64[np.ndarray, " coalition"]

    def changes(self, *places: int) -> tuple[Int[np.ndarray, " without"], Float64[np.ndarray, " without"]]:
        """For each coalition without the players at these places: its size, and how they change its worth together.

        For one player this is its marginal contribution, for two v(S ∪ ij) − v(S ∪ i) − v(S ∪ j) + v(S).
        """
        code = np.arange(len(self.worth))
        change, without = self.worth, np.ones(len(code), bool)
        for place in places:
            change = change[code | 1 << place] - change[code & ~(1 << place)]
            without &= code >> place & 1 == 0
        size = sum((code >> place & 1 for place in range(len(self.active))), np.zeros_like(code))
        return size[without], change[without]


def enumerated(game: Game) -> Enumeration:
    """All coalitions, evaluated. Raises InputError for more than 20 players."""
    active = active_players(game)
    if len(active) > MOST:
        raise InputError(
            f"{len(active)} players have 2^{len(active)} coalitions, too many to evaluate all: sample instead"
        )
    coalitions = np.arange(2 ** len(active))[:, None] >> np.arange(len(active)) & 1 == 1
    return Enumeration(active, evaluated(game, with_dummies(game, active, coalitions)))
