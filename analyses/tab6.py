"""Table 6: is erasing in all layers best, or does a part of them do?"""

import pandas as pd
from ablation_tables import ablation, best, draw_ablation, there
from matplotlib.figure import Figure
from zoo_names import RRDBNET

from srgame.report.recipe import run

FAMILY = RRDBNET
AGAINST = "eats"
VARIANTS = {f"eats-{part}%": f"{FAMILY}-eats-ratio{part}" for part in (20, 40, 60, 80)} | {"eats": f"{FAMILY}-eats"}
SMOKE = {"networks": ()}


def measure(networks: tuple[str, ...] = there(VARIANTS), images: int = 20, crop: int | None = None) -> pd.DataFrame:
    """The frame of `ablation_tables.ablation`; by default with all networks of the table that the zoo has."""
    return ablation(6, VARIANTS, networks, images, crop)


def found(frame: pd.DataFrame) -> str:
    """What the printed table shows, in a sentence."""
    wins, cells = best(frame), len(frame) // frame["variant"].nunique()
    return f"As printed, EATS in all layers is best in {wins[AGAINST]} of {cells} cells; a part of them in the others."


def verdict(frame: pd.DataFrame) -> str:
    """Whether the printed table says what the paper's text does."""
    wins, cells = best(frame), len(frame) // frame["variant"].nunique()
    return "agrees" if wins[AGAINST] == cells else "differs"


def draw(frame: pd.DataFrame) -> Figure:
    """Each variant's PSNR over that of the paper's choice."""
    return draw_ablation(frame, AGAINST, f"Table 6. {found(frame)}")


if __name__ == "__main__":
    run(__file__, measure, draw, found)
