"""Pictures of networks side by side, drawn from the frames of `srgame compare`."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from srgame.report.probe_figures import legend_of_checkpoints, sorted_shares
from srgame.report.style import Figure, colours, styled

MOST_LAYERS = 4  # with more, layers are compared instead of filters
PANELS = {
    "worth": "worth of the layer ({unit})",
    "shapley_effective_share": "share of filters effective in φ",
    "harmful": "share of filters with φ < 0",
    "responses_effective_share": "share of filters effective in |response|",
    "salience_effective_share": "share of filters effective in salience",
    "mean_cosine": "mean |cosine| of responses",
}


def profile_plot(filters: pd.DataFrame, differences: pd.DataFrame, unit: str = "dB") -> Figure:
    """Networks side by side: the filters of up to four layers, sorted; of more layers, quantities from first to last.

    `filters` has the rows of filter_profiles, `differences` those of profile_differences, each with a column
    checkpoint. The legend has the mean PSNR of each network.
    """
    few = filters["layer"].nunique() <= MOST_LAYERS
    figure = _filters(filters, unit) if few else _layers(differences, unit)
    psnr = differences[differences["quantity"] == "psnr_y"].set_index("checkpoint")["value"]
    for text in figure.legends[-1].get_texts():
        text.set_text(f"{text.get_text()}: PSNR, Y {psnr[text.get_text()]:.2f} dB")
    return figure


def _filters(filters: pd.DataFrame, unit: str) -> Figure:
    """A row per layer: φ with intervals, shares of responses and of salience, and the cosine with the most alike."""
    layers = list(filters["layer"].unique())
    palette = colours(list(filters["checkpoint"].unique()))
    with styled():
        figure = Figure(figsize=(9.2, 2.2 * len(layers) + 0.5))
        for panels, layer in zip(figure.subplots(len(layers), 4, squeeze=False), layers, strict=True):
            of_layer = filters[filters["layer"] == layer]
            _values(panels[0], of_layer, palette)
            panels[0].set_ylabel(f"{layer}\nφ{f' ({unit})' if unit else ''}, interval")
            sorted_shares(panels[1], of_layer, "mean_abs", palette)
            panels[1].set_ylabel("share of all |response| (%)")
            sorted_shares(panels[2], of_layer, "salience", palette)
            panels[2].set_ylabel("share of all salience (%)")
            for panel in panels[1:3]:
                panel.legend(loc="upper right", handlelength=1.0, fontsize=7)
            _alike(panels[3], of_layer, palette)
        for panel in panels:
            panel.set_xlabel("filter, sorted")
        legend_of_checkpoints(figure, filters)
    return figure


def _values(panel: Axes, of_layer: pd.DataFrame, palette: dict[str, str]) -> None:
    for name, rows in of_layer.groupby("checkpoint", sort=False):
        rows = rows.sort_values("shapley", ascending=False)
        place, colour = np.arange(1, len(rows) + 1), palette[str(name)]
        panel.plot(place, rows["shapley"], color=colour, linewidth=1.2)
        panel.fill_between(place, rows["low"], rows["high"], color=colour, alpha=0.25, linewidth=0)
    panel.axhline(0, color="black", linewidth=0.6)


def _alike(panel: Axes, of_layer: pd.DataFrame, palette: dict[str, str]) -> None:
    for name, rows in of_layer.groupby("checkpoint", sort=False):
        size = np.sort(rows["cosine"].abs())[::-1]
        panel.plot(np.arange(1, len(size) + 1), size, color=palette[str(name)], linewidth=1.2)
    panel.set_ylim(0, 1)
    panel.set_ylabel("|cosine| with the most alike")


def _layers(differences: pd.DataFrame, unit: str) -> Figure:
    """A panel per quantity: its value in each layer, a line per network."""
    layers = list(differences["layer"].unique()[1:])
    palette = colours(list(differences["checkpoint"].unique()))
    with styled():
        figure = Figure(figsize=(max(6.6, 0.16 * len(layers) + 4), 2.0 * len(PANELS) // 2 + 1.6))
        panels = figure.subplots(len(PANELS) // 2, 2, sharex=True)
        for panel, (quantity, title) in zip(panels.flat, PANELS.items(), strict=True):
            own = differences[differences["quantity"] == quantity]
            for name, rows in own.groupby("checkpoint", sort=False):
                values = rows.set_index("layer")["value"].reindex(layers)
                panel.plot(range(len(layers)), values, "o-", color=palette[str(name)], linewidth=1, markersize=2.5)
            panel.set_title(title.format(unit=unit) if unit else title.replace(" ({unit})", ""))
            panel.axhline(0, color="black", linewidth=0.6)
        step = -(-len(layers) // 20)
        for panel in panels[-1]:
            panel.set_xticks(range(0, len(layers), step), layers[::step], rotation=90)
        legend_of_checkpoints(figure, differences)
    return figure
