"""How often do 95% intervals cover known Shapley values, or flags warn, by game, estimator and number of replicates?

The games have known Shapley values: sums of games of few players, each solved exactly; quadratic games; a game that
depends almost only on the number of players; games in which contributions are rare and large; and games of a real
network, whose coalitions are all evaluated. A value is silent if its interval misses it and no flag warns.
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
from torch import Tensor, nn

from srgame.data.pairs import Pairs, load_pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.networks import load_network
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, styled
from srgame.shapley.coalitions import enumerated
from srgame.shapley.exact import exact_shapley
from srgame.shapley.game import Coalitions, Differentiable, Game, Grouped, Worth
from srgame.shapley.gradients import multilevel_shapley, replicate_cost
from srgame.shapley.permutations import PILOT, sampled_shapley
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until
from srgame.shapley.values import ShapleyValues

SMOKE = {"players": 16, "replicates": (6,), "repetitions": 4, "groups": 6, "images": 1, "layers": ("body.8.conv2",)}

Worths = Callable[[Tensor], Tensor]
Known = Float64[np.ndarray, " player"]

STOPPED = "stopped at a tolerance"
DEFAULT = "regression (default)"
ESTIMATORS: dict[str, Callable[..., ShapleyValues]] = {
    "antithetic permutations": partial(sampled_shapley, antithetic=True),
    "independent permutations": partial(sampled_shapley, antithetic=False),
    DEFAULT: sampled_shapley,
    "multilevel": multilevel_shapley,
    "low-precision game, corrected": sampled_shapley,
    STOPPED: sampled_shapley,
}
LOW_PRECISION = 0.1  # rounding step of the low-precision game, in standard deviations of a replicate
ROUNDING = 1e-9  # an estimate this near, relative to the largest value, is exact
LOOKS: dict[str, dict[str, Any]] = {
    "antithetic permutations": {"color": BLUE, "marker": "o"},
    "independent permutations": {"color": ORANGE, "marker": "s"},
    DEFAULT: {"color": GREEN, "marker": "^"},
    "multilevel": {"color": "black", "marker": "D"},
    "low-precision game, corrected": {"color": RED, "marker": "v"},
    STOPPED: {"color": PURPLE, "marker": "P"},
}
BAND = (0.93, 0.97)
FEW_GROUPS = 10
MULTILEVEL_TOO = ("steep sigmoid", "additive + unanimity")  # hard games
LAYERS = ("conv_first", *(f"body.{block}.conv{k}" for block in (0, 4, 8, 12, 15) for k in (1, 2)))
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
    replicates: tuple[int, ...] = (12, 24, 48),
    repetitions: int = 30,
    network: str = "srresnet-x4-bicubic",
    layer: str = "conv_hr",
    groups: int = 14,
    images: int = 2,
    crop: int = 16,
    layers: tuple[str, ...] = LAYERS,
) -> pd.DataFrame:
    """One row per game, estimator and number of replicates.

    Columns: game, estimator, replicates, coverage, its standard error, flagged, honest, stderr, rmse, ratio, exact.
    Coverage is the share of players whose 95% interval contains the known value, over repetitions; for its standard
    error each repetition is one observation. Flagged is the share of players with a flag; honest is the share of those
    covered or flagged. The ratio is the root mean square of the standard errors divided by the true error. `exact`
    marks estimates with an interval of no width that contains the value up to rounding. If sampling stops at a
    tolerance, this is the median relative error of that many replicates, and the row has the mean number of replicates
    that were made. Hard games, and layers in groups, are sampled by the default estimator.
    """
    rows = []
    for name, game, estimators in _games(players, network, layer, groups, images, crop, layers):
        for estimator in estimators:
            sampled = ESTIMATORS[estimator]
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
                    if not ROUNDING < usual < np.inf:
                        continue
                    until = Until(tolerance=float(usual))
                tried = _tried(used, sampled, until, repetitions)
                rows.append({"game": name, "estimator": estimator} | tried)
    return pd.DataFrame(rows)


def _first_part(network: nn.Module, layer: str, pairs: Pairs) -> Differentiable:
    """The game of a layer on the first image."""
    part = RestorationGame(network, filters_of(network, [layer]), pairs).parts[0]
    assert isinstance(part, Differentiable)
    return part


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
    replicates, (covered, flagged, stderr, error) = np.empty(repetitions), np.empty((4, repetitions, game.players))
    for seed in range(repetitions):
        values = sampled(game, until=until, seed=seed)
        low, high = values.interval()
        covered[seed] = (low - rounding <= known) & (known <= high + rounding)
        flagged[seed] = values.frame()["flag"] != ""
        stderr[seed], error[seed], replicates[seed] = values.stderr, values.value - known, values.replicates
    rmse = float(np.sqrt(np.mean(error**2)))
    return {
        "replicates": replicates.mean(),
        "coverage": covered.mean(),
        "coverage_stderr": covered.mean(1).std(ddof=1) / np.sqrt(repetitions),
        "flagged": flagged.mean(),
        "honest": np.maximum(covered, flagged).mean(),
        "mean_stderr": stderr.mean(),
        "rmse": rmse,
        "ratio": float(np.sqrt(np.mean(stderr**2)) / rmse) if rmse > rounding else np.nan,
        "exact": bool(rmse <= rounding),
    }


def _games(
    players: int, network: str, layer: str, groups: int, images: int, crop: int, layers: tuple[str, ...]
) -> Iterator[tuple[str, SolvedGame | MeanGame, tuple[str, ...]]]:
    """The name of each game, the game, and the estimators that are tried."""
    for name, game in _ordinary(players, network, layer, groups, images, crop):
        yield name, game, tuple(ESTIMATORS)
    for name, game in _hard_games().items():
        yield name, game, (DEFAULT, STOPPED, *(("multilevel",) if name in MULTILEVEL_TOO else ()))
    net, pairs = load_network(network), load_pairs("photographs", images=1, crop=crop)
    for name in layers:
        yield f"{name} in {FEW_GROUPS} groups, PSNR", _in_groups(_first_part(net, name, pairs), FEW_GROUPS), (DEFAULT,)


def _ordinary(
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


def _enumerated(players: int, worth: Worths) -> SolvedGame:
    """A game of few players, solved from all its coalitions; its gradient is that of `worth`."""
    present = (torch.arange(2**players)[:, None] >> torch.arange(players) & 1).double()
    return _of_tables(players, np.arange(players)[None], worth(present)[None], _slope(worth))


def _additive(players: int) -> Worths:
    alone = torch.from_numpy(np.random.default_rng(0).normal(size=players))
    return lambda p: p @ alone


def _lognormal(players: int, sigma: float) -> Worths:
    """Every coalition is worth a lognormal number of its own."""
    worth = torch.from_numpy(np.random.default_rng(1).lognormal(0, sigma, 2**players))
    bits = 2.0 ** torch.arange(players).double()
    return lambda p: worth[(p @ bits).long()] + 0 * p.sum(1)


def _hard_games() -> dict[str, SolvedGame]:
    """Games in which large contributions are rare, so that few replicates see them."""
    of_10, of_12, quadratic, half = _additive(10), _additive(12), _quadratic(12).worth, torch.arange(12) < 6
    weights = torch.arange(1, 13).double() / 78
    return {
        "unanimity of 8 of 12": _enumerated(12, lambda p: p[:, :8].prod(1)),
        "unanimity of 10 of 12": _enumerated(12, lambda p: p[:, :10].prod(1)),
        "additive + unanimity": _enumerated(10, lambda p: of_10(p) + p[:, :8].prod(1)),
        "quadratic + one triple": _enumerated(12, lambda p: quadratic(p) + 3 * p[:, :3].prod(1)),
        "step at half of 12": _enumerated(12, lambda p: (p.sum(1) >= 6).double() + 0 * p.sum(1)),
        "4 without 4 others": _enumerated(12, lambda p: of_12(p) + p[:, :4].prod(1) * (1 - p[:, 4:8]).prod(1)),
        "lognormal, σ = 1": _enumerated(10, _lognormal(10, 1)),
        "lognormal, σ = 2": _enumerated(10, _lognormal(10, 2)),
        "one heavy coalition": _enumerated(12, lambda p: of_12(p) + 100.0 * ((p > 0.5) == half).all(1)),
        "steep sigmoid": _enumerated(12, lambda p: torch.sigmoid(40 * (p @ weights - 0.5))),
    }


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
    """A panel per game, a line per estimator: solid for covered or flagged, dotted for covered alone.

    The band of 93 to 97% is grey; games of groups of filters share a panel.
    """
    frame = _together(frame)
    games = list(dict.fromkeys(frame["game"]))
    with styled():
        figure = Figure(figsize=(7, 7))
        panels = list(figure.subplots(-(-(len(games) + 1) // 4), 4, sharey=True).flat)
        for panel, name in zip(panels, games, strict=False):
            _panel(panel, frame[frame["game"] == name])
            panel.set_title(name, fontsize=6)
        for panel in panels[::4]:
            panel.set_ylabel("share of players", fontsize=6)
        figure.supxlabel("independent replicates", fontsize=7)
        for panel in panels[len(games) :]:
            panel.axis("off")
        panels[len(games)].legend(*panels[0].get_legend_handles_labels(), loc="center", fontsize=6)
    return figure


def _together(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with one mean row for the layers in groups."""
    many = frame["game"].str.contains(f"in {FEW_GROUPS} groups", regex=False)
    name = f"{frame.loc[many, 'game'].nunique()} layers in groups"
    count = frame["replicates"].where(frame["estimator"] != STOPPED)
    grouped = frame[many & count.notna()].groupby(["estimator", "replicates"], sort=False, as_index=False)
    mean = grouped.mean(numeric_only=True).assign(game=name, exact=False)
    return pd.concat([frame[~many], mean], ignore_index=True)


