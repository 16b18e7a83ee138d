"""How equally a layer's filters share their scores: what audit_equity and audit_equity_srresnet share.

Equal shares alone prove nothing, because idle filters share equally too. So the size of the scores is measured as well.
Errors of sampling make shares more equal, because noise spreads over all filters; so their variance is subtracted.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from audited import NETWORKS, headed, legend, per_network, strategies_in
from families import AUTO, Architectures, Checkpoints, colours_in, measured
from intervals import mean_interval
from jaxtyping import Float
from matplotlib.figure import Figure
from printed import eats_over, judged
from torch import nn

from srgame.data.pairs import Pairs, load_pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.networks import scale_of
from srgame.probes.equity import effective_players, entropy, gini
from srgame.probes.scores import filter_scores
from srgame.report.style import styled
from srgame.shapley.audit import network_values, uninterrupted
from srgame.shapley.until import Until

SMOKE = {
    "networks": NETWORKS[:1], "layers": ("conv_hr",), "scores": ("responses",), "dataset": "photographs",
    "images": 2, "crop": 16, "evaluations": 70,
}  # fmt: skip
Measure = Callable[[Float[np.ndarray, " player"]], float]
MEASURES: dict[str, Measure] = {
    "gini": gini,
    "entropy": entropy,
    "effective_share": lambda values: effective_players(values) / len(values),
}
NAMES = {"gini": "Gini (0: all equal)", "entropy": "entropy / ln n", "effective_share": "effective share of filters"}


def measure(
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    layers: tuple[str, ...] = ("conv_first", "body.3.conv2", "conv_hr"),
    scores: tuple[str, ...] = ("shapley", "salience", "responses"),
    dataset: str = "Set5",
    degradation: str = "b+n",
    images: int = 5,
    crop: int = 32,
    evaluations: int = 700,
) -> pd.DataFrame:
    """One row per network, layer and score: filters, total, noise, and three measures of equality with their intervals.

    Scores are measured for each image alone. The squared standard error of φ is subtracted from φ², and the root is
    taken; noise is the share of Σφ² that is subtracted, a mean over images (0 for other scores). gini, entropy and
    effective_share (the effective number of filters divided by their number) are means over images; _low and _high are
    the ends of a 95% interval (Student's t). total is the mean sum of the absolute scores of a layer, in the unit of
    the score: dB for φ.
    """

    def of_network(net: nn.Module) -> pd.DataFrame:
        pairs = load_pairs(dataset, degradation, scale_of(net), images=images, crop=crop)
        each = [Pairs((n,), (lr,), (hr,)) for n, lr, hr in zip(pairs.names, pairs.lr, pairs.hr, strict=True)]
        until = Until(evaluations=evaluations)
        frames = [_scored(net, one, layers, scores, until).assign(image=one.names[0]) for one in each]
        groups = pd.concat(frames).groupby(["layer", "score"], sort=False)
        return pd.DataFrame([{"layer": key[0], "score": key[1], **_equity(rows)} for key, rows in groups])

    settings = (
        f"{dataset}, {degradation}: {images} crops of {crop} px; φ of PSNR from {evaluations} coalitions per image."
    )
    return per_network(networks, network, of_network, settings)


def _scored(
    network: nn.Module, pairs: Pairs, layers: Sequence[str], scores: Sequence[str], until: Until
) -> pd.DataFrame:
    """The scores of one image: layer, score, value, and stderr (0 for scores that are not sampled)."""
    exact = [score for score in scores if score != "shapley"]
    frames = [filter_scores(network, pairs, layers, exact, until).assign(stderr=0.0)] if exact else []
    if "shapley" in scores:
        phi = uninterrupted(network_values(network, filters_of(network, layers), pairs, until=until))
        frames.insert(0, phi.rename(columns={"shapley": "value"}).assign(score="shapley"))
    return pd.concat([frame[["layer", "score", "value", "stderr"]] for frame in frames])


def without_noise(
    values: Float[np.ndarray, " player"], stderr: Float[np.ndarray, " player"]
) -> Float[np.ndarray, " player"]:
    """The sizes of the values, after the variance of their errors was subtracted from their squares; at least 0.

    Raises InputError if an error is not known, as after two replicates.
    """
    if not np.isfinite(stderr).all():
        raise InputError(
            "the errors of the Shapley values are not known after so few replicates: allow more evaluations"
        )
    sizes: Float[np.ndarray, " player"] = np.sqrt(np.clip(values**2 - stderr**2, 0, None))
    return sizes


def _equity(rows: pd.DataFrame) -> dict[str, float]:
    images = [(own["value"].to_numpy(float), own["stderr"].to_numpy(float)) for _, own in rows.groupby("image")]
    by_image = [without_noise(values, stderr) for values, stderr in images]
    noise = [float((stderr**2).sum() / max((values**2).sum(), 1e-30)) for values, stderr in images]
    row: dict[str, float] = {"filters": len(by_image[0]), "total": float(np.mean([v.sum() for v in by_image]))}
    row["noise"] = float(np.mean(noise))
    for name, of_values in MEASURES.items():
        mean, low, high = mean_interval(np.array([of_values(values) for values in by_image]))
        row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
    return row


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    rows = measured(frame)
    effective = rows.groupby(["score", "strategy"], sort=False)["effective_share"].mean()
    parts = [
        f"{_NAMES.get(str(score), str(score))} "
        + ", ".join(f"{name} {effective[score, name]:.0%}" for name in strategies_in(rows))
        for score in dict.fromkeys(rows["score"])
    ]
    sizes = rows[rows["score"] == "shapley"].groupby("strategy", sort=False)["total"].mean()
    size = "; a layer's |φ| sum to " + ", ".join(f"{name} {total:.2f} dB" for name, total in sizes.items())
    noise = rows.loc[rows["score"] == "shapley", "noise"].max()
    size += f"; of Σφ², errors of sampling made up at most {noise:.1%}, which were subtracted"
    return f"Effective share of a layer's filters, mean over layers: {'; '.join(parts)}{size if len(sizes) else ''}."


def verdict(frame: pd.DataFrame) -> str:
    """Whether filters share more equally with EATS than with Original and Dropout, by each measure."""
    means = measured(frame).groupby(["score", "strategy"])["effective_share"].mean()
    return judged(one for score in means.index.unique("score") for one in eats_over(means[score]))


_NAMES = {"shapley": "φ", "salience": "CSM salience", "responses": "size of responses"}


def draw(frame: pd.DataFrame) -> Figure:
    """A panel per score and measure: strategies side by side in each layer, with 95% intervals over images."""
    rows = measured(frame)
    scores, layers, names = list(dict.fromkeys(rows["score"])), list(dict.fromkeys(rows["layer"])), strategies_in(frame)
    colours = colours_in(frame)
    with styled():
        figure = Figure(figsize=(7.2, 0.9 + 1.45 * len(scores)))
        panels = figure.subplots(len(scores), len(MEASURES), squeeze=False, sharex=True)
        for score, line in zip(scores, panels, strict=True):
            for (name, label), panel in zip(NAMES.items(), line, strict=True):
                for place, strategy in enumerate(names):
                    own = rows[(rows["strategy"] == strategy) & (rows["score"] == score)]
                    x = own["layer"].map(layers.index) + (place - (len(names) - 1) / 2) * 0.15
                    error = [own[name] - own[f"{name}_low"], own[f"{name}_high"] - own[name]]
                    panel.errorbar(x, own[name], error, fmt="o", markersize=3, color=colours[strategy], label=strategy)
                panel.set_xticks(range(len(layers)), layers, fontsize=6.5)
                panel.set_xlim(-0.5, len(layers) - 0.5)
                panel.set_ylim(0, 1.02)
                panel.set_title(label if score == scores[0] else "")
            line[0].set_ylabel(_NAMES.get(score, score))
        legend(figure, panels[0, 0])
    return headed(figure, "How equally a layer's filters share their scores", frame)
