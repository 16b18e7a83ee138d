"""Table 7: does erasing more than one filter at a time lower PSNR, as the paper's text says?"""

from functools import partial

import ablation_tables
import pandas as pd
from ablation_tables import texts as texts
from ablation_tables import wide

from srgame.report.recipe import run

AGAINST = "eats-1-filter"
ENDS = {AGAINST: "", "eats-3-filters": "-count3", "eats-5-filters": "-count5"}
VARIANTS = ablation_tables.networks_of(ENDS)
SMOKE = {"networks": ()}

measure = partial(ablation_tables.measure, 7, VARIANTS, AGAINST, networks=ablation_tables.there(VARIANTS))
draw = partial(ablation_tables.draw, title="Table 7: the number of filters that EATS erases at a time")


def found(frame: pd.DataFrame) -> str:
    """The answers of the printed table and of the trained networks."""
    wins, of = _wins(frame)
    printed = f"In the printed table, 3 filters beat 1 in {wins} of {of} cells."
    return f"{printed} {ablation_tables.trained(frame, AGAINST)}".rstrip()


def verdict(frame: pd.DataFrame) -> str:
    """Whether the printed table agrees with the paper's text."""
    wins, of = _wins(frame)
    return "differs" if 2 * wins > of else "agrees"


def _wins(frame: pd.DataFrame) -> tuple[int, int]:
    """The printed cells in which three filters beat one, and all cells."""
    printed = wide(frame, "reported")
    return int((printed["eats-3-filters"] > printed[AGAINST]).sum()), len(printed)


if __name__ == "__main__":
    run(__file__, measure, draw, found, texts)
