"""Which reading of EATS gives the gains that the paper prints, and what does the erasure add in it?

For each reading, small SRResNets ×4 are trained with it, others alike but with nothing erased (the controls), and
others as Original. Their gains over Original stand beside the printed gains of Table 1, which are of a larger SRResNet.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from families import AUTO, Architectures, Checkpoints, load_each
from intervals import mean_interval
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from printed import CELL, cells, judged, signed
from psnr_tables import SETS
from readings import COLOURS, KINDS, ORIGINAL, kind_of, shipped_readings, without_control
from scipy import stats

from srgame.cli.comparison import labels
from srgame.errors import InputError
from srgame.evaluation.benchmark import benchmark
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREEN, ORANGE, styled

TABLE = 1
PRINTED = {"eats": "EATS", "dropout": "Dropout"}
NEAR = 1.25  # readings count as near the printed gains if their distance is at most this many times the smallest
NOTE: dict[str, Any] = {
    "textcoords": "offset points", "va": "center", "fontsize": 6,
    "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.5},  # hides the grid line
}  # fmt: skip
NETWORKS = shipped_readings()
SMOKE = {
    "networks": tuple(f"readings-x4-{kind}-{seed}" for seed in (0, 1) for kind in ("original", "w0.1", "pull-w0.1")),
    "sets": ("photographs",),
    "degradations": ("clean", "b+n"),
    "images": 2,
    "crop": 48,
}


def measure(
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    sets: tuple[str, ...] = SETS,
    degradations: tuple[str, ...] = ("all",),
    images: int | None = 20,
    crop: int | None = 128,
    seed: int = 0,
    store: Path | None = None,
) -> pd.DataFrame:
    """One row per network except Original, set, degradation and image, in dB of RGB.

    Columns: checkpoint, kind, seed, dataset, degradation, image; psnr; gain, over Original of the same seed; over, over
    the control of the same seed (NaN without one).

    The names of the networks, or files, end in a kind and a seed, as in readings-x4-w0.1-0; raises InputError if not,
    and if a seed lacks its Original.
    """
    known = {name: _known(label) for name, label in zip(networks, labels(networks), strict=True)}
    names = {trained: name for name, trained in known.items()}
    if lacking := {seed for _, seed in names} - {seed for kind, seed in names if kind == ORIGINAL}:
        raise InputError(f"gains are over Original of the same seed: name that of seed {min(lacking)} too")
    models = load_each(networks, network)
    scored = benchmark(models, sets, degradations, None, store, images=images, crop=crop, seed=seed, progress=True)
    return pd.concat(_gains(scored.scores, names), ignore_index=True)


def _known(label: str) -> tuple[str, int]:
    known = kind_of(label)
    if known is None:
        raise InputError(f"'{label}' ends in no kind and seed of readings.py, such as w0.1-0: rename the file")
    return known


def _gains(scores: pd.DataFrame, names: dict[tuple[str, int], str]) -> Iterator[pd.DataFrame]:
    of = {name: each.set_index([*CELL, "image"])["psnr_rgb"] for name, each in scores.groupby("checkpoint")}
    for (kind, seed), name in names.items():
        if kind == ORIGINAL:
            continue
        control = of.get(names.get((KINDS[kind].control, seed), ""))
        frame = pd.DataFrame({"psnr": of[name], "gain": of[name] - of[names[ORIGINAL, seed]]}).reset_index()
        frame["over"] = np.nan if control is None else (of[name] - control).to_numpy()
        yield frame.assign(checkpoint=name, kind=kind, seed=seed)[
            ["checkpoint", "kind", "seed", *CELL, "image", "psnr", "gain", "over"]
        ]


def by_cell(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per kind, set and degradation: gain (mean over seeds and images) and the printed gains, eats and dropout.

    The printed gains are those over Original; NaN where nothing is printed.
    """
    printed = cells(TABLE)
    gains = printed[list(PRINTED)].sub(printed["original"], axis=0)
    means = frame.groupby(["kind", *CELL, "seed"], sort=False)["gain"].mean().groupby(["kind", *CELL], sort=False)
    return means.mean().reset_index().join(gains, on=CELL)


