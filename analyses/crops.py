"""Crops of one image as each strategy restores it: what the visual comparisons share.

The crop is neither the easiest nor the hardest of the image: it is harder for bicubic upsampling than three quarters of
the crops. It is restored from its LR window and a margin around it that is wider than a network's receptive field.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from families import in_order, loaded, missing_strategies, named
from jaxtyping import Float
from matplotlib.axes import Axes
from printed import signed
from rasters import LINE, picture_of, raster
from torch import Tensor, nn
from zoo_names import NOT_THERE, first_of_each, strategy_title

from srgame.data.images import Image, image_paths, to_bytes, upsample
from srgame.data.pairs import Pairs, load_pairs
from srgame.evaluation.evaluate import Restore
from srgame.metrics import benchmark_pair, psnr, quantized

HR, BICUBIC = "HR", "bicubic"
COLUMNS = ["image", "degradation", "strategy", "checkpoint", "psnr", "to_bicubic", "row", "column", *LINE, "reason"]
# What `beside_bicubic` lists.
COMPARED = "PSNR to HR minus that of bicubic upsampling, and PSNR to bicubic upsampling, in the crop shown"
HARD = 0.75  # the share of crops that are easier for bicubic upsampling than the one shown
MARGIN = 36  # LR pixels: the paper's SRResNet sees 35 on each side; for larger ones, pixels farther away hardly matter


def crop_frame(
    family: str,
    networks: Sequence[str],
    architectures: Sequence[str],
    image: str,
    degradations: Sequence[str],
    size: int,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per degradation, strategy and line of the crop; one with the reason for a strategy without a network.

    Strategies include "HR" and "bicubic", and are the file names of other checkpoints. psnr and to_bicubic compare the
    crop with HR and with bicubic upsampling (RGB, dB, 8 bits; at most 100); row and column are its corner in HR pixels;
    line, low, high, pixels as in rasters.py. The crop of `size` × `size` pixels is that of `typical_corner`.
    """
    models, scale = loaded(networks, family, architectures)
    corner = typical_corner(load_pairs(image, "clean", scale, images=1), size, scale)
    place = {"row": corner[0], "column": corner[1], "image": image_paths(image)[0].stem}
    checkpoints = named(networks, family)
    frames = []
    for degradation in degradations:
        pair = load_pairs(image, degradation, scale, images=1, seed=seed)
        for strategy, (sr, numbers) in _scored(models, pair, corner, size, scale).items():
            about: dict[str, Any] = place | numbers | {"degradation": degradation, "strategy": strategy, "reason": ""}
            lines = raster(to_bytes(sr) / 255).assign(**about)
            frames.append(lines.assign(checkpoint=checkpoints.get(strategy, "")))
    for strategy in missing_strategies(networks, models, first_of_each(family)):
        row = {"strategy": strategy, "reason": f"{NOT_THERE}{family}-{strategy}"}
        frames.append(pd.DataFrame([row | {"degradation": degradations[0], "image": place["image"]}]))
    whole = pd.concat(frames, ignore_index=True)[COLUMNS].round({"psnr": 3, "to_bicubic": 3})
    return whole.astype({"row": "Int64", "column": "Int64", "line": "Int64", "low": "Int64", "high": "Int64"})


def _scored(
    models: Mapping[str, nn.Module], pair: Pairs, corner: tuple[int, int], size: int, scale: int
) -> dict[str, tuple[Image, dict[str, Any]]]:
    """The crop of HR, of bicubic upsampling and as each network restores it, with its scores."""
    hr = _cut(pair.hr[0], corner, size)
    crops = {BICUBIC: _restored(lambda lr: upsample(lr, scale), pair.lr[0], corner, size, scale)}
    crops |= {name: _restored(network, pair.lr[0], corner, size, scale) for name, network in models.items()}
    scored: dict[str, tuple[Image, dict[str, Any]]] = {HR: (hr, {})}
    for name, sr in crops.items():
        scored[name] = sr, {"psnr": _psnr(sr, hr), "to_bicubic": _psnr(sr, crops[BICUBIC])}
    return scored


def restorers(frame: pd.DataFrame) -> list[str]:
    """The strategies, or the names of checkpoints, in a frame of crops, in the order of every picture."""
    return [name for name in in_order(frame["strategy"]) if name not in (HR, BICUBIC)]


def typical_corner(clean: Pairs, size: int, scale: int, quantile: float = HARD) -> tuple[int, int]:
    """The corner of the crop at a quantile of bicubic upsampling's squared error, among crops half a crop apart."""
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
    """The lines of one crop, that of the named image, degradation or strategy."""
    for column, value in where.items():
        frame = frame[frame[column] == value]
    return frame[frame["pixels"].notna()]


def shown(panel: Axes, rows: pd.DataFrame) -> Float[np.ndarray, "h w 3"]:
    """Shows the crop whose lines are `rows`; returns its pixels."""
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


def beside_bicubic(frame: pd.DataFrame) -> str:
    """For each strategy, PSNR of its crop over that of bicubic upsampling, and PSNR to bicubic upsampling.

    If there are several degradations, the means over them, with the lowest and the highest: "eats: +0.03 (−0.01 to
    +0.10) and 52.1 dB (48.0 to 60.0)".
    """
    shown_crops = frame[frame["pixels"].notna()]
    psnr, near = (
        shown_crops.pivot_table(column, "degradation", "strategy", "first") for column in ("psnr", "to_bicubic")
    )
    over = psnr.sub(psnr[BICUBIC], axis=0)
    return "; ".join(
        f"{strategy_title(name)}: {_spread(over[name], signed)} and {_spread(near[name], '{:.1f}'.format, ' dB')}"
        for name in restorers(shown_crops)
    )


def _spread(values: pd.Series, text: Callable[[float], str], unit: str = "") -> str:
    """The mean, with the lowest and the highest value in brackets if there are several."""
    span = f" ({text(values.min())} to {text(values.max())})" if len(values) > 1 else ""
    return f"{text(values.mean())}{unit}{span}"


def crop_title(frame: pd.DataFrame) -> str:
    """The image and the crop: "img_012, clean, a crop at the 75th percentile of bicubic's error"."""
    settings = frame["degradation"].unique()
    where = f"{frame['image'].iloc[0]}, {settings[0]}" if len(settings) == 1 else str(frame["image"].iloc[0])
    return f"{where}, a crop at the {HARD * 100:.0f}th percentile of bicubic's error"


def score(rows: pd.DataFrame) -> str:
    """The PSNR of a crop to HR and to bicubic upsampling, in two lines."""
    psnr_db, to_bicubic = float(rows["psnr"].iloc[0]), float(rows["to_bicubic"].iloc[0])
    return f"{psnr_db:.2f} dB" + (f"\nto bicubic {to_bicubic:.1f}" if rows["strategy"].iloc[0] != BICUBIC else "\n")
