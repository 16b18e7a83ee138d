"""Figure 8: are the channels of an RRDBNet trained with EATS less alike, from shallow blocks to the output?"""

import pandas as pd
from cosines import cosine_frame, draw_cosines
from families import first_of_each
from matplotlib.figure import Figure

from srgame.recipe import run

FAMILY = "rrdbnet-x4"

SMOKE = {"dataset": "photographs", "images": 1, "crop": 32}


def measure(
    family: str = FAMILY,
    networks: tuple[str, ...] = first_of_each(FAMILY),
    layers: tuple[str, ...] = ("body.1", "body.7", "body.13", "conv_hr"),
    dataset: str = "unseen109",
    images: int | None = 20,
    crop: int | None = 64,
) -> pd.DataFrame:
    """The frame of `cosines.cosine_frame`."""
    return cosine_frame(family, networks, layers, dataset, images, crop)


def draw(frame: pd.DataFrame) -> Figure:
    """A row per layer, a matrix per strategy."""
    return draw_cosines(frame, "blocks 2, 8 and 14, output")


if __name__ == "__main__":
    run(__file__, measure, draw)
