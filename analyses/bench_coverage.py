"""How often do 95% intervals cover known Shapley values, or flags warn, by game, estimator and number of replicates?

The games have known Shapley values (solved_games.py). A value is silent if its interval misses it and no flag warns.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from solved_games import MeanGame, RoundedGame, SolvedGame, hard_games, layers_in_groups, ordinary_games

from srgame.report.recipe import run
from srgame.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, styled
from srgame.shapley.audit import uninterrupted
from srgame.shapley.gradients import multilevel_shapley, replicate_cost
from srgame.shapley.permutations import PILOT, sampled_shapley
from srgame.shapley.until import Until
from srgame.shapley.values import ShapleyValues

SMOKE = {"players": 16, "replicates": (6,), "repetitions": 4, "groups": 6, "images": 1, "layers": ("body.8.conv2",)}

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
USUAL = 8  # seeds whose median error is the tolerance at which a run stops
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
                    usual = np.median([sampled(game, until=until, seed=seed).relative_stderr for seed in range(USUAL)])
                    if not ROUNDING < usual < np.inf:
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
    pilot = sampled_shapley(game, until=Until(evaluations=2 + PILOT * 2 * (game.players - 1)), regression=False)
    step = LOW_PRECISION * float(np.sqrt(np.mean(pilot.stderr**2) * PILOT))
    if step <= ROUNDING * np.abs(game.shapley).max():
        return game, ()
    parts = [RoundedGame(**vars(part), step=step) for part in getattr(game, "parts", [game])]
    return MeanGame(parts), tuple(count for count in replicates if count > PILOT)


def _tried(
    game: SolvedGame | MeanGame, sampled: Callable[..., ShapleyValues], until: Until, repetitions: int
) -> dict[str, float]:
    """Coverage, errors and the number of replicates, over repetitions with a seed each."""
    known = game.shapley
    rounding = ROUNDING * np.abs(known).max()
    replicates, (covered, flagged, stderr, error) = np.empty(repetitions), np.empty((4, repetitions, game.players))
    for seed in range(repetitions):
        values = uninterrupted(sampled(game, until=until, seed=seed))
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
    for name, game in ordinary_games(players, network, layer, groups, images, crop):
        yield name, game, tuple(ESTIMATORS)
    for name, game in hard_games().items():
        yield name, game, (DEFAULT, STOPPED, *(("multilevel",) if name in MULTILEVEL_TOO else ()))
    for name, game in layers_in_groups(network, layers, FEW_GROUPS, crop):
        yield name, game, (DEFAULT,)


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence: for each estimator its median coverage, and its lowest share covered or flagged."""
    frame = _together(frame)
    parts = []
    for name, rows in frame[~frame["exact"].astype(bool)].groupby("estimator", sort=False):
        worst = rows.sort_values("honest").iloc[0]
        parts.append(
            f"{name} {rows['coverage'].median():.1%} ({worst['honest']:.1%}: {worst['game']}, "
            f"{worst['replicates']:.0f} replicates)"
        )
    return (
        "Share of players whose 95% interval covers the known value, median over games and numbers of replicates "
        f"(lowest share covered or flagged, and where): {'; '.join(parts)}. Exact estimates are left out."
    )


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
    run(__file__, measure, draw, found)
