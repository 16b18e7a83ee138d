"""A game in low precision: cheaper to evaluate, and corrected without bias by replicates of both games.

The pilot replicates evaluate both games. If the rounding is negligible beside the variance of sampling, the other
replicates evaluate the low-precision game only, except for some that evaluate both and measure the rounding
(multifidelity Monte Carlo: Peherstorfer, Willcox & Gunzburger 2016). What the pilot measured decides, so it does not
correct: its replicates enter the estimate in full precision.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from srgame.shapley.game import Game
from srgame.shapley.values import Estimate, mean_of

NEGLIGIBLE = 1 / 400  # of the variance of sampling: if rounding has no more, the low-precision game is evaluated
CHECKED = 16  # of so many replicates after the pilot, one then evaluates both games


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


def evaluates_both(number: int, pilot: int) -> bool:
    """Whether the replicate of this number, after the pilot, evaluates both games: the first two, and some more."""
    return number < pilot + 2 or number % CHECKED == 0


def with_error_of_rounding(
    corrected: Estimate,
    means: Float64[np.ndarray, "both active"],
    rounding: Float64[np.ndarray, "both active"],
) -> Estimate:
    """The estimate, which the mean rounding of the replicates that evaluate both games corrected, with its error.

    The error includes the covariance of `means`, those replicates' contributions, and their rounding. The rounding of a
    single replicate corrects that replicate only, and then without an error.
    """
    if len(rounding) < 2:
        return corrected
    correction = mean_of(rounding)
    products = (means - means.mean(0)) * (rounding - correction.value)
    covariance = products.sum(0).clip(0) / (len(rounding) - 1)
    variance = corrected.stderr**2 + correction.stderr**2 + 2 * covariance / corrected.replicates
    return replace(corrected, stderr=np.sqrt(variance))