def _panel(panel: Axes, rows: pd.DataFrame) -> None:
    panel.axhspan(*BAND, color="0.92", label="93 to 97%")
    panel.axhline(0.95, color=GREY, linewidth=0.8)
    for shift, (name, style) in enumerate(LOOKS.items(), start=-1):
        line = rows[rows["estimator"] == name].sort_values("replicates")
        place = line["replicates"] * 1.04**shift  # side by side
        error = 1.96 * line["coverage_stderr"]
        panel.errorbar(place, line["honest"], error, label=name, markersize=3, linewidth=0.8, **style)
        panel.plot(place, line["coverage"], ":", color=style["color"], linewidth=0.8)
    if rows["exact"].any():
        panel.text(rows["replicates"].min(), 0.99, "exact", va="top", fontsize=6)
    panel.set(
        xscale="log",
        xticks=_apart(sorted(set(rows.loc[rows["estimator"] != STOPPED, "replicates"].round()))),
        ylim=(0.795, 1.01),
    )
    panel.tick_params(labelsize=6)
    panel.xaxis.set_major_formatter("{x:.0f}")
    panel.minorticks_off()


def _apart(ticks: list[float]) -> list[float]:
    """The ticks without those whose labels would cover that of the one before."""
    chosen: list[float] = []
    for tick in ticks:
        if not chosen or tick >= 1.25 * chosen[-1]:
            chosen.append(tick)
    return chosen


if __name__ == "__main__":
    run(__file__, measure, draw)
