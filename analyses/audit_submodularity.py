"""How often do returns diminish: is v(S ∪ i) − v(S) > v(T ∪ i) − v(T) for coalitions S ⊂ T without filter i?

If returns never grow, the bound of the paper's Eq. 6 follows. Ties, differences within rounding, are counted on their
own. If replacing and needing each other balance, returns diminish as often as a coin shows heads.
"""

import pandas as pd
from audited import NETWORKS, headed, legend, per_network, strategies_in
from families import AUTO, Architectures, Checkpoints, colours_in, measured
from matplotlib.figure import Figure
from returns import diminishing
from torch import nn

from srgame.data.pairs import load_pairs
from srgame.filters import filters_of
from srgame.networks import scale_of
from srgame.report.recipe import run
from srgame.report.style import styled
from srgame.shapley.restoration import RestorationGame

SMOKE = {
    "networks": NETWORKS[:1], "layers": ("conv_hr",), "dataset": "photographs", "images": 1, "crop": 16, "draws": 10,
}  # fmt: skip


def measure(
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    layers: tuple[str, ...] = ("conv_first", "body.3.conv2", "body.7.conv2", "conv_hr"),
    ablations: tuple[str, ...] = ("zero", "donor"),
    dataset: str = "Set5",
    degradation: str = "b+n",
    images: int = 2,
    crop: int = 32,
    draws: int = 300,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per network, layer and ablation: draws, diminishing (their share) with low and high, ties, drop.

    A draw is a random filter i and the first s and t filters of a random permutation of the others, s < t. low and high
    are the ends of Wilson's 95% interval; ties is the share of draws in which both contributions are equal up to
    rounding, which do not count as diminishing; drop is the mean of [v(S ∪ i) − v(S)] − [v(T ∪ i) − v(T)] divided by
    the mean absolute v(S ∪ i) − v(S). The worth v is the mean PSNR of the images.
    """

    def of_network(net: nn.Module) -> pd.DataFrame:
        pairs = load_pairs(dataset, degradation, scale_of(net), images=images, crop=crop)
        rows = []
        for layer in layers:
            for ablation in ablations:
                game = RestorationGame(net, filters_of(net, [layer]), pairs, ablation=ablation)
                rows.append({"layer": layer, "ablation": ablation} | diminishing(game, draws, seed))
        return pd.DataFrame(rows)

    settings = f"{dataset}, {degradation}: {images} crops of {crop} px; {draws} draws of i, S ⊂ T per point."
    return per_network(networks, network, of_network, settings)


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    rows = measured(frame)
    parts = [
        f"{strategy} {own['diminishing'].min():.0%} to {own['diminishing'].max():.0%}"
        for strategy, own in rows.groupby("strategy", sort=False)
    ]
    over = f"range over networks, layers and ablations; at most {rows['ties'].max():.0%} are ties, which do not count"
    return f"Share of draws in which returns diminish ({over}): {', '.join(parts)}."


def verdict(frame: pd.DataFrame) -> str:
    """Whether returns never grow, as the first inequality of Eq. 6 needs."""
    rows = measured(frame)
    return "differs" if (rows["high"] < 1 - rows["ties"]).any() else "agrees so far"


def draw(frame: pd.DataFrame) -> Figure:
    """A panel per ablation: the share of draws in which returns diminish, per layer and strategy."""
    rows, names, colours = measured(frame), strategies_in(frame), colours_in(frame)
    ablations, layers = list(dict.fromkeys(rows["ablation"])), list(dict.fromkeys(rows["layer"]))
    with styled():
        figure = Figure(figsize=(7.2, 2.9))
        panels = figure.subplots(1, len(ablations), squeeze=False, sharey=True)[0]
        for ablation, panel in zip(ablations, panels, strict=True):
            panel.axhline(50, color="black", linewidth=0.8, linestyle="--", label="toss of a coin (50%)")
            for place, strategy in enumerate(names):
                own = rows[(rows["strategy"] == strategy) & (rows["ablation"] == ablation)]
                x = own["layer"].map(layers.index) + (place - (len(names) - 1) / 2) * 0.15
                share = own["diminishing"] * 100
                error = [share - own["low"] * 100, own["high"] * 100 - share]
                panel.errorbar(x, share, error, fmt="o", markersize=3, color=colours[strategy], label=strategy)
            panel.set(title=f"ablation: {ablation}", ylim=(0, 102), xlim=(-0.5, len(layers) - 0.5))
            panel.set_xticks(range(len(layers)), layers)
        panels[0].set_ylabel("returns diminish (% of draws)")
        legend(figure, panels[0])
    return headed(figure, "How often do returns diminish?", frame)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
