"""What the paper printed, as frames."""

from pathlib import Path
from typing import Any

import pandas as pd

REPORTED = Path(__file__).with_name("reported")
CELL = ["dataset", "degradation"]


def printed(name: str) -> pd.DataFrame:
    """The rows of reported/`name`.csv, whose columns reported/README.md explains; psnr is in dB."""
    return pd.read_csv(REPORTED / f"{name}.csv")


def cells(table: int) -> pd.DataFrame:
    """Table `table`, a row per dataset and degradation (its index), a column per strategy, in the paper's order."""
    return printed(f"table{table}").pivot_table(index=CELL, columns="strategy", values="psnr", sort=False)


def number(value: Any) -> float:
    """A cell as a float: pandas' types do not say that it is one."""
    return float(value)
