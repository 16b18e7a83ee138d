"""Table 7: does erasing more filters than one at a time harm, as the paper's text says?"""

import pandas as pd
from ablation_tables import ablation, draw_ablation, there
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


def measure(networks: tuple[str, ...] = there(VARIANTS), images: int = 20, crop: int | None = None) -> pd.DataFrame:
    """The frame of `ablation_tables.ablation`; by default with all networks of the table that the zoo has."""
    return ablation(7, VARIANTS, networks, images, crop)


def found(frame: pd.DataFrame) -> str:
    """What the printed table shows, in a sentence."""
    return f"As printed, 3 filters beat 1 in {_wins(frame)} of {len(frame) // frame['variant'].nunique()} cells."


def verdict(frame: pd.DataFrame) -> str:
    """Whether the printed table says what the paper's text does."""
    return "differs" if 2 * _wins(frame) > len(frame) // frame["variant"].nunique() else "agrees"


def _wins(frame: pd.DataFrame) -> int:
    three, one = (frame.loc[frame["variant"] == name, "reported"].to_numpy() for name in ("eats-3-filters", AGAINST))
    return int((three > one).sum())


def draw(frame: pd.DataFrame) -> Figure:
    """Each variant's PSNR over that of the paper's choice."""
    return draw_ablation(frame, AGAINST, f"Table 7. {found(frame)}")


if __name__ == "__main__":
    run(__file__, measure, draw, found)
