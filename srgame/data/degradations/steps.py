"""The steps of practical degradations: blur, resize, noise, jpeg, stride.

A plan holds everything that was drawn for one image: its steps, each name with a number, in the order in which they are
applied, and their parameters. It is plain data: a manifest lists it, and `degraded` applies it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from srgame.data.degradations.jpeg import YCC, jpeg
from srgame.data.degradations.kernels import Kernel, kernel, padded
from srgame.errors import InputError
from srgame.metrics import quantized

Images = Float[Tensor, "b 3 h w"]
Resized = Float[Tensor, "b 3 H W"]
Image = Float[Tensor, "3 h w"]
Noise = Float[Tensor, "c h w"]
Kernels = Sequence[Float[np.ndarray, "_ _"]]
Plan = dict[str, dict[str, Any]]

MODES = ("area", "bilinear", "bicubic")


def degraded(images: Images, plans: Sequence[Plan], opencv: bool | None = None) -> Resized:
    """The images after the steps of their plans, as 8-bit values in [0, 1]; all plans have the same steps and sizes.

    `opencv` forces OpenCV (True) or torch (False) for blur and JPEG; the default is OpenCV on a CPU.
    """
    for name in plans[0]:
        images = _applied(name.rstrip("0123456789"), images, [plan[name] for plan in plans], opencv)
    return quantized(images)


def _applied(step: str, images: Images, drawn: list[dict[str, Any]], opencv: bool | None) -> Resized:
    match step:
        case "blur":
            return blurred(images, [kernel(**each) for each in drawn], opencv)
        case "resize":
            return resized(images, **drawn[0])
        case "noise":
            pairs = zip(images, drawn, strict=True)
            return torch.stack([noisy(image, **each) for image, each in pairs])
        case "jpeg":
            return jpeg(images, [each["quality"] for each in drawn], opencv)
        case "stride":
            return images[..., :: drawn[0]["step"], :: drawn[0]["step"]]
    raise InputError(f"unknown step '{step}' in a plan: use blur, resize, noise, jpeg or stride")


def lr_size(hr: Images, scale: int) -> tuple[int, int]:
    """Height and width of the LR images; raises InputError if the scale does not divide the HR images' sides."""
    height, width = hr.shape[-2:]
    if height % scale or width % scale:
        raise InputError(f"{width}×{height} pixels are not multiples of scale {scale}: crop the HR images first")
    return height // scale, width // scale


def drawn_resize(rng: np.random.Generator, height: int, width: int) -> dict[str, Any]:
    """A resize to this size, at least one pixel, with a random mode."""
    return {"height": max(1, height), "width": max(1, width), "mode": str(rng.choice(MODES))}


def drawn_seed(rng: np.random.Generator) -> int:
    """A random seed for a step of noise."""
    return int(rng.integers(2**32))


def resized(images: Images, height: int, width: int, mode: str) -> Resized:
    """The images resized to this size, without antialias."""
    return images if images.shape[-2:] == (height, width) else F.interpolate(images, (height, width), mode=mode)


def blurred(images: Images, kernels: Kernels, opencv: bool | None = None) -> Images:
    """Each image correlated with its own kernel; borders mirror the image without repeating the outermost pixels."""
    if images.device.type == "cpu" if opencv is None else opencv:
        pairs = zip(images.cpu().numpy(), kernels, strict=True)
        return torch.from_numpy(np.array([_filtered(image, taps) for image, taps in pairs])).to(images.device)
    size = max(map(len, kernels))
    weights = images.new_tensor(np.stack([padded(taps, size) for taps in kernels])).repeat_interleave(3, 0)
    rows, columns = (_mirrored(side, size // 2).to(images.device) for side in images.shape[-2:])
    planes = images[..., rows[:, None], columns].flatten(0, 1)
    return F.conv2d(planes, weights[:, None], groups=len(planes)).view_as(images)


def _filtered(image: Float[np.ndarray, "3 h w"], taps: Kernel) -> list[Float[np.ndarray, "h w"]]:
    """OpenCV's correlation of each channel; a kernel of rank 1, such as an isotropic Gaussian, takes two passes."""
    top, left = np.unravel_index(taps.argmax(), taps.shape)  # the middle tap of a shifted, narrow kernel is 0
    row, column = taps[top], taps[:, left] / taps[top, left]
    if np.allclose(np.outer(column, row), taps, rtol=0, atol=1e-8):
        return [cv2.sepFilter2D(plane, -1, row.astype(np.float32), column.astype(np.float32)) for plane in image]
    return [cv2.filter2D(plane, -1, taps.astype(np.float32)) for plane in image]


def _mirrored(side: int, margin: int) -> Int[Tensor, "padded"]:
    """For each pixel of a side padded by `margin`, the index of the pixel that it mirrors; any margin works."""
    period = max(1, 2 * side - 2)
    index = torch.arange(-margin, side + margin) % period
    return torch.minimum(index, period - index)


def noisy(image: Image, kind: str, seed: int, **parameters: Any) -> Image:
    """The image with noise added, clamped to [0, 1]."""
    generator = torch.Generator(image.device).manual_seed(seed)
    return (image + NOISES[kind](image, generator, **parameters)).clamp(0, 1)


def gaussian(image: Image, generator: torch.Generator, strength: float, grey: bool) -> Noise:
    """Gaussian noise with standard deviation `strength`, the same in all channels if grey."""
    shape = image[:1].shape if grey else image.shape
    return strength * torch.randn(shape, generator=generator, device=image.device)


def correlated(image: Image, generator: torch.Generator, covariance: list[list[float]]) -> Noise:
    """Gaussian noise with this covariance between the channels."""
    values, vectors = np.linalg.eigh(covariance)
    root = image.new_tensor(vectors * np.sqrt(values.clip(0)))
    return torch.einsum("ck,khw->chw", root, gaussian(image, generator, 1.0, False))


def poisson(image: Image, generator: torch.Generator, strength: float, grey: bool) -> Noise:
    """`strength` times the shot noise of the image, or of its luma if grey.

    A pixel of value 1 stands for N photons: N is the number of distinct 8-bit values in the image, rounded up to a
    power of 2.
    """
    signal = torch.einsum("c,chw->hw", image.new_tensor(YCC[0]), image)[None] if grey else image
    levels = (255 * signal.clamp(0, 1)).round()
    distinct = int(torch.bincount(levels.int().flatten()).count_nonzero())
    photons = 2 ** math.ceil(math.log2(distinct))
    expected = levels / 255 * photons
    noise: Tensor = strength * (torch.poisson(expected, generator) - expected) / photons
    return noise


NOISES: dict[str, Callable[..., Noise]] = {"gaussian": gaussian, "correlated": correlated, "poisson": poisson}
