"""Is the printed gain of EATS that of Dropout, and is it how far Original lies below bicubic upsampling?

Gains over Original are those of the paper's Tables 1–4, a point per set and setting. The tables have no bicubic row, so
bicubic upsampling is measured here.
"""

import pandas as pd
from gains import BELOW, GAINS, NOISE, beside_bicubic, correlation, slope
from gains import measure as measure
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from printed import signed
from psnr_tables import SET_COLOURS

from srgame.report.recipe import run
from srgame.report.style import styled

MARKERS = {"Set5": "o", "Set14": "s", "BSD100": "^", "Urban100": "D", "Manga109": "v"}
NAMES = {"srresnet": "SRResNet", "rrdbnet": "RRDBNet"}
SMOKE = {"sets": ("photographs",), "images": 1}


def found(frame: pd.DataFrame) -> str:
    """The answer in two sentences: EATS's gain beside Dropout's, and both beside bicubic − Original."""
    tables = [
        f"{_r(rows, 'gain_dropout', 'gain_eats')} in Table {table} "
        f"({signed((rows['gain_eats'] - rows['gain_dropout']).mean())} dB)"
        for table, rows in frame.groupby("table")
    ]
    sentence = (
        "r of the printed gains of EATS and of Dropout, over all cells (in brackets: how much more EATS gains on "
        f"average): {', '.join(tables)}."
    )
    known = beside_bicubic(frame)
    if known.empty:
        return sentence
    fits = []
    for table, rows in known.groupby("table"):
        of_each = (f"{name} {_r(rows, BELOW, gain)} and {_slope(rows, gain)}" for name, gain in GAINS.items())
        fits.append(f"Table {table} {', '.join(of_each)}")
    cells = f"{' and '.join(known['dataset'].unique())} without noise, {len(known) // len(fits)} cells a table"
    return (
        f"{sentence} r and slope of the printed gains against bicubic − Original ({cells}; both would be 1 if a gain "
        f"were that difference): {'; '.join(fits)}."
    )


def _r(rows: pd.DataFrame, first: str, second: str) -> str:
    return f"{correlation(rows, first, second):.2f}".replace("-", "−")


def _slope(rows: pd.DataFrame, gain: str) -> str:
    return f"{slope(rows, BELOW, gain):.2f}".replace("-", "−")


def draw(frame: pd.DataFrame) -> Figure:
    """Above, EATS's gain against Dropout's; below, against how far bicubic upsampling lies above Original."""
    with styled():
        figure = Figure(figsize=(7.2, 4.5))
        panels = figure.subplots(2, 4)
        for (table, rows), above, below in zip(frame.groupby("table"), panels[0], panels[1], strict=True):
            first = rows.iloc[0]
            above.set_title(f"Table {table}: {NAMES[first['network']]} ×{first['scale']}")
            most = max(rows["gain_dropout"].max(), rows["gain_eats"].max()) * 1.06
            above.plot([0, most], [0, most], color="black", linewidth=0.6, zorder=1)
            _points(above, rows, "gain_dropout")
            _note(above, [f"r = {_r(rows, 'gain_dropout', 'gain_eats')}"])
            known = rows.dropna(subset="bicubic")
            below.axvline(0, ymax=0.6, color="black", linewidth=0.6, zorder=1)
            quiet = beside_bicubic(rows)
            _points(below, quiet, BELOW)
            _note(below, [_fits(str(name), of_set) for name, of_set in quiet.groupby("dataset", sort=False)])
            below.set_ylim(0, known["gain_eats"].max() * 1.7 if len(known) else 1)
            noise = known[known["degradation"] == NOISE]
            for dataset, of_set in noise.groupby("dataset", sort=False):
                _mark(below, of_set, BELOW, str(dataset), filled=False)
        panels[0, 0].set_ylabel("gain of EATS (dB)")
        panels[1, 0].set_ylabel("gain of EATS (dB)")
        for row, label in zip(panels, ("printed gain of Dropout (dB); line: equal gains", _BELOW), strict=True):
            row[1].set_xlabel(label, x=1.1)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


_BELOW = (
    "bicubic (measured) − Original (printed), dB\n"
    "points: EATS; in brackets: Dropout; hollow: the noise setting, which r and slope leave out"
)


def _fits(name: str, rows: pd.DataFrame) -> str:
    """r and slope of the gain of EATS on one set, and those of Dropout in brackets, in two lines."""
    eats, dropout = GAINS.values()
    r = f"{name}: r = {_r(rows, BELOW, eats)} ({_r(rows, BELOW, dropout)})"
    return f"{r}\n  slope {_slope(rows, eats)} ({_slope(rows, dropout)})"


def _points(panel: Axes, rows: pd.DataFrame, x: str) -> None:
    for dataset, of_set in rows.groupby("dataset", sort=False):
        _mark(panel, of_set, x, str(dataset), filled=True)


def _note(panel: Axes, lines: list[str]) -> None:
    text = "\n".join(lines)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # no grid line passes through the text
    panel.text(0.04, 0.98, text, transform=panel.transAxes, va="top", fontsize=6, bbox=box)


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
    run(__file__, measure, draw, found)
