"""Pairs of LR and HR images: an image set under one of the test settings."""

from dataclasses import dataclass, replace
from pathlib import Path

from srgame.data.degradations.testing import degrade, seed_of
from srgame.data.images import Image, center_crop, image_paths, read_image, upsample
from srgame.errors import InputError, check_counts


@dataclass(frozen=True)
class Pairs:
    """LR images and, `scale` times larger, their HR images; images may differ in size."""

    names: tuple[str, ...]
    lr: tuple[Image, ...]
    hr: tuple[Image, ...]

    def __len__(self) -> int:
        return len(self.names)


def load_pairs(
    dataset: str = "photographs",
    degradation: str = "clean",
    scale: int = 4,
    images: int | None = None,
    crop: int | None = None,
    seed: int = 0,
) -> Pairs:
    """The first `images` images of `dataset` (default: all), cut to their middle `crop` pixels (default: uncut).

    `dataset` is "photographs" (four, embedded), a folder, a file, or the name of a set in the folder $SRGAME_DATA. HR
    images are cut to a multiple of `scale`. Noise depends only on the set, the image, the degradation and `seed`.

    Raises InputError for an unknown degradation, and if an image is missing, unreadable or too small.
    """
    check_counts(images=images, crop=crop)
    paths = image_paths(dataset)[:images]
    hr = tuple(_hr(path, scale, crop) for path in paths)
    seeds = (seed_of(path.parent.name, path.stem, degradation, seed) for path in paths)
    lr = tuple(degrade(image, degradation, scale, s) for image, s in zip(hr, seeds, strict=True))
    return Pairs(tuple(path.stem for path in paths), lr, hr)


def _hr(path: Path, scale: int, crop: int | None) -> Image:
    image = read_image(path)
    if crop is not None:
        image = center_crop(image, crop)
    _, height, width = image.shape
    if min(height, width) < scale:
        raise InputError(f"'{path}' has {width}×{height} pixels: too small for scale {scale}")
    return image[:, : height // scale * scale, : width // scale * scale]


def toward_bicubic(pairs: Pairs) -> Pairs:
    """The same LR images with their bicubic upsampling as target: EATS trains erased networks towards it."""
    scale = pairs.hr[0].shape[-1] // pairs.lr[0].shape[-1]
    return replace(pairs, hr=tuple(upsample(lr[None], scale)[0] for lr in pairs.lr))
