"""What do a layer's Shapley values cost with captum, shapiq and srgame, at equal error?

shapiq and srgame evaluate the same game, resumed behind the layer; captum, through its LayerFeatureAblation, runs the
whole network for each coalition, as it would for a user. Seconds are CPU time on one thread, which other work on the
machine hardly changes; coalitions of captum and of the game are timed in turns. shapiq's newest release runs in an
environment of its own (rivals.py).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
import torch
from captum.attr import LayerFeatureAblation, ShapleyValueSampling
from jaxtyping import Bool, Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rivals import NAMES, RELEASE, Rivals, python_of_rivals, rivals
from torch import Tensor, nn

from srgame.data.pairs import Pairs, load_pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.metrics import mse, payoff_named, psnr_of
from srgame.networks import load_network
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREEN, GREY, ORANGE, RED, SKY, styled
from srgame.shapley.additive import additive_shapley, additive_tail
from srgame.shapley.audit import uninterrupted
from srgame.shapley.coalition_images import LR_PIXELS
from srgame.shapley.exact import exact_shapley
from srgame.shapley.game import Coalitions, Game, Worth
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until

SMOKE = {"layers": ("conv_hr",), "images": 1, "evaluations": (256,), "seeds": 1, "truth": 512, "shapiq": False}

Values = Float64[np.ndarray, " player"]
Run = tuple[Values, int]  # values, and the evaluations used
Runs = list[Run]
Estimator = Callable[[Game, int, int], Run]  # takes a game, evaluations and a seed

OURS, PAIRS, CAPTUM = "srgame", "srgame, antithetic permutations", "captum"
SOLVED = "srgame, additive tail"
SHAPIQ = "shapiq "
LOOKS = {
    OURS: (GREEN, "o"),
    SOLVED: (GREEN, "*"),
    PAIRS: (SKY, "s"),
    CAPTUM: (RED, "X"),
    "shapiq permutations": (GREY, "^"),
    "shapiq KernelSHAP": (ORANGE, "v"),
    "shapiq LeverageSHAP": (ORANGE, "D"),
    "shapiq OddSHAP": (BLUE, "P"),
    "shapiq PolySHAP": ("black", "v"),
    "shapiq RegressionMSR": ("black", "D"),
    "shapiq ProxySHAP": ("black", "P"),
}
ROUNDING = 1e-5  # the largest relative error that rounding explains
TARGET = 0.01  # the relative error at which costs are compared


def measure(
    network: str = "srresnet-x4-bicubic",
    layers: tuple[str, ...] = ("conv_first", "body.4.conv2", "body.8.conv2", "body.14.conv1", "conv_hr"),
    payoffs: tuple[str, ...] = ("psnr", "-mse"),
    images: int = 4,
    crop: int = 16,
    evaluations: tuple[int, ...] = (256, 1024, 4096),
    seeds: int = 3,
    truth: int = 16384,
    shapiq: bool = True,
) -> pd.DataFrame:
    """One row per layer, payoff, estimator and number of evaluations.

    Columns: seconds, overhead_us, evaluations, error, truth_error, players.
    An evaluation is one coalition on all images; seconds are those of all evaluations and of the estimator. The error
    is ‖φ̂ − φ‖ / ‖φ‖, the root mean square over seeds, corrected for the error of the truth; the truth is exact if the
    game is quadratic, else a separate run with `truth` evaluations. captum runs 25 permutations, its default, which a
    caller cannot change.
    """
    torch.set_num_threads(1)
    net, pairs = load_network(network), load_pairs("photographs", images=images, crop=crop)
    rows = []
    with _estimators(shapiq) as estimators:
        overhead = {name: _overhead(estimator, max(evaluations)) for name, estimator in estimators.items()}
        for layer in layers:
            restoration = RestorationGame(net, filters_of(net, [layer]), pairs, mse)
            remembered = _Remembered(restoration)
            for payoff in payoffs:
                game, tail = _Game(remembered, payoff), _tail(net, layer, pairs, payoff)
                known, unsure = _truth(game, truth) if tail is None else (tail.value, tail.stderr)
                before = _cost(restoration)
                found = [_captum(net, layer, pairs, payoff), *([] if tail is None else [_solved(tail)])]
                cost = median([before, _cost(restoration)])
                for name, estimator in estimators.items():
                    for limit in evaluations:
                        runs = [estimator(game, limit, seed) for seed in range(seeds)]
                        seconds = runs[0][1] * (cost + 1e-6 * overhead[name])
                        row = {"estimator": name, "seconds": seconds, "overhead_us": overhead[name]}
                        found.append((runs, row))
                for runs, row in found:
                    facts = {"truth_error": np.sqrt(_squared(unsure, known)), "players": game.players}
                    rows.append({"layer": layer, "payoff": payoff} | row | _judged(runs, known, unsure) | facts)
    return pd.DataFrame(rows)


def _judged(runs: Runs, known: Values, unsure: Values) -> dict[str, float]:
    """The evaluations of a run, and the error of several."""
    squared = sum(_squared(values - known, known) for values, _ in runs) / len(runs)
    return {"evaluations": runs[0][1], "error": math.sqrt(max(0.0, squared - _squared(unsure, known)))}


def _squared(error: Values, known: Values) -> float:
    return float((error**2).sum() / (known**2).sum())


class _Remembered:
    """The mean squared error of a game's coalitions on each image; each is evaluated once."""

    def __init__(self, game: RestorationGame) -> None:
        self.game = game
        self.known: list[dict[bytes, float]] = [{} for _ in game.pairs.names]

    def mse(self, coalitions: Coalitions, image: int) -> Worth:
        known, keys = self.known[image], [row.tobytes() for row in coalitions.numpy()]
        new = {key: row for key, row in zip(keys, coalitions, strict=True) if key not in known}
        if new:
            known.update(zip(new, self.game.worth(torch.stack([*new.values()]), image).tolist(), strict=True))
        return torch.tensor([known[key] for key in keys], dtype=torch.float64)


