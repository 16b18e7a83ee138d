"""Principal components of features that are too many to hold: a million values for each of hundreds of images."""

import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from srgame.data.images import Image
from srgame.errors import InputError
from srgame.probes.features import Response, features

BLOCK = 2**14  # values of each image in memory at a time


def principal_scores(
    vectors: Iterable[Float[Tensor, " value"]], components: int
) -> Float[np.ndarray, "vector component"]:
    """The vectors' coordinates along their first principal components, as many as `components` or as there are vectors.

    The vectors lie in a temporary file; what is decomposed is their matrix of inner products, which the components come
    out of exactly, so memory holds that and a block of values. A component's largest coordinate is positive.

    Raises InputError for fewer than two vectors, and where they differ in length.
    """
    with tempfile.TemporaryFile() as file:
        count, length = _stored(vectors, file)
        products = np.zeros((count, count))
        for block in _blocks(file, count, length):
            centred = block - block.mean(0)
            products += centred @ centred.T
    variances, directions = np.linalg.eigh(products)
    largest_first = np.argsort(variances)[::-1][:components]
    scores = directions[:, largest_first] * np.sqrt(variances[largest_first].clip(0))
    largest = scores[np.abs(scores).argmax(0), np.arange(scores.shape[1])]
    return np.asarray(np.where(largest < 0, -scores, scores))


def flattened(network: nn.Module, images: Iterable[Image], layer: str) -> Iterator[Float[Tensor, " value"]]:
    """Each image's response in `layer` as one vector."""

    def keep(response: Response) -> Tensor:
        return response[0].flatten().clone()  # an activation in place may overwrite the response

    return (kept[layer] for kept in features(network, images, [layer], keep))


def _stored(vectors: Iterable[Float[Tensor, " value"]], file: IO[bytes]) -> tuple[int, int]:
    """Writes the vectors in float32, one after another; returns how many there are, and their length."""
    lengths = []
    for vector in vectors:
        vector.float().cpu().numpy().tofile(file)
        lengths.append(len(vector))
    if len(lengths) < 2:
        raise InputError(f"{len(lengths)} images have no principal components: give at least two")
    if len(set(lengths)) > 1:
        raise InputError(f"images of one size are needed: their features have {min(lengths)} to {max(lengths)} values")
    file.flush()
    return len(lengths), lengths[0]


def _blocks(file: IO[bytes], count: int, length: int) -> Iterator[Float[np.ndarray, "vector block"]]:
    for start in range(0, length, BLOCK):
        stored = np.memmap(file, np.float32, "r", shape=(count, length))  # anew, so that what was read can be let go
        yield np.array(stored[:, start : start + BLOCK])
