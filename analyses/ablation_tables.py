"""What Tables 6 and 7 share: the gains of variants of EATS over Original, printed and measured.

Ours have the weight λ = 0.1, the reading nearest to Table 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import table_files
from families import AUTO, Architectures, Checkpoints, load_each
from intervals import paired_interval
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from printed import CELL, cells, number, printed_in, signed
from psnr_tables import SET_COLOURS
from torch import nn
from zoo_names import CONTROL, NOT_THERE, READING, RRDBNET, family_title

from srgame.cli.comparison import labels
from srgame.errors import InputError
from srgame.evaluation.benchmark import benchmark
from srgame.networks import zoo
from srgame.report.recipe import INPUTS
from srgame.report.style import styled

ORIGINAL, UNERASED = "original", "nothing erased"  # what gains are over, and the control
COLUMNS = ["variant", *CELL, "psnr", "gain", "over", "low", "high", "reported", "reported_gain", "reason"]


def networks_of(ends: Mapping[str, str]) -> dict[str, str]:
    """The networks of a table by variant: Original, the control, and the variants with these `ends` of their names."""
    names = {ORIGINAL: ORIGINAL, UNERASED: CONTROL} | {variant: READING + end for variant, end in ends.items()}
    return {variant: f"{RRDBNET}-{name}-0" for variant, name in names.items()}


ALL = "eats"
SHARES = {f"{ALL}-{share}%": share for share in (20, 40, 60, 80)} | {ALL: 100}  # of the layers, by variant of Table 6
BY_SHARE = networks_of({variant: "" if variant == ALL else f"-ratio{share}" for variant, share in SHARES.items()})


def there(variants: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the variants' networks that the zoo has."""
    return tuple(name for name in variants.values() if name in zoo())


def measure(
    table: int,
    variants: Mapping[str, str],
    against: str,
    networks: Checkpoints = (),
    network: Architectures = AUTO,
    images: int = 20,
    crop: int | None = 128,
) -> pd.DataFrame:
    """One row per variant, set and setting (RGB, dB), measured on the first `images` images of each set.

    Columns: variant; dataset; degradation; psnr; gain, psnr minus that of Original; over, psnr minus that of the
    variant `against`; low and high, the ends of the 95% interval of over, over images; reported and reported_gain, the
    paper's; reason, why there is no psnr. A file is that of the variant whose network it is named after, as
    small-rrdbnet-x4-w0.1-ratio20-0.safetensors.
    """
    printed = cells(table).reindex(columns=list(variants))
    models = dict(zip(labels(networks) if networks else [], load_each(networks, network).values(), strict=True))
    if unknown := sorted(set(models) - set(variants.values())):
        raise InputError(f"'{unknown[0]}' is no network of Table {table}: name one of {', '.join(variants.values())}")
    scores = _psnr(models, tuple(dict.fromkeys(printed.index.get_level_values(0))), images, crop)
    rows = []
    for variant, name in variants.items():
        missing = "" if name in models else "not measured" if name in zoo() else NOT_THERE + name
        for dataset, setting in printed.index:
            reported, original = (number(printed.at[(dataset, setting), one]) for one in (variant, ORIGINAL))
            row = {"variant": variant, "dataset": dataset, "degradation": setting}
            row |= {"reported": reported, "reported_gain": reported - original}
            by_network = scores.get((dataset, setting), {})
            row |= _measured(*(by_network.get(variants[one]) for one in (variant, ORIGINAL, against)))
            rows.append(row | {"reason": "" if "psnr" in row else missing or f"no images of {dataset}"})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.attrs[INPUTS] = [printed_in(f"table{table}")]
    return frame


def _psnr(
    models: Mapping[str, nn.Module], sets: Sequence[str], images: int, crop: int | None
) -> dict[tuple[str, str], dict[str, Float[np.ndarray, " image"]]]:
    """PSNR over RGB of each image, by set and setting, and by network."""
    if not models:
        return {}
    scores = benchmark(models, sets, images=images, crop=crop, progress=True).scores
    return {
        (str(dataset), str(setting)): {
            str(name): own["psnr_rgb"].to_numpy(float) for name, own in cell.groupby("checkpoint", observed=True)
        }
        for (dataset, setting), cell in scores.groupby(CELL, observed=True)
    }


def _measured(
    own: Float[np.ndarray, " image"] | None,
    original: Float[np.ndarray, " image"] | None,
    chosen: Float[np.ndarray, " image"] | None,
) -> dict[str, float]:
    """The measured columns of a cell, as far as the networks are there."""
    if own is None:
        return {}
    row = {"psnr": own.mean()}
    if original is not None:
        row["gain"] = (own - original).mean()
    if chosen is not None:
        row |= dict(zip(("over", "low", "high"), paired_interval((own - chosen)[None]), strict=True))
    return row


