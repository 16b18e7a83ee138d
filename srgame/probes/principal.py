"""A helper of `ddr` and `srga`, not a probe: principal components of features too large for memory.

An image has up to a million features, and there are hundreds of images.
"""

import tempfile
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from srgame.data.images import Image
from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.probes.features import Response, features

BLOCK = 2**14  # values of each image in memory at a time


def principal_scores(
    vectors: Iterable[Float[Tensor, " value"]], components: int
) -> Float[np.ndarray, "vector component"]:
    """The vectors' coordinates along their first principal components, at most as many as there are vectors.

    The vectors are written to a temporary file and read in blocks. The components follow exactly from the vectors'
    matrix of inner products, so memory holds only that matrix and one block. Each component's largest coordinate is
    positive.

    Raises InputError for fewer than two vectors and for vectors of different lengths.
    """
    with tempfile.TemporaryFile() as file:
        count, length = _write(vectors, file)
        products = np.zeros((count, count))
        for block in _blocks(file, count, length):
            centred = block - block.mean(0)
            products += centred @ centred.T
    variances, directions = np.linalg.eigh(products)
    largest_first = np.argsort(variances)[::-1][:components]
    scores = directions[:, largest_first] * np.sqrt(variances[largest_first].clip(0))
    largest = scores[np.abs(scores).argmax(0), np.arange(scores.shape[1])]
    return np.asarray(np.where(largest < 0, -scores, scores))


def flattened(network: nn.Module, images: Iterable[Image] | Pairs, layer: str) -> Iterator[Float[Tensor, " value"]]:
    """The response of `layer` to each image, as one vector."""

    def flatten(response: Response) -> Tensor:
        return response[0].flatten().clone()  # an activation in place may overwrite the response

    return (vectors[layer] for vectors in features(network, images, [layer], flatten))


def _write(vectors: Iterable[Float[Tensor, " value"]], file: IO[bytes]) -> tuple[int, int]:
    """Writes the vectors in float32, one after another; returns their number and their length."""
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
        stored = np.memmap(
            file, np.float32, "r", shape=(count, length)
        )  # opened per block, so that the last block's memory is freed
        yield np.array(stored[:, start : start + BLOCK])
