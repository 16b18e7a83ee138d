"""Table 7: does erasing more than one filter at a time lower PSNR, as the paper's text says?"""

from functools import partial

import ablation_tables
import pandas as pd
from ablation_tables import texts as texts
from matplotlib.figure import Figure
from zoo_names import RRDBNET

from srgame.report.recipe import run

FAMILY = RRDBNET
AGAINST = "eats-1-filter"
VARIANTS = {
    f"eats-{count}-filter{s}": f"{FAMILY}-eats{more}"
    for count, s, more in ((1, "", ""), (3, "s", "-filters3"), (5, "s", "-filters5"))
}
SMOKE = {"networks": ()}

measure = partial(ablation_tables.measure, 7, VARIANTS, networks=ablation_tables.there(VARIANTS))


def found(frame: pd.DataFrame) -> str:
    """The answer of the printed table in a sentence."""
    cells = len(frame) // frame["variant"].nunique()
    return f"In the printed table, 3 filters beat 1 in {_wins(frame)} of {cells} cells."


def verdict(frame: pd.DataFrame) -> str:
    """Whether the printed table agrees with the paper's text."""
    return "differs" if 2 * _wins(frame) > len(frame) // frame["variant"].nunique() else "agrees"


def _wins(frame: pd.DataFrame) -> int:
    three, one = (frame.loc[frame["variant"] == name, "reported"].to_numpy() for name in ("eats-3-filters", AGAINST))
    return int((three > one).sum())


def draw(frame: pd.DataFrame) -> Figure:
    """The PSNR of each variant minus that of the paper's choice."""
    return ablation_tables.draw(frame, AGAINST, "Table 7: the number of filters that EATS erases at a time")


if __name__ == "__main__":
    run(__file__, measure, draw, found, texts)