def best(frame: pd.DataFrame) -> "pd.Series[int]":
    """The number of cells in which each printed variant is best."""
    printed = wide(frame, "reported").drop(columns=ORIGINAL).dropna(axis=1, how="all")
    return printed.idxmax(axis=1).value_counts().reindex(printed.columns, fill_value=0)


def wide(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """A column of the frame with a row per cell and a column per variant, in the order of the frame."""
    return frame.pivot(index=CELL, columns="variant", values=column)[list(frame["variant"].unique())].reindex(
        frame["dataset"].unique(), level=0
    )


def trained(frame: pd.DataFrame, against: str) -> str:
    """What the trained variants show, in two sentences; "" if none is measured."""
    gains = wide(frame, "gain").drop(columns=ORIGINAL).mean().dropna()
    if gains.empty:
        return ""
    sizes = "; ".join(f"{variant} {signed(gain)} dB" for variant, gain in gains.items())
    rows = frame.dropna(subset=["low"])
    others = [
        f"{variant} {signed(own['over'].mean(), 3)} dB (better in {(own['low'] > 0).sum()}, worse in "
        f"{(own['high'] < 0).sum()} of {len(own)})"
        for variant, own in rows[~rows["variant"].isin([against, ORIGINAL])].groupby("variant", sort=False)
    ]
    over = f" Minus {against} (95% intervals over images of one training): {'; '.join(others)}." if others else ""
    return f"Trained with λ = 0.1 ({family_title(RRDBNET)}), mean gain over Original: {sizes}.{over}"


def texts(frame: pd.DataFrame) -> dict[str, str]:
    """The table as Markdown and LaTeX (RGB, dB): for each variant our PSNR, the printed one and the difference."""
    columns: dict[str, pd.Series] = {}
    for variant, each in frame.groupby("variant", sort=False):
        own = each.set_index(CELL)
        psnr = own["psnr"].astype(float)
        columns |= {str(variant): psnr, f"{variant}, printed": own["reported"]}
        columns[f"{variant} − printed"] = psnr - own["reported"]
    filled = pd.DataFrame(columns).dropna(axis=1, how="all")
    return table_files.texts(filled.reset_index().rename(columns={"degradation": "setting"}))


def draw(frame: pd.DataFrame, title: str) -> Figure:
    """The gain of each variant over Original in each cell: printed hollow, measured filled; a bar at their mean."""
    kinds = {"reported_gain": (-0.2, "none"), "gain": (0.2, "full")}
    wins, variants = best(frame), [name for name in frame["variant"].unique() if name != ORIGINAL]
    with styled():
        figure = Figure(figsize=(7.2, 3.4))
        panel = figure.subplots()
        for column, (shift, fill) in kinds.items():
            gains = wide(frame, column)[variants]
            for place, variant in enumerate(variants):
                _column(panel, place + shift, gains[variant].dropna(), fill)
        for dataset in frame["dataset"].unique():
            panel.plot([], [], "o", markersize=3, color=SET_COLOURS.get(dataset, "black"), label=dataset)
        panel.axhline(0, color="black", linewidth=0.6)
        ticks = [f"{name}\nprinted: best in {wins[name]}" if name in wins else name for name in variants]
        panel.set_xticks(range(len(variants)), ticks)
        panel.set_xlim(-0.5, len(variants) - 0.5)
        panel.set_ylabel("PSNR over Original (dB)")
        figure.legend(loc="outside lower center", ncols=len(SET_COLOURS))
        measured = f", filled: {family_title(RRDBNET)}, λ = 0.1" if frame["gain"].notna().any() else ""
        figure.suptitle(f"{title}; a dot per set and setting\nhollow: printed{measured}; bars: means", fontsize=8)
    return figure


def _column(panel: Axes, middle: float, gains: pd.Series, fill: Any) -> None:
    """The gains of a variant, a dot per cell beside those of other sets, and a bar at their mean."""
    if gains.empty:
        return
    sets = list(gains.groupby(level=0, sort=False))
    for place, (dataset, own) in enumerate(sets):
        x, colour = middle + (place - (len(sets) - 1) / 2) * 0.06, SET_COLOURS.get(str(dataset), "black")
        panel.plot([x] * len(own), own, "o", markersize=2.5, color=colour, fillstyle=fill, markeredgewidth=0.7)
    panel.hlines(gains.mean(), middle - 0.17, middle + 0.17, color="black", linewidth=1.5, zorder=4)