def by_kind(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per kind: how near it is to the printed gains, and what its erasure adds.

    Columns: kind, seeds, cells, gaining (cells with a gain), gain (mean over cells); rms_ and r_ of eats and dropout,
    distance (dB, root mean square) and correlation with the printed gains; over, the reading minus its control (mean
    over cells), with 95% intervals over seeds (seeds_low, seeds_high; Student's t, NaN for one seed) and over images
    (images_low, images_high; sets count alike).
    """
    rows = []
    for kind, each in by_cell(frame).groupby("kind", sort=False):
        own = frame[frame["kind"] == kind]
        row: dict[str, Any] = {"kind": kind, "seeds": own["seed"].nunique(), "cells": len(each)}
        row |= {"gaining": int((each["gain"] > 0).sum()), "gain": each["gain"].mean()}
        both = each.dropna(subset=list(PRINTED))
        for name in PRINTED:
            row[f"rms_{name}"] = float(np.sqrt(np.square(both["gain"] - both[name]).mean()))
            row[f"r_{name}"] = float(np.corrcoef(both["gain"], both[name])[0, 1]) if len(both) > 2 else np.nan
        if own["over"].notna().all():
            of_seeds = own.groupby(["seed", *CELL])["over"].mean().groupby("seed").mean().to_numpy()
            row |= dict(zip(("over", "seeds_low", "seeds_high"), mean_interval(of_seeds), strict=True))
            row |= dict(zip(("images_low", "images_high"), _over_images(own), strict=True))
        rows.append(row)
    numbers = ["over", "seeds_low", "seeds_high", "images_low", "images_high"]
    table = pd.DataFrame(rows)
    return table.reindex(columns=[*(column for column in table if column not in numbers), *numbers])


def _over_images(own: pd.DataFrame, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of the mean over sets of the mean over images: images are drawn, sets and settings are given."""
    of_images = own.groupby(["dataset", "image"])["over"].mean()
    sets = of_images.groupby("dataset").agg(["mean", "sem", "count"])
    error = float(np.sqrt(np.square(sets["sem"]).sum())) / len(sets)
    half = float(stats.t.ppf((1 + confidence) / 2, int((sets["count"] - 1).sum()))) * error
    return float(sets["mean"].mean()) - half, float(sets["mean"].mean()) + half


def nearest(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of `by_kind` of readings that erase, the nearest to the printed gains of EATS first."""
    table = by_kind(frame)
    return table[[KINDS[kind].erases for kind in table["kind"]]].sort_values("rms_eats")


def found(frame: pd.DataFrame) -> str:
    """Which reading is nearest to the printed gains, how near its control is, and what its erasure adds."""
    readings, rows = nearest(frame), {row["kind"]: row for row in by_kind(frame).to_dict("records")}
    if readings.empty or np.isnan(readings["rms_eats"].iloc[0]):
        return ""
    best = readings.to_dict("records")[0]
    cells = f"{best['cells']} cells (each a set under a setting; {best['seeds']} seed{'s' * int(best['seeds'] > 1)})"
    sentence = (
        f"Nearest to the printed gains of EATS is {KINDS[best['kind']].words}: {best['rms_eats']:.2f} dB away (root "
        f"mean square), with a gain in {best['gaining']} of {cells}."
    )
    if control := rows.get(KINDS[best["kind"]].control):
        sentence += f" Its control, which erases nothing, is {control['rms_eats']:.2f} dB away, with a gain in "
        sentence += f"{control['gaining']}."
    if np.isnan(best["over"]):
        return sentence
    adds = f"Erasing adds {signed(best['over'], 3)} dB to it in the mean"
    if not np.isnan(best["seeds_low"]):
        adds += f" (95% interval over seeds {signed(best['seeds_low'], 3)} to {signed(best['seeds_high'], 3)}"
        adds += f", over images {signed(best['images_low'], 3)} to {signed(best['images_high'], 3)})"
    return f"{sentence} {adds}."


def verdict(frame: pd.DataFrame) -> str:
    """Whether erasing helps in the readings near the printed gains: whether the intervals over seeds are above 0."""
    readings = nearest(frame).dropna(subset=["seeds_low"])
    return judged(readings.loc[readings["rms_eats"] <= NEAR * readings["rms_eats"].min(), "seeds_low"] > 0)


def draw(frame: pd.DataFrame) -> Figure:
    """The gains by setting, the distance to the printed gains by reading, and each reading minus its control."""
    with styled():
        table = by_kind(frame).iloc[::-1]
        upper, lower = 2.6, 0.8 + 0.17 * len(table)  # inches
        figure = Figure(figsize=(7.2, upper + lower))
        (above,), (below,) = figure.subfigures(2, 1, squeeze=False, height_ratios=(upper, lower))
        _by_setting(above, by_cell(frame))
        distance, over = below.subplots(1, 2, width_ratios=(1.3, 1))
        _distance(distance, table)
        _over(over, table.dropna(subset=["over"]))
        figure.suptitle(
            "Readings of EATS, and their controls that erase nothing: small SRResNet ×4, RGB, mean over sets and seeds",
            fontsize=8,
        )
    return figure


def _by_setting(figure: SubFigure, table: pd.DataFrame) -> None:
    """The gains over Original by setting: of readings that erase on the left, of controls on the right."""
    settings = list(table["degradation"].unique())
    means = table.groupby(["kind", "degradation"], sort=False)[["gain", *PRINTED]].mean()
    panels = figure.subplots(1, 2, sharey=True)
    for panel, erases in zip(panels, (True, False), strict=True):
        panel.plot(settings, means["eats"].groupby("degradation", sort=False).first(), "ko-", label="printed: EATS")
        printed_dropout = means["dropout"].groupby("degradation", sort=False).first()
        panel.plot(settings, printed_dropout, "o--", color="0.5", fillstyle="none", label="printed: Dropout")
        for kind in (kind for kind in table["kind"].unique() if KINDS[kind].erases == erases):
            words, gains = without_control(kind), means["gain"].loc[kind]
            panel.plot(settings, gains, "o-", color=COLOURS[words], markersize=3, linewidth=1, label=words)
        panel.axhline(0, color="black", linewidth=0.6)
        panel.tick_params(axis="x", labelsize=6)
        panel.set_title("filters erased" if erases else "nothing erased")
    panels[0].set_ylabel("gain over Original (dB)")
    shown = {label: line for panel in panels for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(list(shown.values()), list(shown), fontsize=6, loc="outside right center")


def _distance(panel: Axes, table: pd.DataFrame) -> None:
    words = [KINDS[kind].words for kind in table["kind"]]
    for name, colour, fill in (("eats", GREEN, "full"), ("dropout", ORANGE, "none")):
        panel.plot(table[f"rms_{name}"], words, "o", color=colour, fillstyle=fill, label=f"to printed {PRINTED[name]}")
    for place, row in enumerate(table.to_dict("records")):
        if np.isnan(row["rms_eats"]):  # nothing is printed of these images
            continue
        note = f"gains in {row['gaining']} of {row['cells']}, r = {row['r_eats']:.2f}"
        panel.annotate(note, (max(row["rms_eats"], row["rms_dropout"]), place), (7, 0), **NOTE)
    widest = table["rms_eats"].max()
    panel.set(xlabel="RMS distance to printed gains (dB)", xlim=(0, 2.3 * widest if widest > 0 else None))
    panel.grid(axis="x")
    panel.tick_params(axis="y", labelsize=6)
    panel.legend(fontsize=6, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)


def _over(panel: Axes, table: pd.DataFrame) -> None:
    words = [f"{KINDS[kind].words} ({seeds})" for kind, seeds in zip(table["kind"], table["seeds"], strict=True)]
    places = np.arange(len(words))
    for shift, name, colour in ((0.15, "seeds", BLUE), (-0.15, "images", ORANGE)):
        error = [table["over"] - table[f"{name}_low"], table[f"{name}_high"] - table["over"]]
        style: dict[str, Any] = {"markersize": 4, "elinewidth": 1, "color": colour, "label": f"95%, {name}"}
        panel.errorbar(table["over"], places + shift, xerr=error, fmt="o", **style)
    panel.axvline(0, color="black", linewidth=0.6)
    panel.set_yticks(places, words, fontsize=6)
    panel.set(xlabel="erasing minus not erasing (dB)", ylim=(-0.6, len(words) - 0.4))
    panel.legend(fontsize=6, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
