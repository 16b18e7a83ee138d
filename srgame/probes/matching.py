"""Which filters of two networks respond alike: a one-to-one matching by the correlation of their responses.

Filters of separately trained networks do not correspond by their numbers. The Hungarian algorithm finds the matching
with the largest sum of correlations (Li et al. 2015, Convergent Learning). It always finds one, so its correlation says
little without a level of chance: here that of the same matching between responses to different images.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from srgame.data.images import Image
from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.probes.features import Response, features, lr_images_of

Correlations = Float64[np.ndarray, "_ _"]
Standardised = Float64[Tensor, "_ _"]  # channel, pixel; networks and images may differ in both


def channel_matching(
    first: nn.Module, second: nn.Module, images: Iterable[Image] | Pairs, layers: Sequence[str] = ("conv_hr",)
) -> pd.DataFrame:
    """One row per layer and matched pair: layer, filter (of `first`), partner (of `second`), correlation, chance.

    `correlation` is Pearson's over the pixels of an image, averaged over images; it is 0 for a constant response.
    `chance` is the same for all rows of a layer: the mean correlation of the best matching if the second network sees
    other images; NaN without two images of one size. A wider layer keeps filters without a partner.

    Raises InputError if the two networks respond in different sizes, and as `features` does.
    """
    images = list(lr_images_of(images))
    responses = [list(features(network, images, layers, _standardised)) for network in (first, second)]
    return pd.concat([_matched(layer, *([r[layer] for r in each] for each in responses)) for layer in layers])


def _matched(layer: str, first: list[Standardised], second: list[Standardised]) -> pd.DataFrame:
    if (sizes := [tuple(responses[0].shape[1:]) for responses in (first, second)])[0] != sizes[1]:
        raise InputError(
            f"the layer '{layer}' responds with {sizes[0][0]} pixels in one network and {sizes[1][0]} in the other: "
            "its filters cannot be matched"
        )
    rolled = [*second[1:], second[0]]
    unrelated = [(a, b) for a, b in zip(first, rolled, strict=True) if a.shape[1] == b.shape[1]]
    chance = np.nan
    if len(first) > 1 and unrelated:
        chance = _best(_mean_correlation(unrelated))[2].mean()
    number, partner, correlation = _best(_mean_correlation(list(zip(first, second, strict=True))))
    columns = {"filter": number, "partner": partner, "correlation": correlation, "chance": chance}
    return pd.DataFrame({"layer": layer} | columns)


def _standardised(response: Response) -> Standardised:
    """Each channel with mean 0 and length 1, so that products are correlations; zeros if it is constant."""
    flat = response[0].flatten(1).double().cpu()
    centred = flat - flat.mean(1, keepdim=True)
    length = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    varies = length > 1e-6 * torch.linalg.vector_norm(flat, dim=1, keepdim=True)
    return torch.where(varies, centred / torch.where(varies, length, 1.0), 0.0)


def _mean_correlation(pairs: Sequence[tuple[Standardised, Standardised]]) -> Correlations:
    mean: Correlations = torch.stack([a @ b.T for a, b in pairs]).mean(0).numpy()
    return mean


def _best(correlations: Correlations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The matching with the largest sum of correlations: filters, their partners, and the correlations."""
    first, second = linear_sum_assignment(correlations, maximize=True)
    return first, second, correlations[first, second]
