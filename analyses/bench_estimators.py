"""What do a layer's Shapley values cost with captum, shapiq and srgame, at equal error?

shapiq and srgame evaluate the same game, resumed behind the layer; captum, through its LayerFeatureAblation, runs the
whole network for each coalition, as it would for a user. Seconds are CPU time on one thread, which other work on the
machine hardly changes; coalitions of captum and of the game are timed in turns.
"""

from collections.abc import Callable
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
from torch import Tensor, nn

from srgame.data.pairs import Pairs, load_pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.metrics import mse, payoff_named
from srgame.networks import load_network
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREEN, GREY, ORANGE, RED, styled
from srgame.shapley.exact import exact_shapley
from srgame.shapley.game import LR_PIXELS, Coalitions, Game, RestorationGame, Worth
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.until import Until

SMOKE = {"layers": ("conv_hr",), "images": 1, "evaluations": (256,), "truth": 512}

Values = Float64[np.ndarray, " player"]
Estimator = Callable[
    [Game, int, int], tuple[Values, int]
]  # takes a game, evaluations and a seed; returns values and the evaluations it used

OURS, PLAIN, CAPTUM = "srgame", "srgame, plain permutations", "captum"
LOOKS = {
    OURS: (GREEN, "o"),
    PLAIN: ("#56B4E9", "s"),
    CAPTUM: (RED, "X"),
    "shapiq permutations": (BLUE, "^"),
    "shapiq KernelSHAP, paired": (ORANGE, "v"),
    "shapiq kADD-SHAP, paired": ("black", "D"),
    "shapiq SVARM, paired": (GREY, "P"),
}
TARGET = 0.01  # the relative error at which costs are compared


def measure(
    network: str = "srresnet-x4-bicubic",
    layers: tuple[str, ...] = ("conv_first", "body.4.conv2", "body.8.conv2", "body.14.conv1", "conv_hr"),
    payoffs: tuple[str, ...] = ("psnr", "-mse"),
    images: int = 4,
    crop: int = 16,
    evaluations: tuple[int, ...] = (256, 1024),
    truth: int = 4096,
) -> pd.DataFrame:
    """One row per layer, payoff, estimator and run: evaluations, seconds, overhead_us, error, truth_error, players.

    An evaluation is one coalition on all images; seconds are those of all evaluations and of the estimator. The error
    is ‖φ̂ − φ‖ / ‖φ‖, corrected for the error of the truth; the truth is exact if the game is quadratic, else a separate
    run with `truth` evaluations. captum runs 25 permutations, its default, which a caller cannot change.
    """
    torch.set_num_threads(1)
    net, pairs = load_network(network), load_pairs("photographs", images=images, crop=crop)
    estimators = _estimators()
    overhead = {name: _overhead(estimator, max(evaluations)) for name, estimator in estimators.items()}
    rows = []
    for layer in layers:
        restoration = RestorationGame(net, filters_of(net, [layer]), pairs, mse)
        remembered = _Remembered(restoration)
        for payoff in payoffs:
            game = _Game(remembered, payoff)
            known, unsure = _truth(game, truth)
            before = _cost(restoration)
            found = [_captum(net, layer, pairs, payoff)]
            cost = median([before, _cost(restoration)])
            for name, estimator in estimators.items():
                for limit in evaluations:
                    found.append(_run(name, estimator, game, limit, cost, overhead[name]))
            for values, row in found:
                error = np.sqrt(max(0.0, _squared(values - known, known) - unsure**2))
                facts = {"error": error, "truth_error": unsure, "players": game.players}
                rows.append({"layer": layer, "payoff": payoff} | row | facts)
    return pd.DataFrame(rows)


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
        return -error if self.payoff == "-mse" else -10 * error.clamp(min=1e-10).log10()


def _truth(game: Game, evaluations: int) -> tuple[Values, float]:
    """The values and their relative standard error, from a run with a seed of its own if they are not exact."""
    try:
        return exact_shapley(game).value, 0.0
    except InputError:
        found = sampled_shapley(game, until=Until(evaluations=evaluations), seed=1000)
        return found.value, float(np.sqrt(_squared(found.stderr, found.value)))


def _estimators() -> dict[str, Estimator]:
    """The estimators of srgame and, if it is installed, of shapiq."""
    ours: dict[str, Estimator] = {OURS: _sampled, PLAIN: partial(_sampled, antithetic=False)}
    try:
        from shapiq import approximator
    except ImportError as error:
        print(f"without shapiq ({error}): pip install 'srgame[bench]'")
        return ours
    theirs: dict[str, Callable[..., Any]] = {
        "shapiq permutations": approximator.PermutationSamplingSV,
        "shapiq KernelSHAP, paired": partial(approximator.KernelSHAP, pairing_trick=True),
        "shapiq kADD-SHAP, paired": partial(approximator.kADDSHAP, pairing_trick=True),
        "shapiq SVARM, paired": partial(approximator.SVARM, pairing_trick=True),
    }
    return ours | {name: partial(_approximated, make) for name, make in theirs.items()}


