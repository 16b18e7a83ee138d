"""Table 6: is it best to erase in all layers, or in a part of them?"""

from functools import partial

import ablation_tables
import pandas as pd
from ablation_tables import best
from ablation_tables import texts as texts
from matplotlib.figure import Figure
from zoo_names import RRDBNET

from srgame.report.recipe import run

FAMILY = RRDBNET
AGAINST = "eats"
VARIANTS = {f"eats-{part}%": f"{FAMILY}-eats-ratio{part}" for part in (20, 40, 60, 80)} | {"eats": f"{FAMILY}-eats"}
SMOKE = {"networks": ()}

measure = partial(ablation_tables.measure, 6, VARIANTS, networks=ablation_tables.there(VARIANTS))


def found(frame: pd.DataFrame) -> str:
    """The answer of the printed table in a sentence."""
    wins, cells = best(frame), len(frame) // frame["variant"].nunique()
    return f"In the printed table, erasing in all layers is best in {wins[AGAINST]} of {cells} cells."


def verdict(frame: pd.DataFrame) -> str:
    """Whether the printed table agrees with the paper's text."""
    wins, cells = best(frame), len(frame) // frame["variant"].nunique()
    return "agrees" if wins[AGAINST] == cells else "differs"


def draw(frame: pd.DataFrame) -> Figure:
    """The PSNR of each variant minus that of the paper's choice."""
    return ablation_tables.draw(frame, AGAINST, f"Table 6. {found(frame)}")


if __name__ == "__main__":
    run(__file__, measure, draw, found, texts)
