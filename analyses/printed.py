"""What the paper printed, as frames, and what is to be said of its claims."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

REPORTED = Path(__file__).with_name("reported")
CELL = ["dataset", "degradation"]
UNKNOWN = "—"


def printed(name: str) -> pd.DataFrame:
    """The rows of reported/`name`.csv, whose columns reported/README.md explains; psnr is in dB."""
    return pd.read_csv(REPORTED / f"{name}.csv")


def cells(table: int) -> pd.DataFrame:
    """Table `table`, a row per dataset and degradation (its index), a column per strategy, in the paper's order."""
    return printed(f"table{table}").pivot_table(index=CELL, columns="strategy", values="psnr", sort=False)


def number(value: Any) -> float:
    """A cell as a float: pandas' types do not say that it is one."""
    return float(value)


def judged(holds: Iterable[bool]) -> str:
    """Whether a claim of the paper was found wherever it was looked for, in part, or nowhere."""
    found = [bool(one) for one in holds]
    if not found:
        return UNKNOWN
    return "agrees so far" if all(found) else "partly" if any(found) else "differs"


def eats_over(values: pd.Series) -> list[bool]:
    """Whether EATS has the larger of `values`, by strategy, than Original and than Dropout, as far as they are there.

    This is what the paper claims of PSNR, and of all that is to be more equal.
    """
    others = {"original", "dropout"} & set(values.index) if "eats" in values.index else set()
    return [number(values["eats"]) > number(values[other]) for other in sorted(others)]
