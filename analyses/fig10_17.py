"""Figures 10–17: what do the strategies restore under each of the eight test settings, beside bicubic upsampling?"""

import pandas as pd
from crops import BICUBIC, HR, crop_frame, crop_of, score, shown
from families import SMALL, empty, family_title, first_of_each, reason_of
from matplotlib.figure import Figure
from psnr_tables import absences

from srgame.degradations.testing import SETTINGS
from srgame.recipe import run
from srgame.style import STRATEGIES, styled

SMOKE = {"image": "photographs", "size": 32}


def measure(
    family: str = SMALL,
    networks: tuple[str, ...] = first_of_each(SMALL),
    image: str = "Urban100/img_004.webp",
    degradations: tuple[str, ...] = tuple(SETTINGS),
    size: int = 64,
    seed: int = 0,
) -> pd.DataFrame:
    """The frame of `crops.crop_frame`, with the column family; the crop is the same under all settings."""
    return crop_frame(family, networks, image, degradations, size, seed).assign(family=family)


def draw(frame: pd.DataFrame) -> Figure:
    """A column per setting; HR, and a row for bicubic upsampling and for each strategy."""
    rows, settings = (BICUBIC, *STRATEGIES), list(frame["degradation"].unique())
    with styled():
        figure = Figure(figsize=(0.9 * len(settings) + 0.9, 1.0 + 1.12 * len(rows)))
        panels = figure.subplots(len(rows), len(settings) + 1, squeeze=False)
        for panel in panels[:, 0]:
            panel.axis("off")
        panels[0, 0].axis("on")
        shown(panels[0, 0], crop_of(frame, strategy=HR, degradation=settings[0]))
        panels[0, 0].set_title("HR")
        for line, strategy in zip(panels[:, 1:], rows, strict=True):
            for panel, setting in zip(line, settings, strict=True):
                crop = crop_of(frame, strategy=strategy, degradation=setting)
                if crop.empty:
                    empty(panel, reason_of(frame, strategy).replace("-x4-", "-x4-\n"))
                    panel.set_box_aspect(1)
                else:
                    shown(panel, crop)
                    panel.set_xlabel(score(crop).rstrip("\n"), fontsize=6, labelpad=1)
            line[0].set_ylabel(strategy, color=STRATEGIES.get(strategy, "black"))
        for panel, setting in zip(panels[0, 1:], settings, strict=True):
            panel.set_title(setting)
        first = frame.iloc[0]
        title = (
            f"{family_title(first['family'])} on {first['image']}: PSNR of the crop (RGB), to HR and to bicubic (dB)"
        )
        figure.suptitle(f"{title}\n{absences(frame['reason'])}".strip(), fontsize=8)
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw)
