"""Control variates: known functions of the drawn permutations, whose mean is known, explain part of the sampling error.

A player's contribution depends on its place in the permutation. A regression on polynomials of that place, whose mean
over all permutations is 0, is subtracted from the contributions.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64
from numpy.polynomial import legendre

from srgame.shapley.values import Estimate, mean_of

DEGREES = (2, 4)  # of the polynomials
FOLDS = 8

Means = Float64[np.ndarray, "replicate active"]
Controls = Float64[np.ndarray, "replicate degree active"]


def of_places(players: int) -> Float64[np.ndarray, "degree place"]:
    """Legendre polynomials of the place in a permutation; the mean of each over all places is 0.

    Odd degrees are left out: they cancel between a permutation and its reverse.
    """
    place = (2 * np.arange(players) + 1) / players - 1
    values = np.stack([legendre.Legendre.basis(degree)(place) for degree in DEGREES])
    centred: Float64[np.ndarray, "degree place"] = values - values.mean(1, keepdims=True)
    return centred


def best_regression(means: Means, controls: Controls) -> Estimate:
    """The regression on the first control or on both, whichever has the smaller error."""
    tried = [regressed(means, controls[:, :degrees]) for degrees in (1, 2)]
    return min(tried, key=lambda estimate: (estimate.stderr**2).sum())


def regressed(means: Means, controls: Controls) -> Estimate:
    """The mean minus what the controls explain; its error includes the error of the slope (Lavenberg & Welch 1981)."""
    residual = mean_of(means - explained(means, controls))
    gram = _gram(np.ones((1, len(means))), controls)[0]
    mean = controls.mean(0).T[..., None]
    distance = (mean * np.linalg.solve(gram, mean)).sum((1, 2))
    return replace(residual, stderr=residual.stderr * np.sqrt(1 + len(means) * distance))


def explained(means: Means, controls: Controls) -> Means:
    """What the controls explain of each replicate, by a regression on the replicates of the other folds; its mean is 0.

    The coefficients for a replicate do not depend on that replicate, so the estimate has no bias. What is explained
    adds up to 0 over the players.
    """
    fold = np.arange(len(means)) % FOLDS
    others = (fold != np.arange(FOLDS)[:, None]).astype(float)
    products = _scatter(others, controls, (means - means.mean(0))[:, None]).transpose(0, 2, 1)
    slope = np.linalg.solve(_gram(others, controls), products[..., None])[..., 0]
    prediction = np.einsum("upd,udp->up", slope[fold], controls)
    centred: Means = prediction - prediction.mean(1, keepdims=True)
    return centred


def _gram(
    chosen: Float64[np.ndarray, "fold replicate"], controls: Controls
) -> Float64[np.ndarray, "fold active degree degree"]:
    """The scatter of the controls over the replicates chosen for each fold, with a ridge so that it can be inverted."""
    gram = _scatter(chosen, controls[:, :, None], controls[:, None]).transpose(0, 3, 1, 2)
    ridge = 1e-9 * np.trace(gram, axis1=2, axis2=3)[..., None, None] + np.finfo(float).tiny
    solvable: Float64[np.ndarray, "fold active degree degree"] = gram + ridge * np.eye(controls.shape[1])
    return solvable


def _scatter(
    chosen: Float64[np.ndarray, "fold replicate"],
    a: Float64[np.ndarray, "replicate ..."],
    b: Float64[np.ndarray, "replicate ..."],
) -> Float64[np.ndarray, "fold ..."]:
    """The sum of the products of a and b, both centred, over the replicates chosen for each fold."""
    sum_a, sum_b, products = (np.tensordot(chosen, values, 1) for values in (a, b, a * b))
    count = chosen.sum(1).reshape(-1, *[1] * (a.ndim - 1))
    scatter: Float64[np.ndarray, "fold ..."] = products - sum_a * sum_b / count
    return scatter
