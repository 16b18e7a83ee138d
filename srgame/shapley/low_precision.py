"""A game in low precision: cheaper to evaluate, and corrected without bias by replicates of both games.

The pilot replicates evaluate both games. If the rounding is negligible beside the variance of sampling, the other
replicates evaluate the low-precision game only, except for a random share of them that evaluates both and measures the
rounding (multifidelity Monte Carlo: Peherstorfer, Willcox & Gunzburger 2016).
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from srgame.shapley.game import Game
from srgame.shapley.values import Estimate, mean_of

NEGLIGIBLE = 1 / 400  # of the variance of sampling: if rounding has no more, the low-precision game is evaluated
CHECKED = 1 / 16  # of the replicates after the pilot then evaluate both games


def low_precision_games(parts: Sequence[Game], players: int) -> list[Game]:
    """Each part's low-precision game; none if a part has none, or one of other players."""
    games = [getattr(part, "low_precision", None) for part in parts]
    usable = [game for game in games if game is not None and game.players == players]
    return usable if len(usable) == len(parts) else []


def variance_over_rounding(
    means: Float64[np.ndarray, "replicate active"], rounding: Float64[np.ndarray, "replicate active"]
) -> float:
    """The variance of sampling over the mean square of the rounding; 0 if the rounding is not finite."""
    sampling, square = means.var(0, ddof=1).sum(), (rounding**2).mean(0).sum()
    if not np.isfinite(square):
        return 0.0
    return float(sampling / square) if square > 0 else math.inf


def corrected(
    low_precision: Estimate,
    means: Float64[np.ndarray, "both active"],
    rounding: Float64[np.ndarray, "both active"],
) -> Estimate:
    """The low-precision estimate plus the mean rounding of the replicates that evaluate both games.

    The error includes the covariance of `means`, those replicates' contributions, and their rounding.
    """
    correction = mean_of(rounding)
    products = (means - means.mean(0)) * (rounding - correction.value)
    covariance = products.sum(0).clip(0) / (len(rounding) - 1)
    variance = low_precision.stderr**2 + correction.stderr**2 + 2 * covariance / low_precision.replicates
    return replace(low_precision, value=low_precision.value + correction.value, stderr=np.sqrt(variance))
