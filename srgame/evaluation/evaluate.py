"""How well networks restore image sets."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor, nn

from srgame.data.images import upsample
from srgame.data.pairs import Pairs
from srgame.devices import device_of
from srgame.metrics import compared, psnr, ssim

Restore = nn.Module | Callable[[Tensor], Tensor]


def evaluate(restore: Restore, pairs: Pairs) -> pd.DataFrame:
    """One row per image: image, psnr_rgb, psnr_y (dB), ssim_y; rounded to 8 bits, a border of `scale` pixels cut."""
    rows = []
    place = device_of(restore) if isinstance(restore, nn.Module) else torch.device("cpu")
    with torch.inference_mode():
        for name, lr, hr in zip(pairs.names, pairs.lr, pairs.hr, strict=True):
            sr, target = restore(lr[None].to(place)).cpu(), hr[None]
            border = hr.shape[-1] // lr.shape[-1]
            rgb, y = compared(sr, target, border, "rgb"), compared(sr, target, border, "y")
            rows.append(
                {"image": name, "psnr_rgb": psnr(*rgb).item(), "psnr_y": psnr(*y).item(), "ssim_y": ssim(*y).item()}
            )
    return pd.DataFrame(rows)


def bicubic(scale: int) -> Callable[[Tensor], Tensor]:
    """Bicubic upsampling (`images.upsample`): the baseline of every table."""
    return lambda lr: upsample(lr, scale)
