"""Does equity predict generalization: do networks whose filters share alike restore unseen degradations better?"""

from typing import Any

import numpy as np
import pandas as pd
from audited import FAMILY, NETWORKS, correlated, family_in, headed, in_words, per_network
from families import measured
from matplotlib.figure import Figure
from printed import judged
from torch import nn
from zoo_names import along_training

from srgame.data.degradations.testing import SETTINGS
from srgame.data.pairs import Pairs, load_pairs
from srgame.evaluation.benchmark import BASELINE, benchmark
from srgame.probes.equity import effective_players
from srgame.probes.scores import filter_scores
from srgame.report.recipe import run
from srgame.report.style import STRATEGIES, styled
from srgame.shapley.until import Until

FEWEST = 5  # networks: an interval of r over fewer says nothing
UNSEEN = tuple(setting for setting in SETTINGS if setting != "clean")
TITLES = {"shapley": "Shapley values φ", "salience": "CSM salience"}
SMOKE = {
    "networks": NETWORKS[:1], "scores": ("responses",), "dataset": "photographs", "images": 2, "crop": 32,
    "degradations": ("b+n",), "evaluations": 70,
}  # fmt: skip


def measure(
    networks: tuple[str, ...] = along_training(FAMILY),
    layer: str = "conv_hr",
    scores: tuple[str, ...] = ("shapley", "salience"),
    dataset: str = "Set5",
    images: int = 5,
    crop: int = 64,
    degradations: tuple[str, ...] = UNSEEN,
    evaluations: int = 500,
) -> pd.DataFrame:
    """One row per network and score: score, effective_share, stderr, psnr, psnr_stderr, bicubic (dB of RGB).

    effective_share is the effective number of the layer's filters as a part of all, the mean over images under b+n;
    psnr is the mean over images and `degradations`. Both have standard errors over images.
    """
    pairs = load_pairs(dataset, "b+n", 4, images=images, crop=min(crop, 32))
    each = [Pairs((n,), (lr,), (hr,)) for n, lr, hr in zip(pairs.names, pairs.lr, pairs.hr, strict=True)]

    def of_network(network: nn.Module) -> pd.DataFrame:
        measured = benchmark({"own": network}, (dataset,), degradations, 4, images=images, crop=crop).scores
        psnr = measured.groupby(["checkpoint", "image"])["psnr_rgb"].mean()
        own, bicubic = psnr["own"], psnr[BASELINE]
        until = Until(evaluations=evaluations)
        frames = [filter_scores(network, one, [layer], scores, until) for one in each]
        rows = []
        for score in scores:
            values = [frame.loc[frame["score"] == score, "value"].to_numpy(dtype=float) for frame in frames]
            share = np.array([effective_players(of_image) / len(of_image) for of_image in values])
            numbers = {"effective_share": share.mean(), "stderr": _stderr(share)}
            levels = {"psnr": own.mean(), "psnr_stderr": _stderr(own.to_numpy()), "bicubic": bicubic.mean()}
            rows.append({"score": score} | numbers | levels)
        return pd.DataFrame(rows)

    sample = f"{dataset}: {len(pairs)} images, crops of {crop} px; {len(degradations)} settings."
    settings = f"{layer} of {family_in(networks)}; {sample}"
    return per_network(networks, of_network, settings, on_the_way=True)


def _stderr(values: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def found(frame: pd.DataFrame) -> str:
    """What was found, in a sentence."""
    rows, ended = measured(frame), _ended(frame)
    counts = [len(some[["strategy", "seed", "steps"]].drop_duplicates()) for some in (rows, ended)]
    if counts[1] < FEWEST:
        return f"{counts[1]} networks are too few to correlate equity and PSNR: at least {FEWEST} are needed."
    sentence = f"Effective share of filters against PSNR on degraded images, r: {_told(ended)}; {counts[1]} networks"
    if counts[0] == counts[1]:
        return f"{sentence}."
    along = (
        f"with those on the way, {counts[0]}, which depend on these, so that intervals are too narrow: {_told(rows)}"
    )
    return f"{sentence}, trained to the end ({along})."


def _ended(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of networks that are trained to the end: those on the way are not independent of them."""
    rows = measured(frame)
    ended: pd.DataFrame = rows[rows["steps"] == rows["steps"].max()]
    return ended


def _correlations(rows: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    return {
        str(score): correlated(own["effective_share"].to_numpy(), own["psnr"].to_numpy())
        for score, own in rows.groupby("score", sort=False)
    }


def _told(rows: pd.DataFrame) -> str:
    return ", ".join(f"{score} {in_words(r)}" for score, r in _correlations(rows).items())


def verdict(frame: pd.DataFrame) -> str:
    """Whether networks of more equity, trained to the end, restore better, by the measures that tell."""
    told = [found for found in _correlations(_ended(frame)).values() if found[1] > 0 or found[2] < 0]
    return judged(low > 0 for _, low, _ in told)


def draw(frame: pd.DataFrame) -> Figure:
    """A panel per score: PSNR against the effective share of filters, a point per network; bicubic as a line.

    The fewer steps a network was trained for, the paler it is.
    """
    rows = measured(frame)
    scores = list(dict.fromkeys(rows["score"]))
    with styled():
        figure = Figure(figsize=(7.2, 2.9))
        panels = figure.subplots(1, len(scores), squeeze=False, sharey=True)[0]
        for score, panel in zip(scores, panels, strict=True):
            here = rows[rows["score"] == score]
            panel.axhline(here["bicubic"].iloc[0], color="black", linewidth=0.8, linestyle="--", label="bicubic")
            for (strategy, steps), own in here.groupby(["strategy", "steps"], sort=False):
                ended = steps == here["steps"].max()
                style: dict[str, Any] = {"color": STRATEGIES[str(strategy)], "alpha": 1 if ended else 0.4}
                x, y = own["effective_share"] * 100, own["psnr"]
                label = str(strategy) if ended else None
                bars: Any = (own["psnr_stderr"], own["stderr"] * 100)
                panel.errorbar(x, y, *bars, fmt="o", markersize=4, label=label, **style)
            panel.set(
                title=f"{TITLES.get(score, score)}; bars: standard errors over images",
                xlabel="effective share of filters (%)",
            )
        panels[0].set_ylabel("PSNR, mean of settings (dB)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return headed(figure, found(frame), frame)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
