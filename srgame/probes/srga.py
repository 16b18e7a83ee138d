"""SRGA, the super-resolution generalization assessment index (Liu et al. 2022): how far features move when images do.

A generalized Gaussian is fitted to the deepest features of each set of patches, along the set's own principal
components. SRGA is log₁₀(KL + 1e-5) + 5 of the divergence between two such fits: 0 for equal sets; smaller is better.

The shape β is matched to E[x²] / E[|x − μ|]², as the paper writes it: the second moment is raw, the first absolute
moment is centred. Components have mean 0, so a centred second moment differs only by the outliers that are left out.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import gammaln
from torch import nn

from srgame.data.images import Image
from srgame.errors import InputError
from srgame.probes.principal import flattened, principal_scores

BETAS = np.arange(0.2, 10, 0.001)


def srga(
    network: nn.Module,
    reference: Iterable[Image],
    sets: Mapping[str, Iterable[Image]],
    layer: str = "conv_last:input",
    components: int = 300,
) -> pd.DataFrame:
    """One row per set: set, patches, alpha, beta (of its generalized Gaussian), kl (from `reference`) and srga.

    All patches must have the same size (the paper has at least 300 patches of 32 × 32 LR pixels). The first
    row is the reference.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> clean, noisy = (srgame.load_pairs(degradation=name, crop=32).lr for name in ("clean", "noise"))
    >>> indices = srga(network, clean, {"same": clean, "noise": noisy}, components=3).set_index("set")["srga"]
    >>> float(indices["same"]), bool(indices["noise"] > 0)
    (0.0, True)
    """
    if "reference" in sets:
        raise InputError("no set can be named 'reference', the name of the first row: choose another name")
    origin, rows = None, []
    for name, patches in ({"reference": reference} | dict(sets)).items():
        scores = principal_scores(flattened(network, patches, layer), components)
        shape = generalized_gaussian(scores)
        origin = origin or shape
        kl = divergence(origin, shape)
        measures = {"alpha": shape[0], "beta": shape[1], "kl": kl, "srga": srga_index(kl)}
        rows.append({"set": name, "patches": len(scores)} | measures)
    return pd.DataFrame(rows)


def srga_index(kl: float) -> float:
    """log₁₀(KL + 1e-5) + 5."""
    return float(np.log10(max(kl, 0.0) + 1e-5) + 5)


def generalized_gaussian(values: ArrayLike) -> tuple[float, float]:
    """Scale α and shape β of exp(−(|x − μ|/α)^β) by moment matching; β is between 0.2 and 10, in steps of 0.001.

    β is matched to E[x²] / E[|x − μ|]² with the raw second moment of the paper's formula, so values should have mean 0
    as principal components do; α is matched to the standard deviation. Values at least 5 standard deviations from the
    mean are left out.
    """
    x = np.asarray(values, dtype=np.float64).ravel()
    x = x[np.abs(x - x.mean()) < 5 * x.std()]
    if not x.size or not x.std():
        raise InputError("the features do not differ between images: name a layer that responds to its input")
    size = np.abs(x - x.mean())
    wanted = np.log((x**2).mean() / size.mean() ** 2)
    beta = BETAS[np.abs(_log_ratio(BETAS) - wanted).argmin()]
    return float(x.std() * np.exp((gammaln(1 / beta) - gammaln(3 / beta)) / 2)), float(beta)


def divergence(first: tuple[float, float], second: tuple[float, float]) -> float:
    """The Kullback–Leibler divergence of the first generalized Gaussian (α, β) from the second, with equal means."""
    if first == second:
        return 0.0  # exactly: the formula is so only up to rounding
    (alpha1, beta1), (alpha2, beta2) = first, second
    return float(
        np.log(beta1 * alpha2 / (beta2 * alpha1))
        + gammaln(1 / beta2)
        - gammaln(1 / beta1)
        + (alpha1 / alpha2) ** beta2 * np.exp(gammaln((beta2 + 1) / beta1) - gammaln(1 / beta1))
        - 1 / beta1
    )


def _log_ratio(beta: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """ln E[x²] − 2 ln E|x| of a generalized Gaussian of mean 0; it falls with β."""
    return np.asarray(gammaln(1 / beta) + gammaln(3 / beta) - 2 * gammaln(2 / beta))
