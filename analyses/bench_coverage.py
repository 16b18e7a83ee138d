"""How often do 95% intervals cover known Shapley values, by game, estimator and number of replicates?

The games have known Shapley values: sums of games of few players, each solved exactly; quadratic games; a game that
depends almost only on the number of players; and two games of a real network, whose coalitions are all evaluated.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float64, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from srgame.data.pairs import load_pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.networks import load_network
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, styled
from srgame.shapley.coalitions import enumerated
from srgame.shapley.exact import exact_shapley
from srgame.shapley.game import Coalitions, Differentiable, Game, Grouped, RestorationGame, Worth
from srgame.shapley.gradients import multilevel_shapley, replicate_cost
from srgame.shapley.permutations import PILOT, sampled_shapley
from srgame.shapley.until import Until
from srgame.shapley.values import ShapleyValues

SMOKE = {"players": 16, "replicates": (6,), "repetitions": 4, "groups": 6, "images": 1}

Worths = Callable[[Tensor], Tensor]
Known = Float64[np.ndarray, " player"]

STOPPED = "stopped at a tolerance"
ESTIMATORS: dict[str, Callable[..., ShapleyValues]] = {
    "antithetic permutations": partial(sampled_shapley, antithetic=True),
    "independent permutations": partial(sampled_shapley, antithetic=False),
    "measured (default)": sampled_shapley,
    "multilevel": multilevel_shapley,
    "low-precision game, corrected": sampled_shapley,
    STOPPED: sampled_shapley,
}
LOW_PRECISION = 0.1  # rounding step of the low-precision game, in standard deviations of a replicate
ROUNDING = 1e-9  # an estimate this near, relative to the largest value, is exact
LOOKS: dict[str, dict[str, Any]] = {
    "antithetic permutations": {"color": BLUE, "marker": "o"},
    "independent permutations": {"color": ORANGE, "marker": "s"},
    "measured (default)": {"color": GREEN, "marker": "^"},
    "multilevel": {"color": "black", "marker": "D"},
    "low-precision game, corrected": {"color": RED, "marker": "v"},
    STOPPED: {"color": PURPLE, "marker": "P"},
}
BAND = (0.93, 0.97)
MULTILEVEL_REPLICATES = 12


@dataclass(frozen=True)
class SolvedGame:
    """A game with known Shapley values; worth takes float64 presences, slope is its gradient between 0 and 1."""

    players: int
    worth: Worths
    shapley: Known
    slope: Worths
    smooth: bool = True  # by a formula

    def gradient(self, presences: Tensor) -> Tensor:
        return self.slope(presences.double())

    def __call__(self, coalitions: Coalitions) -> Worth:
        return self.worth(coalitions.double())


@dataclass(frozen=True)
class _Rounded(SolvedGame):
    """A solved game with a low-precision game, whose worth is rounded to multiples of `step`."""

    step: float = 1.0

    @property
    def low_precision(self) -> SolvedGame:
        rounded = lambda p: (self.worth(p) / self.step).round() * self.step  # noqa: E731
        return SolvedGame(self.players, rounded, self.shapley, self.slope)


@dataclass(frozen=True)
class MeanGame:
    """The mean of solved games of the same players, its parts."""

    parts: Sequence[SolvedGame]

    @property
    def players(self) -> int:
        return self.parts[0].players

    @property
    def shapley(self) -> Known:
        mean: Known = np.mean([part.shapley for part in self.parts], axis=0)
        return mean

    def __call__(self, coalitions: Coalitions) -> Worth:
        return torch.stack([part(coalitions) for part in self.parts]).mean(0)


def measure(
    players: int = 64,
    replicates: tuple[int, ...] = (6, 12, 24, 48),
    repetitions: int = 200,
    network: str = "srresnet-x4-bicubic",
    layer: str = "conv_hr",
    groups: int = 14,
    images: int = 2,
    crop: int = 16,
) -> pd.DataFrame:
    """One row per game, estimator and number of replicates: coverage and its standard error, mean stderr, rmse, ratio.

    Coverage is the share of players whose 95% interval contains the known value, over repetitions; for its standard
    error each repetition is one observation. The ratio is the root mean square of the standard errors divided by the
    true error. `exact` marks estimates with an interval of no width that contains the value up to rounding. If sampling
    stops at a tolerance, this is the median relative error of that many replicates, and the row has the mean number of
    replicates that were made.
    """
    rows = []
    for name, game in _games(players, network, layer, groups, images, crop):
        for estimator, sampled in ESTIMATORS.items():
            used, counts = game, replicates
            if estimator == "multilevel":
                counts = _affordable(game, replicates)
            elif estimator == "low-precision game, corrected":
                used, counts = _with_low_precision(game, replicates)
            cost = replicate_cost(game.players) if sampled is multilevel_shapley else 2 * (game.players - 1)
            for count in counts:
                until = Until(evaluations=2 + count * cost)
                if estimator == STOPPED:
                    usual = np.median([sampled(game, until=until, seed=seed).relative_stderr for seed in range(PILOT)])
                    if usual <= ROUNDING:
                        continue
                    until = Until(tolerance=float(usual))
                tried = _tried(used, sampled, until, repetitions)
                rows.append({"game": name, "estimator": estimator} | tried)
    return pd.DataFrame(rows)


def _affordable(game: SolvedGame | MeanGame, replicates: tuple[int, ...]) -> tuple[int, ...]:
    """The numbers of multilevel replicates to try: one, because each is costly; none for games of a network."""
    smooth = all(part.smooth for part in getattr(game, "parts", [game]))
    return tuple(count for count in replicates if count == MULTILEVEL_REPLICATES) if smooth else ()


def _with_low_precision(
    game: SolvedGame | MeanGame, replicates: tuple[int, ...]
) -> tuple[SolvedGame | MeanGame, tuple[int, ...]]:
    """The game with its low-precision game, and the numbers of replicates to try; none if one replicate is exact."""
    pilot = sampled_shapley(game, until=Until(evaluations=2 + PILOT * 2 * (game.players - 1)))
    step = LOW_PRECISION * float(np.sqrt(np.mean(pilot.stderr**2) * PILOT))
    if step <= ROUNDING * np.abs(game.shapley).max():
        return game, ()
    parts = [_Rounded(**vars(part), step=step) for part in getattr(game, "parts", [game])]
    return MeanGame(parts), tuple(count for count in replicates if count > PILOT)


def _tried(
    game: SolvedGame | MeanGame, sampled: Callable[..., ShapleyValues], until: Until, repetitions: int
) -> dict[str, float]:
    """Coverage, errors and the number of replicates, over repetitions with a seed each."""
    known = game.shapley
    rounding = ROUNDING * np.abs(known).max()
    replicates, (covered, stderr, error) = np.empty(repetitions), np.empty((3, repetitions, game.players))
    for seed in range(repetitions):
        values = sampled(game, until=until, seed=seed)
        low, high = values.interval()
        covered[seed] = (low - rounding <= known) & (known <= high + rounding)
        stderr[seed], error[seed], replicates[seed] = values.stderr, values.value - known, values.replicates
    rmse = float(np.sqrt(np.mean(error**2)))
    return {
        "replicates": replicates.mean(),
        "coverage": covered.mean(),
        "coverage_stderr": covered.mean(1).std(ddof=1) / np.sqrt(repetitions),
        "mean_stderr": stderr.mean(),
        "rmse": rmse,
        "ratio": float(np.sqrt(np.mean(stderr**2)) / rmse) if rmse > rounding else np.nan,
        "exact": bool(rmse <= rounding),
    }


def _games(
    players: int, network: str, layer: str, groups: int, images: int, crop: int
) -> Iterator[tuple[str, SolvedGame | MeanGame]]:
    yield "quadratic", _quadratic(players)
    yield "cubic", _synergies(players, 4 * players, 3, _all_or_nothing)
    yield "saturating", _synergies(players, players, 8, _saturating)
    yield "humped", _humped(players)
    yield "saturating, 4 parts", MeanGame([_synergies(players, players // 4, 8, _saturating, k) for k in range(4)])
    net, pairs = load_network(network), load_pairs("photographs", images=images, crop=crop)
    mse, psnr = (RestorationGame(net, filters_of(net, [layer]), pairs, payoff) for payoff in ("-mse", "psnr"))
    yield f"{layer}, −mse", MeanGame([_as_quadratic(part) for part in mse.parts])
    smooth = [part for part in psnr.parts if isinstance(part, Differentiable)]
    yield f"{layer} in {groups} groups, PSNR", MeanGame([_in_groups(part, groups) for part in smooth])


def _quadratic(players: int, size: float = 1.0) -> SolvedGame:
    rng = torch.Generator().manual_seed(0)
    alone = size * torch.randn(players, generator=rng).double()
    pairs = size * torch.randn(players, players, generator=rng).double().triu(1)
    return _of_pairs(0.0, alone, pairs)


def _of_pairs(nobody: float, alone: Tensor, pairs: Tensor) -> SolvedGame:
    """A quadratic game: the worth of the empty coalition, of each player alone, and what each pair adds."""
    both = pairs + pairs.T
    worth = lambda p: nobody + p @ alone + (p @ pairs * p).sum(1)  # noqa: E731
    return SolvedGame(len(alone), worth, (alone + both.sum(1) / 2).numpy(), lambda p: alone + p @ both)


def _synergies(
    players: int, count: int, size: int, kind: Callable[[np.random.Generator, int, int], Worths], seed: int = 0
) -> SolvedGame:
    """The sum of `count` games of `size` random players each; their Shapley values add up."""
    rng = np.random.default_rng(seed)
    members = np.stack([rng.choice(players, size, replace=False) for _ in range(count)])
    present = (torch.arange(2**size)[:, None] >> torch.arange(size) & 1).double()
    each = kind(rng, count, size)
    tables = each(present[:, None].expand(-1, count, -1)).T.contiguous()
    slope = _slope(lambda p: each(p[:, members]).sum(1))
    return _of_tables(players, members, tables, slope)


def _slope(worth: Worths) -> Worths:
    """The gradient of a worth, by autograd."""

    def slope(presences: Tensor) -> Tensor:
        rows = presences.requires_grad_()
        (gradient,) = torch.autograd.grad(worth(rows).sum(), rows)
        return gradient

    return slope


def _all_or_nothing(rng: np.random.Generator, count: int, size: int) -> Worths:
    """Games × members: worth something only if all members are present."""
    heights = torch.from_numpy(rng.normal(size=count))
    return lambda p: heights * p.prod(2)


def _saturating(rng: np.random.Generator, count: int, size: int) -> Worths:
    """Games × members, the logarithm of an additive game: diminishing returns, and interactions of every order."""
    drawn = [(rng.normal(), 3 * rng.random(size)) for _ in range(count)]
    heights, weights = (torch.from_numpy(np.array(each)) for each in zip(*drawn, strict=True))
    return lambda p: heights * torch.log1p((p * weights).sum(2))


def _of_tables(
    players: int, members: Int[np.ndarray, "game member"], tables: Tensor, slope: Worths, smooth: bool = True
) -> SolvedGame:
    """A sum of games of a few members each: `tables[g, c]` is the worth in game g of the coalition with the bits c."""
    bits = torch.zeros(players, len(members)).double()
    for place, column in enumerate(members.T):
        bits[column, torch.arange(len(members))] = 2.0**place
    start = torch.arange(len(members)) * tables.shape[1]
    shapley = np.zeros(players)
    for group, table in zip(members, tables, strict=True):
        code = 2.0 ** torch.arange(len(group)).double()
        alone = SolvedGame(len(group), lambda p, code=code, table=table: table[(p @ code).long()], np.zeros(0), slope)  # type: ignore[misc]
        shapley[group] += exact_shapley(alone).value
    return SolvedGame(players, lambda p: tables.flatten()[(p @ bits).long() + start].sum(1), shapley, slope, smooth)


def _humped(players: int) -> SolvedGame:
    """A step in the number of players, half-way up, and small synergies of pairs: antithetic permutations lose here."""
    small = _quadratic(players, 1 / players)

    def worth(p: Tensor) -> Tensor:
        return small.worth(p) + 10 * players * torch.sigmoid(12 * (p.mean(1) - 0.5))

    rise = worth(torch.tensor([[0.0], [1.0]]).double().expand(2, players)).diff().item()
    return SolvedGame(players, worth, small.shapley + (rise - small.shapley.sum()) / players, _slope(worth))


def _as_quadratic(game: Game) -> SolvedGame:
    """A quadratic game of the network, defined by the worths of the empty coalition, of players and of pairs."""
    one, n = torch.eye(game.players, dtype=torch.bool), game.players
    first, second = torch.triu_indices(n, n, 1)
    worth = game(torch.cat([torch.zeros(1, n, dtype=torch.bool), one, one[first] | one[second]]))
    alone, pairs = worth[1 : n + 1] - worth[0], torch.zeros(n, n).double()
    pairs[first, second] = worth[n + 1 :] - worth[0] - alone[first] - alone[second]
    tabulated = _of_pairs(worth[0].item(), alone, pairs)
    known = exact_shapley(game).value
    if np.abs(tabulated.shapley - known).max() > 1e-4 * np.abs(known).max():
        raise InputError(
            "the game of this layer is not quadratic, so pairs do not determine its values: name another layer"
        )
    return tabulated


def _in_groups(game: Differentiable, groups: int) -> SolvedGame:
    """A game of groups of filters, all of whose coalitions are evaluated once."""
    grouped = Grouped(game, [part.tolist() for part in np.array_split(np.arange(game.players), groups)])
    worth = torch.from_numpy(enumerated(grouped).worth)
    join = torch.zeros(groups, game.players)
    for group, members in enumerate(grouped.groups):
        join[group, members] = 1
    slope: Worths = lambda p: game.gradient(p.float() @ join) @ join.double().T  # noqa: E731
    return _of_tables(groups, np.arange(groups)[None], worth[None], slope, smooth=False)


def draw(frame: pd.DataFrame) -> Figure:
    """A panel per game: coverage against the number of replicates, a line per estimator, a grey band at 93 to 97%."""
    games = list(dict.fromkeys(frame["game"]))
    with styled():
        figure = Figure(figsize=(7, 3.6))
        panels = figure.subplots(2, -(-(len(games) + 1) // 2), sharey=True).flat
        for panel, name in zip(panels, games, strict=False):
            _panel(panel, frame[frame["game"] == name])
            panel.set_title(name)
        figure.axes[0].set_ylabel("coverage of 95% intervals")
        legend = panels[len(games)]
        legend.axis("off")
        legend.legend(*panels[0].get_legend_handles_labels(), loc="center")
    return figure


def _panel(panel: Axes, rows: pd.DataFrame) -> None:
    panel.axhspan(*BAND, color="0.92", label="93 to 97%")
    panel.axhline(0.95, color=GREY, linewidth=0.8)
    for shift, (name, style) in enumerate(LOOKS.items(), start=-1):
        line = rows[rows["estimator"] == name].sort_values("replicates")
        error = 1.96 * line["coverage_stderr"]
        place = line["replicates"] * 1.04**shift  # side by side
        panel.errorbar(place, line["coverage"], error, label=name, markersize=3, linewidth=0.8, **style)
    if rows["exact"].any():
        panel.text(rows["replicates"].min(), 0.99, "exact", va="top")
    panel.set(
        xscale="log",
        xticks=sorted(set(rows.loc[rows["estimator"] != STOPPED, "replicates"])),
        ylim=(0.855, 1.005),
        xlabel="independent replicates",
    )
    panel.xaxis.set_major_formatter("{x:.0f}")
    panel.minorticks_off()


if __name__ == "__main__":
    run(__file__, measure, draw)
