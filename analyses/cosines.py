"""How alike the responses of a layer's filters are: what Figures 4, 7 and 8 share."""

from textwrap import fill

import numpy as np
import pandas as pd
from families import (
    AUTO,
    Architectures,
    Checkpoints,
    colours_in,
    empty,
    family_of,
    layer_title,
    measured,
    probed,
    reason_of,
    sample_title,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from printed import judged
from psnr_tables import WIDTH
from zoo_names import PAPERS, family_title, first_of_each, missing_networks

from srgame.data.lazy import lr_images
from srgame.probes.cosine import channel_cosine, cosine_matrix
from srgame.report.style import styled

NETWORKS = first_of_each(PAPERS)
COLUMNS = ["strategy", "checkpoint", "layer", "filter", "partner", "cosine", "sample", "reason"]
CHEAP = {"dataset": "photographs", "images": 1, "crop": 32}


def measure(
    family: str = PAPERS,
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    layers: tuple[str, ...] = ("body.1", "body.13"),
    dataset: str = "unseen109",
    images: int | None = 20,
    crop: int | None = 96,
) -> pd.DataFrame:
    """One row per strategy, layer and pair of filters.

    Columns: strategy, checkpoint, layer, filter, partner, cosine, sample, reason; checkpoint and sample stand only in
    the first row of each strategy, so that the csv stays small.

    Cosines are means over the central crops of the first `images` images of `dataset`, taken as LR images.
    """
    lr = lr_images(dataset, images=images, crop=crop)
    frame = probed(networks, family, lambda net: channel_cosine(net, lr, layers), network)
    frame["sample"] = sample_title(dataset, len(lr), crop)
    frame.loc[frame["strategy"].duplicated(), ["checkpoint", "sample"]] = ""
    return (
        frame.reindex(columns=COLUMNS)
        .astype({"filter": "Int64", "partner": "Int64", "cosine": float})
        .round({"cosine": 4})
    )


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    family, size = family_of(frame), frame.assign(size=frame["cosine"].abs())
    means = size.groupby(["layer", "strategy"], sort=False)["size"].mean()
    parts = []
    names = frame["strategy"].unique()
    for layer in measured(frame)["layer"].dropna().unique():
        own = [f"{name} {means[layer, name]:.2f}" for name in names if (layer, name) in means]
        parts.append(f"{layer_title(layer, family)}: {', '.join(own)}")
    return f"Mean |cosine| between the filters of a layer: {'; '.join(parts)}." if parts else ""


def verdict(frame: pd.DataFrame) -> str:
    """Whether filters are less alike with EATS than with Original, in each layer."""
    means = frame.assign(size=frame["cosine"].abs()).groupby(["layer", "strategy"])["size"].mean().unstack()
    return judged(means["eats"] < means["original"] if {"original", "eats"} <= set(means) else [])


def draw(frame: pd.DataFrame) -> Figure:
    """A row per layer: the matrix of each strategy, and the share of pairs with a |cosine| below x."""
    family, colours = family_of(frame), colours_in(frame)
    title = f"Cosine between responses of filters, {family_title(family)}"
    layers = list(measured(frame)["layer"].dropna().unique()) or [""]
    with styled():
        figure = Figure(figsize=(7.2, 1.1 + 1.5 * len(layers) if len(measured(frame)) else 1.4))
        panels = figure.subplots(len(layers), len(colours) + 1, squeeze=False)
        image = None
        for row, layer in zip(panels, layers, strict=True):
            of_layer = frame[frame["layer"] == layer]
            for panel, strategy in zip(row, colours, strict=False):
                pairs = of_layer[of_layer["strategy"] == strategy]
                if pairs.empty:
                    empty(panel, reason_of(frame, strategy))
                else:
                    matrix = cosine_matrix(pairs.astype({"filter": int, "partner": int}))
                    image = panel.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
                    panel.set_title(f"mean |cos| {pairs['cosine'].abs().mean():.3f}", fontsize=7, pad=2)
                    panel.grid(False)
                    panel.tick_params(labelsize=6)
            row[0].set_ylabel(layer_title(layer, family))
            _distributions(row[-1], of_layer, colours)
        for panel, strategy in zip(panels[0], colours, strict=False):
            own = panel.get_title()
            panel.set_title(f"{strategy}\n{own}".strip(), fontsize=7, pad=2, color=colours[strategy])
        panels[0, -1].set_title("pairs below |cos|", fontsize=7, pad=2)
        panels[-1, -1].set_xlabel("|cos|" if panels[-1, -1].lines else "", fontsize=7)
        for panel in panels[-1, :-1]:
            panel.set_xlabel("filter" if panel.images else "", fontsize=7)
        if image is not None:
            bar = figure.colorbar(
                image,
                ax=panels[:, :-1],
                location="bottom",
                shrink=0.4,
                aspect=40,
                pad=0.02,
                ticks=[-1, -0.5, 0, 0.5, 1],
            )
            bar.set_label("cosine", fontsize=7)
            bar.ax.tick_params(labelsize=6)
        lines = [f"{title}. {frame['sample'].iloc[0]}", found(frame), missing_networks(frame["reason"])]
        figure.suptitle("\n".join(fill(line, WIDTH) for line in lines if line), fontsize=8)
    return figure


def _distributions(panel: Axes, of_layer: pd.DataFrame, colours: dict[str, str]) -> None:
    for strategy, colour in colours.items():
        sizes = np.sort(of_layer.loc[of_layer["strategy"] == strategy, "cosine"].abs().to_numpy(dtype=float))
        if len(sizes):
            panel.plot(sizes, np.linspace(0, 100, len(sizes)), color=colour, linewidth=1.2)
    if not panel.lines:
        return empty(panel, "nothing measured")
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 100)
    panel.yaxis.tick_right()
    panel.tick_params(labelsize=6)
    panel.yaxis.set_major_formatter("{x:.0f}%")
