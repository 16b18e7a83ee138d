"""Pictures of tidy frames."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from srgame.style import BLUE, GREY, ORANGE, styled


def shapley_bars(values: pd.DataFrame, unit: str) -> Figure:
    """A panel for each layer of `audit.layer_values`: filters sorted by φ, with intervals, and the equal share."""
    layers = list(values.groupby("layer", sort=False))
    columns = min(4, len(layers))
    rows = math.ceil(len(layers) / columns)
    with styled():
        figure = Figure(figsize=(max(5.2, 3 * columns), 2.6 * rows))
        panels = figure.subplots(rows, columns, squeeze=False).flat
        for panel, (layer, of_layer) in zip(panels, layers, strict=False):
            _bars(panel, of_layer.sort_values("rank"))
            panel.set_title(f"{layer}: {len(of_layer)} filters")
        for unused in list(figure.axes)[len(layers) :]:
            unused.remove()
        figure.axes[0].legend(loc="upper right")
        figure.supxlabel("filter, sorted by Shapley value", fontsize=8)
        figure.supylabel(f"Shapley value φ{f' ({unit})' if unit else ''}", fontsize=8)
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
    panel.set_xticklabels(sorted_values["filter"].to_numpy()[panel.get_xticks().astype(int)])
