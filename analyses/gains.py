"""The printed gains of Tables 1–4 and bicubic upsampling: what audit_gains and audit_reported share."""

import numpy as np
import pandas as pd
from printed import CELL, cells, printed, printed_in

from srgame.evaluation.benchmark import benchmark
from srgame.report.recipe import INPUTS

TABLES = (1, 2, 3, 4)
GAINS = {"EATS": "gain_eats", "Dropout": "gain_dropout"}
BELOW = "bicubic_minus_original"
NOISE = "noise"  # not correlated: published numbers contradict the printed PSNR of this setting (audit_reported)


def measure(sets: tuple[str, ...] = ("Set5", "Set14"), images: int | None = None, seed: int = 0) -> pd.DataFrame:
    """One row per cell of Tables 1–4, in dB: the printed original and gains over it, and bicubic − original.

    Columns: table, network, scale, dataset, degradation, original, gain_dropout, gain_eats, bicubic,
    bicubic_minus_original. Bicubic is measured on the first `images` images of each of `sets` (default: all).
    """
    bicubic = {scale: _bicubic(sets, scale, images, seed) for scale in (2, 4)}
    frame = pd.concat([_table(table, bicubic) for table in TABLES], ignore_index=True)
    frame.attrs[INPUTS] = [printed_in(f"table{table}") for table in TABLES]
    return frame


def _bicubic(sets: tuple[str, ...], scale: int, images: int | None, seed: int) -> pd.Series:
    """Mean PSNR over RGB by dataset and degradation."""
    scores = benchmark({}, sets, ("all",), scale, images=images, seed=seed).scores
    return scores.groupby(CELL)["psnr_rgb"].mean()


def _table(table: int, bicubic: dict[int, pd.Series]) -> pd.DataFrame:
    values, first = cells(table), printed(f"table{table}").iloc[0]
    measured = bicubic[first["scale"]].reindex(values.index)
    return pd.DataFrame(
        {
            "table": table,
            "network": first["network"],
            "scale": first["scale"],
            "original": values["original"],
            "gain_dropout": values["dropout"] - values["original"],
            "gain_eats": values["eats"] - values["original"],
            "bicubic": measured,
            BELOW: measured - values["original"],
        }
    ).reset_index()[["table", "network", "scale", *CELL, *_NUMBERS]]


_NUMBERS = ["original", "gain_dropout", "gain_eats", "bicubic", BELOW]


def correlation(rows: pd.DataFrame, first: str, second: str) -> float:
    """Pearson's r over the rows in which both columns are known; NaN for fewer than three."""
    both = rows[[first, second]].dropna()
    return float(np.corrcoef(both[first], both[second])[0, 1]) if len(both) > 2 else float("nan")


def slope(rows: pd.DataFrame, first: str, second: str) -> float:
    """The slope of the least-squares line of `second` on `first`, over the rows that `correlation` takes."""
    both = rows[[first, second]].dropna()
    return float(np.polyfit(both[first], both[second], 1)[0]) if len(both) > 2 else float("nan")


def beside_bicubic(measured: pd.DataFrame) -> pd.DataFrame:
    """The rows whose gains are compared with bicubic − Original: bicubic is measured, and the setting is not noise."""
    return measured[(measured["degradation"] != NOISE) & measured["bicubic"].notna()]
