"""The paper's PSNR tables measured anew: what Tables 1–5 share.

Networks that are not in the zoo, and sets whose images are missing, stay visible with the reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import table_files
from families import (
    AUTO,
    Architectures,
    Checkpoints,
    colours_in,
    identified,
    in_order,
    load_each,
    missing_strategies,
    scale_named,
)
from intervals import decided_by_luck, luck_in_words, paired_interval
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from printed import CELL, judged, number, printed_in, signed
from printed import cells as printed_cells
from zoo_names import CONTROL, NOT_THERE, READING, TRAINED, shipped, strategy_title

from srgame.evaluation.benchmark import BASELINE, benchmark, common_scale
from srgame.report.recipe import INPUTS
from srgame.report.style import BLUE, GREEN, GREY, ORANGE, RED, styled

SIZES = {"Set5": 5, "Set14": 14, "BSD100": 100, "Urban100": 100, "Manga109": 109}
SETS = tuple(SIZES)
SET_COLOURS = dict(zip(SETS, (BLUE, ORANGE, GREEN, RED, GREY), strict=True))
COLOUR_SPACES = ("rgb", "y")
FAR_BEHIND = -1.0  # dB over Original, mean over cells
NONE = "nothing"  # a row of PSNR itself, not of a difference
COLUMNS = [
    "strategy", "against", *CELL, "colour", "psnr", "low", "high", "by_seed", "images", "seeds", "reported", "reason",
]  # fmt: skip
CHEAP = {"sets": ("photographs",), "degradations": ("clean", "b+n"), "images": 1, "crop": 48}  # a table in a second


def measure(
    table: int,
    family: str,
    networks: Checkpoints = (),
    network: Architectures = AUTO,
    sets: tuple[str, ...] = SETS,
    degradations: tuple[str, ...] = ("all",),
    images: int | None = 20,
    crop: int | None = None,
    seed: int = 0,
    store: Path | None = None,
) -> pd.DataFrame:
    """One row per strategy, difference, set and setting: a table of the paper, measured anew.

    Columns: strategy; against, the strategy whose PSNR is subtracted, or "nothing"; dataset; degradation; colour (rgb
    or y); psnr (dB, mean over images and seeds); of differences, low and high, the ends of a 95% interval
    (`paired_interval`: over seeds if there are several, otherwise over images), and by_seed, the means of the seeds,
    separated by spaces; images; seeds; reported, the paper's number (RGB); reason, why there is no psnr.

    Of each set the first `images` images are measured, which are all images of Set5 and Set14. Checkpoints that are not
    of `family` are compared by their file names. Raises InputError as `benchmark` does for the scores in `store`.
    """
    about = identified(networks, family, TRAINED)
    there = [str(columns["strategy"]) for columns in about.values()]
    missing = missing_strategies(networks, there, shipped(family, TRAINED))
    names = in_order([*there, *missing])
    models = load_each(networks, network)
    scale = common_scale(models, None if models else scale_named(family))
    scored = benchmark(models, sets, degradations, scale, store, images=images, crop=crop, seed=seed, progress=True)
    about[BASELINE] = {"strategy": BASELINE, "seed": 0}
    own = {key: [about[name][key] for name in scored.scores["checkpoint"]] for key in ("strategy", "seed")}
    scores = scored.scores.assign(**own)
    cells = _Cells(scores, scored.missing, family, printed_cells(table))
    frame = pd.DataFrame(cells.rows((BASELINE, *names), sets), columns=COLUMNS)
    frame.attrs[INPUTS] = [printed_in(f"table{table}")]
    return frame


@dataclass(frozen=True)
class _Cells:
    """The scores of the images, the sets that are missing, and the printed table."""

    scores: pd.DataFrame
    missing: Mapping[str, str]
    family: str
    printed: pd.DataFrame

    def rows(self, names: Sequence[str], sets: Sequence[str]) -> Iterator[dict[str, Any]]:
        for strategy in names:
            for against in (NONE, *differences_of(strategy, names)):
                for dataset in sets:
                    for setting in self.scores["degradation"].unique():
                        yield from self._cell(strategy, against, dataset, setting)

    def _cell(self, strategy: str, against: str, dataset: str, setting: str) -> Iterator[dict[str, Any]]:
        """The two rows of a cell, one per colour space."""
        where = self.scores[(self.scores["dataset"] == dataset) & (self.scores["degradation"] == setting)]
        reason = self._reason(where, (strategy, against), dataset)
        for colour in COLOUR_SPACES:
            cell = {"strategy": strategy, "against": against, "dataset": dataset, "degradation": setting}
            row: dict[str, Any] = cell | {"colour": colour, "reason": reason}
            if not reason:
                row |= _measured(where, strategy, against, f"psnr_{colour}")
            if colour == "rgb":
                row["reported"] = _reported(self.printed, (dataset, setting), strategy, against)
            yield row

    def _reason(self, where: pd.DataFrame, needed: tuple[str, str], dataset: str) -> str:
        """Why a cell is empty; "" if it is not."""
        if dataset in self.missing:
            return f"no images of {dataset}"
        lacking = [name for name in needed if name != NONE and name not in set(where["strategy"])]
        return NOT_THERE + ", ".join(f"{self.family}-{name}" for name in lacking) if lacking else ""


def differences_of(strategy: str, names: Sequence[str]) -> list[str]:
    """What is subtracted from a strategy: each of the others except EATS, bicubic upsampling last."""
    if strategy == BASELINE:
        return []
    return [*(name for name in names if name not in (strategy, BASELINE, "eats")), BASELINE]


def _measured(where: pd.DataFrame, strategy: str, against: str, score: str) -> dict[str, Any]:
    """The mean over seeds and images, of PSNR or of the differences on seeds that both strategies have."""
    by_seed = where.pivot(index=["strategy", "seed"], columns="image", values=score)
    values = by_seed.loc[strategy]
    if against == NONE:
        return {"psnr": values.to_numpy().mean(), "images": values.shape[1], "seeds": len(values)}
    others = by_seed.loc[against]
    differences = np.asarray((values - (others.iloc[0] if against == BASELINE else others)).dropna(), dtype=float)
    if not len(differences):
        return {"reason": f"{strategy} and {against} have no seed in common"}
    mean, low, high = paired_interval(differences)
    seeds, images = differences.shape
    numbers = {"psnr": mean, "low": low, "high": high, "by_seed": of_each_seed(differences)}
    return numbers | {"images": images, "seeds": seeds}


def _reported(reported: pd.DataFrame, cell: tuple[str, str], strategy: str, against: str) -> float:
    needed = [strategy] if against == NONE else [strategy, against]
    if cell not in reported.index or not set(needed) <= set(reported.columns):
        return float("nan")
    first, *rest = (number(reported.at[cell, column]) for column in needed)
    return first - sum(rest)


def found(frame: pd.DataFrame) -> str:
    """EATS, as printed and as read, or else the last network, minus the others over the cells (RGB); or ""."""
    there = set(frame["strategy"])
    first, *others = [name for name in ("eats", READING) if name in there] or [str(frame["strategy"].iloc[-1])]
    sentences = [_minus_others(frame, first, _kind_of_interval(_differences(frame, first)))]
    sentences += [_minus_others(frame, name) for name in others]
    return " ".join(filter(None, [*sentences, _distances(frame) if others else ""]))


def _differences(frame: pd.DataFrame, strategy: str) -> pd.DataFrame:
    """The measured differences of a strategy to the others (RGB)."""
    rows = frame[(frame["strategy"] == strategy) & (frame["colour"] == "rgb") & (frame["against"] != NONE)]
    return rows.dropna(subset=["psnr"])


def _minus_others(frame: pd.DataFrame, strategy: str, note: str = "") -> str:
    by_other = list(_differences(frame, strategy).groupby("against", sort=False))
    if not by_other:
        return ""
    parts = [
        f"{strategy_title(str(other))} {signed(each['psnr'].mean())} dB ({decided(each)})" for other, each in by_other
    ]
    cells = len(by_other[-1][1])
    means = f"minus the others, mean over {cells} cells, each a set under a setting{note}"
    return f"{strategy_title(strategy)} {means}: {'; '.join(parts)}."


def _distances(frame: pd.DataFrame) -> str:
    """How far the gains over Original of EATS, as printed and as read, and of the control are from the printed ones."""
    printed = frame[(frame["strategy"] == "eats") & (frame["against"] == "original")].set_index(CELL)["reported"]
    parts = []
    for strategy in ("eats", READING, CONTROL):
        rows = _differences(frame, strategy)
        gains = rows[rows["against"] == "original"].set_index(CELL)["psnr"]
        away = (gains - printed.dropna()).dropna()
        if len(away):
            parts.append(f"{strategy_title(strategy)} {np.sqrt(np.square(away).mean()):.2f} dB")
    return f"Distance of the gains over Original to the printed gains of EATS (root mean square): {'; '.join(parts)}."


def _kind_of_interval(differences: pd.DataFrame) -> str:
    """What the intervals vary, and what they cannot show; "" if there are none."""
    if differences["low"].isna().all():
        return ""
    seeds = int(differences["seeds"].max())
    if seeds < 2:
        return " (95% intervals over images of one training; they say nothing about another seed)"
    ways = 2 ** (seeds - 1)
    return f" (95% intervals over seeds; with {seeds} seeds, no count of cells has a p below 1/{ways})"


def of_each_seed(differences: Float[np.ndarray, "seed image"]) -> str:
    """The means of the seeds, separated by spaces: the column by_seed."""
    return " ".join(f"{of_seed:.6f}" for of_seed in differences.mean(1))


def decided(each: pd.DataFrame) -> str:
    """The number of seeds; in how many cells the intervals exclude 0, and in how many by luck.

    The cells have the columns seeds, low, high and by_seed; luck is left out where by_seed is empty.
    """
    seeds = int(each["seeds"].max())
    words = f"{seeds} seed{'s' * (seeds > 1)}"
    if each["low"].isna().all():
        return words
    over = "" if seeds > 1 else "over its images "
    words += f"; {over}better in {(each['low'] > 0).sum()}, worse in {(each['high'] < 0).sum()}, the rest undecided"
    if seeds > 1 and each["by_seed"].fillna("").astype(bool).all():
        differences = np.array([[float(of_seed) for of_seed in str(cell).split()] for cell in each["by_seed"]])
        words += f"; {luck_in_words(decided_by_luck(differences))}"
    return words


def verdict(frame: pd.DataFrame) -> str:
    """Whether EATS has a higher PSNR (RGB) than Original and Dropout in each cell, as printed."""
    rows = frame[(frame["strategy"] == "eats") & (frame["colour"] == "rgb")].dropna(subset=["psnr"])
    gains = rows.loc[rows["against"].isin(["original", "dropout"]), "psnr"]
    return judged(gains > 0)


def texts(frame: pd.DataFrame) -> dict[str, str]:
    """The table as Markdown and LaTeX (RGB, dB): for each strategy our PSNR, the printed one and the difference.

    The readings of EATS, and their controls, are compared with printed EATS.
    """
    rows = frame[(frame["colour"] == "rgb") & (frame["against"] == NONE)]
    of = {str(strategy): each.set_index(CELL) for strategy, each in rows.groupby("strategy", sort=False)}
    columns: dict[str, Any] = {}
    for strategy, own in of.items():
        columns[strategy_title(strategy)] = own["psnr"]
        printed = "eats" if strategy in (READING, CONTROL) and "eats" in of else strategy
        if of[printed]["reported"].notna().any():
            if printed == strategy:
                columns[f"{strategy}, printed"] = own["reported"]
            columns[f"{strategy_title(strategy)} − printed {printed}"] = own["psnr"] - of[printed]["reported"]
    return table_files.texts(pd.DataFrame(columns).reset_index().rename(columns={"degradation": "setting"}))


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """A row of panels per set: PSNR, and the difference to Original; measured filled, printed hollow (RGB).

    `title` names the table. Without Original, differences are to bicubic upsampling. A strategy that is FAR_BEHIND
    would flatten the differences of all others: its own are in the title.
    """
    rgb = frame[frame["colour"] == "rgb"].fillna({"reason": ""})
    sets, settings = list(rgb["dataset"].unique()), list(rgb["degradation"].unique())
    colours = {BASELINE: "black"} | colours_in(rgb[rgb["strategy"] != BASELINE])
    over, over_title = ("original", "Original") if "original" in colours else (BASELINE, BASELINE)
    gains = rgb[rgb["against"] == over].copy()
    behind = gains.groupby("strategy")["psnr"].agg(["mean", "min", "max"]).query("mean < @FAR_BEHIND")
    gains.loc[gains["strategy"].isin(behind.index), ["psnr", "low", "high"]] = np.nan
    with styled():
        figure = Figure(figsize=(7.2, 1.15 + 1.35 * len(sets)))
        panels = figure.subplots(len(sets), 2, sharex=True, squeeze=False)
        for dataset, (level, gain) in zip(sets, panels, strict=True):
            rows = rgb[rgb["dataset"] == dataset]
            _panel(level, rows[rows["against"] == NONE], settings, colours)
            _panel(gain, gains[gains["dataset"] == dataset], settings, colours)
            gain.axhline(0, color="black", linewidth=0.6)
            level.set_title(_measured_images(dataset, rows["images"].max()), loc="left")
            level.set_ylabel("PSNR (dB)")
            gain.set_ylabel(f"over {over_title} (dB)")
        for panel in panels[-1]:
            panel.set_xticks(range(len(settings)), settings)
        _legend(figure, panels[0, 0], colours)
        if not set(colours) <= {BASELINE, *TRAINED}:
            title = f"{len(colours) - 1} networks"
        bars = "; bars: 95% intervals" if rgb["low"].notna().any() else ""
        for strategy, (_, low, high) in behind.iterrows():
            bars += f"; right: without {strategy} ({signed(low)} to {signed(high)} dB)"
        figure.suptitle(f"{title}; RGB\nb: blur, n: noise, j: JPEG{bars}", fontsize=8)
    return figure


def _legend(figure: Figure, panel: Axes, colours: Mapping[str, str]) -> None:
    handles = [
        panel.plot([], [], "o", color=colour, markersize=4, label=strategy_title(name))[0]
        for name, colour in colours.items()
    ]
    for label, style in (("measured", "full"), ("printed", "none")):
        handles += panel.plot([], [], "o", color="0.5", markersize=4, fillstyle=style, label=label)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1, handletextpad=0.2)


def _panel(panel: Axes, rows: pd.DataFrame, settings: list[str], colours: Mapping[str, str]) -> None:
    shifts = offsets(list(colours))
    for strategy, colour in colours.items():
        own = rows[rows["strategy"] == strategy].set_index("degradation").reindex(settings)
        place = np.arange(len(settings)) + shifts[strategy]
        panel.plot(place, own["reported"], "o", color=colour, markersize=3.5, fillstyle="none", markeredgewidth=0.8)
        panel.plot(place, own["psnr"], "o", color=colour, markersize=3.5)
        panel.vlines(place, own["low"], own["high"], color=colour, linewidth=1)
    if rows["psnr"].isna().all() and rows["reported"].isna().all():
        panel.text(0.5, 0.5, "nothing measured, nothing printed", transform=panel.transAxes, ha="center", va="center")


def offsets(names: Sequence[str]) -> dict[str, float]:
    """Where each name stands beside a tick, so that points do not cover one another."""
    return {name: (place - (len(names) - 1) / 2) * 0.13 for place, name in enumerate(names)}


def _measured_images(dataset: str, images: float) -> str:
    whole = SIZES.get(dataset, images)
    if np.isnan(images):
        return f"{dataset}: not measured, no images of this set"
    return f"{dataset}: {f'first {images:.0f} of {whole}' if images < whole else f'all {images:.0f}'} images"
