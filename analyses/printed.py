"""The numbers that the paper printed, and verdicts on its claims."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

REPORTED = Path(__file__).with_name("reported")
CELL = ["dataset", "degradation"]
UNKNOWN = "—"


def printed(name: str) -> pd.DataFrame:
    """The rows of reported/`name`.csv, whose columns reported/README.md explains; psnr is in dB."""
    return pd.read_csv(printed_in(name))


def printed_in(name: str) -> Path:
    """reported/`name`.csv."""
    return REPORTED / f"{name}.csv"


def cells(table: int) -> pd.DataFrame:
    """Table `table`, a row per dataset and degradation (its index), a column per strategy, in the paper's order."""
    return printed(f"table{table}").pivot_table(index=CELL, columns="strategy", values="psnr", sort=False)


def number(value: Any) -> float:
    """A cell as a float, for the type checker."""
    return float(value)


def judged(holds: Iterable[bool]) -> str:
    """The verdict on a claim that `holds` in all, some or none of the cases."""
    cases = [bool(one) for one in holds]
    if not cases:
        return UNKNOWN
    return "agrees so far" if all(cases) else "partly" if any(cases) else "differs"


def eats_over(values: pd.Series) -> list[bool]:
    """Whether the value of EATS exceeds those of Original and of Dropout, as far as `values` has these strategies.

    The paper claims this of PSNR and of equality.
    """
    others = {"original", "dropout"} & set(values.index) if "eats" in values.index else set()
    return [number(values["eats"]) > number(values[other]) for other in sorted(others)]


def signed(value: float, digits: int = 2) -> str:
    """A difference with its sign, as "−0.03"."""
    return f"{value:+.{digits}f}".replace("-", "−")
