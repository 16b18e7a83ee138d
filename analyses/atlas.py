"""The atlas of the network trained with EATS beside Original: what does each filter do, and what is it worth?

The page is figures/atlas.html. Its layers are a shallow and a deep one, and the last feature layer.
"""

import pandas as pd
from matplotlib.figure import Figure
from zoo_names import first_of_each

from srgame.atlas.measure import Sample, measured
from srgame.atlas.page import page_of
from srgame.networks import load_network
from srgame.provenance import provenance
from srgame.report.recipe import FILES, run
from srgame.report.style import colours, styled
from srgame.shapley.until import Until

NETWORKS = tuple(name for name in first_of_each("small-x4") if "original" in name or "eats" in name)
SMOKE = {
    "layers": ("body.6.conv2",),
    "degradations": ("clean",),
    "images": 1,
    "crop": 24,
    "evaluations": 130,
    "interacting": 2,
}


def measure(
    networks: tuple[str, ...] = NETWORKS,
    layers: tuple[str, ...] = ("body.1.conv2", "body.6.conv2", "conv_hr"),
    degradations: tuple[str, ...] = ("clean", "b+n"),
    dataset: str = "photographs",
    images: int | None = 2,
    crop: int | None = 64,
    tolerance: float = 0.02,
    evaluations: int = 800,
    interacting: int = 4,
    megabytes: float = 4.0,
) -> pd.DataFrame:
    """One row per network, degradation, layer and filter, with the columns of Atlas.frame; and the page.

    `evaluations` and `tolerance` limit each game, so the same command gives the same numbers.
    """
    settings = {name: value for name, value in locals().items() if name != "settings"}
    atlas = measured(
        {name: load_network(name) for name in networks},
        layers,
        Sample(dataset, images, crop),
        degradations,
        until=Until(tolerance, evaluations=evaluations),
        interacting=interacting,
        progress=True,
    )
    frame = atlas.frame()
    frame.attrs[FILES] = {".html": page_of(atlas, provenance(settings, weights=atlas.weights), megabytes).encode()}
    return frame


def found(frame: pd.DataFrame) -> str:
    """What the layers are worth, and how many of their filters do harm, under the first degradation."""
    first = frame[frame["degradation"] == frame["degradation"].iloc[0]]
    parts = []
    for layer, rows in first.groupby("layer", sort=False):
        each = [
            f"{len(own)} filters add {own['shapley'].sum():.2f} dB in {name}, and {(own['high'] < 0).sum()} do harm"
            for name, own in rows.groupby("checkpoint", sort=False)
        ]
        parts.append(f"{layer}: {'; '.join(each)}")
    return f"On {first['degradation'].iloc[0]} images. {'. '.join(parts)}."


def draw(frame: pd.DataFrame) -> Figure:
    """A row per degradation and a column per layer: the sorted φ of each network, with their intervals."""
    settings, layers, names = (frame[column].unique() for column in ("degradation", "layer", "checkpoint"))
    palette = colours(list(names))
    with styled():
        figure = Figure(figsize=(7.2, 0.9 + 1.6 * len(settings)))
        panels = figure.subplots(len(settings), len(layers), squeeze=False)
        for row, degradation in zip(panels, settings, strict=True):
            for panel, layer in zip(row, layers, strict=True):
                for name in names:
                    at = (frame[["degradation", "layer", "checkpoint"]] == [degradation, layer, name]).all(axis=1)
                    own = frame[at].sort_values("shapley", ascending=False)
                    panel.plot(range(len(own)), own["shapley"], color=palette[name], label=name, linewidth=1.2)
                    panel.fill_between(range(len(own)), own["low"], own["high"], color=palette[name], alpha=0.3, lw=0)
                panel.axhline(0, color="0.5", linewidth=0.6)
                panel.set_title(f"{layer}, {degradation}", fontsize=7, pad=2)
                panel.tick_params(labelsize=6)
            row[0].set_ylabel("φ (dB)")
        for panel in panels[-1]:
            panel.set_xlabel("filters, sorted", fontsize=7)
        panels[0, 0].legend(fontsize=6)
        figure.suptitle("Shapley values of filters, with 95% intervals", fontsize=8)
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw, found)
