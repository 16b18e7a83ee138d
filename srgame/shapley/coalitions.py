"""Coalitions of a game's players: the ones that a permutation passes through, all of them, and what they are worth."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int

from srgame.errors import InputError
from srgame.shapley.game import Game

MOST = 20  # players whose coalitions can all be played


def active_players(game: Game) -> Int[np.ndarray, " active"]:
    """The players who are not known to be dummies."""
    dummies = getattr(game, "dummies", None)
    return np.arange(game.players) if dummies is None else np.flatnonzero(~np.asarray(dummies))


def evaluated(game: Game, coalitions: Bool[np.ndarray, "coalition player"]) -> Float64[np.ndarray, " coalition"]:
    """What the coalitions are worth."""
    return game(torch.from_numpy(coalitions)).numpy()


def among(
    game: Game, active: Int[np.ndarray, " active"], coalitions: Bool[np.ndarray, "coalition active"]
) -> Bool[np.ndarray, "coalition player"]:
    """Coalitions of the active players as coalitions of all; dummies are always there."""
    everyone = np.ones((len(coalitions), game.players), bool)
    everyone[:, active] = coalitions
    return everyone


def prefixes(permutation: Int[np.ndarray, " active"], players: int) -> Bool[np.ndarray, "coalition player"]:
    """The coalitions of the first 1, 2 … all but one players in `permutation`; who is not in `permutation` is always there."""
    position = np.full(players, -1)
    position[permutation] = np.arange(len(permutation))
    return position < np.arange(1, len(permutation))[:, None]


@dataclass(frozen=True)
class Enumeration:
    """The worth of all coalitions of the active players: `active[k]` is in coalition c if bit k of c is set."""

    active: Int[np.ndarray, " active"]
    worth: Float64[np.ndarray, " coalition"]

    def changes(self, *places: int) -> tuple[Int[np.ndarray, " without"], Float64[np.ndarray, " without"]]:
        """Of each coalition without the players at these places: its size, and what all of them change together.

        For one player that is its marginal contribution, for two v(S ∪ ij) − v(S ∪ i) − v(S ∪ j) + v(S).
        """
        code = np.arange(len(self.worth))
        change, without = self.worth, np.ones(len(code), bool)
        for place in places:
            change = change[code | 1 << place] - change[code & ~(1 << place)]
            without &= code >> place & 1 == 0
        size = sum((code >> place & 1 for place in range(len(self.active))), np.zeros_like(code))
        return size[without], change[without]


def enumerated(game: Game) -> Enumeration:
    """All coalitions, played. Raises InputError for more than 20 players."""
    active = active_players(game)
    if len(active) > MOST:
        raise InputError(f"{len(active)} players have 2^{len(active)} coalitions, too many to play all: sample instead")
    coalitions = np.arange(2 ** len(active))[:, None] >> np.arange(len(active)) & 1 == 1
    return Enumeration(active, evaluated(game, among(game, active, coalitions)))
