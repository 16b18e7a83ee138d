"""Channel salience maps (CSM; Kong et al. 2022, Reflash Dropout; paper, Fig. 3): where a channel matters to the edges.

T is the sum of the edges of the SR image (`edges`) and F is a layer's response. CSM is |∂T/∂F| divided by its largest
value over the whole layer; a channel's score is the sum over its map. The largest value is often an outlier, so compare
the scores of two layers or networks by their shares.

For the last feature layer, the gradient passes through a single conv. Its maps therefore show the conv's weights and
the edges of the SR image, but not how active the channel itself is.
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
from srgame.devices import device_of
from srgame.errors import InputError
from srgame.filters import differentiating, evaluating, run
from srgame.probes.equity import equity, shares
from srgame.probes.features import Response, listening, lr_images_of, single

EPSILON = 1e-8  # under the root: without it, the gradient in a flat region is NaN


def edges(sr: Float[Tensor, "b c h w"], epsilon: float = EPSILON) -> Float[Tensor, "b c h-1 w-1"]:
    """√(vertical difference² + horizontal difference² + ε) at each pixel except the last row and column."""
    down = sr[..., :-1, :-1] - sr[..., 1:, :-1]
    across = sr[..., :-1, :-1] - sr[..., :-1, 1:]
    return (down.square() + across.square() + epsilon).sqrt()


def channel_salience(
    network: nn.Module, images: Iterable[Image] | Pairs, layers: Sequence[str] = ("conv_last:input",)
) -> pd.DataFrame:
    """One row per layer and channel: layer, filter, salience (the sum of its CSM) and share; means over images.

    `share` is the channel's share of the layer's total salience; `salience_summary` measures how equal the shares are.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> salience = channel_salience(network, pairs, ["conv_hr"])
    >>> len(salience), round(float(salience["share"].sum()), 9)
    (4, 1.0)
    """
    layers = (layers,) if isinstance(layers, str) else layers
    scores: dict[str, list[np.ndarray]] = {layer: [] for layer in layers}
    for image in lr_images_of(images):
        for layer, (_, salience) in _salient(network, image, layers).items():
            scores[layer].append(salience.flatten(1).sum(1).double().cpu().numpy())
    if not all(scores.values()):
        raise InputError("no image, no salience: give at least one image and one layer")
    return pd.concat([_frame(layer, np.stack(rows)) for layer, rows in scores.items()], ignore_index=True)


def salience_summary(salience: pd.DataFrame, by: Sequence[str] = ("layer",)) -> pd.DataFrame:
    """One row per group: the equity of the salience scores."""
    return equity(salience, "salience", by)


def salience_maps(
    network: nn.Module, image: Image, layers: Sequence[str] = ("conv_last:input",), size: int = 32
) -> pd.DataFrame:
    """One row per layer, channel and place on one image: layer, filter, row, column, feature, salience.

    Features and their CSM are shrunk by averaging to at most `size` × `size` places.
    """
    frames = []
    for layer, maps in salient_features(network, image, layers).items():
        height, width = (min(size, length) for length in maps[0].shape[1:])
        feature, salience = (F.adaptive_avg_pool2d(m, (height, width)).cpu().numpy() for m in maps)
        channel, row, column = (axis.ravel() for axis in np.indices(feature.shape))
        place = {"layer": layer, "filter": channel, "row": row, "column": column}
        frames.append(pd.DataFrame(place | {"feature": feature.ravel(), "salience": salience.ravel()}))
    return pd.concat(frames, ignore_index=True)


def salient_features(
    network: nn.Module, image: Image, layers: Sequence[str]
) -> dict[str, tuple[Float[Tensor, "c h w"], Float[Tensor, "c h w"]]]:
    """By layer, for one image: the response and its CSM. Raises InputError for a layer without two axes of space."""
    salient = _salient(network, image, layers)
    for layer, (response, _) in salient.items():
        if (axes := response.ndim - 1) != 2:
            raise InputError(f"the layer '{layer}' responds with {axes} axes of space: name a layer with two")
    return salient


def _salient(
    network: nn.Module, image: Image, layers: Sequence[str]
) -> dict[str, tuple[Float[Tensor, "c ..."], Float[Tensor, "c ..."]]]:
    heard: dict[str, list[Response]] = {layer: [] for layer in layers}

    def hear(layer: str, response: Response) -> Response:
        heard[layer].append(response)
        return response.clone()  # an activation in place behind the layer then overwrites the copy

    lr = image[None].to(device_of(network)).clone().requires_grad_()  # parameters may be frozen
    with evaluating(network), torch.enable_grad(), listening(network, layers, hear):
        total = edges(run(network, lr)).sum()
    responses = [single(layer, heard[layer]) for layer in layers]
    with differentiating():
        gradients = torch.autograd.grad(total, responses, materialize_grads=True)
    return {
        layer: (response[0].detach(), _normalised(gradient[0].abs()))
        for layer, response, gradient in zip(layers, responses, gradients, strict=True)
    }


def _normalised(size: Float[Tensor, "c ..."]) -> Float[Tensor, "c ..."]:
    largest = size.max()
    return size / largest if largest > 0 else size


def _frame(layer: str, scores: Float[np.ndarray, "image channel"]) -> pd.DataFrame:
    share = np.mean([shares(row) for row in scores], axis=0)
    columns = {"filter": np.arange(scores.shape[1]), "salience": scores.mean(0), "share": share}
    return pd.DataFrame({"layer": layer} | columns)
