"""Does equity predict generalization: do networks whose filters share equally restore unseen degradations better?"""

from typing import Any

import numpy as np
import pandas as pd
from audited import NETWORKS, headed, per_network
from families import AUTO, Architectures, Checkpoints, colours_in, group_named, measured
from intervals import correlated, in_words
from matplotlib.figure import Figure
from printed import judged
from torch import nn

from srgame.data.degradations.testing import SETTINGS
from srgame.data.pairs import load_pairs
from srgame.evaluation.benchmark import BASELINE, benchmark
from srgame.networks import scale_of
from srgame.probes.equity import effective_players
from srgame.probes.scores import filter_scores
from srgame.report.recipe import run
from srgame.report.style import styled
from srgame.shapley.until import Until

FEWEST = 5  # networks: over fewer, an interval of r means nothing
UNSEEN = tuple(setting for setting in SETTINGS if setting != "clean")
TITLES = {"shapley": "Shapley values φ", "salience": "CSM salience"}
SMOKE = {
    "networks": NETWORKS[:1], "scores": ("responses",), "dataset": "photographs", "images": 2, "crop": 32,
    "degradations": ("b+n",), "evaluations": 70,
}  # fmt: skip


def measure(
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    layer: str = "conv_hr",
    scores: tuple[str, ...] = ("shapley", "salience"),
    dataset: str = "Set5",
    images: int = 5,
    crop: int = 64,
    degradations: tuple[str, ...] = UNSEEN,
    evaluations: int = 500,
) -> pd.DataFrame:
    """One row per network and score: score, effective_share, stderr, psnr, psnr_stderr, bicubic (dB of RGB).

    effective_share is the effective number of the layer's filters divided by their number, the mean over images under
    b+n; psnr is the mean over images and `degradations`. Both have standard errors over images.
    """

    def of_network(net: nn.Module) -> pd.DataFrame:
        scored = benchmark({"own": net}, (dataset,), degradations, images=images, crop=crop).scores
        psnr = scored.groupby(["checkpoint", "image"])["psnr_rgb"].mean()
        own, bicubic = psnr["own"], psnr[BASELINE]
        pairs = load_pairs(dataset, "b+n", scale_of(net), images=images, crop=min(crop, 32))
        until = Until(evaluations=evaluations)
        frames = [filter_scores(net, one, [layer], scores, until) for one in pairs]
        rows = []
        for score in scores:
            values = [frame.loc[frame["score"] == score, "value"].to_numpy(dtype=float) for frame in frames]
            share = np.array([effective_players(of_image) / len(of_image) for of_image in values])
            numbers = {"effective_share": share.mean(), "stderr": _stderr(share)}
            levels = {"psnr": own.mean(), "psnr_stderr": _stderr(own.to_numpy()), "bicubic": bicubic.mean()}
            rows.append({"score": score} | numbers | levels)
        return pd.DataFrame(rows)

    settings = (
        f"{layer} of {group_named(networks)}; {dataset}: {images} images, crops of {crop} px; "
        f"{len(degradations)} settings."
    )
    return per_network(networks, network, of_network, settings)


def _stderr(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    rows = measured(frame)
    count = rows["checkpoint"].nunique()
    if count < FEWEST:
        return f"{count} networks are too few to correlate equity and PSNR: at least {FEWEST} are needed."
    return f"r of the effective share of filters and PSNR on degraded images: {_in_words(rows)}; {count} networks."


def _correlations(rows: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    return {
        str(score): correlated(own["effective_share"].to_numpy(), own["psnr"].to_numpy())
        for score, own in rows.groupby("score", sort=False)
    }


def _in_words(rows: pd.DataFrame) -> str:
    return ", ".join(f"{score} {in_words(r)}" for score, r in _correlations(rows).items())


def verdict(frame: pd.DataFrame) -> str:
    """Whether networks of more equity restore better, by the scores whose r is clearly not 0."""
    clear = [interval for interval in _correlations(measured(frame)).values() if interval[1] > 0 or interval[2] < 0]
    return judged(low > 0 for _, low, _ in clear)


def draw(frame: pd.DataFrame) -> Figure:
    """A panel per score: PSNR against the effective share of filters, a point per network; bicubic as a line."""
    rows, colours = measured(frame), colours_in(frame)
    scores = list(dict.fromkeys(rows["score"]))
    with styled():
        figure = Figure(figsize=(7.2, 2.9))
        panels = figure.subplots(1, len(scores), squeeze=False, sharey=True)[0]
        for score, panel in zip(scores, panels, strict=True):
            here = rows[rows["score"] == score]
            panel.axhline(here["bicubic"].iloc[0], color="black", linewidth=0.8, linestyle="--", label="bicubic")
            for strategy, own in here.groupby("strategy", sort=False):
                x, y = own["effective_share"] * 100, own["psnr"]
                style: Any = {"color": colours[str(strategy)], "label": strategy, "fmt": "o", "markersize": 4}
                panel.errorbar(x, y, own["psnr_stderr"], own["stderr"] * 100, **style)
            panel.set(
                title=f"{TITLES.get(score, score)}; bars: standard errors over images",
                xlabel="effective share of filters (%)",
            )
        panels[0].set_ylabel("PSNR, mean of settings (dB)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return headed(figure, "Equal shares of filters against PSNR on degraded images", frame)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
