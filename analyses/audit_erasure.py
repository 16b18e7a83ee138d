"""How does PSNR fall as more and more filters of the whole network are erased at random, beside bicubic upsampling?

Filters are erased in random permutations, the same ones for all networks. A network that does no more than bicubic
upsampling loses nothing: its skip connection remains, and that was all it used.
"""

import numpy as np
import pandas as pd
import torch
from audited import NETWORKS, headed, legend, per_network, strategies_in
from families import AUTO, Architectures, Checkpoints, colours_in, measured
from intervals import mean_interval
from matplotlib.figure import Figure
from torch import nn

from srgame.data.pairs import Pairs, load_pairs
from srgame.evaluation.evaluate import bicubic
from srgame.filters import filters_of
from srgame.metrics import Images, PerImage, Targets, psnr, quantized
from srgame.networks import scale_of
from srgame.report.recipe import run
from srgame.report.style import styled
from srgame.shapley.restoration import RestorationGame

SMOKE = {
    "networks": NETWORKS[:1], "dataset": "photographs", "degradations": ("b+n",), "images": 1, "crop": 16,
    "permutations": 2, "steps": 3,
}  # fmt: skip


def measure(
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    dataset: str = "Set5",
    degradations: tuple[str, ...] = ("clean", "b+n"),
    images: int = 3,
    crop: int = 64,
    permutations: int = 10,
    steps: int = 12,
    ablation: str = "zero",
    seed: int = 0,
) -> pd.DataFrame:
    """One row per network, setting and number of erased filters.

    Columns: degradation, erased, filters, psnr, low, high, bicubic. psnr (dB, 8-bit values) is the mean over images and
    `permutations` random permutations; low and high are its 95% interval over permutations; bicubic is the PSNR of
    bicubic upsampling on the same images. `steps` numbers of filters are erased, from none to all except those of the
    last layer, which are the colours of the image.
    """

    def of_network(net: nn.Module) -> pd.DataFrame:
        filters, scale = filters_of(net, filters_of(net).layers[:-1]), scale_of(net)
        frames = []
        for setting in degradations:
            pairs = load_pairs(dataset, setting, scale, images=images, crop=crop)
            curve = _curve(RestorationGame(net, filters, pairs, stored_psnr, ablation), permutations, steps, seed)
            frames.append(curve.assign(degradation=setting, bicubic=_bicubic(pairs, scale)))
        return pd.concat(frames)

    settings = (
        f"{dataset}: {images} crops of {crop} px; {permutations} random permutations; ablation: {ablation}; "
        "all layers except the last."
    )
    return per_network(networks, network, of_network, settings)


def _curve(game: RestorationGame, permutations: int, steps: int, seed: int) -> pd.DataFrame:
    n = game.players
    counts = np.unique(np.linspace(0, n, steps).round().astype(int))
    places = np.stack([np.random.default_rng([seed, k]).permutation(n) for k in range(permutations)])
    present = torch.from_numpy(places[:, None] >= counts[:, None])  # what is erased later is still present
    worth = game(present.flatten(0, 1)).reshape(permutations, len(counts)).numpy()
    intervals = np.array([mean_interval(column) for column in worth.T])
    columns = dict(zip(("psnr", "low", "high"), intervals.T, strict=True))
    return pd.DataFrame({"erased": counts, "filters": n} | columns)


def stored_psnr(sr: Images, hr: Targets) -> PerImage:
    """PSNR of the images as 8 bits store them, so that values outside [0, 1] cost nothing."""
    return psnr(quantized(sr), hr)


def _bicubic(pairs: Pairs, scale: int) -> float:
    up = bicubic(scale)
    return float(
        np.mean([stored_psnr(up(lr[None]), hr[None]).item() for lr, hr in zip(pairs.lr, pairs.hr, strict=True)])
    )


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    parts = []
    for (strategy, setting), rows in measured(frame).groupby(["strategy", "degradation"], sort=False):
        whole, *_, none = rows.groupby("erased")[["psnr", "bicubic"]].mean().to_numpy().tolist()
        added, gain = whole[0] - none[0], whole[0] - whole[1]
        numbers = f"{added:+.2f} ({gain:+.2f} over bicubic)".replace("-", "−")
        parts.append(f"{strategy} on {setting} {numbers}")
    return f"PSNR that all filters together add, in dB: {'; '.join(parts)}."


def draw(frame: pd.DataFrame) -> Figure:
    """A panel per setting: PSNR against the share of filters erased; bicubic upsampling as a line."""
    rows = measured(frame)
    settings, colours = list(dict.fromkeys(rows["degradation"])), colours_in(frame)
    with styled():
        figure = Figure(figsize=(7.2, 3.1))
        panels = figure.subplots(1, len(settings), squeeze=False)[0]
        for setting, panel in zip(settings, panels, strict=True):
            here = rows[rows["degradation"] == setting]
            panel.axhline(here["bicubic"].iloc[0], color="black", linewidth=0.8, linestyle="--", label="bicubic")
            for strategy in strategies_in(frame):
                for seed, own in here[here["strategy"] == strategy].groupby("seed"):
                    share = own["erased"] / own["filters"] * 100
                    label = strategy if seed == here["seed"].min() else None
                    panel.plot(share, own["psnr"], "o-", color=colours[strategy], markersize=2.5, label=label)
                    panel.fill_between(share, own["low"], own["high"], color=colours[strategy], alpha=0.2, linewidth=0)
            panel.set(title=setting, xlabel="filters erased (%)", ylabel="PSNR (dB)")
        legend(figure, panels[0])
    return headed(figure, "PSNR while filters are erased at random", frame)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
