"""Pairs of LR and HR images: an image set under one of the test settings, or real pairs from two folders."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from srgame.data.degradations.testing import degrade, seed_of
from srgame.data.images import Image, center_crop, image_paths, in_words, read_image, upsample
from srgame.errors import InputError, check_counts

# What names of LR and HR images end or begin with: 0801x4.png, Canon_001_LR4.png, img_001_SRF_4_HR.png, GT_7.png
TAG = re.compile(
    r"(?:[_. -]?x\d+[mwd]?|[_. -](?:lr|hr|gt|sr|lrbi|lrbicubic)\d*|[_. -]srf_?\d+)+$|^(?:lr|hr|gt)[_. -]", re.I
)
LR_TAG = re.compile(r"x[2-9][mwd]?$|[_. -]lr[a-z]*\d*$|^lr[_. -]", re.I)


@dataclass(frozen=True)
class Pairs:
    """LR images and, `scale` times larger, their HR images; images may differ in size.

    Raises InputError, with the image's name, if an HR image is not a whole number of times larger than its LR image, if
    this number is not the same for all images, and if a pixel is not finite.

    >>> import torch
    >>> pairs = Pairs(("grey",), (torch.full((3, 8, 6), 0.5),), (torch.full((3, 32, 24), 0.5),))
    >>> pairs
    <1 pairs of LR and HR images, scale 4: grey 24×32>
    """

    names: tuple[str, ...]
    lr: tuple[Image, ...]
    hr: tuple[Image, ...]

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.lr) == len(self.hr) > 0:
            counts = f"{len(self.names)} names, {len(self.lr)} LR and {len(self.hr)} HR images"
            raise InputError(f"pairs need at least one image, and as many LR images as HR images, not {counts}")
        for name, lr, hr in zip(self.names, self.lr, self.hr, strict=True):
            _check_pair(name, lr, hr, self.scale)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator["Pairs"]:
        """Each pair alone."""
        for name, lr, hr in zip(self.names, self.lr, self.hr, strict=True):
            yield Pairs((name,), (lr,), (hr,))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {in_words(hr)}" for name, hr in list(zip(self.names, self.hr, strict=True))[:4])
        return f"<{len(self)} pairs of LR and HR images, scale {self.scale}: {sizes}{', …' * (len(self) > 4)}>"

    def _repr_html_(self) -> str:
        sizes = {"image": self.names, "LR": map(in_words, self.lr), "HR": map(in_words, self.hr)}
        table = pd.DataFrame(sizes).to_html(max_rows=20, index=False)
        return f"<p>{len(self)} pairs of LR and HR images, scale {self.scale}</p>{table}"

    @property
    def scale(self) -> int:
        """The number of times that HR images are larger than LR images; 1 if they have the same size."""
        return max(1, self.hr[0].shape[-1] // max(1, self.lr[0].shape[-1]))


def _check_pair(name: str, lr: Image, hr: Image, scale: int) -> None:
    """Raises InputError unless both images are RGB, finite, and of sizes that fit the scale."""
    if lr.ndim != 3 or hr.ndim != 3 or len(lr) != 3 or len(hr) != 3:
        shapes = f"{tuple(lr.shape)} and {tuple(hr.shape)}"
        raise InputError(f"the images of '{name}' have shapes {shapes}: give RGB images of shape (3, height, width)")
    if tuple(scale * side for side in lr.shape[1:]) != tuple(hr.shape[1:]) or not lr.numel():
        raise InputError(
            f"the LR image of '{name}' has {in_words(lr)} pixels and its HR image {in_words(hr)}: "
            f"HR must be exactly {scale} times larger, as in the first pair"
        )
    for kind, image in (("LR", lr), ("HR", hr)):
        if not image.isfinite().all():
            raise InputError(f"the {kind} image of '{name}' has pixels that are NaN or infinite: replace it")


def load_pairs(
    dataset: str = "photographs",
    degradation: str = "clean",
    scale: int = 4,
    images: int | None = None,
    crop: int | None = None,
    seed: int = 0,
    subfolders: bool = False,
) -> Pairs:
    """The first `images` images of `dataset` (default: all), cut to their middle `crop` pixels (default: uncut).

    `dataset` is "photographs" (four, embedded), a folder (with its `subfolders` or without), a file, or the name of a
    set in the folder $SRGAME_DATA. HR images are cut to a multiple of `scale`. Noise depends only on the set, the
    image, the degradation and `seed`.

    Raises InputError for an unknown degradation, and if an image is missing, unreadable or too small.

    >>> load_pairs("photographs", degradation="b+n", images=2, crop=96)
    <2 pairs of LR and HR images, scale 4: astronaut 96×96, chelsea 96×96>
    """
    check_counts(images=images, crop=crop)
    paths = image_paths(dataset, subfolders)[:images]
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


def paired(
    lr: str,
    hr: str,
    scale: int | None = None,
    images: int | None = None,
    crop: int | None = None,
    subfolders: bool = False,
) -> Pairs:
    """The first `images` real pairs (default: all) of two image sets, cut to their middle `crop` HR pixels.

    Sets are named as in `load_pairs`, files are matched as by `matched`, and names are those of the HR files. HR images
    are cut to a multiple of the scale. The scale may be 1; by default it is measured on the first pair.

    Raises InputError if nothing matches, and if the sizes of a pair do not fit the scale.

    >>> from tempfile import TemporaryDirectory
    >>> import cv2
    >>> import numpy as np
    >>> with TemporaryDirectory() as folder:
    ...     for name, side in (("house_LR2", 20), ("house_HR", 40)):
    ...         _ = cv2.imwrite(f"{folder}/{name}.png", np.zeros((side, side, 3)))
    ...     paired(folder, folder)
    <1 pairs of LR and HR images, scale 2: house_HR 40×40>
    """
    check_counts(scale=scale, images=images, crop=crop)
    read = []
    for lr_path, hr_path in matched(lr, hr, subfolders)[:images]:
        read.append(read_pair(lr_path, hr_path, scale, crop))
        scale = read[0].scale
    return Pairs(*(tuple(part for pair in read for part in getattr(pair, kind)) for kind in ("names", "lr", "hr")))


def read_pair(lr_path: Path, hr_path: Path, scale: int | None = None, crop: int | None = None) -> Pairs:
    """The pair in two files, named after the HR file; the arguments are those of `paired`."""
    lr, hr = read_image(lr_path), read_image(hr_path)
    factor = max(1, hr.shape[-1] // lr.shape[-1]) if scale is None else scale
    if [side // factor for side in hr.shape[1:]] != list(lr.shape[1:]):
        wanted = "a whole number of times larger" if scale is None else f"{scale} times larger"
        raise InputError(
            f"'{lr_path}' has {in_words(lr)} pixels and '{hr_path}' {in_words(hr)}, which is not {wanted}: "
            "give pairs of one scale, whose images show the same scene"
        )
    if crop is not None:
        side = max(1, crop // factor)
        top, left = (max(0, length - side) // 2 for length in lr.shape[1:])
        lr, hr = lr[:, top : top + side, left : left + side], hr[:, factor * top :, factor * left :]
    height, width = (factor * length for length in lr.shape[1:])
    return Pairs((hr_path.stem,), (lr,), (hr[:, :height, :width],))


def matched(lr: str, hr: str, subfolders: bool = False) -> list[tuple[Path, Path]]:
    """The LR and HR files with the same name, except for tags such as x4, _LR4 and _HR; sorted by the HR file's name.

    If both sets are the same folder, files with a tag of LR images are LR, and the others HR. Files without a partner
    are left out, with a warning that names them.

    Raises InputError if no names match, and if several files have the same name apart from tags.
    """
    lr_paths, hr_paths = image_paths(lr, subfolders), image_paths(hr, subfolders)
    if lr_paths == hr_paths:
        lr_paths = [path for path in lr_paths if LR_TAG.search(path.stem)]
        hr_paths = [path for path in hr_paths if path not in lr_paths]
        if not (lr_paths and hr_paths):
            raise InputError(f"'{lr}' cannot hold both LR and HR images: no name, or every name, has a tag such as _LR")
    if len(lr_paths) == len(hr_paths) == 1 and Path(lr).is_file() and Path(hr).is_file():
        return [(lr_paths[0], hr_paths[0])]
    exact = {path.stem for path in lr_paths} & {path.stem for path in hr_paths}
    lr_named, hr_named = _by_name(lr_paths, exact), _by_name(hr_paths, exact)
    both = [name for name in hr_named if name in lr_named]
    if not both:
        raise InputError(
            f"no image of '{lr}' has the name of an image of '{hr}' ('{lr_paths[0].name}' and '{hr_paths[0].name}', "
            "for example): name both files of a pair alike, apart from tags such as x4 or _LR"
        )
    for named, other, where in ((lr_named, hr_named, lr), (hr_named, lr_named, hr)):
        if alone := [path.name for name, path in named.items() if name not in other]:
            warnings.warn(f"images of '{where}' without a partner are left out: {', '.join(alone)}", stacklevel=3)
    return [(lr_named[name], hr_named[name]) for name in both]


def _by_name(paths: list[Path], exact: set[str]) -> dict[str, Path]:
    """The files by their name, which loses its tags unless it is one of the `exact` names."""
    named = dict[str, Path]()
    for path in paths:
        name = path.stem if path.stem in exact else TAG.sub("", path.stem).lower()
        if name in named:
            raise InputError(
                f"'{named[name]}' and '{path}' have the same name apart from tags: move one to another folder"
            )
        named[name] = path
    return named


def toward_bicubic(pairs: Pairs) -> Pairs:
    """The same LR images with their bicubic upsampling as target: EATS trains erased networks towards it."""
    return replace(pairs, hr=tuple(upsample(lr[None], pairs.scale)[0] for lr in pairs.lr))
