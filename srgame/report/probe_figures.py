"""Pictures of the probes' frames: networks side by side, one colour each."""

import math

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes

from srgame.probes.cosine import cosine_matrix
from srgame.probes.equity import effective_players, gini, shares
from srgame.probes.lam import diffusion_index
from srgame.report.style import GREY, Figure, colours, styled


def response_plot(responses: pd.DataFrame) -> Figure:
    """A row per layer: each filter's mean response, and the filters' sorted shares of all responses."""
    layers = list(responses["layer"].unique())
    with styled():
        figure = Figure(figsize=(6.6, 2.1 * len(layers) + 0.3))
        for (by_filter, by_size), layer in zip(figure.subplots(len(layers), 2, squeeze=False), layers, strict=True):
            of_layer = responses[responses["layer"] == layer]
            _dots(by_filter, of_layer)
            sorted_shares(by_size, of_layer, "mean_abs")
            by_filter.set_ylabel(f"{layer}\nmean response")
            by_size.set_ylabel("share of all |response| (%)")
            by_size.legend(loc="upper right", handlelength=1.2)
        by_filter.set_xlabel("filter")
        by_size.set_xlabel("filter, sorted by |response|")
        legend_of_checkpoints(figure, responses)
    return figure


def cosine_matrices(cosine: pd.DataFrame) -> Figure:
    """A row per layer, a column per network: the matrix of its filters' cosines."""
    layers, names = list(cosine["layer"].unique()), list(cosine["checkpoint"].unique())
    with styled():
        figure = Figure(figsize=(max(3.4, 2.3 * len(names) + 0.6), 2.4 * len(layers)))
        panels = figure.subplots(len(layers), len(names), squeeze=False)
        for row, layer in zip(panels, layers, strict=True):
            for panel, name in zip(row, names, strict=True):
                pairs = cosine[(cosine["layer"] == layer) & (cosine["checkpoint"] == name)]
                image = panel.imshow(cosine_matrix(pairs), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
                panel.grid(False)
                panel.set_title(f"{name}\nmean |cos| {pairs['cosine'].abs().mean():.3f}")
                panel.set_xlabel("filter")
            row[0].set_ylabel(f"{layer}\nfilter")
        figure.colorbar(image, ax=panels, shrink=0.6, aspect=30, label="cosine of responses")
    return figure


def salience_mosaics(salience: pd.DataFrame, maps: pd.DataFrame) -> Figure:
    """A row per layer and network: the features of one image, their salience maps, and sorted shares of salience."""
    rows = list(maps.groupby(["layer", "checkpoint"], sort=False))
    palette = colours(list(maps["checkpoint"].unique()))
    with styled():
        figure = Figure(figsize=(7, 2.4 * len(rows)))
        for panels, ((layer, name), of_one) in zip(figure.subplots(len(rows), 3, squeeze=False), rows, strict=True):
            features, csm = (mosaic(_maps(of_one, column)) for column in ("feature", "salience"))
            extreme = np.nanquantile(np.abs(features), 0.995) or 1.0
            panels[0].imshow(features, cmap="RdBu_r", vmin=-extreme, vmax=extreme, interpolation="nearest")
            panels[1].imshow(0.5 + 0.5 * csm, cmap="seismic", vmin=0, vmax=1, interpolation="nearest")
            for panel, title in zip(panels, (f"features of {layer}", "their salience (CSM)"), strict=False):
                panel.set_title(title)
                panel.set_axis_off()
            panels[0].text(-0.04, 0.5, name, transform=panels[0].transAxes, rotation=90, va="center", ha="right")
            scores = salience[(salience["layer"] == layer) & (salience["checkpoint"] == name)]
            sorted_shares(panels[2], scores, "salience", palette)
            panels[2].set_ylabel("share of all salience (%)")
            panels[2].legend(loc="lower left", handlelength=1.2)
        panels[2].set_xlabel("channel, sorted by salience")
    return figure


def lam_maps(attributions: pd.DataFrame, most: int = 4) -> Figure:
    """A row for each of the first images: the LR image with the window, and each network's attribution map."""
    names, images = list(attributions["checkpoint"].unique()), list(attributions["image"].unique())[:most]
    with styled():
        figure = Figure(figsize=(1.9 * (len(names) + 1), 2.05 * len(images)))
        for panels, image in zip(figure.subplots(len(images), len(names) + 1, squeeze=False), images, strict=True):
            of_image = attributions[attributions["image"] == image]
            first = of_image[of_image["checkpoint"] == names[0]]
            _picture(panels[0], first, "luma", "gray", "LR image")
            for panel, name in zip(panels[1:], names, strict=True):
                values = of_image[of_image["checkpoint"] == name]
                spread = diffusion_index(values["attribution"])
                strength = values["attribution"].abs() / (values["attribution"].abs().max() or 1.0)
                _picture(panel, values.assign(lam=strength**0.5), "lam", "inferno", f"{name}\nDI {spread:.2f}")
            for panel, colour in zip(panels, ["red", *["white"] * len(names)], strict=True):
                _outlined(panel, first[first["watched"]], colour)
        figure.supxlabel("brightness: √(|attribution| / largest)", fontsize=8)
    return figure


def ddr_planes(points: pd.DataFrame, most: int = 3) -> Figure:
    """A row per network: its crops along two principal components and in the first planes of t-SNE."""
    names, spaces = list(points["checkpoint"].unique()), list(points["space"].unique())[:most]
    sets = list(points["set"].unique())
    palette = colours(sets)
    with styled():
        figure = Figure(figsize=(2.3 * len(spaces), 2.3 * len(names) + 0.3))
        for panels, name in zip(figure.subplots(len(names), len(spaces), squeeze=False), names, strict=True):
            for panel, space in zip(panels, spaces, strict=True):
                plane = points[(points["checkpoint"] == name) & (points["space"] == space)]
                for label in sets:
                    x, y = (plane.loc[plane["set"] == label, axis] for axis in ("x", "y"))
                    panel.scatter(x, y, s=7, color=palette[label], alpha=0.75, linewidths=0, label=label)
                panel.set_title(
                    f"{space.replace('pca', 'PCA').replace('t-sne', 't-SNE')}: CHI {plane['chi'].iloc[0]:.3g}"
                )
                panel.set_xticks([])
                panel.set_yticks([])
                panel.grid(False)
            panels[0].set_ylabel(name)
        handles, shown = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, shown, loc="outside upper center", ncols=len(sets), markerscale=2)
    return figure


