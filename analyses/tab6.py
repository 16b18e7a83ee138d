"""Table 6: is it best to erase in all layers, or in a part of them?"""

from functools import partial

import ablation_tables
import pandas as pd
from ablation_tables import best
from ablation_tables import texts as texts
from matplotlib.figure import Figure
from printed import CELL, cells
from zoo_names import RRDBNET

from srgame.report.recipe import run

FAMILY = RRDBNET
AGAINST = "eats"
VARIANTS = {f"eats-{part}%": f"{FAMILY}-eats-ratio{part}" for part in (20, 40, 60, 80)} | {"eats": f"{FAMILY}-eats"}
SHARES = {f"eats-{part}%": part / 100 for part in (20, 40, 60, 80)} | {"eats": 1.0}
SMOKE = {"networks": ()}

measure = partial(ablation_tables.measure, 6, VARIANTS, networks=ablation_tables.there(VARIANTS))


def found(frame: pd.DataFrame) -> str:
    """The answer of the printed table in two sentences."""
    wins, count = best(frame), len(frame) // frame["variant"].nunique()
    r = linear(frame)
    return (
        f"In the printed table, erasing in all layers is best in {wins[AGAINST]} of {count} cells. The gain over "
        f"Original grows about linearly with the share of layers, as a pull in proportion to the share would: "
        f"r = {r['Set5', 'clean']:.2f} on clean Set5, {r.median():.2f} in the median of {len(r)} cells."
    )


def linear(frame: pd.DataFrame) -> "pd.Series[float]":
    """By set and setting, Pearson's r of the share of layers and the printed gain over Original."""
    printed = frame.pivot(index=CELL, columns="variant", values="reported")[list(SHARES)]
    gains = printed.sub(cells(6)["original"], axis=0)
    return gains.T.corrwith(pd.Series(SHARES))


def verdict(frame: pd.DataFrame) -> str:
    """Whether the printed table agrees with the paper's text."""
    wins, count = best(frame), len(frame) // frame["variant"].nunique()
    return "agrees" if wins[AGAINST] == count else "differs"


def draw(frame: pd.DataFrame) -> Figure:
    """The PSNR of each variant minus that of the paper's choice."""
    return ablation_tables.draw(frame, AGAINST, "Table 6: the share of layers in which EATS erases")


if __name__ == "__main__":
    run(__file__, measure, draw, found, texts)
