"""Appendix C: does a training step of EATS take 1.4 times as long as one of Original? Computed from bench_eats.csv."""

from pathlib import Path

import numpy as np
import pandas as pd
from intervals import mean_interval
from matplotlib.figure import Figure
from printed import number, printed, printed_in

from srgame.errors import InputError
from srgame.report.recipe import INPUTS, run
from srgame.report.style import BLUE, GREY, ORANGE, styled

SMOKE: dict[str, object] = {}


def measure(timed: str = "bench_eats") -> pd.DataFrame:
    """One row per network: network, layers, ratio with low and high (95% over layers), limit, reported.

    ratio is the mean time of EATS's step over Original's, if all layers are erased equally often; limit is its limit by
    the multiplications of the second pass. Raises InputError if figures/`timed`.csv is missing.
    """
    source = Path(__file__).parents[1] / "figures" / f"{timed}.csv"
    if not source.exists():
        raise InputError(f"'{source.name}' is not in figures: run python analyses/bench_eats.py first")
    claimed = number(printed("cost")["ratio"].iloc[0])
    rows = []
    for network, own in pd.read_csv(source).groupby("network", sort=False):
        ratio, low, high = mean_interval(own["ratio"].to_numpy())
        numbers = {"ratio": ratio, "low": low, "high": high, "limit": own["limit"].mean(), "reported": claimed}
        rows.append({"network": network, "layers": len(own)} | numbers)
    frame = pd.DataFrame(rows)
    frame.attrs[INPUTS] = [source, printed_in("cost")]
    return frame


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    parts = [f"{row.network} {row.ratio:.2f} ({row.low:.2f} to {row.high:.2f})" for row in frame.itertuples()]
    claimed = frame["reported"].iloc[0]
    return f"A step of EATS takes, relative to Original, {', '.join(parts)}; the paper says {claimed:.1f}."


def verdict(frame: pd.DataFrame) -> str:
    """Whether the paper's ratio lies in all intervals."""
    return "agrees" if ((frame["low"] <= frame["reported"]) & (frame["reported"] <= frame["high"])).all() else "differs"


def draw(frame: pd.DataFrame) -> Figure:
    """A bar per network with its interval over layers, the limit, and the paper's number."""
    with styled():
        figure = Figure(figsize=(6.2, 2.7))
        panel = figure.subplots()
        error = [frame["ratio"] - frame["low"], frame["high"] - frame["ratio"]]
        panel.bar(
            frame["network"],
            frame["ratio"],
            0.5,
            yerr=error,
            color=BLUE,
            label="measured, 95% over layers",
            error_kw={"linewidth": 1},
        )
        panel.plot(
            np.arange(len(frame)) + 0.12,
            frame["limit"],
            "D",
            color="black",
            markersize=4,
            label="limit",
        )
        panel.axhline(frame["reported"].iloc[0], color=ORANGE, linestyle="--", label="reported in the paper")
        panel.axhline(1, color=GREY, linewidth=0.8, label="Original")
        panel.set(ylabel="step time, EATS / Original", ylim=(0, 2.2))
        figure.legend(loc="outside lower center", ncols=4)
        figure.suptitle("Time of a training step of EATS over one of Original", fontsize=8)
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw, found)
