"""Figures 10–17: what do networks of each strategy restore under the eight test settings, beside bicubic upsampling?

The crop is rather difficult: it is at the 75th percentile of bicubic upsampling's error over the image (crops.py).
"""

import pandas as pd
from crops import BICUBIC, COMPARED, HR, beside_bicubic, crop_frame, crop_of, crop_title, restorers, score, shown
from families import AUTO, Architectures, Checkpoints, colours_in, empty, family_of, reason_of
from matplotlib.figure import Figure
from zoo_names import PAPERS, family_title, first_of_each

from srgame.data.degradations.testing import SETTINGS
from srgame.report.recipe import run
from srgame.report.style import styled

NETWORKS = first_of_each(PAPERS)
SMOKE = {"image": "photographs", "size": 32, "degradations": ("clean", "b+n")}


def measure(
    family: str = PAPERS,
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    image: str = "Urban100/img_004.webp",
    degradations: tuple[str, ...] = tuple(SETTINGS),
    size: int = 64,
    seed: int = 0,
) -> pd.DataFrame:
    """The frame of `crops.crop_frame`, with the column family; the crop is the same under all settings."""
    frame = crop_frame(family, networks, network, image, degradations, size, seed)
    return frame.assign(family=family_of(frame))


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence: how far each strategy's crops lie above bicubic upsampling's PSNR, and from it."""
    numbers = beside_bicubic(frame)
    over = f"means of {frame['degradation'].nunique()} settings (lowest to highest)"
    return f"{COMPARED}, {over}: {numbers}." if numbers else ""


def draw(frame: pd.DataFrame) -> Figure:
    """A column per setting; a row for bicubic upsampling and for each strategy, thin if it has no network."""
    rows, settings = (BICUBIC, *restorers(frame)), list(frame["degradation"].unique())
    reasons = [reason_of(frame, strategy) for strategy in rows]
    heights = [0.2 if reason else 1.0 for reason in reasons]
    colours = colours_in(frame) | {BICUBIC: "black"}
    with styled():
        figure = Figure(figsize=(0.86 * (len(settings) + 1) + 0.2, 0.55 + 1.08 * sum(heights)), layout="compressed")
        grid = figure.add_gridspec(len(rows), len(settings) + 1, height_ratios=heights)
        for place, (strategy, reason) in enumerate(zip(rows, reasons, strict=True)):
            if reason:
                panel = figure.add_subplot(grid[place, 1:])
                empty(panel, reason.replace(": ", ":\N{NO-BREAK SPACE}"))
                continue
            line = [figure.add_subplot(grid[place, column]) for column in range(1, len(settings) + 1)]
            for panel, setting in zip(line, settings, strict=True):
                crop = crop_of(frame, strategy=strategy, degradation=setting)
                shown(panel, crop)
                panel.set_xlabel(score(crop).rstrip("\n"), fontsize=6, labelpad=1)
                panel.set_title(setting if strategy == BICUBIC else "")
            line[0].set_ylabel(strategy, color=colours[strategy])
        hr = figure.add_subplot(grid[0, 0])
        shown(hr, crop_of(frame, strategy=HR, degradation=settings[0]))
        hr.set_title("HR")
        title = f"{family_title(frame['family'].iloc[0])} on {crop_title(frame)}"
        note = "below each: PSNR of the crop (RGB) to HR, and to bicubic upsampling (dB)"
        figure.suptitle(f"{title}\n{note}; b: blur, n: noise, j: JPEG", fontsize=8)
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw, found)
