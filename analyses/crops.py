"""Crops of one image as each strategy restores it: what the visual comparisons share.

The crop is neither the image's easiest nor its hardest, but the one harder for bicubic upsampling than three quarters
of the crops. It is restored from its own LR window and a margin around it, wider than what an SR pixel is made from.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from families import by_strategy, loaded
from jaxtyping import Float
from matplotlib.axes import Axes
from rasters import LINE, picture_of, raster
from torch import Tensor
from zoo_names import NOT_THERE

from srgame.data.images import Image, image_paths, to_bytes, upsample
from srgame.data.pairs import Pairs, load_pairs
from srgame.evaluation.evaluate import Restore
from srgame.metrics import benchmark_pair, psnr, quantized
from srgame.report.style import STRATEGIES

HR, BICUBIC = "HR", "bicubic"
COLUMNS = ["image", "degradation", "strategy", "network", "psnr", "to_bicubic", "row", "column", *LINE, "reason"]
HARD = 0.75  # of the image's crops are easier for bicubic upsampling than the one shown
MARGIN = 36  # LR pixels: the paper's SRResNet sees 35 around, of larger ones what lies farther hardly counts


def crop_frame(
    family: str, networks: Sequence[str], image: str, degradations: Sequence[str], size: int, seed: int = 0
) -> pd.DataFrame:
    """One row per degradation, strategy and line of the crop; for a strategy without a network one, with the reason.

    Strategies include "HR" and "bicubic". `psnr` is the crop's to HR and `to_bicubic` that to bicubic upsampling (RGB,
    dB, 8 bits; at most 100); row and column are the crop's corner in HR pixels; line, low, high as in rasters.py.
    The crop of `size` × `size` pixels is `typical_corner`'s: at the 75th percentile of bicubic upsampling's error.
    """
    names, found = by_strategy(networks, family), loaded(networks, family)
    scale = int(family.rsplit("-x", 1)[1])
    corner = typical_corner(load_pairs(image, "clean", scale, images=1), size, scale)
    place = {"row": corner[0], "column": corner[1], "image": image_paths(image)[0].stem}
    frames = []
    for degradation in degradations:
        pair = load_pairs(image, degradation, scale, images=1, seed=seed)
        hr = _cut(pair.hr[0], corner, size)
        restored = {BICUBIC: _restored(lambda lr: upsample(lr, scale), pair.lr[0], corner, size, scale)}
        restored |= {n: _restored(network, pair.lr[0], corner, size, scale) for n, network in found.items()}
        for strategy, sr in ({HR: hr} | restored).items():
            numbers = {"psnr": _psnr(sr, hr), "to_bicubic": _psnr(sr, restored[BICUBIC])} if strategy != HR else {}
            about: dict[str, Any] = {
                "degradation": degradation,
                "strategy": strategy,
                "network": names.get(strategy, ""),
                "reason": "",
            }
            about |= place | numbers
            frames.append(raster(to_bytes(sr) / 255).assign(**about))
    for strategy in (name for name in STRATEGIES if name not in found):
        row = {"strategy": strategy, "reason": f"{NOT_THERE}{family}-{strategy}"}
        frames.append(pd.DataFrame([row | {"degradation": degradations[0], "image": place["image"]}]))
    whole = pd.concat(frames, ignore_index=True)[COLUMNS].round({"psnr": 3, "to_bicubic": 3})
    return whole.astype({"row": "Int64", "column": "Int64", "line": "Int64", "low": "Int64", "high": "Int64"})


def typical_corner(clean: Pairs, size: int, scale: int, quantile: float = HARD) -> tuple[int, int]:
    """The corner of the crop, of those on a grid of half crops, at a quantile of bicubic upsampling's squared error."""
    lr, hr = clean.lr[0][None], clean.hr[0][None]
    error = (upsample(lr, scale) - hr).square().mean(1, keepdim=True)
    step = max(scale, size // 2 // scale * scale)
    errors = torch.nn.functional.avg_pool2d(error, size, step)[0, 0]
    order = errors.flatten().argsort(stable=True)
    place = int(order[round(quantile * (len(order) - 1))])
    return place // errors.shape[1] * step, place % errors.shape[1] * step


def _cut(image: Image, corner: tuple[int, int], size: int) -> Image:
    return image[:, corner[0] : corner[0] + size, corner[1] : corner[1] + size]


@torch.inference_mode()
def _restored(restore: Restore, lr: Image, corner: tuple[int, int], size: int, scale: int) -> Image:
    top, left = (max(0, edge // scale - MARGIN) for edge in corner)
    window = lr[:, top : (corner[0] + size) // scale + MARGIN, left : (corner[1] + size) // scale + MARGIN]
    sr: Tensor = restore(window[None])[0]
    return _cut(sr, (corner[0] - top * scale, corner[1] - left * scale), size)


def _psnr(sr: Image, target: Image) -> float:
    return psnr(*benchmark_pair(sr[None], quantized(target[None]), 0, "rgb")).item()


def crop_of(frame: pd.DataFrame, **where: str) -> pd.DataFrame:
    """The lines of one crop: of the image, degradation and strategy named."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame[frame["pixels"].notna()]


def shown(panel: Axes, rows: pd.DataFrame) -> Float[np.ndarray, "h w 3"]:
    """Shows the crop that `rows` are; returns its pixels."""
    pixels = picture_of(rows)
    bare(panel)
    panel.imshow(pixels.clip(0, 1), interpolation="nearest")
    return pixels


def bare(panel: Axes) -> None:
    """No ticks, grid or frame."""
    panel.grid(False)
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set_visible(False)


def crop_title(frame: pd.DataFrame) -> str:
    """Which crop it is: "img_012, clean, a crop at the 75th percentile of bicubic's error"."""
    settings = frame["degradation"].unique()
    where = f"{frame['image'].iloc[0]}, {settings[0]}" if len(settings) == 1 else str(frame["image"].iloc[0])
    return f"{where}, a crop at the {HARD * 100:.0f}th percentile of bicubic's error"


def score(rows: pd.DataFrame) -> str:
    """A crop's PSNR, and that to bicubic upsampling, in two lines."""
    psnr_db, to_bicubic = float(rows["psnr"].iloc[0]), float(rows["to_bicubic"].iloc[0])
    return f"{psnr_db:.2f} dB" + (f"\nto bicubic {to_bicubic:.1f}" if rows["strategy"].iloc[0] != BICUBIC else "\n")
