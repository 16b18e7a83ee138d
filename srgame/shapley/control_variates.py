"""Control variates: what is known of the permutations that were drawn, and of its mean, tells what of a sample is luck.

Where a player comes in a permutation says something of what it contributes there. A regression on polynomials of that place,
whose mean over all permutations is 0, is subtracted from the contributions.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64
from numpy.polynomial import legendre

from srgame.shapley.sampling import Estimate, mean_of

DEGREES = (2, 4)  # of the polynomials
FOLDS = 8


def of_places(players: int) -> Float64[np.ndarray, "degree place"]:
    """Legendre polynomials of the place in a permutation; over all places the mean of each is 0.

    The odd degrees are left out: in a pair of permutations they cancel.
    """
    place = (2 * np.arange(players) + 1) / players - 1
    values = np.stack([legendre.Legendre.basis(degree)(place) for degree in DEGREES])
    centred: Float64[np.ndarray, "degree place"] = values - values.mean(1, keepdims=True)
    return centred


def regressed(
    means: Float64[np.ndarray, "replicate active"], controls: Float64[np.ndarray, "replicate degree active"]
) -> Estimate:
    """The mean less what the controls explain; its error has the slope's own in it (Lavenberg & Welch 1981)."""
    found = mean_of(means - explained(means, controls))
    gram = _gram(np.ones((1, len(means))), controls)[0]
    mean = controls.mean(0).T[..., None]
    distance = (mean * np.linalg.solve(gram, mean)).sum((1, 2))
    return replace(found, stderr=found.stderr * np.sqrt(1 + len(means) * distance))


def explained(
    means: Float64[np.ndarray, "replicate active"], controls: Float64[np.ndarray, "replicate degree active"]
) -> Float64[np.ndarray, "replicate active"]:
    """What the controls explain of each replicate, by a regression on the replicates of the other folds; its mean is 0.

    A replicate's own coefficients never see that replicate, so nothing is biased; what is explained adds up to 0 over players.
    """
    fold = np.arange(len(means)) % FOLDS
    others = (fold != np.arange(FOLDS)[:, None]).astype(float)
    products = _scatter(others, controls, (means - means.mean(0))[:, None]).transpose(0, 2, 1)
    slope = np.linalg.solve(_gram(others, controls), products[..., None])[..., 0]
    explained = np.einsum("upd,udp->up", slope[fold], controls)
    centred: Float64[np.ndarray, "replicate active"] = explained - explained.mean(1, keepdims=True)
    return centred


def _gram(
    chosen: Float64[np.ndarray, "fold replicate"], controls: Float64[np.ndarray, "replicate degree active"]
) -> Float64[np.ndarray, "fold active degree degree"]:
    """The scatter of the controls over the replicates chosen for each fold, with a ridge that lets it be solved."""
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
