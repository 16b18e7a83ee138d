"""Is a filter's Shapley value φ at least its leave-one-out drop v(N) − v(N∖i), as the paper's Eq. 6 claims?

That needs diminishing returns: the last of a filter's marginal contributions has to be the smallest. The paper replaces
an erased filter's response by that of another filter (donor), but does not settle what an absent filter responds in
the game; so zero and the filter's mean are tried too.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from audited import NETWORKS, headed, per_network, strategies_in
from families import AUTO, Architectures, Checkpoints, colours_in, measured
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from srgame.data.pairs import load_pairs
from srgame.filters import filters_of
from srgame.networks import scale_of
from srgame.report.recipe import run
from srgame.report.style import styled
from srgame.shapley.audit import uninterrupted
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.semivalues import marginal_contributions
from srgame.shapley.until import Until

SMOKE = {
    "networks": NETWORKS[:1], "layers": ("conv_hr",), "ablations": ("zero",), "dataset": "photographs",
    "images": 1, "crop": 16, "evaluations": 2000,
}  # fmt: skip
FILTER, SIZE = "filter", "size"  # the two kinds of rows


def measure(
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    layers: tuple[str, ...] = ("body.3.conv2", "conv_hr"),
    ablations: tuple[str, ...] = ("zero", "mean", "donor"),
    dataset: str = "Set5",
    degradation: str = "b+n",
    images: int = 2,
    crop: int = 32,
    evaluations: int = 12_000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per network, layer, ablation and filter (kind "filter"), and per coalition size (kind "size"); in dB.

    Filters: filter, shapley with stderr, low and high (95%), leave_one_out, and eq6: "held", "violated", or "open" if
    the interval contains leave_one_out; ties up to rounding are "held". By default a game of 32 filters has 12
    replicates, the fewest whose intervals cover as often as they say. Sizes: size, contribution (mean over filters)
    with stderr. The worth is the mean PSNR of the images.
    """

    def of_network(net: nn.Module) -> pd.DataFrame:
        pairs = load_pairs(dataset, degradation, scale_of(net), images=images, crop=crop)
        frames = []
        for layer in layers:
            for ablation in ablations:
                game = RestorationGame(net, filters_of(net, [layer]), pairs, ablation=ablation)
                frames.append(_rows(game, evaluations, seed).assign(layer=layer, ablation=ablation))
        return pd.concat(frames)

    settings = (
        f"{dataset}, {degradation}: {images} crops of {crop} px; at most {evaluations} coalitions per game; PSNR."
    )
    return per_network(networks, network, of_network, settings)


def _rows(game: RestorationGame, evaluations: int, seed: int) -> pd.DataFrame:
    until = Until(evaluations=evaluations)
    contributions = uninterrupted(marginal_contributions(game, until=until, seed=seed))
    filters = contributions.players().rename(columns={"player": "filter"})
    filters = filters[["filter", "shapley", "stderr", "low", "high", "leave_one_out", "eq6"]]
    by_size = contributions.replicates.mean(1)  # replicate, size
    mean, stderr = by_size.mean(0), by_size.std(0, ddof=1) / np.sqrt(len(by_size)) if len(by_size) > 1 else np.nan
    sizes = pd.DataFrame({"size": np.arange(by_size.shape[1]), "contribution": mean, "stderr": stderr})
    return pd.concat([filters.assign(kind=FILTER), sizes.assign(kind=SIZE)])


