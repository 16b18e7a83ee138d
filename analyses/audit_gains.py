"""Is the printed gain of EATS that of Dropout, and is it how far Original lies below bicubic upsampling?

Gains over Original are those of the paper's Tables 1–4, a point per set and setting. The tables have no bicubic row, so
bicubic upsampling is measured here.
"""

import pandas as pd
from gains import NOISE, correlation
from gains import measure as measure
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from psnr_tables import SET_COLOURS

from srgame.report.recipe import run
from srgame.report.style import styled

MARKERS = {"Set5": "o", "Set14": "s", "BSD100": "^", "Urban100": "D", "Manga109": "v"}
NAMES = {"srresnet": "SRResNet", "rrdbnet": "RRDBNet"}
SMOKE = {"sets": ("photographs",), "images": 1}


def draw(frame: pd.DataFrame) -> Figure:
    """Above, EATS's gain against Dropout's; below, against how far bicubic upsampling lies above Original."""
    with styled():
        figure = Figure(figsize=(7.2, 4.3))
        panels = figure.subplots(2, 4)
        for (table, rows), above, below in zip(frame.groupby("table"), panels[0], panels[1], strict=True):
            first = rows.iloc[0]
            above.set_title(f"Table {table}: {NAMES[first['network']]} ×{first['scale']}")
            most = max(rows["gain_dropout"].max(), rows["gain_eats"].max()) * 1.06
            above.plot([0, most], [0, most], color="black", linewidth=0.6, zorder=1)
            _points(above, rows, "gain_dropout")
            _note(above, [f"r = {correlation(rows, 'gain_dropout', 'gain_eats'):.2f}"])
            known = rows.dropna(subset="bicubic")
            below.axvline(0, ymax=0.75, color="black", linewidth=0.6, zorder=1)
            quiet = known[known["degradation"] != NOISE]
            _points(below, quiet, "bicubic_minus_original")
            by_set = quiet.groupby("dataset", sort=False)
            _note(
                below,
                [f"{name}: r = {correlation(r, 'bicubic_minus_original', 'gain_eats'):.2f}" for name, r in by_set],
            )
            below.set_ylim(0, known["gain_eats"].max() * 1.35 if len(known) else 1)
            noise = known[known["degradation"] == NOISE]
            for dataset, of_set in noise.groupby("dataset", sort=False):
                _mark(below, of_set, "bicubic_minus_original", str(dataset), filled=False)
        panels[0, 0].set_ylabel("gain of EATS (dB)")
        panels[1, 0].set_ylabel("gain of EATS (dB)")
        for row, label in zip(panels, ("printed gain of Dropout (dB); line: equal gains", _BELOW), strict=True):
            row[1].set_xlabel(label, x=1.1)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


_BELOW = "bicubic (measured) − Original (printed), dB; hollow: the noise setting, not correlated"


def _points(panel: Axes, rows: pd.DataFrame, x: str) -> None:
    for dataset, of_set in rows.groupby("dataset", sort=False):
        _mark(panel, of_set, x, str(dataset), filled=True)


def _note(panel: Axes, lines: list[str]) -> None:
    text = "\n".join(lines).replace("-", "−")
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # no grid line passes through the text
    panel.text(0.04, 0.98, text, transform=panel.transAxes, va="top", fontsize=7, bbox=box)


def _mark(panel: Axes, rows: pd.DataFrame, x: str, dataset: str, filled: bool) -> None:
    colour = SET_COLOURS.get(dataset, "black")
    panel.scatter(
        rows[x],
        rows["gain_eats"],
        s=13,
        marker=MARKERS.get(dataset, "x"),
        facecolor=colour if filled else "none",
        edgecolor=colour,
        linewidth=0.7,
        label=dataset if filled else None,
    )


if __name__ == "__main__":
    run(__file__, measure, draw)
