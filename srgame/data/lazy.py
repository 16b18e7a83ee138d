"""Images read one by one, so memory does not grow with their number: for probes, validation and training."""

import math
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from srgame.data.images import Image, center_crop, image_paths, read_image, read_rgb
from srgame.data.pairs import Pairs, load_pairs
from srgame.errors import InputError, check_counts

CACHE_BYTES = 1 << 28  # of decoded images in each training process: 45 images of two megapixels


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
        return map(self.read, self.paths)

    def read(self, path: Path) -> Image:
        """The LR image of one of the files."""
        if self.degradation is not None:
            return load_pairs(str(path), self.degradation, self.scale, crop=self.crop).lr[0]
        image = read_image(path)
        return image if self.crop is None else center_crop(image, self.crop)


def lr_images(
    dataset: str = "photographs",
    degradation: str | None = None,
    scale: int = 4,
    images: int | None = None,
    crop: int | None = None,
    subfolders: bool = False,
) -> LRImages:
    """The LR images of the first `images` files of `dataset`, which is named as in `load_pairs`.

    Without a `degradation` the files are LR images themselves; `crop` counts pixels of the files.

    >>> [tuple(image.shape) for image in lr_images("photographs", "blur", images=2, crop=40)]
    [(3, 10, 10), (3, 10, 10)]
    """
    check_counts(images=images, crop=crop)
    return LRImages(tuple(image_paths(dataset, subfolders)[:images]), degradation, scale, crop)


@dataclass(frozen=True)
class LazyPairs:
    """The pairs that `load_pairs` makes of these files, one at a time: each iteration reads the files again."""

    paths: tuple[Path, ...]
    degradation: str = "clean"
    scale: int = 4
    crop: int | None = None
    seed: int = 0

    def __len__(self) -> int:
        return len(self.paths)

    def __iter__(self) -> Iterator[Pairs]:
        for path in self.paths:
            yield load_pairs(str(path), self.degradation, self.scale, crop=self.crop, seed=self.seed)


def lazy_pairs(
    dataset: str = "photographs", degradation: str = "clean", scale: int = 4, subfolders: bool = False
) -> LazyPairs:
    """The pairs of `load_pairs`, read one at a time.

    Raises InputError as `load_pairs` does, at once: each pair is made once to find files that cannot be used.
    """
    pairs = LazyPairs(tuple(image_paths(dataset, subfolders)), degradation, scale)
    for _ in pairs:
        pass
    return pairs


class LazyImages(Sequence[UInt8[np.ndarray, "_ _ 3"]]):
    """The images in `paths` as bytes, decoded when they are used; a cache of `cache_bytes` holds the last ones used.

    `shapes` has the shape of each. To find damaged files before a training begins, each is decoded once at first.
    A copy in another process starts with an empty cache.

    Raises InputError for unreadable files, and later for a file whose size has changed since.
    """

    def __init__(self, paths: Sequence[Path], cache_bytes: int = CACHE_BYTES) -> None:
        self.paths, self.cache_bytes = tuple(paths), cache_bytes
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self.shapes: tuple[tuple[int, ...], ...] = ()
        self.shapes = tuple(self[index].shape for index in range(len(self.paths)))

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def nbytes(self) -> int:
        """The bytes of all images, decoded."""
        return sum(math.prod(shape) for shape in self.shapes)

    def __getitem__(self, index: int) -> UInt8[np.ndarray, "_ _ 3"]:  # type: ignore[override]
        if index in self._cache:
            self._cache.move_to_end(index)
            return self._cache[index]
        image = read_rgb(self.paths[index])
        if self.shapes and image.shape != self.shapes[index]:
            raise InputError(f"'{self.paths[index]}' has changed since the training began: start the training again")
        self._cache[index] = image
        size = sum(each.nbytes for each in self._cache.values())
        while size > self.cache_bytes:
            size -= self._cache.popitem(last=False)[1].nbytes
        return image

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_cache": OrderedDict()}


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