def _sampled(game: Game, evaluations: int, seed: int, antithetic: bool | None = None) -> tuple[Values, int]:
    found = sampled_shapley(game, until=Until(evaluations=evaluations), seed=seed, antithetic=antithetic)
    return found.value, found.evaluations


def _approximated(make: Callable[..., Any], game: Game, evaluations: int, seed: int) -> tuple[Values, int]:
    """The values of an approximator of shapiq, and the number of coalitions that it evaluates."""
    asked = []

    def worth(coalitions: Bool[np.ndarray, "..."]) -> Values:
        asked.append(len(np.atleast_2d(coalitions)))
        return game(torch.from_numpy(np.atleast_2d(coalitions).astype(bool))).numpy()

    found = make(n=game.players, random_state=seed).approximate(evaluations, worth)
    return found.get_n_order_values(1), sum(asked)


class _Trivial:
    """A game that costs almost nothing, and measures its own time."""

    players = 64

    def __init__(self) -> None:
        self.seconds = 0.0

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
        spent.append(1e6 * (process_time() - start - game.seconds) / used)
    return median(spent[1:])


def _cost(game: RestorationGame, coalitions: int = 128) -> float:
    """Seconds for one coalition on all images."""
    present = torch.rand(coalitions, game.players, generator=torch.Generator().manual_seed(0)) < 0.5
    start = process_time()
    game(present)
    return (process_time() - start) / coalitions


def _run(
    name: str, estimator: Estimator, game: Game, limit: int, cost: float, overhead: float
) -> tuple[Values, dict[str, Any]]:
    values, used = estimator(game, limit, 0)
    seconds = used * (cost + 1e-6 * overhead)
    return values, {"estimator": name, "evaluations": used, "seconds": seconds, "overhead_us": overhead}


class _LayerShapley(LayerFeatureAblation):  # type: ignore[misc]
    """Shapley value sampling of a layer, which captum does not offer, built from its parts."""

    attributor = ShapleyValueSampling


def _captum(network: nn.Module, layer: str, pairs: Pairs, payoff: str) -> tuple[Values, dict[str, Any]]:
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
    row = {"estimator": CAPTUM, "evaluations": sum(played), "seconds": process_time() - start}
    return found[:, :, 0, 0].double().mean(0).numpy(), row


def costs(frame: pd.DataFrame) -> pd.DataFrame:
    """The cost of an error of TARGET in each game: layer, payoff, estimator, evaluations, seconds.

    It is extrapolated from the longest run, as if the squared error were proportional to 1 / evaluations (in shorter
    runs, paired regressions fall faster), down to one antithetic pair of permutations.
    """
    each = ["layer", "payoff", "estimator"]
    longest = frame.sort_values("evaluations", kind="stable").groupby(each, sort=False).tail(1).sort_index()
    needed = (longest["evaluations"] * (longest["error"] / TARGET) ** 2).clip(lower=2 * longest["players"])
    return longest[each].assign(evaluations=needed, seconds=needed * longest["seconds"] / longest["evaluations"])


def goals(frame: pd.DataFrame) -> dict[str, float]:
    """Seconds relative to captum, evaluations relative to the best of shapiq (median game), and the overhead."""
    tables = {
        column: costs(frame).pivot(index=["layer", "payoff"], columns="estimator", values=column)
        for column in ("evaluations", "seconds")
    }
    seconds, evaluations = tables["seconds"], tables["evaluations"]
    others = [name for name in LOOKS if name.startswith("shapiq") and name in evaluations]
    return {
        "captum": (seconds[CAPTUM] / seconds[OURS]).median(),
        "shapiq": (evaluations[others].min(axis=1) / evaluations[OURS]).median() if others else np.nan,
        "overhead": frame.loc[frame["estimator"] == OURS, "overhead_us"].median(),
    }


def draw(frame: pd.DataFrame) -> Figure:
    """Two panels, a line per game: evaluations and seconds of each estimator for the same error."""
    reached, needed = goals(frame), costs(frame)
    best = reached["shapiq"]
    fewer = "shapiq is not installed" if np.isnan(best) else f"srgame: {best:.1f}× fewer than the best of shapiq"
    faster = f"srgame: {reached['captum']:.0f}× faster than captum"
    print(f"{fewer} (goal 2); {faster} (goal 20); {reached['overhead']:.1f} µs of overhead per evaluation (goal 5)")
    needed["game"] = needed["layer"] + ", " + needed["payoff"].replace({"psnr": "PSNR", "-mse": "−MSE"})
    games = list(dict.fromkeys(needed["game"]))[::-1]
    with styled():
        figure = Figure(figsize=(7, 1.2 + 0.2 * len(games)))
        left, right = figure.subplots(1, 2, sharey=True)
        _panel(left, needed, games, "evaluations")
        _panel(right, needed, games, "seconds")
        left.set(xlabel=f"evaluations to a relative error of {TARGET:.0%}", title=f"{fewer}\n(median game)")
        right.set(xlabel="CPU seconds to the same, one thread", title=f"{faster}\n(median game)")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=4)
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
    run(__file__, measure, draw)
