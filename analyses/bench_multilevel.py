"""In which games do gradients make sampling cheaper? The multilevel estimator beside sampled permutations.

Both estimators get the same number of evaluations of the same games; a gradient counts as three evaluations because it
takes that long. At equal work the gain is the ratio of the squared standard errors, summed over players. Seconds are
CPU time on one thread, which other work on the machine hardly changes.
"""

from collections.abc import Callable
from functools import partial
from time import process_time

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
from srgame.shapley.gradients import multilevel_shapley
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until
from srgame.shapley.values import ShapleyValues

ROUNDING = 1e-6  # a smaller relative error is rounding, not sampling
SMOKE = {"layers": ("conv_hr",), "payoffs": ("psnr",), "crop": 16, "evaluations": 2000}

ESTIMATORS: dict[str, Callable[..., ShapleyValues]] = {
    "permutations": partial(sampled_shapley, regression=False),
    "multilevel": multilevel_shapley,
}


def measure(
    network: str = "srresnet-x4-bicubic",
    layers: tuple[str, ...] = ("conv_first", "body.2.conv1", "body.8.conv2", "conv_hr", "all"),
    payoffs: tuple[str, ...] = ("psnr", "-mse"),
    crop: int = 40,
    evaluations: int = 7300,
    evaluations_of_all: int = 17100,
) -> pd.DataFrame:
    """One row per layer (or all layers as one game) and payoff: layer, payoff, players; gain, and gain_s in seconds.

    Of each estimator: its replicates, evaluations, seconds, variance (the sum of squared standard errors, in squared
    units of the payoff) and error (the square root of the variance, relative to ‖φ‖).
    """
    torch.set_num_threads(1)
    model, pairs = load_network(network), load_pairs("photographs", images=1, crop=crop)
    rows = []
    for layer in layers:
        filters = filters_of(model, None if layer == "all" else [layer])
        for payoff in payoffs if layer != "all" else payoffs[:1]:
            game = RestorationGame(model, filters, pairs, payoff)
            until = Until(evaluations=evaluations_of_all if layer == "all" else evaluations)
            row = {"layer": layer, "payoff": payoff, "players": len(filters)}
            for name, estimator in ESTIMATORS.items():
                row |= {f"{name}_{what}": value for what, value in _spent(estimator, game, until).items()}
            rows.append(row)
    frame = pd.DataFrame(rows)
    for gain, cost in (("gain", "evaluations"), ("gain_s", "seconds")):
        permutations, levels = (frame[f"{name}_variance"] * frame[f"{name}_{cost}"] for name in ESTIMATORS)
        frame[gain] = permutations / levels
    return frame


def _spent(estimator: Callable[..., ShapleyValues], game: RestorationGame, until: Until) -> dict[str, float]:
    start = process_time()
    found = uninterrupted(estimator(game, until=until))
    seconds, variance = process_time() - start, float((found.stderr**2).sum())
    spent = {"replicates": found.replicates, "evaluations": found.evaluations, "seconds": seconds, "variance": variance}
    return spent | {"error": float(np.sqrt(variance / (found.value**2).sum()))}


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence: where the multilevel estimator is cheaper, and how much dearer it is elsewhere."""
    open_games = frame[~_exact(frame)]
    cheaper = open_games["gain"] > 1
    names = [
        f"{'all layers' if row['layer'] == 'all' else row['layer']}, {row['payoff']} ({row['gain']:.2g} times fewer)"
        for row in open_games[cheaper].to_dict("records")
    ]
    where = f": {'; '.join(names)}" if names else ""
    sentence = (
        f"At equal error, the multilevel estimator needs fewer evaluations than permutations in {len(names)} of "
        f"{len(open_games)} games whose errors are more than rounding{where}"
    )
    if cheaper.all():
        return f"{sentence}."
    dearer = 1 / open_games.loc[~cheaper, "gain"]
    return f"{sentence}. In the others it needs {dearer.min():.1f} to {dearer.max():.1f} times as many."


def _exact(frame: pd.DataFrame) -> pd.Series:
    """Whether both estimators are exact, to rounding, so that their errors cannot be compared."""
    return frame[["permutations_error", "multilevel_error"]].max(axis=1) < ROUNDING


def draw(frame: pd.DataFrame) -> Figure:
    """The gain in each game: below 1, permutations are cheaper."""
    with styled():
        figure = Figure(figsize=(5.2, 2.6))
        panel = figure.subplots()
        names = frame["layer"] + " (" + frame["players"].astype(str) + "), " + frame["payoff"].replace("-mse", "−MSE")
        gain = frame["gain"].mask(_exact(frame))
        panel.barh(names[::-1], gain[::-1], color=np.where(gain > 1, BLUE, ORANGE)[::-1])
        panel.axvline(1, color=GREY, linewidth=0.8)
        for place, value in enumerate(gain[::-1]):
            text = "both exact, to rounding" if np.isnan(value) else f"{value:.2g}"
            panel.annotate(text, (np.nan_to_num(value, nan=1), place), (3, 0), textcoords="offset points", va="center")
        panel.set_xscale("log")
        panel.set_xlim(0.1, 100)
        panel.set_xlabel("squared error of permutations / of multilevel, at equal evaluations")
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw, found)
