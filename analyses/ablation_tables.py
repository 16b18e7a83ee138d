"""What Tables 6 and 7 share: the paper's printed cells by variant of EATS, beside ours where there are such networks.

A variant is a network of the zoo named FAMILY-eats-VARIANT, such as rrdbnet-x4-eats-ratio20.
"""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from printed import CELL, cells
from psnr_tables import SET_COLOURS
from zoo_names import NOT_THERE

from srgame.evaluation.benchmark import benchmark
from srgame.networks import load_network, zoo
from srgame.report.style import styled


def there(variants: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the variants' networks that the zoo has."""
    return tuple(name for name in variants.values() if name in zoo())


def ablation(
    table: int, variants: Mapping[str, str], networks: tuple[str, ...], images: int, crop: int | None
) -> pd.DataFrame:
    """One row per variant, set and setting: variant, dataset, degradation, psnr, reported (dB of RGB), reason.

    `variants` maps the printed names to networks; psnr is measured on the first `images` images where a network is in
    `networks`, else reason says that it is not in the zoo.
    """
    reported = cells(table)
    sets = tuple(dict.fromkeys(reported.index.get_level_values(0)))
    loaded = {name: load_network(name) for name in networks}
    columns = ["checkpoint", *CELL]
    scores = benchmark(loaded, sets, images=images, crop=crop).scores if loaded else pd.DataFrame(columns=columns)
    psnr = scores.groupby(columns)["psnr_rgb"].mean() if loaded else pd.Series(dtype=float)
    rows = []
    for variant, name in variants.items():
        for dataset, setting, value in reported[variant].reset_index().itertuples(index=False):
            measured = psnr.get((name, dataset, setting)) if loaded else None
            reason = (
                NOT_THERE + name if name not in networks else "" if measured is not None else "no images of this set"
            )
            row = {"variant": variant, "dataset": dataset, "degradation": setting, "psnr": measured}
            rows.append(row | {"reported": value, "reason": reason})
    return pd.DataFrame(rows)


def best(frame: pd.DataFrame, column: str = "reported") -> "pd.Series[int]":
    """In how many cells each variant is best."""
    return _wide(frame, column).idxmax(axis=1).value_counts().reindex(frame["variant"].unique(), fill_value=0)


def _wide(frame: pd.DataFrame, column: str) -> pd.DataFrame:
    return frame.pivot(index=CELL, columns="variant", values=column)[list(frame["variant"].unique())].reindex(
        frame["dataset"].unique(), level=0
    )


def draw_ablation(frame: pd.DataFrame, against: str, sentence: str) -> Figure:
    """Each cell's PSNR over that of the variant `against`: printed as hollow points, measured as filled ones."""
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
                    panel.plot(x, rows[variant], "o", markersize=3, color=colour, fillstyle=fill, label=label)
        panel.axhline(0, color="black", linewidth=0.6)
        panel.set_xticks(range(len(variants)), [f"{name}\nbest in {best(frame)[name]}" for name in variants])
        panel.set_ylabel(f"PSNR − that of {against} (dB)")
        figure.legend(loc="outside lower center", ncols=5)
        none_there = bool(frame["psnr"].isna().all())
        figure.suptitle(
            sentence + ("\nHollow: printed. None of these networks is in the zoo." * none_there), fontsize=8
        )
    return figure