@dataclass(frozen=True)
class _Game:
    """The game of a payoff, PSNR or −MSE, on all images or on one, from the stored errors."""

    remembered: _Remembered
    payoff: str
    image: int | None = None

    @property
    def players(self) -> int:
        return self.remembered.game.players

    @property
    def dummies(self) -> Bool[Tensor, " player"]:
        return self.remembered.game.dummies

    @property
    def parts(self) -> list["_Game"]:
        images = len(self.remembered.known) if self.image is None else 0
        return [replace(self, image=image) for image in range(images)]

    def __call__(self, coalitions: Coalitions) -> Worth:
        if self.image is None:
            return torch.stack([part(coalitions) for part in self.parts]).mean(0)
        error = self.remembered.mse(coalitions, self.image)
        return -error if self.payoff == "-mse" else psnr_of(error)


def _truth(game: Game, evaluations: int) -> tuple[Values, Values]:
    """The values and their standard errors, from a run with a seed of its own if they are not exact."""
    try:
        found = exact_shapley(game)
    except InputError:
        found = uninterrupted(sampled_shapley(game, until=Until(evaluations=evaluations), seed=1000))
    return found.value, found.stderr


@dataclass(frozen=True)
class _Tail:
    """The values of a layer whose filters add up in the SR image, and the seconds for all of it."""

    value: Values
    stderr: Values
    evaluations: int
    seconds: float


def _tail(network: nn.Module, layer: str, pairs: Pairs, payoff: str) -> _Tail | None:
    """The values of an additive tail; None for other layers."""
    start = process_time()
    sums = additive_tail(RestorationGame(network, filters_of(network, [layer]), pairs, payoff))
    if sums is None:
        return None
    found = additive_shapley(sums)
    return _Tail(found.value, found.stderr, found.evaluations, process_time() - start)


