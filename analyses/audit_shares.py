"""Does the gain grow with the share of layers in which EATS erases, or with the weight of a pull that erases nothing?

The gains over Original that Table 6 prints grow with the share. Here, small RRDBNets ×4 are trained with λ = 0.1 and
erase in a share of their layers; others erase nothing, and their λ is this share of 0.1. These and the Original that
they are compared with are trained as small-rrdbnet-x4-pull-w0.1-0 in zoo.csv, with --bfloat16; the zoo lacks them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from printed import cells, judged, printed_in, signed
from zoo_names import LOGS, READING, RRDBNET, family_title

from srgame.report.recipe import INPUTS, run
from srgame.report.style import BLUE, GREEN, styled

SHARES = (20, 40, 60, 80, 100)  # percent
PRINTED, ERASED, PULLED = "printed", "erased in this share of the layers", "nothing erased, this share of the weight"
COLOURS = {PRINTED: "black", ERASED: GREEN, PULLED: BLUE}
IN_BFLOAT16 = f"{RRDBNET}-bf16"  # the pulls, and an Original that is trained alike
NETWORKS = {
    ERASED: {0: f"{RRDBNET}-original-0"}
    | {share: f"{RRDBNET}-{READING}{'' if share == 100 else f'-ratio{share}'}-0" for share in SHARES},
    PULLED: {0: f"{IN_BFLOAT16}-original-0"} | {share: f"{IN_BFLOAT16}-pull-w{share / 1000:g}-0" for share in SHARES},
}
DATASET, SETTINGS = "Set5", ("clean", "b+n")  # what the logs hold
SMOKE: dict[str, Any] = {}


def measure() -> pd.DataFrame:
    """One row per series, share and degradation: the printed gains, and those at the end of the training logs.

    Columns: series; share (%), of the layers or of the weight 0.1; degradation; gain over Original (dB of RGB, mean
    over Set5).
    """
    frame = pd.DataFrame([*_printed(), *_logged()], columns=["series", "share", "degradation", "gain"])
    logs = [LOGS / f"{name}.csv" for networks in NETWORKS.values() for name in networks.values()]
    frame.attrs[INPUTS] = [printed_in("table6"), *logs]
    return frame


def _printed() -> Iterator[tuple[str, int, str, float]]:
    table = cells(6).loc[DATASET]
    for share in SHARES:
        gains = table["eats" if share == 100 else f"eats-{share}%"] - table["original"]
        yield from ((PRINTED, share, setting, gains[setting]) for setting in SETTINGS)


def _logged() -> Iterator[tuple[str, int, str, float]]:
    for series, networks in NETWORKS.items():
        last = {share: pd.read_csv(LOGS / f"{name}.csv").iloc[-1] for share, name in networks.items()}
        for share in SHARES:
            for setting in SETTINGS:
                column = f"psnr_rgb_{setting}"
                yield series, share, setting, last[share][column] - last[0][column]


def found(frame: pd.DataFrame) -> str:
    """By series and degradation, the gains of the smallest and the largest share, and the correlation."""
    parts = [
        f"{series}, {setting}: {signed(each['gain'].iloc[0])} and {signed(each['gain'].iloc[-1])} dB, "
        f"r = {signed(_correlation(each))}"
        for (series, setting), each in frame.groupby(["series", "degradation"], sort=False)
    ]
    return (
        f"Gains over Original on {DATASET} with a share of {SHARES[0]}% and of {SHARES[-1]}%, and correlation of share "
        f"and gain (one training each): {'; '.join(parts)}."
    )


def verdict(frame: pd.DataFrame) -> str:
    """Whether the gain of trained networks grows with the share of layers in which they erase."""
    erased = frame[frame["series"] == ERASED].groupby("degradation")
    return judged(_correlation(each) > 0 for _, each in erased)


def _correlation(rows: pd.DataFrame) -> float:
    """Pearson's r of share and gain."""
    return float(np.corrcoef(rows["share"], rows["gain"])[0, 1])


def draw(frame: pd.DataFrame) -> Figure:
    """Gain against share: a panel per degradation, a line per series."""
    with styled():
        figure = Figure(figsize=(7.2, 2.9))
        panels = figure.subplots(1, len(SETTINGS), squeeze=False)[0]
        for setting, panel in zip(SETTINGS, panels, strict=True):
            for series, each in frame[frame["degradation"] == setting].groupby("series", sort=False):
                panel.plot(each["share"], each["gain"], "o-", color=COLOURS[str(series)], markersize=4, label=series)
            panel.axhline(0, color="black", linewidth=0.6)
            panel.set(title=f"{DATASET}, {setting}", xlabel="share of the layers, or of the weight 0.1 (%)")
        panels[0].set_ylabel("gain over Original (dB)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(COLOURS))
        figure.suptitle(f"Table 6 and a pull in proportion; trained: {family_title(RRDBNET)}, λ = 0.1, RGB", fontsize=8)
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw, found)
