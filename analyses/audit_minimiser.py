"""Do networks that are pulled towards bicubic upsampling restore what their losses ask for, pixel by pixel?

Given the LR image, E|v − HR| + λ·|v − Bic| is least at v = Bic where HR lies below Bic with a probability between
(1 − λ)/2 and (1 + λ)/2. Elsewhere v is a quantile of HR: where v is above Bic, HR lies below v with probability
(1 − λ)/2, and where v is below Bic, with probability (1 + λ)/2. These probabilities are counted on degraded patches of
images that no network was trained on. EATS is held to the same rule, as if erasures changed nothing.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from families import AUTO, Architectures, Checkpoints, load_each
from intervals import mean_interval
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from printed import judged
from readings import KINDS, ORIGINAL, WEIGHTS, Reading, kind_of, shipped_readings
from torch import Tensor, nn

from srgame.data.images import image_paths, read_rgb, upsample
from srgame.errors import InputError
from srgame.filters import run as restored
from srgame.networks import scale_of
from srgame.report.recipe import run
from srgame.report.style import BLUE, ORANGE, styled
from srgame.training.patches import Patches

RULED = (ORIGINAL, *(f"{start}w{weight}" for start in ("", "pull-") for weight in WEIGHTS))
NETWORKS = tuple(name for name in shipped_readings(0) if (kind_of(name) or ("",))[0] in RULED)
SIDES = ("above", "at", "below")  # where the network's value lies, seen from Bic
EQUAL = 1 / 255  # values that differ by less count as equal
KEY = ["network", "words", "weight", "erases", "side"]
SMOKE = {"dataset": "photographs", "batches": 2, "patch": 48}


def measure(
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    dataset: str = "BSD100",
    batches: int = 16,
    batch: int = 16,
    patch: int = 96,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per network and side of Bic: network, words, weight (λ), erases, side, share, predicted, observed.

    share is that of the values (pixels and channels) on this side of Bic, by more than 1/255, or within 1/255 of Bic;
    predicted is the rule's probability that HR lies below such a value (NaN at Bic, where the rule has a range; 0 or 1
    for λ = 1, for which it leaves no value off Bic), and observed how often it does, with low and high, the ends of a
    95% interval over batches (Student's t). HR patches are sharpened, as in training.

    The names of the networks end in a kind and a seed; raises InputError if not, and for a kind that is neither
    Original nor a reading, or control, that differs from the printed loss in the weight alone.
    """
    readings = {name: _reading(name) for name in networks}
    models = load_each(networks, network)
    images = [read_rgb(path) for path in image_paths(dataset)]
    scale = scale_of(next(iter(models.values())))
    patches = Patches(images, "second-order", scale, patch, batch, patch, sharpen=True, seed=seed)
    counts = [
        {"network": name, **row}
        for step in range(batches)
        for lr, hr in [patches(step)]
        for name, model in models.items()
        for row in _counts(model, lr, hr)
    ]
    rows = []
    for (name, side), each in pd.DataFrame(counts).groupby(["network", "side"], sort=False):
        reading = readings[str(name)]
        about = {"network": name, "words": reading.words, "weight": reading.weight, "erases": reading.erases}
        rows.append(about | {"side": side} | _summary(each, reading.weight, str(side)))
    return pd.DataFrame(rows)


def _reading(name: str) -> Reading:
    kind, _ = kind_of(name) or ("", 0)
    if kind not in RULED:
        raise InputError(f"'{name}' ends in none of {', '.join(RULED)} with a seed: the rule is made for these")
    return Reading("Original", 0.0) if kind == ORIGINAL else KINDS[kind]


