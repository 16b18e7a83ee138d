"""Pictures of Shapley values and of interactions, drawn from their frames."""

import math
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from pandas.api.types import is_numeric_dtype

from srgame.report.style import BLUE, GREY, ORANGE, RED, Figure, styled

SIGNED = LinearSegmentedColormap.from_list("signed", ["#6B2F00", RED, "white", BLUE, "#00304D"]).with_extremes(
    bad="0.85"
)

NAMED = 8  # filters below 0 that are named in a panel


def shapley_bars(values: pd.DataFrame, unit: str, title: str = "") -> Figure:
    """A panel for each layer of a frame of network_values: filters sorted by φ, with intervals, and the equal share.

    Filters below 0 are named if they are at most NAMED in a layer.
    """
    layers = list(values.groupby("layer", sort=False))
    columns = min(4, len(layers))
    rows = math.ceil(len(layers) / columns)
    with styled():
        figure = Figure(figsize=(max(5.2, 3 * columns), 2.6 * rows))
        panels = figure.subplots(rows, columns, squeeze=False).flat
        for panel, (layer, of_layer) in zip(panels, layers, strict=False):
            _bars(panel, of_layer.sort_values("rank"))
            panel.set_title(f"{layer}: {len(of_layer)}" + (" filters" if is_numeric_dtype(of_layer["filter"]) else ""))
        for unused in list(figure.axes)[len(layers) :]:
            unused.remove()
        figure.axes[0].legend(loc="upper right")
        figure.supxlabel("filter, sorted by Shapley value", fontsize=8)
        figure.supylabel(f"Shapley value φ{f' ({unit})' if unit else ''}", fontsize=8)
        figure.suptitle(title, fontsize=8)
    return figure


def _bars(panel: Axes, sorted_values: pd.DataFrame) -> None:
    place = np.arange(len(sorted_values))
    value = sorted_values["shapley"].to_numpy()
    gap = 0.3 if len(place) <= 128 else 0.0
    panel.bar(place, value, width=1.0, color=np.where(value < 0, ORANGE, BLUE), edgecolor="white", linewidth=gap)
    whiskers = np.abs(sorted_values[["low", "high"]].to_numpy().T - value)
    panel.errorbar(place, value, whiskers, fmt="none", ecolor="black", elinewidth=0.6)
    panel.axhline(value.mean(), color=GREY, linestyle="--", linewidth=0.8, label="equal share")
    panel.axhline(0, color="black", linewidth=0.6)
    panel.set_xticks(place[:: math.ceil(len(place) / 8)])
    names = sorted_values["filter"].to_numpy()[panel.get_xticks().astype(int)]
    panel.set_xticklabels(names, rotation=0 if is_numeric_dtype(names) else 30)
    negative = sorted_values.loc[sorted_values["shapley"] < 0, "filter"].astype(str)
    if 0 < len(negative) <= NAMED:
        style: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 7, "color": ORANGE}
        panel.text(0.98, 0.7, f"below 0: {', '.join(negative)}", transform=panel.transAxes, **style)


def interaction_matrices(pairs: pd.DataFrame, unit: str) -> Figure:
    """A matrix of filters for each layer of a frame of interactions; the filters that interact most come first.

    Above the diagonal are all estimates, below it those whose interval excludes 0. The strongest 1% of a layer
    share the last colour.
    """
    layers = list(pairs.groupby("layer", sort=False))
    columns = min(4, len(layers))
    rows = math.ceil(len(layers) / columns)
    with styled():
        figure = Figure(figsize=(3.9 * columns, 3.4 * rows))
        panels = figure.subplots(rows, columns, squeeze=False).flat
        for (layer, of_layer), panel in zip(layers, panels, strict=False):
            _matrix(panel, of_layer, unit)
            if len(layers) > 1:
                panel.set_title(str(layer))
        for unused in panels:
            unused.remove()
    return figure


def removal_plot(losses: pd.DataFrame, count: int, title: str) -> Figure:
    """The loss of PSNR against the number of removed filters, on both sets of images, and the sums of scores.

    `losses` has the columns removed, loss, held_out_loss, sum_shapley and sum_leave-one-out (dB); a vertical line marks
    `count`.
    """
    with styled():
        figure = Figure(figsize=(5.2, 3.4))
        panel = figure.subplots()
        panel.plot(losses["removed"], losses["loss"], color=BLUE, label="loss, images that rank the filters")
        panel.plot(losses["removed"], losses["held_out_loss"], color=ORANGE, label="loss, held-out images")
        panel.plot(losses["removed"], losses["sum_shapley"], "--", color=BLUE, linewidth=1, label="sum of φ")
        panel.plot(losses["removed"], losses["sum_leave-one-out"], ":", color=GREY, label="sum of leave-one-out")
        panel.axvline(count, color="black", linewidth=0.6)
        panel.axhline(0, color="black", linewidth=0.6)
        panel.set_title(title)
        panel.set_xlabel("filters removed")
        panel.set_ylabel("loss of PSNR (dB); below 0, a gain")
        figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _matrix(panel: Axes, pairs: pd.DataFrame, unit: str) -> None:
    both = pd.concat([pairs, pairs.rename(columns={"filter": "partner", "partner": "filter"})])
    strength = both["interaction"].abs().groupby(both["filter"]).mean()
    filters = strength.sort_values(ascending=False).index
    certain = both["interaction"].where((both["low"] > 0) | (both["high"] < 0), 0.0)
    shown = _square(both, filters)
    below = np.tri(len(filters), k=-1, dtype=bool)
    shown[below] = _square(both.assign(interaction=certain), filters)[below]
    strong = float(pairs["interaction"].abs().quantile(0.99)) or 1.0
    image = panel.imshow(shown, cmap=SIGNED, vmin=-strong, vmax=strong, interpolation="nearest")
    places = np.arange(0, len(filters), math.ceil(len(filters) / 10))
    panel.set_xticks(places, filters[places], rotation=90)
    panel.set_yticks(places, filters[places])
    panel.grid(False)
    panel.set_xlabel("filter; above the diagonal all estimates,\nbelow it where the interval excludes 0")
    panel.set_ylabel("filter, strongest interactions first")
    extend: Literal["both", "neither"] = "both" if np.nanmax(np.abs(shown)) > strong else "neither"
    bar = panel.figure.colorbar(image, ax=panel, shrink=0.85, extend=extend)
    bar.set_label(f"− interchangeable   {f'I ({unit})' if unit else 'I'}   co-adapted +")


def _square(both: pd.DataFrame, filters: "pd.Index[Any]") -> Float[np.ndarray, "player player"]:
    square = both.pivot(index="filter", columns="partner", values="interaction")
    return square.reindex(index=filters, columns=filters).to_numpy(copy=True)