def srga_bars(indices: pd.DataFrame) -> Figure:
    """A group of bars per set, a bar per network."""
    degraded = indices[indices["set"] != "reference"]
    return _grouped_bars(degraded, "set", "srga", "SRGA (0: unmoved)")


def lorenz_curves(scores: pd.DataFrame) -> Figure:
    """A panel per score and layer: the cumulative share of the filters, smallest first (Lorenz curve)."""
    groups = list(scores.groupby(["score", "layer"], sort=False))
    palette = colours(list(scores["checkpoint"].unique()))
    columns = 2 if len(groups) == 4 else min(3, len(groups))
    rows = math.ceil(len(groups) / columns)
    with styled():
        figure = Figure(figsize=(max(3.4, 2.6 * columns), 2.6 * rows + 0.2))
        panels = figure.subplots(rows, columns, squeeze=False)
        for panel, ((score, layer), group) in zip(panels.flat, groups, strict=False):
            for name, filters in group.groupby("checkpoint", sort=False):
                _lorenz(panel, filters["value"], str(name), palette)
            panel.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=0.8)
            panel.set_title(f"{score} of {layer}")
            panel.set_aspect("equal")
            panel.legend(loc="upper left", handlelength=1.2)
        for unused in list(panels.flat)[len(groups) :]:
            unused.remove()
        figure.supxlabel("filters, smallest first (%)", fontsize=8)
        figure.supylabel("their share of the whole (%)", fontsize=8)
        if scores["checkpoint"].nunique() > 1:
            legend_of_checkpoints(figure, scores)
    return figure


def attribution_plot(attributions: pd.DataFrame, unit: str) -> Figure:
    """A row per layer and network: what each method attributes to the filters, sorted by the first method."""
    rows = list(attributions.groupby(["layer", "checkpoint"], sort=False))
    palette = colours(list(attributions["method"].unique()))
    with styled():
        figure = Figure(figsize=(5.2, 2.0 * len(rows) + 0.3))
        for panel, ((layer, name), of_one) in zip(figure.subplots(len(rows), squeeze=False).flat, rows, strict=True):
            by_method = {str(m): rows.set_index("filter") for m, rows in of_one.groupby("method", sort=False)}
            largest_first = next(iter(by_method.values()))["attribution"].sort_values(ascending=False).index
            for method, values in by_method.items():
                y, error = (values.loc[largest_first, column] for column in ("attribution", "stderr"))
                panel.errorbar(
                    np.arange(len(largest_first)),
                    y,
                    error,
                    fmt="o",
                    markersize=2.5,
                    elinewidth=0.6,
                    color=palette[method],
                    label=method,
                )
            panel.axhline(0, color="black", linewidth=0.6)
            panel.set_title(f"{name}, {layer}")
            panel.set_ylabel(f"attribution{f' ({unit})' if unit else ''}")
        panel.set_xlabel("filter, sorted by the first method")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(palette))
    return figure


