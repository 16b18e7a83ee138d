"""Does a retreat to bicubic upsampling, without training, gain what EATS is printed to gain?

Original's SR image is mixed with bicubic upsampling of the LR image. No network is trained and no filter is erased. The
gains over Original stand beside the printed gains of EATS and of Dropout (Table 1).
"""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from families import AUTO, Architectures, Checkpoints, load_each
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from printed import CELL, cells, judged, printed_in
from torch import Tensor, nn

from srgame.cli.comparison import labels
from srgame.data.degradations.testing import SETTINGS
from srgame.data.images import image_paths
from srgame.data.pairs import Pairs, load_pairs
from srgame.evaluation.evaluate import bicubic, evaluate
from srgame.evaluation.tiling import Tiled
from srgame.networks import scale_of
from srgame.report.recipe import INPUTS, run
from srgame.report.style import STRATEGIES, styled

SMOKE = {"networks": ("small-x4-original-0",), "sets": ("photographs",), "images": 1, "crop": 48, "shares": (0.0, 0.5)}
TABLE = 1
NAMES = {"eats": "EATS", "dropout": "Dropout"}


def measure(
    networks: Checkpoints = ("srresnet-x4-original-0", "small-x4-original-0"),
    network: Architectures = AUTO,
    shares: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    sets: tuple[str, ...] = ("Set5", "Set14"),
    images: int | None = None,
    crop: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per network, set, degradation and share of bicubic upsampling in the SR image.

    Columns: network, dataset, degradation, share, psnr and gain over share 0 (dB of RGB, mean over images), eats and
    dropout, the printed gains of the two over Original (NaN if not printed).
    """
    models = load_each(networks, network).values()
    frames = [
        _mixed(model, shares, sets, images, crop, seed).assign(network=label)
        for label, model in zip(labels(networks), models, strict=True)
    ]
    printed = cells(TABLE)
    gains = printed[list(NAMES)].sub(printed["original"], axis=0)
    frame = pd.concat(frames)[["network", *CELL, "share", "psnr", "gain"]].join(gains, on=CELL).reset_index(drop=True)
    frame.attrs[INPUTS] = [printed_in(f"table{TABLE}")]
    return frame


def _mixed(
    network: nn.Module, shares: Sequence[float], sets: Sequence[str], images: int | None, crop: int | None, seed: int
) -> pd.DataFrame:
    """Mean PSNR of each share on each set and setting, and its gain over share 0."""
    scale, restore = scale_of(network), Tiled(network)
    rows = [
        {"dataset": dataset, "degradation": setting, "share": share, "psnr": psnr}
        for dataset in sets
        for path in image_paths(dataset)[:images]
        for setting in SETTINGS
        for share, psnr in _of_image(restore, load_pairs(str(path), setting, scale, None, crop, seed), shares)
    ]
    means = pd.DataFrame(rows).groupby([*CELL, "share"], sort=False)["psnr"].mean().reset_index()
    original = means[means["share"] == 0].set_index(CELL)["psnr"].rename("original")
    with_original = means.join(original, on=CELL)
    return with_original.assign(gain=with_original["psnr"] - with_original["original"])


@torch.inference_mode()
def _of_image(restore: Tiled, pair: Pairs, shares: Sequence[float]) -> Iterator[tuple[float, float]]:
    """PSNR on one image for each share."""
    lr = pair.lr[0][None]
    sr, upsampled = restore(lr), bicubic(pair.hr[0].shape[-1] // lr.shape[-1])(lr)
    for share in shares:
        mixed: Tensor = sr.lerp(upsampled, share)
        yield share, float(evaluate(partial(_given, mixed), pair)["psnr_rgb"].iloc[0])


def _given(sr: Tensor, _: Tensor) -> Tensor:
    return sr


def by_share(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per network and share: cells, gaining, and of each printed strategy rms_… (dB) and r_… over the cells."""
    rows = []
    for (network, share), each in frame.dropna(subset=list(NAMES)).groupby(["network", "share"], sort=False):
        row = {"network": network, "share": share, "cells": len(each), "gaining": int((each["gain"] > 0).sum())}
        for name in NAMES:
            row[f"rms_{name}"] = float(np.sqrt(np.square(each["gain"] - each[name]).mean()))
            row[f"r_{name}"] = float(np.corrcoef(each["gain"], each[name])[0, 1]) if each["gain"].any() else np.nan
        rows.append(row)
    columns = ["network", "share", "cells", "gaining", *(f"{n}_{name}" for name in NAMES for n in ("rms", "r"))]
    return pd.DataFrame(rows, columns=columns)


def nearest(frame: pd.DataFrame) -> pd.DataFrame:
    """The row of `by_share`, for each network, whose gains are nearest to the printed gains of EATS."""
    table = by_share(frame)
    return table.loc[table.groupby("network", sort=False)["rms_eats"].idxmin()]


def found(frame: pd.DataFrame) -> str:
    """Which share is nearest to the printed gains, in a sentence for each network."""
    parts = [
        f"{row['network']}: a share of {row['share']:.0%} gains in {row['gaining']} of {row['cells']} cells; "
        f"distance to the printed gains of EATS {row['rms_eats']:.2f} dB (root mean square; r = {row['r_eats']:.2f}), "
        f"of Dropout {row['rms_dropout']:.2f} dB (r = {row['r_dropout']:.2f})"
        for row in nearest(frame).to_dict("records")
    ]
    return f"Original mixed with bicubic upsampling, nothing trained or erased. {'; '.join(parts)}." if parts else ""


def verdict(frame: pd.DataFrame) -> str:
    """Whether the printed gains need the training of EATS: they do if no share gains in every cell."""
    best = nearest(frame)
    return judged(best["gaining"] < best["cells"])


def draw(frame: pd.DataFrame) -> Figure:
    """For each network: distance to the printed gains against the share; and the gains of the nearest share by cell."""
    names = list(frame["network"].unique())
    with styled():
        figure = Figure(figsize=(7.2, 0.9 + 2.1 * len(names)))
        panels = figure.subplots(len(names), 2, squeeze=False, width_ratios=(1, 2.2))
        table, best = by_share(frame), nearest(frame).set_index("network")
        for name, (distance, gains) in zip(names, panels, strict=True):
            _distances(distance, table[table["network"] == name])
            share = best.loc[name, "share"] if name in best.index else frame["share"].max()
            _gains(gains, frame[(frame["network"] == name) & (frame["share"] == share)])
            gains.set_title(f"share {share:.0%}")
            distance.set_title(name)
        panels[-1, 0].set_xlabel("share of bicubic upsampling")
        handles, texts = panels[0, 1].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside lower center", ncols=len(handles))
        figure.suptitle("Original mixed with bicubic upsampling: nothing is trained, nothing is erased", fontsize=8)
    return figure


def _distances(panel: Axes, rows: pd.DataFrame) -> None:
    for name in NAMES:
        panel.plot(rows["share"], rows[f"rms_{name}"], "o-", markersize=3, color=STRATEGIES[name])
    panel.set_ylabel("RMS distance to\nprinted gains (dB)")
    panel.set_ylim(bottom=0)


def _gains(panel: Axes, rows: pd.DataFrame) -> None:
    places = np.arange(len(rows))
    for name, text in NAMES.items():
        panel.plot(
            places, rows[name], "o", fillstyle="none", markersize=4, color=STRATEGIES[name], label=f"printed: {text}"
        )
    panel.plot(places, rows["gain"], "_", markersize=9, color="black", label="Original mixed with bicubic upsampling")
    panel.axhline(0, color="black", linewidth=0.6)
    panel.set_xticks(places, rows["degradation"], rotation=90)
    for dataset, each in rows.reset_index(drop=True).groupby("dataset", sort=False):
        panel.text(
            each.index.to_numpy().mean(),
            1.0,
            str(dataset),
            ha="center",
            va="bottom",
            fontsize=7,
            transform=panel.get_xaxis_transform(),
        )
        panel.axvline(each.index.min() - 0.5, color="0.8", linewidth=0.6)
    panel.set_ylabel("gain over Original (dB)")


if __name__ == "__main__":
    run(__file__, measure, draw, found)