def rates(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per strategy, layer and ablation: filters, and the shares for which Eq. 6 is held, violated and open."""
    filters = measured(frame)[measured(frame)["kind"] == FILTER]
    shares = []
    for (strategy, layer, ablation), rows in filters.groupby(["strategy", "layer", "ablation"], sort=False):
        of_filters = {name: float((rows["eq6"] == name).mean()) for name in ("held", "violated", "open")}
        shares.append({"strategy": strategy, "layer": layer, "ablation": ablation, "filters": len(rows)} | of_filters)
    return pd.DataFrame(shares)


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    parts = [
        f"{strategy} {_range(rows['violated'])} ({_range(rows['open'])} undecided)"
        for strategy, rows in rates(frame).groupby("strategy", sort=False)
    ]
    return f"Share of filters that violate Eq. 6 (φ ≥ leave-one-out), by layer and ablation: {', '.join(parts)}."


def _range(values: "pd.Series[float]") -> str:
    low, high = values.min(), values.max()
    return f"{low:.0%}" if round(low, 2) == round(high, 2) else f"{low:.0%} to {high:.0%}"


def verdict(frame: pd.DataFrame) -> str:
    """Whether the paper's claim, made of every filter, holds."""
    violated = rates(frame)["violated"]
    return "differs" if (violated > 0).any() else "agrees so far"


def margins(frame: pd.DataFrame) -> pd.DataFrame:
    """The filters with `margin`, φ − leave-one-out over the mean |φ| of their game: Eq. 6 claims that it is ≥ 0."""
    filters = measured(frame)[measured(frame)["kind"] == FILTER]
    games = filters.groupby(["strategy", "seed", "layer", "ablation"], sort=False)["shapley"]
    mean = games.transform(lambda phi: phi.abs().mean())
    return filters.assign(margin=(filters["shapley"] - filters["leave_one_out"]) / mean)


def draw(frame: pd.DataFrame) -> Figure:
    """Per layer: the filters' margins; contributions by coalition size; how often Eq. 6 is violated."""
    layers, colours = list(measured(frame)["layer"].unique()), colours_in(measured(frame))
    with styled():
        figure = Figure(figsize=(7.2, 0.9 + 2.0 * len(layers)))
        panels = figure.subplots(len(layers), 3, squeeze=False)
        for layer, (shares, sizes, bars) in zip(layers, panels, strict=True):
            rows = measured(frame)[measured(frame)["layer"] == layer]
            _margins(shares, margins(rows), str(layer), colours)
            _sizes(sizes, rows[rows["kind"] == SIZE], colours)
            _bars(bars, rates(rows), colours)
        marks = [(name, {"color": colours[name], "linewidth": 2}) for name in strategies_in(frame)]
        marks += [
            (f"ablation: {name}", {"color": "0.4", "ls": line, "linewidth": 1})
            for name, line in LINES.items()
            if name in set(frame["ablation"])
        ]
        handles = [panels[0, 0].plot([], [], label=name, **style)[0] for name, style in marks]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1, fontsize=7)
    return headed(figure, "Are Shapley values φ at least leave-one-out drops, as Eq. 6 says?", frame)


LINES = {"zero": "-", "mean": "--", "donor": ":", "noise": "-."}
WIDEST = 1.0  # margins beyond are drawn at the edge


def _margins(panel: Axes, rows: pd.DataFrame, layer: str, colours: Mapping[str, str]) -> None:
    """The share of filters whose margin is below x, a line per strategy and ablation over all its networks."""
    for (strategy, ablation), own in rows.groupby(["strategy", "ablation"], sort=False):
        ordered = np.sort(own["margin"].clip(-WIDEST, WIDEST))
        share = np.arange(1, len(ordered) + 1) / len(ordered) * 100
        style: dict[str, Any] = {"color": colours[str(strategy)], "ls": LINES.get(str(ablation), "-"), "linewidth": 1}
        panel.step(ordered, share, where="post", **style)
    panel.axvline(0, color="black", linewidth=0.6)
    panel.set(xlim=(-WIDEST, WIDEST), ylim=(0, 100), title=f"{layer}: Eq. 6 fails left of 0")
    panel.set(xlabel="(φ − leave-one-out) / mean |φ|", ylabel="filters below (%)")


def _sizes(panel: Axes, rows: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """A line per strategy and ablation, the mean over its networks."""
    for (strategy, ablation), own in rows.groupby(["strategy", "ablation"], sort=False):
        mean = own.groupby("size")["contribution"].mean() * 1000
        style: dict[str, Any] = {"color": colours[str(strategy)], "ls": LINES.get(str(ablation), "-"), "linewidth": 1}
        panel.plot(mean.index, mean, **style)
    panel.axhline(0, color="black", linewidth=0.6)
    panel.set(title="mean over networks", xlabel="filters already present", ylabel="mean contribution (mdB)")


def _bars(panel: Axes, shares: pd.DataFrame, colours: Mapping[str, str]) -> None:
    names = strategies_in(shares.assign(reason=""))
    ablations = list(shares["ablation"].unique())
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        own = shares[shares["strategy"] == name].set_index("ablation").groupby(level=0).mean(numeric_only=True)
        own = own.reindex(ablations)
        x = np.arange(len(ablations)) + (place - (len(names) - 1) / 2) * width
        panel.bar(x, own["violated"], width, color=colours[name])
        panel.bar(x, own["open"], width, bottom=own["violated"], color=colours[name], alpha=0.25)
    panel.set_xticks(range(len(ablations)), ablations)
    panel.set(title="violated; pale: undecided", ylabel="share of filters", ylim=(0, 1))


if __name__ == "__main__":
    run(__file__, measure, draw, found)
