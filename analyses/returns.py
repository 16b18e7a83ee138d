"""How often returns diminish in a game: a filter adds less to a larger coalition."""

import numpy as np
from intervals import proportion
from jaxtyping import Bool, Float64

from srgame.shapley.coalitions import active_players, evaluated, with_dummies
from srgame.shapley.game import Game

ROUNDING = 1e-6  # dB: rounding errors of float32; smaller differences are ties


def diminishing(game: Game, draws: int, seed: int) -> dict[str, float]:
    """The columns draws to drop of audit_submodularity, of one game."""
    early, late = contributions(game, draws, seed)
    share, low, high = proportion(int((early - late > ROUNDING).sum()), draws)
    ties = float((np.abs(early - late) <= ROUNDING).mean())
    drop = float((early - late).mean() / np.abs(early).mean())
    return {"draws": draws, "diminishing": share, "low": low, "high": high, "ties": ties, "drop": drop}


def contributions(
    game: Game, draws: int, seed: int
) -> tuple[Float64[np.ndarray, " draw"], Float64[np.ndarray, " draw"]]:
    """What a filter adds to S and to T, in random draws."""
    active = active_players(game)
    coalitions = np.concatenate([_draw(len(active), np.random.default_rng([seed, k])) for k in range(draws)])
    worth = evaluated(game, with_dummies(game, active, coalitions)).reshape(draws, 4)
    return worth[:, 1] - worth[:, 0], worth[:, 3] - worth[:, 2]


def _draw(players: int, rng: np.random.Generator) -> Bool[np.ndarray, "4 player"]:
    """S, S ∪ i, T and T ∪ i, with S ⊂ T of two different sizes."""
    permutation = rng.permutation(players)
    small, large = np.sort(rng.choice(players, 2, replace=False))
    coalitions = np.zeros((4, players), bool)
    for rows, size in ((slice(0, 2), small), (slice(2, 4), large)):
        coalitions[rows, permutation[1 : size + 1]] = True
    coalitions[1::2, permutation[0]] = True
    return coalitions
