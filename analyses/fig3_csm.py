"""Figure 3: do the filters before the output respond, and matter to the edges, more equally with EATS?

The layer is the input of conv_last. Its salience passes through a single conv layer, so that its maps show the weights
of that layer and the edges of the SR image, and not the activity of a filter.
"""

from functools import partial

import numpy as np
import pandas as pd
from families import (
    AUTO,
    Architectures,
    Checkpoints,
    colours_in,
    family_of,
    measured,
    nothing_measured,
    probed,
    sample_title,
)
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from printed import eats_over, judged
from rasters import LINE, extremes, picture_of, raster
from torch import nn
from zoo_names import PAPERS, family_title, first_of_each

from srgame.data.images import Image
from srgame.data.lazy import LRImages, lr_images
from srgame.probes.equity import effective_players, gini, shares
from srgame.probes.salience import channel_salience, salience_maps
from srgame.report.probe_figures import mosaic
from srgame.report.recipe import run
from srgame.report.style import GREY, styled

NETWORKS = first_of_each(PAPERS)
COLUMNS = ["strategy", "checkpoint", "layer", "map", "filter", "salience", "share", *LINE, "sample", "reason"]
SCORES = "scores"

SMOKE = {"dataset": "photographs", "images": 1, "crop": 32, "size": 4}


def measure(
    family: str = PAPERS,
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    layer: str = "conv_last:input",
    dataset: str = "unseen109",
    images: int | None = 10,
    crop: int | None = 64,
    size: int = 16,
) -> pd.DataFrame:
    """Scores, one row per strategy and filter; and maps of the first image, one row per filter and line of its map.

    Columns: strategy, checkpoint, layer; map ("scores", "feature" or "salience"), filter; salience and share of scores,
    means over images; line, low, high, pixels of maps of at most `size` × `size` pixels (rasters.py); sample; reason.
    Checkpoint and sample stand only in the first row of each strategy.
    """
    lr = lr_images(dataset, images=images, crop=crop)
    frame = probed(networks, family, partial(_measured, lr=lr, layer=layer, size=size), network)
    frame["sample"] = sample_title(dataset, len(lr), crop)
    frame.loc[frame["strategy"].duplicated(), ["checkpoint", "sample"]] = ""  # not in every line of pixels
    return frame.reindex(columns=COLUMNS).astype({"filter": "Int64", "line": "Int64"})


def _measured(network: nn.Module, lr: LRImages, layer: str, size: int) -> pd.DataFrame:
    scores = channel_salience(network, lr, [layer]).assign(map=SCORES)
    return pd.concat([scores, _maps(network, next(iter(lr)), layer, size)], ignore_index=True)


def _maps(network: nn.Module, image: Image, layer: str, size: int) -> pd.DataFrame:
    tidy = salience_maps(network, image, [layer], size)
    shape = [int(tidy[axis].max()) + 1 for axis in ("filter", "row", "column")]
    features, salience = (tidy[name].to_numpy().reshape(shape) for name in ("feature", "salience"))
    bounds = {"feature": extremes(features), "salience": (0.0, float(f"{salience.max():.4g}"))}
    frames = [
        raster(picture[..., None], *bounds[name]).assign(layer=layer, map=name, filter=channel)
        for name, pictures in (("feature", features), ("salience", salience))
        for channel, picture in enumerate(pictures)
    ]
    return pd.concat(frames, ignore_index=True)


def verdict(frame: pd.DataFrame) -> str:
    """Whether filters share salience more equally with EATS than with Original and Dropout."""
    scores = measured(frame)[lambda rows: rows["map"] == SCORES]
    return judged(eats_over(scores.groupby("strategy")["salience"].agg(effective_players)))


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence: the effective number of filters by salience, and by the feature maps that are shown."""
    known = measured(frame)
    if known.empty:
        return ""
    parts = []
    for strategy, rows in known.groupby("strategy", sort=False):
        salience = effective_players(rows.loc[rows["map"] == SCORES, "salience"])
        maps = [picture_of(lines, 1) for _, lines in rows[rows["map"] == "feature"].groupby("filter")]
        parts.append(f"{strategy} {salience:.1f} ({effective_players([np.abs(one).mean() for one in maps]):.1f})")
    return (
        f"Effective filters of {known['filter'].nunique()} at {known['layer'].iloc[0]}, by salience, mean over images "
        f"(by the mean size of the feature maps shown): {', '.join(parts)}."
    )


def draw(frame: pd.DataFrame) -> Figure:
    """A column per strategy: features, salience maps, and below them the sorted shares of all salience."""
    colours = colours_in(measured(frame))
    title = f"{family_title(family_of(frame))}; {frame['sample'].iloc[0]}; maps of the first"
    if not colours:
        return nothing_measured(title)
    with styled():
        figure = Figure(figsize=(7.2, 5.3))
        panels = figure.subplots(3, len(colours), squeeze=False, height_ratios=[1.25, 1.25, 1])
        for column, strategy in zip(panels.T, colours, strict=True):
            _column(column, frame[frame["strategy"] == strategy], colours[strategy])
            column[0].set_title(strategy, color=colours[strategy])
        for panel, label in zip(
            panels[:, 0], ("feature maps", "salience maps (CSM)", "share of salience (%)\n(dashed: equal)"), strict=True
        ):
            panel.set_ylabel(label)
        figure.suptitle(f"Filters of {measured(frame)['layer'].iloc[0]}, {title}", fontsize=8)
    return figure


def _column(column: Float[np.ndarray, " panel"], rows: pd.DataFrame, colour: str) -> None:
    features, salience = (_mosaic(rows[rows["map"] == name]) for name in ("feature", "salience"))
    strong = np.nanquantile(np.abs(features), 0.995) or 1.0
    _picture(column[0], features, "RdBu_r", -strong, strong, f"red, blue: ±{strong:.2g}")
    largest = np.nanquantile(salience, 0.995) or 1.0
    _picture(column[1], salience, "magma", 0, largest, f"black 0, light {largest:.2f} of the largest")
    share = np.sort(shares(rows.loc[rows["map"] == SCORES, "salience"]))[::-1] * 100
    column[2].bar(np.arange(len(share)), share, width=0.85, color=colour)
    column[2].axhline(100 / len(share), color=GREY, linestyle="--", linewidth=0.8)
    column[2].set_title(
        f"Gini {gini(share):.2f}, {effective_players(share):.1f} of {len(share)} effective", fontsize=6.5
    )
    column[2].set_xlabel("filter, sorted")
    column[2].set_ylim(0, 3 * 100 / len(share))
    column[2].tick_params(labelsize=6)


def _mosaic(rows: pd.DataFrame) -> Float[np.ndarray, "H W"]:
    return mosaic(np.stack([picture_of(lines, 1)[..., 0] for _, lines in rows.groupby("filter")]))


def _picture(panel: Axes, picture: Float[np.ndarray, "H W"], colours: str, low: float, high: float, note: str) -> None:
    panel.imshow(picture, cmap=colours, vmin=low, vmax=high, interpolation="nearest")
    panel.grid(False)
    panel.set_xticks([])
    panel.set_yticks([])
    panel.set_xlabel(note, fontsize=6)
    for spine in panel.spines.values():
        spine.set_visible(False)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
