"""The paper's PSNR tables measured anew: what Tables 1–5 share.

Networks that are not in the zoo, and sets that are not there, stay visible with the reason.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from printed import CELL, cells, judged, number
from zoo_names import NOT_THERE, missing_networks, shipped, strategy_of

from srgame.errors import InputError
from srgame.evaluation.benchmark import BASELINE, Benchmark, benchmark
from srgame.networks import load_network
from srgame.report.style import BLUE, GREEN, GREY, ORANGE, RED, STRATEGIES, styled

SIZES = {"Set5": 5, "Set14": 14, "BSD100": 100, "Urban100": 100, "Manga109": 109}
SETS = tuple(SIZES)
SET_COLOURS = dict(zip(SETS, (BLUE, ORANGE, GREEN, RED, GREY), strict=True))
AGAINST = ("original", "dropout", "bicubic-pull", BASELINE)
COLOUR_SPACES = ("rgb", "y")
WIDTH = 112  # characters in a line above a picture
NONE = "nothing"  # a row of PSNR itself, not of a difference
COLUMNS = ["strategy", "against", *CELL, "colour", "psnr", "low", "high", "images", "seeds", "reported", "reason"]
COLOURS = {BASELINE: "black"} | STRATEGIES
CHEAP = {"sets": ("photographs",), "degradations": ("clean", "b+n"), "images": 1, "crop": 48}  # a table in a second
OFFSETS = {name: (place - 2) * 0.13 for place, name in enumerate(COLOURS)}


def measured_as(table: int, family: str) -> Callable[..., pd.DataFrame]:
    """The `measure` of a recipe: Table `table` with networks of `family`, by default all that the zoo has."""

    def measure(
        networks: tuple[str, ...] = shipped(family),
        sets: tuple[str, ...] = SETS,
        degradations: tuple[str, ...] = ("all",),
        images: int | None = 20,
        crop: int | None = None,
        seed: int = 0,
        store: Path | None = None,
    ) -> pd.DataFrame:
        """The frame of `psnr_tables.psnr_table`.

        Of each set the first `images` images are measured, which are all of Set5 and of Set14. The folder `keep` holds
        the scores of each image, as `srgame evaluate --output` does: what is there already is not measured again.
        """
        return psnr_table(table, family, networks, sets, degradations, images, crop, seed, store)

    return measure


def psnr_table(
    table: int,
    family: str,
    networks: Sequence[str],
    sets: Sequence[str] = SETS,
    degradations: Sequence[str] = ("all",),
    images: int | None = 20,
    crop: int | None = None,
    seed: int = 0,
    store: Path | None = None,
) -> pd.DataFrame:
    """Table `table` of the paper, measured with `networks`: a row per strategy, difference, set and setting.

    Columns: strategy; against, the strategy whose PSNR is subtracted, or "nothing"; dataset; degradation; colour (rgb
    or y); psnr (dB, mean over images and seeds); low and high, a 95% paired bootstrap interval of differences; images;
    seeds; reported, the paper's number (RGB); reason, why there is no psnr. Of each set the first `images` images are
    measured.

    Raises InputError for a network of another family, and as `benchmark` does for the scores in `store`.
    """
    trained = {}
    for name in networks:
        if (found := strategy_of(name, family)) is None:
            raise InputError(
                f"'{name}' is no {family}-STRATEGY or {family}-STRATEGY-SEED: name networks of that family"
            )
        trained[name] = found
    scale = int(family.rsplit("-x", 1)[1])
    loaded = {name: load_network(name, scale=scale) for name in networks}
    measured = benchmark(loaded, sets, degradations, scale, store, images=images, crop=crop, seed=seed, progress=True)
    scores = measured.scores.assign(
        strategy=[trained.get(name, (BASELINE, 0))[0] for name in measured.scores["checkpoint"]],
        seed=[trained.get(name, (BASELINE, 0))[1] for name in measured.scores["checkpoint"]],
    )
    return pd.DataFrame(_rows(scores, measured, table, family, tuple(sets)), columns=COLUMNS)


def _rows(
    scores: pd.DataFrame, measured: Benchmark, table: int, family: str, sets: Sequence[str]
) -> Iterator[dict[str, Any]]:
    reported = cells(table)
    settings = list(scores["degradation"].unique())
    for strategy in COLOURS:
        for against in (NONE, *(other for other in AGAINST if strategy not in (other, BASELINE))):
            for dataset in sets:
                for setting in settings:
                    where = scores[(scores["dataset"] == dataset) & (scores["degradation"] == setting)]
                    reason = _reason(where, (strategy, against), family, dataset in measured.missing)
                    for colour in COLOUR_SPACES:
                        row = {"strategy": strategy, "against": against, "dataset": dataset, "degradation": setting}
                        row |= {"colour": colour, "reason": reason}
                        if not reason:
                            row |= _measured(where, strategy, against, f"psnr_{colour}")
                        if colour == "rgb":
                            row["reported"] = _reported(reported, (dataset, setting), strategy, against)
                        yield row


def _reason(where: pd.DataFrame, needed: tuple[str, str], family: str, missing: bool) -> str:
    """Why a cell is empty; nothing where it is not."""
    if missing:
        return "no images of this set"
    lacking = [name for name in needed if name != NONE and name not in set(where["strategy"])]
    return NOT_THERE + ", ".join(f"{family}-{name}" for name in lacking) if lacking else ""


def _measured(where: pd.DataFrame, strategy: str, against: str, score: str) -> dict[str, Any]:
    """The mean over seeds and images, or that of the differences on seeds that both have."""
    by_seed = where.pivot(index=["strategy", "seed"], columns="image", values=score)
    values = by_seed.loc[strategy]
    if against == NONE:
        return {"psnr": values.to_numpy().mean(), "images": values.shape[1], "seeds": len(values)}
    others = by_seed.loc[against]
    differences = np.asarray((values - (others.iloc[0] if against == BASELINE else others)).dropna(), dtype=float)
    if not len(differences):
        return {"reason": f"{strategy} and {against} have no seed in common"}
    low, high = paired_bootstrap(differences)
    return {
        "psnr": differences.mean(),
        "low": low,
        "high": high,
        "images": differences.shape[1],
        "seeds": differences.shape[0],
    }


def _reported(reported: pd.DataFrame, cell: tuple[str, str], strategy: str, against: str) -> float:
    needed = [strategy] if against == NONE else [strategy, against]
    if cell not in reported.index or not set(needed) <= set(reported.columns):
        return float("nan")
    first, *rest = (number(reported.at[cell, column]) for column in needed)
    return first - sum(rest)


def paired_bootstrap(
    differences: Float[np.ndarray, "seed image"], confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The percentile interval of the mean of paired differences, images and training seeds both drawn anew.

    Every seed sees the same images, so both are resampled as wholes (Owen 2007, the pigeonhole bootstrap). NaN for a
    single image; for a single seed the interval is one over images alone. With few images or seeds it is too narrow.
    """
    seeds, images = differences.shape
    if images < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    of_images = rng.multinomial(images, np.full(images, 1 / images), resamples) / images
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    means = ((of_seeds @ differences) * of_images).sum(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def found(frame: pd.DataFrame, strategy: str = "eats") -> str:
    """How `strategy` fares against the others over the cells of the table (RGB), in a sentence; "" if there is none."""
    rows = frame[(frame["strategy"] == strategy) & (frame["colour"] == "rgb")].dropna(subset=["psnr"])
    parts, several = [], False
    for other, each in rows[rows["against"] != NONE].groupby("against", sort=False):
        better, worse = (each["low"] > 0).sum(), (each["high"] < 0).sum()
        seeds = int(each["seeds"].max())
        several |= seeds > 1
        trained = f"{seeds} seed{'s' * (seeds > 1)}"
        signs = f"above 0 in {better}, below in {worse}"
        parts.append(f"{other} {_signed(each['psnr'].mean())} dB ({trained}; {signs})")
    if not parts:
        return ""
    those = f"{len(each)} sets and settings (95% intervals over images{' and seeds' if several else ''})"
    return f"{strategy} minus the others, mean over {those}: {'; '.join(parts)}."


def verdict(frame: pd.DataFrame) -> str:
    """Whether EATS has the higher PSNR (RGB) than Original and Dropout in each cell, as printed."""
    rows = frame[(frame["strategy"] == "eats") & (frame["colour"] == "rgb")].dropna(subset=["psnr"])
    gains = rows.loc[rows["against"].isin(["original", "dropout"]), "psnr"]
    return judged(gains > 0)


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def draw_table(frame: pd.DataFrame, title: str) -> Figure:
    """A row of panels per set: PSNR, and the difference to Original; ours filled, the paper's hollow (RGB)."""
    rgb = frame[frame["colour"] == "rgb"].fillna({"reason": ""})
    sets, settings = list(rgb["dataset"].unique()), list(rgb["degradation"].unique())
    with styled():
        figure = Figure(figsize=(7.2, 1.15 + 1.35 * len(sets)))
        panels = figure.subplots(len(sets), 2, sharex=True, squeeze=False)
        for dataset, (level, gain) in zip(sets, panels, strict=True):
            rows = rgb[rgb["dataset"] == dataset]
            _panel(level, rows[rows["against"] == NONE], settings)
            _panel(gain, rows[rows["against"] == "original"], settings)
            gain.axhline(0, color="black", linewidth=0.6)
            level.set_title(_measured_images(dataset, rows["images"].max()), loc="left")
            level.set_ylabel("PSNR (dB)")
            gain.set_ylabel("over Original (dB)")
        for panel in panels[-1]:
            panel.set_xticks(range(len(settings)), settings)
        handles = [
            *(
                panels[0, 0].plot([], [], "o", color=colour, markersize=4, label=name)[0]
                for name, colour in COLOURS.items()
            ),
            panels[0, 0].plot([], [], "o", color="0.5", markersize=4, label="measured")[0],
            panels[0, 0].plot([], [], "o", color="0.5", markersize=4, fillstyle="none", label="printed")[0],
        ]
        figure.legend(
            handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1, handletextpad=0.2
        )
        title = f"{title}; RGB; b: blur, n: noise, j: JPEG"
        lines = [title, found(frame), missing_networks(rgb.loc[rgb["against"] == NONE, "reason"])]
        figure.suptitle("\n".join(fill(line, WIDTH) for line in lines if line), fontsize=8)
    return figure


def _panel(panel: Axes, rows: pd.DataFrame, settings: list[str]) -> None:
    for strategy, colour in COLOURS.items():
        own = rows[rows["strategy"] == strategy].set_index("degradation").reindex(settings)
        place = np.arange(len(settings)) + OFFSETS[strategy]
        panel.plot(place, own["reported"], "o", color=colour, markersize=3.5, fillstyle="none", markeredgewidth=0.8)
        panel.plot(place, own["psnr"], "o", color=colour, markersize=3.5)
        panel.vlines(place, own["low"], own["high"], color=colour, linewidth=1)
    if rows["psnr"].isna().all() and rows["reported"].isna().all():
        panel.text(0.5, 0.5, "nothing measured, nothing printed", transform=panel.transAxes, ha="center", va="center")


def _measured_images(dataset: str, images: float) -> str:
    whole = SIZES.get(dataset, images)
    if np.isnan(images):
        return f"{dataset}: not measured, no images of this set"
    return f"{dataset}: {f'first {images:.0f} of {whole}' if images < whole else f'all {images:.0f}'} images"
