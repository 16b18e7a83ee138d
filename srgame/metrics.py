"""The quality of an SR image: one float64 number per image.

`psnr`, `ssim`, `mse` and `l1` take the images as they are, so that they can be payoffs of a game. `benchmark_pair`
prepares images for the numbers that tables print.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from srgame.errors import chosen

Images = Float[Tensor, "b c h w"]
Targets = Float[Tensor, "#b c h w"]
PerImage = Float[Tensor, " b"]
Payoff = Callable[[Images, Targets], PerImage]

LUMA, LUMA_OFFSET = (65.481 / 255, 128.553 / 255, 24.966 / 255), 16 / 255  # ITU-R BT.601
WINDOW = [math.exp(-(offset**2) / (2 * 1.5**2)) for offset in range(-5, 6)]  # Wang et al.: 11 pixels, σ = 1.5


def mse(sr: Images, hr: Targets) -> PerImage:
    """Mean squared error over channels and pixels, of values in [0, 1]."""
    return (sr.double() - hr.double()).square().flatten(1).mean(1)


def l1(sr: Images, hr: Targets) -> PerImage:
    """Mean absolute error over channels and pixels, of values in [0, 1]."""
    return (sr.double() - hr.double()).abs().flatten(1).mean(1)


def psnr(sr: Images, hr: Targets) -> PerImage:
    """Peak signal-to-noise ratio in dB, of values in [0, 1]; at most 100 dB, so that it is finite for equal images."""
    return psnr_of(mse(sr, hr))


def psnr_of(mse: Float64[Tensor, "..."]) -> Float64[Tensor, "..."]:
    """PSNR in dB of a mean squared error, as `psnr`."""
    return -10 * mse.clamp(min=1e-10).log10()


def ssim(sr: Images, hr: Targets) -> PerImage:
    """Structural similarity (Wang et al. 2004) of values in [0, 1]: the mean over channels and windows in the image.

    As in MATLAB and BasicSR, the window is Gaussian, 11×11 pixels, σ = 1.5. NaN for images smaller than the window.
    """
    if min(hr.shape[-2:]) < len(WINDOW):
        return sr.new_full((len(sr),), math.nan).double()
    x, y = sr.double(), hr.double()
    mean_x, mean_y = _windowed(x), _windowed(y)
    products, squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    covariance, variances = _windowed(x * y) - products, _windowed(x.square() + y.square()) - squares
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * products + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return similarity.flatten(1).mean(1)


def _windowed(images: Images) -> Float[Tensor, "b c H W"]:
    """The weighted mean of each window that lies inside the image."""
    total = math.fsum(WINDOW)
    for axis in (-2, -1):
        length = images.shape[axis] - len(WINDOW) + 1
        shifted = (weight / total * images.narrow(axis, start, length) for start, weight in enumerate(WINDOW))
        images = sum(shifted, start=images.new_zeros(()))
    return images


def benchmark_pair(
    sr: Images, hr: Targets, border: int, channel: Literal["rgb", "y"] = "rgb"
) -> tuple[Float[Tensor, "b k H W"], Float[Tensor, "#b k H W"]]:
    """The SR and HR images as SR tables compare them.

    SR is rounded to 8 bits, `border` pixels are cut from each side, and "y" keeps only the luma.
    """
    height, width = hr.shape[-2:]
    sr, hr = (x[..., border : height - border, border : width - border] for x in (quantized(sr), hr))
    return (luma(sr), luma(hr)) if channel == "y" else (sr, hr)


def quantized(images: Images) -> Images:
    """The images, clamped to [0, 1] and rounded to multiples of 1/255."""
    return (images.clamp(0, 1) * 255).round() / 255


def luma(images: Images) -> Float[Tensor, "b 1 h w"]:
    """Y of MATLAB's YCbCr, from 16/255 for black to 235/255 for white."""
    weights = images.new_tensor(LUMA, dtype=images.dtype)
    return (images * weights[:, None, None]).sum(1, keepdim=True) + LUMA_OFFSET


PAYOFFS: dict[str, Payoff] = {
    "psnr": psnr,
    "-mse": lambda sr, hr: -mse(sr, hr),
    "-l1": lambda sr, hr: -l1(sr, hr),
}

OF_MSE: dict[Payoff, Callable[[Tensor], Tensor]] = {PAYOFFS["psnr"]: psnr_of, PAYOFFS["-mse"]: torch.neg}


def payoff_named(payoff: str | Payoff) -> Payoff:
    """The payoff called `payoff`; a function is returned as it is."""
    return payoff if callable(payoff) else chosen("payoff", payoff, PAYOFFS)
