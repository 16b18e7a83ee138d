"""What Tables 6 and 7 share: the printed cells by variant of EATS, and our PSNR of the variants that are trained.

The network of a variant is named FAMILY-eats-VARIANT, such as rrdbnet-x4-eats-ratio20.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import table_files
from families import AUTO, Architectures, Checkpoints, load_each
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from printed import CELL, cells, signed
from psnr_tables import SET_COLOURS
from torch import nn
from zoo_names import NOT_THERE

from srgame.cli.comparison import labels
from srgame.errors import InputError
from srgame.evaluation.benchmark import benchmark
from srgame.networks import zoo
from srgame.report.style import styled

LARGEST = 0.6  # dB: larger differences are drawn at the edge, with their values


def there(variants: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the variants' networks that the zoo has."""
    return tuple(name for name in variants.values() if name in zoo())


def measure(
    table: int,
    variants: Mapping[str, str],
    networks: Checkpoints = (),
    network: Architectures = AUTO,
    images: int = 20,
    crop: int | None = None,
) -> pd.DataFrame:
    """One row per variant, set and setting: variant, dataset, degradation, psnr, reported (dB of RGB), reason.

    psnr is measured on the first `images` images with the network of the variant; a file is that of the variant whose
    network it is named after, as rrdbnet-x4-eats-ratio20.safetensors. reason says why there is no psnr.
    """
    reported = cells(table)
    names = dict(zip(labels(networks) if networks else [], load_each(networks, network).values(), strict=True))
    if unknown := sorted(set(names) - set(variants.values())):
        raise InputError(f"'{unknown[0]}' is no variant of Table {table}: name one of {', '.join(variants.values())}")
    psnr, rows = _psnr(names, tuple(dict.fromkeys(reported.index.get_level_values(0))), images, crop), []
    for variant, name in variants.items():
        for dataset, setting, value in reported[variant].reset_index().itertuples(index=False):
            measured = psnr.get((name, dataset, setting))
            reason = "" if measured is not None else "no images of this set" if name in names else _missing(name)
            row = {"variant": variant, "dataset": dataset, "degradation": setting, "psnr": measured}
            rows.append(row | {"reported": value, "reason": reason})
    return pd.DataFrame(rows)


def _psnr(
    networks: Mapping[str, nn.Module], sets: Sequence[str], images: int, crop: int | None
) -> dict[tuple[str, str, str], float]:
    """Mean PSNR over RGB by network, dataset and degradation."""
    if not networks:
        return {}
    scores = benchmark(networks, sets, images=images, crop=crop).scores
    means = scores.groupby(["checkpoint", *CELL], as_index=False)["psnr_rgb"].mean()
    return {(name, dataset, setting): psnr for name, dataset, setting, psnr in means.itertuples(index=False)}


def _missing(name: str) -> str:
    return "not measured" if name in zoo() else NOT_THERE + name


def best(frame: pd.DataFrame, column: str = "reported") -> "pd.Series[int]":
    """The number of cells in which each variant is best."""
    return _wide(frame, column).idxmax(axis=1).value_counts().reindex(frame["variant"].unique(), fill_value=0)


def _wide(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    return frame.pivot(index=CELL, columns="variant", values=column)[list(frame["variant"].unique())].reindex(
        frame["dataset"].unique(), level=0
    )


def texts(frame: pd.DataFrame) -> dict[str, str]:
    """The table as Markdown and LaTeX (RGB, dB): for each variant the printed PSNR, and ours where it is measured."""
    columns = {}
    for variant, each in frame.groupby("variant", sort=False):
        own = each.set_index(CELL)
        columns[f"{variant}, printed"] = own["reported"]
        if own["psnr"].notna().any():
            columns[str(variant)] = own["psnr"].astype(float)
    return table_files.texts(pd.DataFrame(columns).reset_index().rename(columns={"degradation": "setting"}))


def draw(frame: pd.DataFrame, against: str, title: str) -> Figure:
    """The PSNR of each cell minus that of the variant `against`: printed hollow, measured filled.

    Cells beyond LARGEST dB are drawn at the edge as triangles, with their values.
    """
    variants = list(frame["variant"].unique())
    with styled():
        figure = Figure(figsize=(7.2, 3.2))
        panel = figure.subplots()
        for column, fill in (("reported", "none"), ("psnr", "full")):
            over = _wide(frame, column).sub(_wide(frame, column)[against], axis=0)
            for place, (dataset, rows) in enumerate(over.groupby(level=0, sort=False)):
                for spot, variant in enumerate(variants):
                    x = [spot + (place - 2) * 0.13] * len(rows)
                    label = str(dataset) if fill == "none" and not spot else None
                    colour = SET_COLOURS.get(str(dataset), "black")
                    inside = rows[variant].where(rows[variant].abs() <= LARGEST)
                    panel.plot(x, inside, "o", markersize=3, color=colour, fillstyle=fill, label=label)
                    for value in rows[variant][rows[variant].abs() > LARGEST]:
                        _outlier(panel, x[0], value, colour)
        panel.axhline(0, color="black", linewidth=0.6)
        panel.set_xticks(range(len(variants)), [f"{name}\nbest in {best(frame)[name]}" for name in variants])
        panel.set_ylabel(f"PSNR − that of {against} (dB)")
        figure.legend(loc="outside lower center", ncols=5)
        measured_too = ", filled: measured" * bool(frame["psnr"].notna().any())
        figure.suptitle(f"{title}; a dot per set and setting\nhollow: printed{measured_too}", fontsize=8)
    return figure


def _outlier(panel: Axes, x: float, value: float, colour: str) -> None:
    """A triangle at the edge of the panel, with the value that lies beyond it."""
    edge = LARGEST if value > 0 else -LARGEST
    panel.plot([x], [edge], "^" if value > 0 else "v", markersize=4, color=colour, clip_on=False)
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # hides the grid line
    style: dict[str, Any] = {"va": "center", "fontsize": 7, "color": colour, "bbox": box}
    panel.annotate(signed(value), (x, edge), (5, 0), textcoords="offset points", **style)
