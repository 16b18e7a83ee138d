"""PSNR and SSIM of a network, or of bicubic upsampling, on pairs of LR and HR images."""

import warnings
from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

from srgame.data.images import some, upsample
from srgame.data.pairs import Pairs
from srgame.filters import run
from srgame.metrics import WINDOW, benchmark_pair, psnr, ssim

Restore = nn.Module | Callable[[Tensor], Tensor]


def evaluate(restore: Restore, pairs: Pairs) -> pd.DataFrame:
    """One row per image: image, psnr_rgb, psnr_y (dB), ssim_y.

    SR images are rounded to 8 bits, and a border of `scale` pixels is cut; none if the images are equally large. A
    score is NaN for an image that is too small for it, and a warning names these images.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> scores = evaluate(network, pairs)
    >>> scores.columns.tolist(), scores["image"].tolist()
    (['image', 'psnr_rgb', 'psnr_y', 'ssim_y'], ['astronaut'])
    """
    border = _border(pairs.scale)
    sides = {name: min(hr.shape[1:]) - 2 * border for name, hr in zip(pairs.names, pairs.hr, strict=True)}
    if small := [name for name, side in sides.items() if side < len(WINDOW)]:
        warnings.warn(
            f"{some(small)} too small: without a border of {border} pixels, SSIM needs {len(WINDOW)} pixels a side and "
            "PSNR one",
            stacklevel=2,
        )
    return scores(restore, pairs)


def scores(restore: Restore, pairs: Pairs) -> pd.DataFrame:
    """The rows of `evaluate`, without its warning of images that are too small."""
    rows = []
    with torch.inference_mode():
        for name, lr, hr in zip(pairs.names, pairs.lr, pairs.hr, strict=True):
            sr = run(restore, lr[None]) if isinstance(restore, nn.Module) else restore(lr[None].clone())
            if not sr.isfinite().all():
                warnings.warn(
                    f"the SR image of '{name}' has values that are not finite: it gets no score", stacklevel=2
                )
            target, border = hr[None].to(sr.device), _border(pairs.scale)  # measured where the SR image is
            rgb, y = benchmark_pair(sr, target, border, "rgb"), benchmark_pair(sr, target, border, "y")
            rows.append(
                {"image": name, "psnr_rgb": psnr(*rgb).item(), "psnr_y": psnr(*y).item(), "ssim_y": ssim(*y).item()}
            )
    return pd.DataFrame(rows)


def _border(scale: int) -> int:
    """The pixels that are cut from each side of an image before it is measured."""
    return scale if scale > 1 else 0


def bicubic(scale: int) -> Callable[[Tensor], Tensor]:
    """The function that upsamples LR images bicubically, the baseline of every table."""
    return lambda lr: upsample(lr, scale)
