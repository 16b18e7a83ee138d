"""How good an SR image is: one float64 number per image.

`psnr`, `mse` and `l1` take the images as they are, so that games can be played for them; `benchmark_psnr` gives the
numbers that tables print.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from srgame.errors import chosen

Images = Float[Tensor, "b c h w"]
Targets = Float[Tensor, "#b c h w"]
PerImage = Float[Tensor, " b"]
Payoff = Callable[[Images, Targets], PerImage]

LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)  # ITU-R BT.601, offset 16/255


def mse(sr: Images, hr: Targets) -> PerImage:
    """Mean squared error over channels and pixels, of values in [0, 1]."""
    return (sr.double() - hr.double()).square().flatten(1).mean(1)


def l1(sr: Images, hr: Targets) -> PerImage:
    """Mean absolute error over channels and pixels, of values in [0, 1]."""
    return (sr.double() - hr.double()).abs().flatten(1).mean(1)


def psnr(sr: Images, hr: Targets) -> PerImage:
    """Peak signal-to-noise ratio in dB, of values in [0, 1]; at most 100 dB, so that equal images have one."""
    return -10 * mse(sr, hr).clamp(min=1e-10).log10()


def benchmark_psnr(sr: Images, hr: Targets, border: int, channel: str = "rgb") -> PerImage:
    """PSNR in dB as SR tables print it: 8-bit values, `border` pixels cut on each side, over "rgb" or the luma "y"."""
    height, width = hr.shape[-2:]
    sr, hr = (x[..., border : height - border, border : width - border] for x in (quantized(sr), hr))
    return psnr(luma(sr), luma(hr)) if channel == "y" else psnr(sr, hr)


def quantized(images: Images) -> Images:
    """The images as 8 bits store them."""
    return (images.clamp(0, 1) * 255).round() / 255


def luma(images: Images) -> Float[Tensor, "b 1 h w"]:
    """Y of MATLAB's YCbCr, without its constant offset."""
    weights = images.new_tensor(LUMA, dtype=images.dtype)
    return (images * weights[:, None, None]).sum(1, keepdim=True)


PAYOFFS: dict[str, Payoff] = {
    "psnr": psnr,
    "-mse": lambda sr, hr: -mse(sr, hr),
    "-l1": lambda sr, hr: -l1(sr, hr),
}


def payoff_named(payoff: str | Payoff) -> Payoff:
    """The payoff called `payoff`; a function is returned as it is."""
    return payoff if callable(payoff) else chosen("payoff", payoff, PAYOFFS)
