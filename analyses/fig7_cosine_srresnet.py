"""Figure 7: are the channels of an SRResNet trained with EATS less alike, from shallow blocks to the output?

The paper's blocks are the 2nd, 8th and 14th of 16; those of small networks lie as deep, the 1st, 4th and 7th of 8.
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
    layers: tuple[str, ...] = ("body.0", "body.3", "body.6", "conv_hr"),
    dataset: str = "unseen109",
    images: int | None = 20,
    crop: int | None = 96,
) -> pd.DataFrame:
    """The frame of `cosines.cosine_frame`."""
    return cosine_frame(family, networks, layers, dataset, images, crop)


def draw(frame: pd.DataFrame) -> Figure:
    """A row per layer, a matrix per strategy."""
    return draw_cosines(frame, "blocks 2, 8 and 14 of 16, output")


if __name__ == "__main__":
    run(__file__, measure, draw)