def _solved(tail: _Tail) -> tuple[Runs, dict[str, Any]]:
    return [(tail.value, tail.evaluations)], {"estimator": SOLVED, "seconds": tail.seconds}


@contextmanager
def _estimators(shapiq: bool) -> Iterator[dict[str, Estimator]]:
    """The estimators of srgame and, if asked for and possible, of shapiq."""
    ours: dict[str, Estimator] = {OURS: _sampled, PAIRS: partial(_sampled, antithetic=True)}
    python = python_of_rivals() if shapiq else None
    if python is None:
        yield ours
        return
    with rivals(python) as peer:
        yield ours | {f"{SHAPIQ}{name}": partial(_of_shapiq, peer, name) for name in NAMES}


def _sampled(game: Game, evaluations: int, seed: int, antithetic: bool | None = None) -> Run:
    until = Until(evaluations=evaluations)
    found = uninterrupted(sampled_shapley(game, until=until, seed=seed, antithetic=antithetic))
    return found.value, found.evaluations


def _of_shapiq(peer: Rivals, name: str, game: Game, evaluations: int, seed: int) -> Run:
    values, used, seconds = peer.estimate(name, game, evaluations, seed)
    if isinstance(game, _Trivial):
        game.elsewhere += seconds
    return values, used


class _Trivial:
    """A game that costs almost nothing, and measures its own time."""

    players = 64

    def __init__(self) -> None:
        self.seconds = 0.0
        self.elsewhere = 0.0  # seconds of an estimator in another process

    def __call__(self, coalitions: Coalitions) -> Worth:
        start = process_time()
        worth = coalitions.sum(1).double().sqrt()
        self.seconds += process_time() - start
        return worth


def _overhead(estimator: Estimator, evaluations: int, repeats: int = 3) -> float:
    """The microseconds per evaluation that an estimator adds to the game: the median of several runs."""
    spent = []
    for seed in range(repeats + 1):
        game, start = _Trivial(), process_time()
        _, used = estimator(game, evaluations, seed)
        here = process_time() - start - game.seconds
        spent.append(1e6 * (game.elsewhere or here) / used)
    return median(spent[1:])


def _cost(game: RestorationGame, coalitions: int = 128) -> float:
    """Seconds for one coalition on all images."""
    present = torch.rand(coalitions, game.players, generator=torch.Generator().manual_seed(0)) < 0.5
    start = process_time()
    game(present)
    return (process_time() - start) / coalitions


class _LayerShapley(LayerFeatureAblation):  # type: ignore[misc]
    """Shapley value sampling of a layer, which captum does not offer, built from its parts."""

    attributor = ShapleyValueSampling


