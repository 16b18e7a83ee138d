"""Figure 5: what do the strategies' SR images look like beside bicubic upsampling, on Urban100?

The crop is one of medium difficulty, at the 75th percentile of bicubic upsampling's error over the image (crops.py).
"""

import numpy as np
import pandas as pd
from crops import BICUBIC, HR, bare, crop_frame, crop_of, crop_title, score, shown
from families import empty, reason_of
from matplotlib.figure import Figure
from zoo_names import NOT_THERE, PAPERS, RRDBNET, family_title, first_of_each

from srgame.report.recipe import run
from srgame.report.style import STRATEGIES, styled

GAIN = 4

SMOKE = {"image": "photographs", "size": 32}


def measure(
    families: tuple[str, ...] = (PAPERS, RRDBNET),
    networks: tuple[str, ...] = (*first_of_each(PAPERS), *first_of_each(RRDBNET)),
    image: str = "Urban100/img_012.webp",
    degradation: str = "clean",
    size: int = 96,
) -> pd.DataFrame:
    """The frames of `crops.crop_frame`, one per family, with the column family."""
    frames = []
    for family in families:
        own = [name for name in networks if name.startswith(f"{family}-")]
        frames.append(crop_frame(family, own, image, [degradation], size).assign(family=family))
    return pd.concat(frames, ignore_index=True)


def draw(frame: pd.DataFrame) -> Figure:
    """Two rows per family: the crops; and how each differs from bicubic upsampling, enlarged in contrast.

    A family of which the zoo has no network is named below them.
    """
    families = [family for family, rows in frame.groupby("family", sort=False) if rows["network"].fillna("").any()]
    lacking = [family for family in frame["family"].unique() if family not in families]
    columns = (HR, BICUBIC, *STRATEGIES)
    with styled():
        figure = Figure(figsize=(7.2, 0.5 + 2.75 * max(1, len(families))), layout="compressed")
        panels = figure.subplots(2 * max(1, len(families)), len(columns))
        for place, family in enumerate(families or lacking[:1]):
            of_family = frame[frame["family"] == family]
            bicubic = None
            for column in (BICUBIC, HR, *STRATEGIES):
                pair = panels[2 * place : 2 * place + 2, columns.index(column)]
                bicubic = _pair(pair, of_family, column, bicubic)
            panels[2 * place, 0].set_ylabel(family_title(family).replace(" (", "\n("), fontsize=7)
            panels[2 * place + 1, 0].set_ylabel(f"{GAIN}×(image − bicubic)\n+ grey", fontsize=7)
        figure.suptitle(f"{crop_title(frame)}. PSNR of the crop (RGB), to HR and to bicubic", fontsize=8)
        missing = ", ".join(f"{family_title(family)} ({family}-…)" for family in lacking)
        figure.supxlabel(f"{NOT_THERE}{missing}" if missing else "", fontsize=7, color="0.4")
    return figure


def _pair(
    pair: "np.ndarray[tuple[int], np.dtype[np.object_]]", frame: pd.DataFrame, strategy: str, bicubic: np.ndarray | None
) -> np.ndarray | None:
    above, below = pair
    above.set_title(strategy, color=STRATEGIES.get(strategy, "black"), fontsize=7)
    rows = crop_of(frame, strategy=strategy)
    if rows.empty:
        empty(above, reason_of(frame, strategy).replace("-x4-", "-x4-\n"))
        above.set_box_aspect(1)
        below.axis("off")
        return bicubic
    pixels = shown(above, rows)
    bicubic = pixels if bicubic is None else bicubic
    bare(below)
    below.imshow((0.5 + GAIN * (pixels - bicubic)).clip(0, 1), interpolation="nearest")
    above.set_xlabel("\n" if strategy == HR else score(rows), fontsize=6)
    return bicubic


if __name__ == "__main__":
    run(__file__, measure, draw)
