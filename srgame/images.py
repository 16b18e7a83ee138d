"""Image sets as tensors: embedded photographs, benchmark folders, one file.

An image is a float32 tensor "3 h w" with RGB values in [0, 1] that are whole multiples of 1/255.
"""

import os
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Num, UInt8
from torch import Tensor

from srgame.errors import InputError

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")  # shipped in scikit-image's wheel
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")

Image = Float[Tensor, "3 _ _"]  # height and width


def image_paths(dataset: str) -> list[Path]:
    """The files of `dataset`, by name: "photographs" (embedded), a folder, a file, or a set below $SRGAME_DATA."""
    if dataset == "photographs":
        return [Path(str(files("skimage.data") / name)) for name in PHOTOGRAPHS]
    below_data = Path(os.environ.get("SRGAME_DATA", "")) / dataset
    place = next((p for p in (Path(dataset), below_data) if p.exists()), None)
    if place is None:
        known = f" or in $SRGAME_DATA ({below_data.parent})" if "SRGAME_DATA" in os.environ else ""
        raise InputError(
            f"no images at '{dataset}'{known}: give a folder, a file, 'photographs' (embedded), "
            "or the name of a set in the folder that $SRGAME_DATA names"
        )
    if not place.is_dir():
        return [place]
    found = sorted(p for p in place.iterdir() if p.suffix.lower() in SUFFIXES)
    if not found:
        raise InputError(f"the folder '{place}' holds no image ({', '.join(SUFFIXES)})")
    return found


def read_image(path: Path) -> Image:
    """The image in `path` as 8-bit RGB: grey is repeated, alpha dropped, 16 bits are rounded to 8.

    Raises InputError, with the file's name, where there is no readable image.
    """
    return from_bytes(read_rgb(path))


def read_rgb(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """What `read_image` returns, as bytes."""
    try:
        stored = np.fromfile(path, np.uint8)
        pixels = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED) if stored.size else None
    except (OSError, cv2.error):
        pixels = None
    if pixels is None:
        raise InputError(f"'{path}' cannot be read as an image: replace or remove it")
    if pixels.dtype == np.uint16:
        pixels = np.round(pixels / 257).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise InputError(f"'{path}' holds {pixels.dtype} pixels: save it with 8 or 16 bits a channel")
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB)


def from_bytes(pixels: UInt8[np.ndarray, "h w 3"]) -> Image:
    """The image of 8-bit pixels."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float() / 255


def to_bytes(image: Image) -> UInt8[np.ndarray, "h w 3"]:
    """The 8-bit pixels of an image: clamped and rounded."""
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def center_crop(image: Image, size: int) -> Image:
    """The middle `size` × `size` pixels, or less where the image is smaller."""
    _, height, width = image.shape
    top, left = max(0, height - size) // 2, max(0, width - size) // 2
    return image[:, top : top + size, left : left + size]


def resize(images: Num[Tensor, "b 3 h w"], height: int, width: int) -> Num[Tensor, "b 3 H W"]:
    """Bicubic resizing with antialias (a = -1/2), as Pillow's BICUBIC; bytes stay bytes, floats are not rounded."""
    return F.interpolate(images, (height, width), mode="bicubic", antialias=True)


def upsample(lr: Float[Tensor, "b 3 h w"], scale: int) -> Float[Tensor, "b 3 H W"]:
    """Bicubic upsampling, the baseline of every table."""
    return resize(lr, lr.shape[-2] * scale, lr.shape[-1] * scale)
