"""Figure 4: are the channels of a network trained with EATS less alike, in a shallow and in a deep block?

The paper's blocks are the 2nd and the 14th of 16; those of small networks lie as deep, the 1st and the 7th of 8.
"""

import pandas as pd
from cosines import cosine_frame, draw_cosines
from families import SMALL, first_of_each
from matplotlib.figure import Figure

from srgame.recipe import run

SMOKE = {"dataset": "photographs", "images": 1, "crop": 32}


def measure(
    family: str = SMALL,
    networks: tuple[str, ...] = first_of_each(SMALL),
    layers: tuple[str, ...] = ("body.0", "body.6"),
    dataset: str = "unseen109",
    images: int | None = 20,
    crop: int | None = 96,
) -> pd.DataFrame:
    """The frame of `cosines.cosine_frame`."""
    return cosine_frame(family, networks, layers, dataset, images, crop)


def draw(frame: pd.DataFrame) -> Figure:
    """A row per layer, a matrix per strategy."""
    return draw_cosines(frame, "blocks 2 and 14 of 16")


if __name__ == "__main__":
    run(__file__, measure, draw)
