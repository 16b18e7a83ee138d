"""Figures 10–17: what do the strategies restore under each of the eight test settings, beside bicubic upsampling?

The crop is one of medium difficulty, at the 75th percentile of bicubic upsampling's error over the image (crops.py).
"""

import pandas as pd
from crops import BICUBIC, HR, crop_frame, crop_of, crop_title, score, shown
from families import empty, reason_of
from matplotlib.figure import Figure
from zoo_names import PAPERS, family_title, first_of_each

from srgame.data.degradations.testing import SETTINGS
from srgame.report.recipe import run
from srgame.report.style import STRATEGIES, styled

SMOKE = {"image": "photographs", "size": 32, "degradations": ("clean", "b+n")}


def measure(
    family: str = PAPERS,
    networks: tuple[str, ...] = first_of_each(PAPERS),
    image: str = "Urban100/img_004.webp",
    degradations: tuple[str, ...] = tuple(SETTINGS),
    size: int = 64,
    seed: int = 0,
) -> pd.DataFrame:
    """The frame of `crops.crop_frame`, with the column family; the crop is the same under all settings."""
    return crop_frame(family, networks, image, degradations, size, seed).assign(family=family)


def draw(frame: pd.DataFrame) -> Figure:
    """A column per setting; HR, and a row for bicubic upsampling and for each strategy, thin where there is none."""
    rows, settings = (BICUBIC, *STRATEGIES), list(frame["degradation"].unique())
    reasons = [reason_of(frame, strategy) for strategy in rows]
    heights = [0.2 if reason else 1.0 for reason in reasons]
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
            line[0].set_ylabel(strategy, color=STRATEGIES.get(strategy, "black"))
        hr = figure.add_subplot(grid[0, 0])
        shown(hr, crop_of(frame, strategy=HR, degradation=settings[0]))
        hr.set_title("HR")
        title = f"{family_title(frame['family'].iloc[0])} on {crop_title(frame)}"
        note = "below each: PSNR of the crop (RGB) to HR, and to bicubic upsampling (dB)"
        figure.suptitle(f"{title}\n{note}; b: blur, n: noise, j: JPEG", fontsize=8)
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw)
