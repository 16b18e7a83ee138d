"""Table 6: is it best to erase in all layers, or in a part of them?"""

from functools import partial

import ablation_tables
import pandas as pd
from ablation_tables import ALL, BY_SHARE, SHARES, best, wide
from ablation_tables import texts as texts
from printed import signed

from srgame.report.recipe import run

SMOKE = {"networks": ()}

measure = partial(ablation_tables.measure, 6, BY_SHARE, ALL, networks=ablation_tables.there(BY_SHARE))
draw = partial(ablation_tables.draw, title="Table 6: the share of layers in which EATS erases")


def found(frame: pd.DataFrame) -> str:
    """The answers of the printed table and of the trained networks."""
    wins, growth = best(frame), linear(frame, "reported_gain")
    printed = (
        f"In the printed table, erasing in all layers is best in {wins[ALL]} of {wins.sum()} cells. The gain over "
        f"Original grows about linearly with the share of layers, as a pull in proportion to the share would: "
        f"r = {growth['Set5', 'clean']:.2f} on clean Set5, {growth.median():.2f} in the median of {len(growth)} cells."
    )
    measured = linear(frame, "gain")
    r = signed(measured.median())
    ours = f"In the trained networks, share and gain correlate with r = {r} in the median of {len(measured)} cells."
    parts = [printed, ablation_tables.trained(frame, ALL), ours if len(measured) else ""]
    return " ".join(filter(None, parts))


def linear(frame: pd.DataFrame, column: str) -> "pd.Series[float]":
    """By set and setting, Pearson's r of the share of layers and the gain over Original in this column."""
    return wide(frame, column)[list(SHARES)].dropna().T.corrwith(pd.Series(SHARES))


def verdict(frame: pd.DataFrame) -> str:
    """Whether the printed table agrees with the paper's text."""
    wins = best(frame)
    return "agrees" if wins[ALL] == wins.sum() else "differs"


if __name__ == "__main__":
    run(__file__, measure, draw, found, texts)
