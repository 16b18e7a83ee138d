"""Does φ show which filters can be removed, and does the sum of φ predict what their joint removal costs?

The filters of a layer are removed one after another, the lowest score first. Scores come from some images, PSNR from
others.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from families import AUTO, Architectures, Checkpoints, load_each
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from printed import UNKNOWN, signed
from torch import nn

from srgame.cli.comparison import labels
from srgame.data.pairs import Pairs, load_pairs
from srgame.filters import filters_of
from srgame.networks import scale_of
from srgame.probes.pruning import removal_drops, removal_scores
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, styled
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until

SCORES = {
    "shapley": ("Shapley value", BLUE),
    "leave-one-out": ("leave-one-out", ORANGE),
    "salience": ("salience (CSM)", GREEN),
    "response": ("size of responses", RED),
    "norm": ("L1 norm of weights", PURPLE),
    "random": ("random", GREY),
}
SUMMED = ("shapley", "leave-one-out")  # scores in dB, whose sum can be taken for a prediction
SMOKE = {
    "networks": ("small-x4-original-0",), "layers": ("conv_hr",), "scored": "photographs", "dataset": "photographs",
    "images": 1, "crop": 16, "steps": 3, "draws": 2, "evaluations": 200,
}  # fmt: skip


def measure(
    networks: Checkpoints = ("srresnet-x4-bicubic", "srresnet-x4-original-0"),
    network: Architectures = AUTO,
    layers: tuple[str, ...] = ("conv_first", "body.8.conv2", "conv_hr"),
    scored: str = "Set14",
    dataset: str = "Set5",
    degradation: str = "clean",
    images: int = 2,
    crop: int = 48,
    steps: int = 9,
    draws: int = 5,
    tolerance: float = 0.05,
    evaluations: int = 1500,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per checkpoint, layer, score and number of removed filters, in dB: drop, drop_scored, predicted.

    Removed filters are erased (zero). drop is the loss of mean PSNR on `images` images of `dataset`, drop_scored that
    on those of `scored`, from which the scores come; predicted is the sum of the removed filters' scores, for Shapley
    values and leave-one-out. "random" is the mean over `draws` random orders.
    """
    frames = []
    for label, model in zip(labels(networks), load_each(networks, network).values(), strict=True):
        sets = [load_pairs(name, degradation, scale_of(model), images, crop) for name in (scored, dataset)]
        for layer in layers:
            until = Until(tolerance=tolerance, evaluations=evaluations)
            scores = removal_scores(model, layer, sets[0], until=until, seed=seed)
            rows = pd.DataFrame(_removals(model, layer, sets, scores, steps, draws, seed))
            frames.append(rows.assign(checkpoint=label, layer=layer))
    return pd.concat(frames, ignore_index=True)[["checkpoint", "layer", "score", "removed", "filters", *_DROPS]]


_DROPS = ["drop", "drop_scored", "predicted"]


def _removals(
    network: nn.Module,
    layer: str,
    sets: list[Pairs],
    scores: pd.DataFrame,
    steps: int,
    draws: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """The rows of one layer: by each score the lowest first, and at random."""
    filters = filters_of(network, [layer])
    games = [RestorationGame(network, filters, pairs) for pairs in sets]
    counts = np.unique(np.linspace(0, len(filters), steps).round().astype(int))
    rng = np.random.default_rng(seed)
    orders = {name: np.argsort(scores[name].to_numpy(), kind="stable")[None] for name in SCORES if name in scores}
    orders["random"] = np.stack([rng.permutation(len(filters)) for _ in range(draws)])
    for name, permutations in orders.items():
        drop_scored, drop = (removal_drops(game, permutations, counts) for game in games)
        for count, on_scored, held_out in zip(counts, drop_scored, drop, strict=True):
            predicted = scores[name].iloc[permutations[0, :count]].sum() if name in SUMMED else np.nan
            numbers = dict(zip(_DROPS, (held_out, on_scored, predicted), strict=True))
            yield {"score": name, "removed": count, "filters": len(filters), **numbers}


def areas(frame: pd.DataFrame) -> pd.Series:
    """The mean drop over the counts up to half of the filters, by checkpoint, layer and score: lower is better."""
    half = frame[(frame["removed"] > 0) & (frame["removed"] <= frame["filters"] / 2)]
    return half.groupby(["checkpoint", "layer", "score"], sort=False)["drop"].mean()


def found(frame: pd.DataFrame) -> str:
    """Which score is best, and how far the sum of φ is from the drop, in a sentence."""
    best = areas(frame).unstack("score").idxmin(axis=1)
    by_score = ", ".join(f"{SCORES[str(name)][0]} in {count}" for name, count in best.value_counts().items())
    half = frame[frame["removed"] == (frame["filters"] / 2).round()]
    pairs = [
        f"{row['checkpoint']} {row['layer']}: {signed(row['predicted'])} and {signed(row['drop_scored'])} dB"
        for row in half[half["score"] == "shapley"].to_dict("records")
    ]
    return (
        f"Removing up to half of a layer loses least PSNR on held-out images by {by_score} of {len(best)} layers. "
        "Sum of φ of the half with the lowest φ, and what their joint removal costs on the same images: "
        f"{'; '.join(pairs)}."
    )


def verdict(frame: pd.DataFrame) -> str:
    """The paper claims nothing about pruning."""
    return UNKNOWN


def draw(frame: pd.DataFrame) -> Figure:
    """The loss of PSNR on held-out images against the removed filters; in black, on the scored images."""
    networks, layers = list(frame["checkpoint"].unique()), list(frame["layer"].unique())
    with styled():
        figure = Figure(figsize=(1.2 + 2.0 * len(layers), 1.0 + 1.75 * len(networks)))
        panels = figure.subplots(len(networks), len(layers), squeeze=False)
        for name, row in zip(networks, panels, strict=True):
            for layer, panel in zip(layers, row, strict=True):
                _curves(panel, frame[(frame["checkpoint"] == name) & (frame["layer"] == layer)])
                panel.set_title(f"{name}\n{layer}")
            row[0].set_ylabel("loss of PSNR (dB)")
        for panel in panels[-1]:
            panel.set_xlabel("filters removed")
        handles, texts = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside lower center", ncols=3)
        figure.suptitle("PSNR lost on held-out images as filters are removed, the lowest score first", fontsize=8)
    return figure


def _curves(panel: Axes, rows: pd.DataFrame) -> None:
    for name, (text, colour) in SCORES.items():
        own = rows[rows["score"] == name]
        panel.plot(own["removed"], own["drop"], color=colour, label=text, linewidth=1)
    own = rows[rows["score"] == "shapley"]
    panel.plot(own["removed"], own["predicted"], "--", color="black", linewidth=0.8, label="sum of φ of the removed")
    panel.plot(own["removed"], own["drop_scored"], ":", color="black", linewidth=0.8, label="by φ, scored images")
    panel.axhline(0, color="black", linewidth=0.5)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
