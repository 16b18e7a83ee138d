"""Do filters that respond alike replace each other, as the paper reads its cosine matrices (Fig. 4)?

An interaction is what two filters are worth together beyond what each adds: it is negative if either will do, and
positive if one needs the other, which is what co-adaptation means. The cosine measures how alike responses are, not
what they do.
"""

from typing import Any

import numpy as np
import pandas as pd
from audited import NETWORKS, headed, per_network, strategies_in
from families import AUTO, Architectures, Checkpoints, colours_in, measured
from intervals import correlated, in_words, mean_interval
from matplotlib.figure import Figure
from printed import judged
from torch import nn

from srgame.data.pairs import load_pairs
from srgame.filters import filters_of
from srgame.networks import scale_of
from srgame.probes.cosine import channel_cosine
from srgame.report.recipe import run
from srgame.report.style import styled
from srgame.shapley.audit import uninterrupted
from srgame.shapley.interactions import pair_interactions
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until

SMOKE = {
    "networks": NETWORKS[:1], "layers": ("conv_hr",), "dataset": "photographs", "images": 1, "crop": 16,
    "chosen_pairs": 8, "evaluations": 200,
}  # fmt: skip


def measure(
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    layers: tuple[str, ...] = ("body.3.conv2", "conv_hr"),
    dataset: str = "Set5",
    degradation: str = "b+n",
    images: int = 2,
    crop: int = 32,
    chosen_pairs: int = 60,
    evaluations: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per network, layer and pair of filters: filter, partner, cosine, interaction with stderr, low, high (dB).

    `chosen_pairs` pairs of each layer are drawn at random, the same ones for all networks. Interactions are Shapley
    interactions of PSNR with ablation zero, with 95% intervals; cosines are those of the responses to the same images.
    """

    def of_network(net: nn.Module) -> pd.DataFrame:
        pairs = load_pairs(dataset, degradation, scale_of(net), images=images, crop=crop)
        frames = []
        for layer in layers:
            cosine = channel_cosine(net, pairs.lr, [layer])[["layer", "filter", "partner", "cosine"]]
            drawn = np.random.default_rng(seed).permutation(len(cosine))[:chosen_pairs]
            asked = cosine.iloc[np.sort(drawn)].reset_index(drop=True)
            game = RestorationGame(net, filters_of(net, [layer]), pairs)
            names = list(zip(asked["filter"].tolist(), asked["partner"].tolist(), strict=True))
            until = Until(evaluations=evaluations)
            values = uninterrupted(pair_interactions(game, names, until=until, seed=seed)).frame()
            frames.append(asked.join(values[["interaction", "stderr", "low", "high"]]))
        return pd.concat(frames)

    settings = (
        f"{dataset}, {degradation}: {images} crops of {crop} px; {chosen_pairs} random pairs per layer; "
        f"at most {evaluations} coalitions per game; PSNR, ablation zero."
    )
    return per_network(networks, network, of_network, settings)


def correlations(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per strategy and layer: r of cosine and interaction, and the shares of pairs that are clearly not 0.

    Columns: strategy, layer, r, low, high, pairs; replace and need, the shares of pairs whose whole interval lies below
    or above 0. The filters of two networks are unrelated, so r is the mean over networks by Fisher's z, with an
    interval over networks (Student's t); for a single network, the interval is over its pairs.
    """
    rows = []
    for (strategy, layer), own in measured(frame).groupby(["strategy", "layer"], sort=False):
        each = [correlated(o["cosine"].to_numpy(), o["interaction"].to_numpy()) for _, o in own.groupby("seed")]
        interval = each[0]
        if len(each) > 1:
            interval = tuple(np.tanh(mean_interval(np.arctanh([r for r, _, _ in each]))))
        signs = {"replace": float((own["high"] < 0).mean()), "need": float((own["low"] > 0).mean())}
        row = dict(zip(("r", "low", "high"), interval, strict=True)) | {"pairs": len(own)} | signs
        rows.append({"strategy": strategy, "layer": layer} | row)
    return pd.DataFrame(rows)


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    parts = [
        f"{row['strategy']}, {row['layer']}: {in_words((row['r'], row['low'], row['high']))}"
        for row in correlations(frame).to_dict("records")
    ]
    return f"Correlation of a pair's cosine with its interaction, mean over networks: {'; '.join(parts)}."


def verdict(frame: pd.DataFrame) -> str:
    """Whether pairs that respond more alike are clearly more interchangeable, in each layer."""
    return judged(correlations(frame)["high"] < 0)


def draw(frame: pd.DataFrame) -> Figure:
    """A panel per strategy and layer: interaction, with its interval, against cosine."""
    rows, names, colours = measured(frame), strategies_in(frame), colours_in(frame)
    layers, summary = list(dict.fromkeys(rows["layer"])), correlations(frame).set_index(["strategy", "layer"])
    with styled():
        figure = Figure(figsize=(7.2, 0.9 + 1.9 * len(layers)))
        panels = figure.subplots(len(layers), len(names), squeeze=False)
        for layer, line in zip(layers, panels, strict=True):
            for strategy, panel in zip(names, line, strict=True):
                own = rows[(rows["strategy"] == strategy) & (rows["layer"] == layer)]
                values = own["interaction"] * 1000
                error = [values - own["low"] * 1000, own["high"] * 1000 - values]
                style: dict[str, Any] = {"markersize": 2.5, "elinewidth": 0.4, "color": colours[strategy]}
                panel.errorbar(own["cosine"], values, error, fmt="o", **style)
                panel.axhline(0, color="black", linewidth=0.6)
                of_panel = summary.loc[(strategy, layer)]
                shares = f"{of_panel['replace']:.0%} negative, {of_panel['need']:.0%} positive"
                panel.set_title(f"{strategy}, {layer}:\n{shares}", fontsize=7)
                panel.set_xlim(-1.05, 1.05)
                panel.set_xticks([-1, -0.5, 0, 0.5, 1])
        for panel in panels[:, 0]:
            panel.set_ylabel("interaction (mdB)")
        for panel in panels[-1]:
            panel.set_xlabel("cosine of responses")
    return headed(figure, "Interaction of two filters against the cosine of their responses", frame)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
