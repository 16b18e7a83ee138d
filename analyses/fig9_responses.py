"""Figure 9: does Dropout or EATS make the filters respond more equally, in a shallow block and at the output?

Responses are those of a block's output, and of conv_hr before its activation.
"""

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
from printed import eats_over, judged
from zoo_names import PAPERS, family_title, first_of_each, missing_networks

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


def draw(frame: pd.DataFrame) -> Figure:
    """A row per layer, a panel per strategy: the mean response of each filter, each panel with its own scale."""
    family, colours = family_of(frame), colours_in(frame)
    layers = list(measured(frame)["layer"].dropna().unique()) or [""]
    with styled():
        figure = Figure(figsize=(7.2, 0.8 + 1.75 * len(layers)))
        for row, layer in zip(figure.subplots(len(layers), len(colours), squeeze=False), layers, strict=True):
            of_layer = frame[frame["layer"] == layer]
            for panel, strategy in zip(row, colours, strict=True):
                rows = of_layer[of_layer["strategy"] == strategy]
                if rows.empty:
                    empty(panel, reason_of(frame, strategy))
                    panel.set_title(strategy, fontsize=7, color=colours[strategy])
                else:
                    bars(panel, rows, colours[strategy])
                    effective = effective_players(rows["mean_abs"])
                    panel.set_title(
                        f"{strategy}\n{effective:.1f} of {len(rows)} effective", fontsize=7, color=colours[strategy]
                    )
                panel.set_xlabel("filter" if layer == layers[-1] and len(rows) else "")
            row[0].set_ylabel(f"{layer_title(layer, family)}\nmean response")
        title = f"Mean responses of filters, {family_title(family)}"
        figure.suptitle(f"{title}\n{frame['sample'].iloc[0]}\n{missing_networks(frame['reason'])}".strip(), fontsize=8)
    return figure


def bars(panel: Axes, rows: pd.DataFrame, colour: str) -> None:
    """The mean response of each filter."""
    channel, mean = rows["filter"].to_numpy(dtype=int), rows["mean"].to_numpy(dtype=float)
    panel.bar(channel, mean, width=0.85, color=colour)
    panel.axhline(0, color="black", linewidth=0.6)
    panel.set_xlim(-1, len(channel))
    panel.tick_params(labelsize=6)


if __name__ == "__main__":
    run(__file__, measure, draw)
