"""LR images for probes, read one by one, so memory does not grow with their number."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srgame.data.images import Image, center_crop, image_paths, read_image
from srgame.data.pairs import load_pairs
from srgame.errors import InputError, check_counts


@dataclass(frozen=True)
class LRImages:
    """LR images from files: without a `degradation` the files are LR images, with one `load_pairs` degrades them.

    `crop` keeps the middle pixels of each file. Each iteration reads the files again, one at a time.
    """

    paths: tuple[Path, ...]
    degradation: str | None = None
    scale: int = 4
    crop: int | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(path.stem for path in self.paths)

    def __iter__(self) -> Iterator[Image]:
        for path in self.paths:
            if self.degradation is not None:
                yield load_pairs(str(path), self.degradation, self.scale, crop=self.crop).lr[0]
            else:
                image = read_image(path)
                yield image if self.crop is None else center_crop(image, self.crop)


def lr_images(
    dataset: str = "photographs",
    degradation: str | None = None,
    scale: int = 4,
    images: int | None = None,
    crop: int | None = None,
) -> LRImages:
    """The LR images of the first `images` files of `dataset`, which is named as in `load_pairs`.

    Without a `degradation` the files are LR images themselves; `crop` counts pixels of the files.
    """
    check_counts(images=images, crop=crop)
    return LRImages(tuple(image_paths(dataset)[:images]), degradation, scale, crop)


@dataclass(frozen=True)
class LRPatches:
    """At most `count` patches of `side` × `side` pixels, the same number from each image, evenly spread over it.

    Patches do not overlap. An image too small for its share gives fewer, and a warning reports the total. Raises
    InputError if no image has a patch.
    """

    images: LRImages
    side: int = 32
    count: int = 300

    def __iter__(self) -> Iterator[Image]:
        each = -(-self.count // len(self.images))
        left = self.count
        for image in self.images:
            patches = self._of(image, min(each, left))
            left -= len(patches)
            yield from patches
        if left == self.count:
            raise InputError(f"no LR image has {self.side}×{self.side} pixels: choose smaller patches")
        if left:
            words = f"{self.count - left} patches instead of {self.count}: some images are too small for their share"
            warnings.warn(words, stacklevel=2)

    def _of(self, image: Image, most: int) -> list[Image]:
        down, across = (length // self.side for length in image.shape[1:])
        places = (
            np.unique(np.linspace(0, down * across - 1, most).round().astype(int)) if down * across else np.arange(0)
        )
        corners = ((place // across * self.side, place % across * self.side) for place in places.tolist())
        return [image[:, top : top + self.side, left : left + self.side] for top, left in corners]
