"""How similar the filters of a layer are: the cosine between their responses (paper, Fig. 4, 7 and 8).

The paper speaks of correlation. Pearson's correlation is the cosine of responses minus their means over the image: two
responses that share an offset have a large cosine, even if they do not vary together.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from srgame.data.images import Image
from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.probes.features import Response, mean_over_images


def channel_cosine(
    network: nn.Module, images: Iterable[Image] | Pairs, layers: Sequence[str] = ("body.1", "body.13")
) -> pd.DataFrame:
    """One row per layer and pair of filters: layer, filter, partner, and four means over images.

    cosine is that of their responses, correlation that of the responses minus their means over pixels (Pearson's r);
    cosine_size and correlation_size are the means of their absolute values. On an image to which a filter's response is
    constant, its cosine and correlation with every other filter count as 0.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> channel_cosine(network, pairs, ["conv_hr"])[["filter", "partner"]].to_numpy().tolist()
    [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    """
    means, _ = mean_over_images(network, images, layers, _alike)
    return pd.concat([_pairs(layer, mean.numpy()) for layer, mean in means.items()], ignore_index=True)


def cosine_summary(cosine: pd.DataFrame, by: Sequence[str] = ("layer",)) -> pd.DataFrame:
    """One row per group, over its pairs: pairs, mean_abs, median_abs, max_abs, mean, std, alike, correlation.

    `mean_abs` is the mean of |cos|, and so on; `alike` is the share of pairs with |cos| above 0.5; `correlation` is the
    mean of |correlation|.
    """
    sizes = {"size": cosine["cosine"].abs(), "alike": cosine["cosine"].abs() > 0.5}
    size = cosine.assign(**sizes, correlated=cosine["correlation"].abs())
    groups = size.groupby(list(by), sort=False)
    return groups.agg(
        pairs=("cosine", "size"),
        mean_abs=("size", "mean"),
        median_abs=("size", "median"),
        max_abs=("size", "max"),
        mean=("cosine", "mean"),
        std=("cosine", "std"),
        alike=("alike", "mean"),
        correlation=("correlated", "mean"),
    ).reset_index()


def cosine_matrix(pairs: pd.DataFrame, column: str = "cosine") -> Float[np.ndarray, "c c"]:
    """The symmetric matrix of the cosines, or of another column, of one layer, with ones on its diagonal."""
    matrix = np.eye(int(pairs["partner"].max()) + 1)
    row, partner = pairs["filter"].to_numpy(), pairs["partner"].to_numpy()
    matrix[row, partner] = matrix[partner, row] = pairs[column].to_numpy()
    return matrix


def cosines(response: Response, centred: bool = False) -> Float[Tensor, "c c"]:
    """The cosine of each pair of channels on one image; 0 if a channel is constant up to rounding.

    If `centred`, each channel's mean over pixels is subtracted first: this is Pearson's correlation.
    """
    flat = response[0].flatten(1)
    low, high = torch.aminmax(flat, dim=1, keepdim=True)
    largest = torch.maximum(-low, high)
    constant = high - low <= 1e-6 * largest
    scaled = flat / torch.where(constant, 1.0, largest)  # so that squares neither overflow nor underflow
    if centred:
        scaled = scaled - scaled.mean(1, keepdim=True)
    unit = F.normalize(scaled, dim=1) * ~constant
    return unit @ unit.T


def _alike(response: Response) -> Float[Tensor, "4 c c"]:
    """The columns of `channel_cosine` on one image, as matrices."""
    both = torch.stack([cosines(response), cosines(response, centred=True)])
    return torch.cat([both, both.abs()])


def _pairs(layer: str, matrices: Float[np.ndarray, "4 c c"]) -> pd.DataFrame:
    count = matrices.shape[1]
    if count < 2:
        raise InputError(f"the layer '{layer}' has one channel and so no pairs: name a wider layer")
    row, column = np.triu_indices(count, 1)
    values = dict(
        zip(("cosine", "correlation", "cosine_size", "correlation_size"), matrices[:, row, column], strict=True)
    )
    return pd.DataFrame({"layer": layer, "filter": row, "partner": column} | values)