def _dots(panel: Axes, of_layer: pd.DataFrame) -> None:
    palette = colours(list(of_layer["checkpoint"].unique()))
    for place, (name, rows) in enumerate(of_layer.groupby("checkpoint", sort=False)):
        x = rows["filter"] + 0.25 * (place - (len(palette) - 1) / 2)
        panel.vlines(x, 0, rows["mean"], color=palette[str(name)], linewidth=0.8)
        panel.plot(x, rows["mean"], "o", markersize=1.8, color=palette[str(name)], label=name)
    panel.axhline(0, color="black", linewidth=0.6)


def sorted_shares(panel: Axes, scores: pd.DataFrame, column: str, palette: dict[str, str] | None = None) -> None:
    """For each network the shares in percent, largest first, with the effective number of filters as label."""
    palette = palette or colours(list(scores["checkpoint"].unique()))
    for name, rows in scores.groupby("checkpoint", sort=False):
        share = np.sort(shares(rows[column]))[::-1] * 100
        label = f"{effective_players(rows[column]):.1f} of {len(share)} effective"
        panel.plot(np.arange(1, len(share) + 1), share, color=palette[str(name)], linewidth=1.4, label=label)
    for place, width in enumerate(scores.groupby("checkpoint").size().unique()):
        label = "" if place else "equal share"
        panel.axhline(100 / width, color=GREY, linestyle="--", linewidth=0.8, label=label)
    panel.set_ylim(bottom=0)


def _lorenz(panel: Axes, scores: pd.Series, name: str, palette: dict[str, str]) -> None:
    below = np.concatenate([[0], np.sort(shares(scores)).cumsum()]) * 100
    filters = np.linspace(0, 100, len(below))
    panel.plot(filters, below, color=palette[name], linewidth=1.4, label=f"Gini {gini(scores):.3f}")


def _grouped_bars(frame: pd.DataFrame, group: str, value: str, axis: str) -> Figure:
    groups, names = list(frame[group].unique()), list(frame["checkpoint"].unique())
    palette, width = colours(names), 0.8 / len(names)
    with styled():
        figure = Figure(figsize=(max(3.4, 0.5 * len(groups) * len(names) + 1.2), 2.5))
        panel = figure.subplots()
        for place, name in enumerate(names):
            heights = frame[frame["checkpoint"] == name].set_index(group)[value].reindex(groups)
            x = np.arange(len(groups)) + (place - (len(names) - 1) / 2) * width
            bars = panel.bar(x, heights, width * 0.92, color=palette[name], label=name)
            panel.bar_label(bars, fmt="%.2f", fontsize=7)
        panel.set_xticks(range(len(groups)), groups)
        panel.set_ylabel(axis)
        figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=min(3, len(names)))
    return figure


def legend_of_checkpoints(figure: Figure, frame: pd.DataFrame) -> None:
    """Adds a legend above the panels: the colour of each checkpoint of the frame."""
    names = list(frame["checkpoint"].unique())
    handles = [figure.axes[0].plot([], [], color=colour, linewidth=2)[0] for colour in colours(names).values()]
    figure.legend(handles, list(colours(names)), loc="outside upper center", ncols=min(3, len(names)))


def _maps(tidy: pd.DataFrame, column: str) -> Float[np.ndarray, "c h w"]:
    count, height, width = (int(tidy[axis].max()) + 1 for axis in ("filter", "row", "column"))
    return tidy[column].to_numpy().reshape(count, height, width)


def mosaic(maps: Float[np.ndarray, "c h w"]) -> Float[np.ndarray, "H W"]:
    """The maps of all channels in one picture, row after row, with gaps (NaN) between them."""
    count, height, width = maps.shape
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    gap = max(1, height // 16)
    canvas = np.full((down * (height + gap) - gap, across * (width + gap) - gap), np.nan)
    for channel, values in enumerate(maps):
        top, left = channel // across * (height + gap), channel % across * (width + gap)
        canvas[top : top + height, left : left + width] = values
    return canvas


def _picture(panel: Axes, pixels: pd.DataFrame, column: str, colour_map: str, title: str) -> None:
    panel.imshow(pixels.pivot(index="row", columns="column", values=column), cmap=colour_map, vmin=0, vmax=1)
    panel.set_title(title)
    panel.set_axis_off()


def _outlined(panel: Axes, watched: pd.DataFrame, colour: str) -> None:
    (top, left), (bottom, right) = (watched[["row", "column"]].agg(edge) for edge in ("min", "max"))
    x, y = (left - 0.5, right + 0.5), (top - 0.5, bottom + 0.5)
    panel.plot([x[0], x[1], x[1], x[0], x[0]], [y[0], y[0], y[1], y[1], y[0]], color=colour, linewidth=1)
