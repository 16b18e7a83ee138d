"""Figure 9: does Dropout or EATS make the filters respond more equally, in a shallow block and at the output?

Responses are those of a block's output, and of conv_hr before its activation.
"""

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
from printed import eats_over, judged
from zoo_names import PAPERS, family_title, first_of_each

from srgame.data.lazy import lr_images
from srgame.probes.equity import effective_players
from srgame.probes.responses import channel_responses
from srgame.report.recipe import run
from srgame.report.style import styled

NETWORKS = first_of_each(PAPERS)
COLUMNS = ["layer", "filter", "mean", "mean_abs", "std", "active", "sparsity", "stderr"]

SMOKE = {"dataset": "photographs", "images": 2, "crop": 32}


def measure(
    family: str = PAPERS,
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    layers: tuple[str, ...] = ("body.1", "conv_hr"),
    dataset: str = "unseen109",
    images: int | None = 100,
    crop: int | None = 64,
) -> pd.DataFrame:
    """One row per strategy, layer and filter: strategy, checkpoint, columns of `channel_responses`, sample, reason."""
    lr = lr_images(dataset, images=images, crop=crop)
    frame = probed(networks, family, lambda net: channel_responses(net, lr, layers), network)
    frame["sample"] = sample_title(dataset, len(lr), crop)
    return frame.reindex(columns=["strategy", "checkpoint", *COLUMNS, "sample", "reason"]).astype({"filter": "Int64"})


def verdict(frame: pd.DataFrame) -> str:
    """Whether responses are more equal with EATS than with Original and Dropout, in each layer."""
    shares = measured(frame).groupby(["layer", "strategy"])["mean_abs"].agg(effective_players)
    return judged(one for layer in shares.index.unique("layer") for one in eats_over(shares[layer]))


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    rows, family, parts = measured(frame), family_of(frame), []
    for layer, of_layer in rows.groupby("layer", sort=False):
        effective = of_layer.groupby("strategy", sort=False)[["mean_abs", "mean"]].agg(effective_players)
        own = [f"{name} {size:.0f} ({mean:.0f})" for name, size, mean in effective.itertuples()]
        parts.append(f"{layer_title(str(layer), family)}: {', '.join(own)}")
    if not parts:
        return ""
    of = of_layer["filter"].nunique()
    return f"Effective filters of {of}, by the mean size of responses (by the mean response): {'; '.join(parts)}."


def draw(frame: pd.DataFrame) -> Figure:
    """A row per layer, a panel per strategy: the mean response of each filter, and its mean size; one scale per row."""
    family, there = family_of(frame), measured(frame)
    colours, layers = colours_in(there), list(there["layer"].dropna().unique())
    title = f"Responses of filters, {family_title(family)}\n{frame['sample'].iloc[0]}"
    if not layers:
        return nothing_measured(title.replace("\n", "; "))
    with styled():
        figure = Figure(figsize=(7.2, 1.0 + 1.7 * len(layers)))
        panels = figure.subplots(len(layers), len(colours), squeeze=False, sharey="row")
        for row, layer in zip(panels, layers, strict=True):
            for panel, strategy in zip(row, colours, strict=True):
                rows = there[(there["layer"] == layer) & (there["strategy"] == strategy)]
                _responses(panel, rows, colours[strategy])
                effective = effective_players(rows["mean_abs"])
                panel.set_title(
                    f"{strategy}\n{effective:.1f} of {len(rows)} effective", fontsize=7, color=colours[strategy]
                )
                panel.set_xlabel("filter" if layer == layers[-1] else "")
            row[0].set_ylabel(f"{layer_title(layer, family)}\nresponse")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        figure.suptitle(title, fontsize=8)
    return figure


def _responses(panel: Axes, rows: pd.DataFrame, colour: str) -> None:
    """The mean response of each filter as a bar, and the mean size of its responses as a dot."""
    place = rows["filter"].to_numpy(dtype=int)
    panel.bar(place, rows["mean"], width=0.85, color=colour, label="mean")
    panel.plot(place, rows["mean_abs"], ".", color="black", markersize=2, label="mean size")
    panel.axhline(0, color="black", linewidth=0.6)
    panel.set_xlim(-1, len(place))
    panel.tick_params(labelsize=6)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