def _captum(network: nn.Module, layer: str, pairs: Pairs, payoff: str) -> tuple[Runs, dict[str, Any]]:
    """The values by captum, with filters as features and srgame's number of coalitions per run."""
    lr, hr, worth, played = torch.stack(pairs.lr), torch.stack(pairs.hr), payoff_named(payoff), []

    def forward(images: Tensor) -> Tensor:
        played.append(len(images) // len(lr))
        return worth(network(images), hr.repeat(played[-1], 1, 1, 1))

    width = filters_of(network, [layer]).widths[0]
    batch = max(1, LR_PIXELS["cpu"] // lr[:, 0].numel())
    start = process_time()
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        sampling = _LayerShapley(forward, network.get_submodule(layer))
        mask = torch.arange(width)[None, :, None, None]
        found = sampling.attribute(lr, layer_mask=mask, perturbations_per_eval=batch)
    values = found[:, :, 0, 0].double().mean(0).numpy()
    return [(values, sum(played))], {"estimator": CAPTUM, "seconds": process_time() - start}


def costs(frame: pd.DataFrame) -> pd.DataFrame:
    """The cost of an error of TARGET in each game: layer, payoff, estimator, evaluations, seconds.

    It is extrapolated from the longest run, as if the squared error were proportional to 1 / evaluations (in shorter
    runs, regressions fall faster), down to two coalitions per player.
    """
    each = ["layer", "payoff", "estimator"]
    longest = frame.sort_values("evaluations", kind="stable").groupby(each, sort=False).tail(1).sort_index()
    needed = (longest["evaluations"] * (longest["error"] / TARGET) ** 2).clip(lower=2 * longest["players"])
    needed = needed.mask(longest["estimator"] == SOLVED, longest["evaluations"])
    return longest[each].assign(evaluations=needed, seconds=needed * longest["seconds"] / longest["evaluations"])


def faster_than_captum(frame: pd.DataFrame) -> pd.Series:
    """captum's seconds over srgame's in each game, by layer and payoff."""
    seconds = costs(frame).pivot(index=["layer", "payoff"], columns="estimator", values="seconds")
    ours = seconds[[name for name in (OURS, SOLVED) if name in seconds]].min(axis=1)
    return seconds[CAPTUM] / ours


def over_best_rival(frame: pd.DataFrame) -> pd.Series:
    """srgame's error over that of the best estimator of shapiq, by layer, payoff and number of evaluations.

    Games that both solve up to rounding are left out. Empty without shapiq.
    """
    limit = frame.groupby(["layer", "payoff", "estimator"]).cumcount()  # runs stand in the order of their evaluations
    errors = frame.assign(limit=limit).pivot(index=["layer", "payoff", "limit"], columns="estimator", values="error")
    rivals_of = [name for name in LOOKS if name.startswith(SHAPIQ) and name in errors]
    if not rivals_of:
        return pd.Series(dtype=float)
    best = errors[rivals_of].min(axis=1)
    return (errors[OURS] / best)[best > ROUNDING].dropna()


def found(frame: pd.DataFrame) -> str:
    """How many times faster than captum, how much more exact than shapiq, and the overhead, in a sentence."""
    faster, over = faster_than_captum(frame), over_best_rival(frame)
    overhead = frame.loc[frame["estimator"] == OURS, "overhead_us"].median()
    against = (
        f"at equal evaluations its error is {over.median():.2f} times that of the best of shapiq {RELEASE} "
        f"({over.min():.2f} to {over.max():.2f} in {len(over)} comparisons)"
        if len(over)
        else "shapiq is missing"
    )
    return (
        f"srgame is {faster.median():.0f} times faster than captum in the median game ({faster.min():.1f} to "
        f"{faster.max():.0f}); {against}; it spends {overhead:.1f} µs per evaluation."
    )


def draw(frame: pd.DataFrame) -> Figure:
    """Two panels, a line per game: evaluations and seconds of each estimator for the same error."""
    needed = costs(frame)
    needed["game"] = needed["layer"] + ", " + needed["payoff"].replace({"psnr": "PSNR", "-mse": "−MSE"})
    games = list(dict.fromkeys(needed["game"]))[::-1]
    with styled():
        figure = Figure(figsize=(7, 1.5 + 0.22 * len(games)))
        left, right = figure.subplots(1, 2, sharey=True)
        _panel(left, needed, games, "evaluations")
        _panel(right, needed, games, "seconds")
        left.set(xlabel=f"evaluations to a relative error of {TARGET:.0%}")
        right.set(xlabel="CPU seconds to the same, one thread")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=3)
        figure.suptitle("Captum, shapiq and srgame at equal error", fontsize=8)
    return figure


def _panel(panel: Axes, needed: pd.DataFrame, games: list[str], column: str) -> None:
    for name, (colour, marker) in reversed(LOOKS.items()):  # srgame's on top
        rows = needed[needed["estimator"] == name]
        places = rows["game"].map(games.index)
        panel.plot(
            rows[column], places, marker, color=colour, markersize=5 if name == OURS else 4, label=name, linestyle=""
        )
    panel.set(xscale="log", yticks=range(len(games)), yticklabels=games)
    panel.grid(axis="x")


if __name__ == "__main__":
    run(__file__, measure, draw, found)