@torch.inference_mode()
def _counts(network: nn.Module, lr: Tensor, hr: Tensor) -> Iterator[dict[str, Any]]:
    """For each side of Bic: the values of a batch, those on this side, and in how many of these HR is below."""
    sr, bic = restored(network, lr), upsample(lr, hr.shape[-1] // lr.shape[-1])
    above, below = sr > bic + EQUAL, sr < bic - EQUAL
    for side, there in zip(SIDES, (above, ~(above | below), below), strict=True):
        lower = (hr < sr)[there].sum()
        yield {"side": side, "values": sr.numel(), "there": int(there.sum()), "below": int(lower)}


def _summary(counts: pd.DataFrame, weight: float, side: str) -> dict[str, float]:
    """The columns of `measure` that are counted, over all batches."""
    there = counts[counts["there"] > 0]
    pull = min(weight, 1.0)
    mean, low, high = mean_interval((there["below"] / there["there"]).to_numpy()) if len(there) else (np.nan,) * 3
    return {
        "share": float(counts["there"].sum() / counts["values"].sum()),
        "predicted": {"above": (1 - pull) / 2, "below": (1 + pull) / 2}.get(side, np.nan),
        "observed": mean,
        "low": low,
        "high": high,
    }


def found(frame: pd.DataFrame) -> str:
    """How far the counted probabilities lie from the rule, in a sentence."""
    rows = _off_bic(frame)
    if rows.empty:
        return ""
    off = (rows["observed"] - rows["predicted"]).abs()
    worst = rows.loc[[off.idxmax()]].to_dict("records")[0]
    pulled = rows[rows["weight"] > 0]
    at = frame[(frame["side"] == "at") & frame["weight"].between(0, 1, "neither")]  # a weight of 1 allows every share
    weaker = (pulled["observed"] - 0.5).abs() < (pulled["predicted"] - 0.5).abs()
    outside = (pulled["low"] > pulled["predicted"]) | (pulled["high"] < pulled["predicted"])
    inside = ((at["observed"] - 0.5).abs() <= at["weight"] / 2).sum()
    return (
        "Where a network lies above or below Bic, the share of HR values below it differs from the predicted share by "
        f"{100 * off.mean():.1f} percentage points on average over {len(rows)} cases with λ below 1, most for "
        f"{worst['words']} ({worst['observed']:.1%} instead of {worst['predicted']:.1%}). With a pull, the network "
        f"lies nearer to the median of HR than predicted in {weaker.sum()} of {len(pulled)} cases, clearly in "
        f"{(outside & weaker).sum()}. "
        f"Where it lies at Bic, the share is in the predicted range for {inside} of {len(at)} networks with λ "
        "between 0 and 1."
    )


def _off_bic(frame: pd.DataFrame) -> pd.DataFrame:
    """The cases above or below Bic, without λ = 1: for it, the rule leaves no value off Bic."""
    return frame[(frame["weight"] < 1) & (frame["side"] != "at")].dropna(subset=["observed"])


def verdict(frame: pd.DataFrame) -> str:
    """Whether networks lie where the losses ask them to: within 5% of the pixels."""
    rows = _off_bic(frame)
    return judged((rows["observed"] - rows["predicted"]).abs() < 0.05)


def draw(frame: pd.DataFrame) -> Figure:
    """Counted against predicted probabilities; and the share of pixels that lie at Bic against λ."""
    with styled():
        figure = Figure(figsize=(7.2, 3.3))
        rule, share = figure.subplots(1, 2)
        _rule(rule, _off_bic(frame))
        _at_bic(share, frame)
        handles, texts = rule.get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside lower center", ncols=len(handles))
        figure.suptitle("Where the pull towards bicubic upsampling leaves a network, pixel by pixel", fontsize=8)
    return figure


def _rule(panel: Axes, frame: pd.DataFrame) -> None:
    panel.axline((0.5, 0.5), slope=1, color="black", linewidth=0.6)
    for erases, colour, label in ((False, BLUE, "nothing erased"), (True, ORANGE, "one filter erased")):
        rows = frame[frame["erases"] == erases]
        error = [rows["observed"] - rows["low"], rows["high"] - rows["observed"]]
        style: dict[str, Any] = {"markersize": 4, "elinewidth": 0.6, "fillstyle": "none" if erases else "full"}
        panel.errorbar(rows["predicted"], rows["observed"], error, fmt="o", color=colour, label=label, **style)
    for weight, rows in frame.groupby("weight"):
        panel.annotate(
            f"λ = {weight:g}",
            (rows["predicted"].max(), 0.02),
            xycoords=("data", "axes fraction"),
            fontsize=6,
            rotation=90,
            color="0.4",
            ha="right",
        )
    panel.set(xlabel="probability that HR is lower, by the rule", ylabel="counted on held-out patches")


def _at_bic(panel: Axes, frame: pd.DataFrame) -> None:
    shares = frame[frame["side"] == "at"].groupby(["weight", "erases", "network"])["share"].sum()
    for erases, colour in ((False, BLUE), (True, ORANGE)):
        rows = shares[shares.index.get_level_values("erases") == erases].groupby("weight").mean()
        fill = "none" if erases else "full"
        panel.plot(rows.index, rows, "o-", color=colour, fillstyle=fill, markersize=4, linewidth=0.8)
    panel.set(xlabel="λ", ylabel="share of values within 1/255 of Bic", ylim=(0, 1.03))


if __name__ == "__main__":
    run(__file__, measure, draw, found)
