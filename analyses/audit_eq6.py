"""Is a filter's Shapley value φ at least its leave-one-out drop v(N) − v(N∖i), as the paper's Eq. 6 claims?

That needs returns that diminish: the last of a filter's marginal contributions has to be the smallest. What a filter
that is not there responds is not settled by the paper, which erases by another filter's response (donor); so it is
asked for zero and for the filter's mean too.
"""

from typing import Any

import numpy as np
import pandas as pd
from audited import NETWORKS, headed, per_network, strategies_in
from families import measured
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from srgame.data.pairs import load_pairs
from srgame.filters import filters_of
from srgame.report.recipe import run
from srgame.report.style import STRATEGIES, styled
from srgame.shapley.game import RestorationGame
from srgame.shapley.semivalues import marginal_contributions
from srgame.shapley.until import Until

SMOKE = {
    "networks": NETWORKS[:1], "layers": ("conv_hr",), "ablations": ("zero",), "dataset": "photographs",
    "images": 1, "crop": 16, "evaluations": 2000,
}  # fmt: skip
PLAYER, SIZE = "player", "size"  # the two kinds of rows


def measure(
    networks: tuple[str, ...] = NETWORKS,
    layers: tuple[str, ...] = ("body.3.conv2", "conv_hr"),
    ablations: tuple[str, ...] = ("zero", "mean", "donor"),
    dataset: str = "Set5",
    degradation: str = "b+n",
    images: int = 2,
    crop: int = 32,
    evaluations: int = 4000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per network, layer, absence and filter (kind "player"), and per coalition size (kind "size"); in dB.

    Players: player, shapley with stderr, low and high (95%), leave_one_out, and eq6: "held", "violated", or "open"
    where the interval does not tell. Sizes: size, contribution (mean over filters) with stderr. The worth is
    PSNR, mean over the images.
    """
    pairs = load_pairs(dataset, degradation, 4, images=images, crop=crop)

    def of_network(network: nn.Module) -> pd.DataFrame:
        games = [
            (layer, ablation, RestorationGame(network, filters_of(network, [layer]), pairs, ablation=ablation))
            for layer in layers
            for ablation in ablations
        ]
        return pd.concat([_rows(game, evaluations, seed).assign(layer=layer, ablation=a) for layer, a, game in games])

    settings = f"{dataset}, {degradation}: {images} crops of {crop} px; at most {evaluations} coalitions a game; PSNR."
    return per_network(networks, of_network, settings)


def _rows(game: RestorationGame, evaluations: int, seed: int) -> pd.DataFrame:
    found = marginal_contributions(game, until=Until(evaluations=evaluations), seed=seed)
    players = found.players()[["player", "shapley", "stderr", "low", "high", "leave_one_out", "eq6"]]
    by_size = found.replicates.mean(1)  # unit, size
    mean, stderr = by_size.mean(0), by_size.std(0, ddof=1) / np.sqrt(len(by_size)) if len(by_size) > 1 else np.nan
    sizes = pd.DataFrame({"size": np.arange(by_size.shape[1]), "contribution": mean, "stderr": stderr})
    return pd.concat([players.assign(kind=PLAYER), sizes.assign(kind=SIZE)])


def rates(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per strategy, layer and absence: filters, and the shares for which Eq. 6 is held, violated and open."""
    players = measured(frame)[measured(frame)["kind"] == PLAYER]
    shares = []
    for (strategy, layer, ablation), rows in players.groupby(["strategy", "layer", "ablation"], sort=False):
        of_filters = {name: float((rows["eq6"] == name).mean()) for name in ("held", "violated", "open")}
        shares.append({"strategy": strategy, "layer": layer, "ablation": ablation, "filters": len(rows)} | of_filters)
    return pd.DataFrame(shares)


def found(frame: pd.DataFrame) -> str:
    """What was found, in a sentence."""
    found = rates(frame)
    parts = [
        f"{strategy} {_range(rows['violated'])} ({_range(rows['open'])} undecided)"
        for strategy, rows in found.groupby("strategy", sort=False)
    ]
    return f"Eq. 6, φ ≥ leave-one-out, is violated, by layer and absence, by this share of filters: {', '.join(parts)}."


def _range(values: "pd.Series[float]") -> str:
    low, high = values.min(), values.max()
    return f"{low:.0%}" if round(low, 2) == round(high, 2) else f"{low:.0%} to {high:.0%}"


def verdict(frame: pd.DataFrame) -> str:
    """Whether the paper's claim, made of every filter, holds."""
    violated = rates(frame)["violated"]
    return "differs" if (violated > 0).any() else "agrees so far"


def draw(frame: pd.DataFrame) -> Figure:
    """Per layer: φ against leave-one-out; contributions by coalition size; how often Eq. 6 is violated."""
    layers = list(measured(frame)["layer"].unique())
    with styled():
        figure = Figure(figsize=(7.2, 0.9 + 2.0 * len(layers)))
        panels = figure.subplots(len(layers), 3, squeeze=False)
        for layer, (scatter, sizes, bars) in zip(layers, panels, strict=True):
            rows = measured(frame)[measured(frame)["layer"] == layer]
            _scatter(scatter, rows[rows["kind"] == PLAYER], str(layer))
            _sizes(sizes, rows[rows["kind"] == SIZE])
            _bars(bars, rates(rows))
        marks = [(name, {"color": STRATEGIES[name], "linewidth": 2}) for name in strategies_in(frame)]
        marks += [
            (name, {"color": "0.4", "marker": mark, "ls": "", "markersize": 4})
            for name, mark in MARKERS.items()
            if name in set(frame["ablation"])
        ]
        handles = [panels[0, 0].plot([], [], label=name, **style)[0] for name, style in marks]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return headed(figure, found(frame), frame)


TICKS = (-1, -0.01, 0, 0.01, 1)  # dB, on an axis that is linear around 0
MARKERS = {"zero": "o", "mean": "s", "donor": "^", "noise": "v"}
LINES = {"zero": "-", "mean": "--", "donor": ":", "noise": "-."}


def _scatter(panel: Axes, rows: pd.DataFrame, layer: str) -> None:
    for (strategy, ablation), own in rows.groupby(["strategy", "ablation"], sort=False):
        colour = STRATEGIES[str(strategy)]
        style: dict[str, Any] = {
            "color": colour,
            "marker": MARKERS.get(str(ablation), "x"),
            "markersize": 2.5,
            "elinewidth": 0.5,
        }
        error = [own["shapley"] - own["low"], own["high"] - own["shapley"]]
        panel.errorbar(own["leave_one_out"], own["shapley"], error, ls="", **style)
    panel.axline((0, 0), slope=1, color="black", linewidth=0.6)
    panel.set_xscale("symlog", linthresh=1e-3)
    panel.set_yscale("symlog", linthresh=1e-3)
    labels = [f"{tick:g}".replace("-", "−") for tick in TICKS]
    panel.set_xticks(TICKS, labels)
    panel.set_yticks(TICKS, labels)
    panel.set(title=f"{layer}: Eq. 6 fails below the line", xlabel="leave-one-out (dB)", ylabel="φ (dB)")


def _sizes(panel: Axes, rows: pd.DataFrame) -> None:
    """A line per network and absence."""
    for (strategy, _, ablation), own in rows.groupby(["strategy", "seed", "ablation"], sort=False):
        error: dict[str, Any] = {
            "linewidth": 1,
            "elinewidth": 0.5,
            "color": STRATEGIES[str(strategy)],
            "ls": LINES.get(str(ablation), "-"),
        }
        panel.errorbar(own["size"], own["contribution"] * 1000, 2 * own["stderr"] * 1000, **error)
    panel.axhline(0, color="black", linewidth=0.6)
    panel.set(
        title="zero (—), mean (- -), donor (···)",
        xlabel="filters already there",
        ylabel="mean contribution (mdB)",
    )


def _bars(panel: Axes, shares: pd.DataFrame) -> None:
    names = strategies_in(shares.assign(reason=""))
    ablations = list(shares["ablation"].unique())
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        own = shares[shares["strategy"] == name].set_index("ablation").groupby(level=0).mean(numeric_only=True)
        own = own.reindex(ablations)
        x = np.arange(len(ablations)) + (place - (len(names) - 1) / 2) * width
        panel.bar(x, own["violated"], width, color=STRATEGIES[name])
        panel.bar(x, own["open"], width, bottom=own["violated"], color=STRATEGIES[name], alpha=0.25)
    panel.set_xticks(range(len(ablations)), ablations)
    panel.set(title="violated; pale: undecided", ylabel="share of filters", ylim=(0, 1))


if __name__ == "__main__":
    run(__file__, measure, draw, found)
