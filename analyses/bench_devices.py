"""How much faster are bfloat16 and a GPU, in coalitions per second and in time to a given error?

On each available device, a layer's game is sampled in float32, then with bfloat16 (`srgame shapley --bfloat16`), with
the same permutations. The gain of bfloat16 is the ratio of seconds times squared standard errors. Sampling uses it only
if the variance of its rounding is below 1/400 of the variance of permutations. Seconds on a CPU are CPU time of one
thread, which other work on the machine hardly changes.
"""

from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from srgame.data.pairs import load_pairs
from srgame.filters import filters_of
from srgame.networks import load_network
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREY, ORANGE, styled
from srgame.shapley.audit import uninterrupted
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until

SMOKE = {"layers": ("conv_hr",), "crop": 12, "replicates": 10}


def measure(
    network: str = "srresnet-x4-bicubic",
    layers: tuple[str, ...] = ("conv_first", "body.4.conv2", "body.8.conv2", "body.14.conv1", "conv_hr"),
    payoffs: tuple[str, ...] = ("psnr", "-mse"),
    devices: tuple[str, ...] = ("cpu", "cuda"),
    crop: int = 16,
    replicates: int = 100,
) -> pd.DataFrame:
    """One row per device, layer and payoff.

    Columns: device, layer, payoff; float32_per_s and bfloat16_per_s, coalitions evaluated per second on the middle
    `crop` HR pixels of one photograph; low_precision_reduction, the variance of permutations over the variance of
    bfloat16's rounding; used, whether sampling uses bfloat16; gain, the factor by which it shortens the time to the
    same error. All are NaN for a device that is missing.
    """
    torch.set_num_threads(1)
    pairs = load_pairs("photographs", images=1, crop=crop)
    rows = []
    for device in devices:
        there = device == "cpu" or torch.cuda.is_available()
        for layer in layers:
            for payoff in payoffs:
                row: dict[str, Any] = {"device": device, "layer": layer, "payoff": payoff}
                if there:
                    model = load_network(network).to(device)
                    game = RestorationGame(model, filters_of(model, [layer]), pairs, payoff, bfloat16=True)
                    row |= _compared(game, replicates, process_time if device == "cpu" else perf_counter)
                rows.append(row)
    columns = [
        "device",
        "layer",
        "payoff",
        "float32_per_s",
        "bfloat16_per_s",
        "low_precision_reduction",
        "used",
        "gain",
    ]
    return pd.DataFrame(rows, columns=columns)


def _compared(game: RestorationGame, replicates: int, clock: Callable[[], float]) -> dict[str, float | bool]:
    until, sampled, work = Until(evaluations=2 + replicates * 2 * (game.players - 1)), [], []
    for game.bfloat16 in (False, True):
        start = clock()
        sampled.append(uninterrupted(sampled_shapley(game, until=until, regression=False)))
        work.append((clock() - start) * float((sampled[-1].stderr ** 2).sum()))
    fine, low_precision = (_per_second(game, low_precision, clock) for low_precision in (False, True))
    facts = {
        "float32_per_s": fine,
        "bfloat16_per_s": low_precision,
        "low_precision_reduction": sampled[1].variance_reduction["low_precision"],
    }
    used = "low_precision" in sampled[1].used
    return facts | {"used": used, "gain": work[0] / work[1] if used else 1.0}


def _per_second(game: RestorationGame, low_precision: bool, clock: Callable[[], float]) -> float:
    """Coalitions per second: the faster of two batches, after one batch to warm up."""
    coalitions = torch.rand(256, game.players, generator=torch.Generator().manual_seed(0)) < 0.5
    seconds = []
    for _ in range(3):
        start = clock()
        game.worth(coalitions, 0, low_precision)
        seconds.append(clock() - start)
    return len(coalitions) / min(seconds[1:])


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    sentences = []
    for device, rows in frame.groupby("device", sort=False):
        if rows["gain"].isna().all():
            sentences.append(f"{device}: not available")
            continue
        speed, used = rows["bfloat16_per_s"] / rows["float32_per_s"], rows[rows["used"].astype(bool)]
        times = f", which reach the same error {used['gain'].min():.2f} to {used['gain'].max():.2f} times faster"
        sentences.append(
            f"{device}: bfloat16 evaluates {speed.min():.2f} to {speed.max():.2f} times as many coalitions per second "
            f"and is precise enough in {len(used)} of {len(rows)} games{times if len(used) else ''}"
        )
    return "; ".join(sentences)


def draw(frame: pd.DataFrame) -> Figure:
    """Coalitions per second in float32 and in bfloat16, and whether sampling uses bfloat16."""
    there = frame[frame["gain"].notna()]
    with styled():
        figure = Figure(figsize=(6, 0.8 + 0.26 * len(there)))
        panel = figure.subplots()
        names = there["layer"] + ", " + there["payoff"].replace("-mse", "−MSE") + ", " + there["device"]
        place = np.arange(len(there))[::-1]
        for shift, name, color in ((0.2, "float32", BLUE), (-0.2, "bfloat16", ORANGE)):
            panel.barh(place + shift, there[f"{name}_per_s"], 0.4, color=color, label=name)
        for y, (_, row) in zip(place, there.iterrows(), strict=True):
            words = f"{row['gain']:.2f}× faster" if row["used"] else "not used: rounding too large"
            end = max(row["float32_per_s"], row["bfloat16_per_s"])
            panel.annotate(words, (end, y), (3, 0), textcoords="offset points", va="center", color=GREY)
        panel.set_yticks(place, names)
        panel.set_xlim(right=1.6 * float(there[["float32_per_s", "bfloat16_per_s"]].to_numpy().max()))
        panel.set_xlabel("coalitions per second, on one crop")
        figure.suptitle("Speed of sampling in float32 and in bfloat16", fontsize=8)
        panel.legend(loc="upper right")
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw, found)
