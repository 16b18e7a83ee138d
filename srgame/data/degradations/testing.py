"""The eight settings under which SR networks are tested (Reflash Dropout's recipe; paper, section 4.3.2).

Their letters stand for steps, in this order: b is a Gaussian blur of the HR image, 21×21, σ = 2; bicubic downsampling
follows in every setting; n is Gaussian noise on the LR image, σ = 20/255 per RGB channel; j is JPEG with quality 50 and
halved chroma. Each step returns an 8-bit image; noisy values are truncated, as in Reflash Dropout.
"""

import hashlib
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import UInt8

from srgame.data.images import Image, from_bytes, resize, to_bytes
from srgame.errors import InputError, chosen

SETTINGS = {"clean": "", "blur": "b", "noise": "n", "jpeg": "j", "b+n": "bn", "b+j": "bj", "n+j": "nj", "b+n+j": "bnj"}

BLUR = {"size": 21, "sigma": 2}  # pixels of the HR image
SIGMA = 20 / 255  # of the noise
QUALITY = 50  # of JPEG

Pixels = UInt8[np.ndarray, "h w 3"]


def degrade(hr: Image, setting: str = "clean", scale: int = 4, seed: int = 0) -> Image:
    """The LR image of `hr` under one of the SETTINGS, `scale` times smaller (rounded down).

    Raises InputError for an unknown setting and for an image smaller than one LR pixel.
    """
    steps = chosen("degradation", setting, SETTINGS)
    if min(hr.shape[-2:]) < scale:
        raise InputError(
            f"an image of {hr.shape[-1]}×{hr.shape[-2]} pixels is too small for scale {scale}: use a larger image"
        )
    pixels = to_bytes(hr)
    if "b" in steps:
        pixels = cv2.GaussianBlur(pixels, (BLUR["size"], BLUR["size"]), BLUR["sigma"])
    pixels = downsampled(pixels, scale)
    if "n" in steps:
        pixels = noisy(pixels, SIGMA, np.random.default_rng(seed))
    if "j" in steps:
        pixels = compressed(pixels, QUALITY)
    return from_bytes(pixels)


def steps_of(setting: str, scale: int = 4, seed: int = 0) -> dict[str, dict[str, Any]]:
    """The steps of a setting with their parameters, in their order, for a reader; `degrade` applies them."""
    of_letter: dict[str, dict[str, dict[str, Any]]] = {
        "b": {"blur1": {"kind": "gaussian", "size": BLUR["size"], "sigma_x": BLUR["sigma"], "sigma_y": BLUR["sigma"]}},
        "n": {"noise1": {"kind": "gaussian", "strength": SIGMA, "grey": False, "seed": seed}},
        "j": {"jpeg1": {"quality": QUALITY}},
    }
    letters = chosen("degradation", setting, SETTINGS)
    blur = of_letter["b"] if "b" in letters else {}
    steps = blur | {"bicubic1": {"scale": scale}}
    for letter in letters.removeprefix("b"):
        steps |= of_letter[letter]
    return steps


def seed_of(*names: object) -> int:
    """A seed that depends only on these names, so noise repeats for an image and differs between images."""
    return int.from_bytes(hashlib.sha256("/".join(map(str, names)).encode()).digest()[:8], "little")


def downsampled(pixels: Pixels, scale: int) -> UInt8[np.ndarray, "H W 3"]:
    """The pixels after bicubic downsampling with antialias; as in Pillow, each of its two passes rounds to 8 bits."""
    height, width = pixels.shape[:2]
    planes = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)
    return resize(planes[None], height // scale, width // scale)[0].permute(1, 2, 0).numpy()


def noisy(pixels: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """The pixels with Gaussian noise of standard deviation `sigma` (for values in [0, 1]), independent per channel."""
    values = pixels / 255 + rng.normal(0, sigma, pixels.shape)
    return (values.clip(0, 1) * 255).astype(np.uint8)


def compressed(pixels: Pixels, quality: int) -> Pixels:
    """The pixels after JPEG compression with this quality."""
    stored = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR))[:, :, ::-1]
