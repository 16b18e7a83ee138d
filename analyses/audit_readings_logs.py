"""What do the logs say of the readings of EATS, at equal steps, also of trainings that are not at their end?

All trainings have the same steps, batches and learning rates, so that at equal steps they can be compared. A log holds
PSNR on Set5, clean and under b+n (blur and noise). Two panels are of small SRResNets, two of the paper's size.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from printed import cells, judged, printed_in, signed
from readings import COLOURS, KINDS, ORIGINAL, kind_of, without_control
from zoo_names import LOGS, READINGS

from srgame.report.recipe import INPUTS, run
from srgame.report.style import styled

FAMILIES = {READINGS: "small SRResNet ×4 (32 features, 8 blocks)", "readings-srresnet-x4": "SRResNet ×4"}
SETTINGS = ("clean", "b+n")
PRINTED = ("Set5", 1)  # the set of the logs, and the table that has it
PRINTED_LABEL = "printed gain of EATS"
SMOKE: dict[str, Any] = {"families": tuple(FAMILIES)}


def measure(families: tuple[str, ...] = tuple(FAMILIES)) -> pd.DataFrame:
    """One row per family, kind, seed, step and degradation, read from the logs.

    Columns: family, kind, seed, step, degradation, psnr (dB of RGB, mean over Set5), gain (over Original of the same
    seed at the same step; rows without one are left out), printed (the gain of EATS in Table 1).
    """
    table = cells(PRINTED[1]).loc[PRINTED[0]]
    printed = (table["eats"] - table["original"]).to_dict()
    rows = pd.DataFrame([row for family in families for row in _logged(family)])
    key = ["family", "seed", "step", "degradation"]
    originals = rows[rows["kind"] == ORIGINAL].set_index(key)["psnr"].rename("original")
    rows = rows[rows["kind"] != ORIGINAL].join(originals, on=key).dropna(subset=["original"])
    rows["gain"] = rows["psnr"] - rows.pop("original")
    frame = rows.assign(printed=rows["degradation"].map(printed)).reset_index(drop=True)
    frame.attrs[INPUTS] = [printed_in(f"table{PRINTED[1]}"), *(LOGS / f"{family}-*.csv" for family in families)]
    return frame


def _logged(family: str) -> Iterator[dict[str, Any]]:
    for path in sorted(LOGS.glob(f"{family}-*.csv")):
        kind, seed = kind_of(path.stem) or ("", 0)
        log = pd.read_csv(path)
        if f"psnr_rgb_{SETTINGS[0]}" not in log:
            continue  # the training ended before its first validation
        for row in log.dropna(subset=[f"psnr_rgb_{SETTINGS[0]}"]).to_dict("records"):
            about = {"family": family, "kind": kind, "seed": seed, "step": int(row["step"])}
            for setting in SETTINGS:
                yield about | {"degradation": setting, "psnr": row[f"psnr_rgb_{setting}"]}


def pairs(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of readings that have a control, with a column `over`: the gain minus that of the control."""
    key = ["family", "seed", "step", "degradation"]
    controls = frame.set_index(["kind", *key])["gain"].rename("control_gain")
    named = frame.assign(control=frame["kind"].map(lambda kind: KINDS[kind].control))
    both = named.join(controls, on=["control", *key]).dropna(subset=["control_gain"])
    return both.assign(over=both["gain"] - both["control_gain"])


def found(frame: pd.DataFrame) -> str:
    """What erasing adds at equal steps, and the gains at the last common step in the paper's size."""
    over = pairs(frame)
    if over.empty:
        return ""
    size = float(np.sqrt(np.square(over["over"]).mean()))
    sentence = (
        f"In {len(over)} pairs of logged PSNRs at equal steps, a reading that teaches all weights and its control "
        f"differ by {size:.2f} dB (root mean square; {signed(over['over'].mean())} dB in the mean)."
    )
    paper = frame[(frame["family"] != READINGS) & (frame["kind"] == "w0.1")]
    if len(paper):
        last = paper[paper["step"] == paper["step"].max()].set_index("degradation")["gain"]
        gains = " and ".join(f"{signed(gain)} dB {setting}" for setting, gain in last.items())
        sentence += f" In the paper's size, λ = 0.1 gains {gains} after {paper['step'].max():,} steps."
    return sentence


def verdict(frame: pd.DataFrame) -> str:
    """Whether erasing helps: whether readings exceed their controls by more than 0.02 dB in the mean."""
    over = pairs(frame).groupby("kind", sort=False)["over"].mean()
    return judged(over > 0.02)


def draw(frame: pd.DataFrame) -> Figure:
    """Gain over Original against the step: a row per family, a column per setting; solid lines erase."""
    families = list(frame["family"].unique())
    with styled():
        figure = Figure(figsize=(7.2, 1.0 + 2.3 * len(families)))
        panels = figure.subplots(len(families), len(SETTINGS), squeeze=False)
        for family, row in zip(families, panels, strict=True):
            for setting, panel in zip(SETTINGS, row, strict=True):
                own = frame[(frame["family"] == family) & (frame["degradation"] == setting)]
                _panel(panel, own)
                panel.set_title(f"{FAMILIES.get(family, family)}, Set5 {setting}")
            row[0].set_ylabel("gain over Original (dB)")
        for panel in panels[-1]:
            panel.set_xlabel("step")
        handles = {
            label: handle
            for panel in panels.flat
            for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        places = [*COLOURS, PRINTED_LABEL]
        shown = sorted(handles, key=places.index)
        figure.legend([handles[label] for label in shown], shown, loc="outside lower center", ncols=5, fontsize=6)
        figure.suptitle(
            "Readings of EATS during training; dashed: without erasures (controls, Dropout, DIL)", fontsize=8
        )
    return figure


def _panel(panel: Axes, rows: pd.DataFrame) -> None:
    for kind, each in rows.groupby("kind", sort=False):
        reading, name = KINDS[str(kind)], without_control(str(kind))
        gains = each.groupby("step")["gain"].mean()
        line = "-" if reading.erases else "--"
        panel.plot(
            gains.index, gains, "o", markersize=2.5, linewidth=1, linestyle=line, color=COLOURS[name], label=name
        )
    panel.axhline(rows["printed"].iloc[0], color="black", linewidth=1.2, label=PRINTED_LABEL)
    panel.axhline(0, color="0.6", linewidth=0.6)
    panel.set_xlim(left=0)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
