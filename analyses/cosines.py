"""How alike the responses of a layer's filters are: what Figures 4, 7 and 8 share."""

import numpy as np
import pandas as pd
from families import (
    AUTO,
    Architectures,
    Checkpoints,
    colours_in,
    family_of,
    layer_title,
    measured,
    nothing_measured,
    probed,
    sample_title,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from printed import judged
from zoo_names import PAPERS, family_title, first_of_each, strategy_title

from srgame.data.lazy import lr_images
from srgame.probes.cosine import channel_cosine, cosine_matrix
from srgame.report.style import styled

NETWORKS = first_of_each(PAPERS)
MEASURES = ["cosine", "correlation", "cosine_size", "correlation_size"]
COLUMNS = ["strategy", "checkpoint", "layer", "filter", "partner", *MEASURES, "sample", "reason"]
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

    Columns: strategy, checkpoint, layer, filter, partner, the four columns of `channel_cosine`, sample, reason;
    checkpoint and sample stand only in the first row of each strategy, so that the csv stays small.

    Cosines and correlations are means over the central crops of the first `images` images of `dataset`, taken as LR
    images.
    """
    lr = lr_images(dataset, images=images, crop=crop)
    frame = probed(networks, family, lambda net: channel_cosine(net, lr, layers), network)
    frame["sample"] = sample_title(dataset, len(lr), crop)
    frame.loc[frame["strategy"].duplicated(), ["checkpoint", "sample"]] = ""
    return (
        frame.reindex(columns=COLUMNS)
        .astype({"filter": "Int64", "partner": "Int64"} | dict.fromkeys(MEASURES, float))
        .round(4)
    )


def sizes(frame: pd.DataFrame) -> pd.DataFrame:
    """Means over the pairs of each layer and strategy: cosine_size, correlation_size, and |cosine|, |correlation|.

    The first two are means over images of the sizes, the others sizes of the means over images.
    """
    means = frame.assign(cosine=frame["cosine"].abs(), correlation=frame["correlation"].abs())
    return means.groupby(["layer", "strategy"], sort=False)[MEASURES].mean()


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    family, means, parts = family_of(frame), sizes(measured(frame)), []
    names = frame["strategy"].unique()
    for layer in measured(frame)["layer"].dropna().unique():
        for column in ("correlation", "cosine"):
            of_layer = {name: means.loc[(layer, name)] for name in names if (layer, name) in means.index}
            own = [
                f"{strategy_title(name)} {mean[f'{column}_size']:.2f} ({mean[column]:.2f})"
                for name, mean in of_layer.items()
            ]
            parts.append(f"{layer_title(layer, family)}, {column}: {', '.join(own)}")
    over = "Mean |value| over the pairs of filters of a layer and over images (in brackets: |mean over images|)"
    return f"{over}: {'; '.join(parts)}." if parts else ""


def verdict(frame: pd.DataFrame) -> str:
    """Whether filters are less correlated with EATS than with Original, in each layer and by cosine too."""
    means = sizes(measured(frame))[["cosine_size", "correlation_size"]].stack().unstack("strategy")
    return judged(means["eats"] < means["original"] if {"original", "eats"} <= set(means) else [])


def draw(frame: pd.DataFrame) -> Figure:
    """A row per layer: a matrix per strategy, cosines below its diagonal and correlations above; shares of pairs."""
    family, there = family_of(frame), measured(frame)
    colours, layers = colours_in(there), list(there["layer"].dropna().unique())
    heading = f"Likeness of filters, {family_title(family)}; {frame['sample'].iloc[0]}"
    if not layers:
        return nothing_measured(heading)
    with styled():
        figure = Figure(figsize=(7.2, 1.0 + min(1.55, 7.75 / (len(colours) + 1)) * len(layers)))
        panels = figure.subplots(len(layers), len(colours) + 1, squeeze=False)
        for row, layer in zip(panels, layers, strict=True):
            of_layer = there[there["layer"] == layer]
            for panel, strategy in zip(row, colours, strict=False):
                image = _matrix(panel, of_layer[of_layer["strategy"] == strategy])
            row[0].set_ylabel(layer_title(layer, family))
            _distributions(row[-1], of_layer, colours)
        for panel, strategy in zip(panels[0], colours, strict=False):
            panel.set_title(
                f"{strategy_title(strategy)}\n{panel.get_title()}", fontsize=7, pad=2, color=colours[strategy]
            )
        panels[0, -1].set_title("pairs below x\n— |r|, ··· |cos|", fontsize=7, pad=2)
        panels[-1, -1].set_xlabel("size", fontsize=7)
        for panel in panels[-1, :-1]:
            panel.set_xlabel("filter", fontsize=7)
        bar = figure.colorbar(
            image, ax=panels[:, :-1], location="bottom", shrink=0.5, aspect=40, pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1]
        )
        bar.set_label("below the diagonal: cosine; above: correlation (means over images)", fontsize=7)
        bar.ax.tick_params(labelsize=6)
        figure.suptitle(heading, fontsize=8)
    return figure


def _matrix(panel: Axes, pairs: pd.DataFrame) -> AxesImage:
    """Cosines below the diagonal and correlations above it, and the means of their sizes."""
    pairs = pairs.astype({"filter": int, "partner": int})
    matrix = np.tril(cosine_matrix(pairs)) + np.triu(cosine_matrix(pairs, "correlation"), 1)
    panel.set_title(
        f"|cos| {pairs['cosine_size'].mean():.2f}, |r| {pairs['correlation_size'].mean():.2f}", fontsize=7, pad=2
    )
    panel.grid(False)
    panel.tick_params(labelsize=6)
    return panel.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")


def _distributions(panel: Axes, of_layer: pd.DataFrame, colours: dict[str, str]) -> None:
    """The share of pairs below each size: correlations solid, cosines dotted."""
    for strategy, colour in colours.items():
        own = of_layer[of_layer["strategy"] == strategy]
        for column, style in (("correlation_size", "-"), ("cosine_size", ":")):
            ordered = np.sort(own[column].to_numpy(dtype=float))
            panel.plot(ordered, np.linspace(0, 100, len(ordered)), style, color=colour, linewidth=1.1)
    panel.set_xlim(0, 1)
    panel.set_ylim(0, 100)
    panel.yaxis.tick_right()
    panel.tick_params(labelsize=6)
    panel.yaxis.set_major_formatter("{x:.0f}%")
