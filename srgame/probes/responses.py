"""Channel responses: which filters of a layer are active, and how sparsely (paper, Fig. 1 and 9)."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from srgame.data.images import Image
from srgame.data.pairs import Pairs
from srgame.probes.equity import equity
from srgame.probes.features import Response, mean_over_images


def channel_responses(
    network: nn.Module, images: Iterable[Image] | Pairs, layers: Sequence[str] = ("body.1", "conv_hr")
) -> pd.DataFrame:
    """One row per layer and filter: layer, filter, mean, mean_abs, std, active, sparsity, stderr.

    All are means over the pixels of an image, then over images with equal weight: of the response (`mean`) and its size
    (`mean_abs`, with its standard error over images), its standard deviation over pixels and images, the share of
    pixels above 0 (`active`), and its sparsity over the image (Hoyer 2004): 0 if all pixels respond with the same size,
    1 if at most one pixel responds.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> channel_responses(network, pairs, ["conv_hr"])[["layer", "filter", "mean_abs", "sparsity"]].shape
    (4, 4)
    """
    means, count = mean_over_images(network, images, layers, _statistics)
    return pd.concat([_frame(layer, mean.numpy(), count) for layer, mean in means.items()], ignore_index=True)


def response_summary(responses: pd.DataFrame, by: Sequence[str] = ("layer",)) -> pd.DataFrame:
    """One row per group: the equity of mean_abs, the mean sparsity, and `inhibited`.

    `inhibited` is the share of filters whose mean_abs is below a tenth of the layer's largest.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> responses = channel_responses(network, pairs, ["conv_first", "conv_hr"])
    >>> response_summary(responses)["layer"].tolist()
    ['conv_first', 'conv_hr']
    """
    groups = responses.groupby(list(by), sort=False)
    inhibited = groups["mean_abs"].agg(lambda size: float((size < 0.1 * size.max()).mean()))
    more = pd.DataFrame({"sparsity": groups["sparsity"].mean(), "inhibited": inhibited}).reset_index()
    return equity(responses, "mean_abs", by).merge(more, on=list(by))


def _statistics(response: Response) -> Float[Tensor, "6 c"]:
    flat = response[0].flatten(1)
    pixels = flat.shape[1]
    total, length = (torch.linalg.vector_norm(flat, order, dim=1) for order in (1, 2))
    mean_abs = total / pixels
    spread = math.sqrt(pixels)
    sparsity = (spread - torch.where(length > 0, total / length, 1.0)) / (spread - 1) if pixels > 1 else mean_abs * 0
    active = torch.count_nonzero(flat > 0, dim=1) / pixels
    return torch.stack((flat.mean(1), mean_abs, length.square() / pixels, active, sparsity, mean_abs.square()))


def _frame(layer: str, means: Float[np.ndarray, "6 c"], count: int) -> pd.DataFrame:
    mean, mean_abs, square, active, sparsity, square_of_mean_abs = means
    variance = (square_of_mean_abs - mean_abs**2).clip(0) * count / (count - 1) if count > 1 else mean * np.nan
    return pd.DataFrame(
        {
            "layer": layer,
            "filter": np.arange(len(mean)),
            "mean": mean,
            "mean_abs": mean_abs,
            "std": np.sqrt((square - mean**2).clip(0)),
            "active": active,
            "sparsity": sparsity,
            "stderr": np.sqrt(variance / count),
        }
    )
