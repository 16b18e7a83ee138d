"""Table 4: does RRDBNet ×2 trained with EATS restore unseen degradations better, and better than bicubic-pull does?"""

from functools import partial

import pandas as pd
from psnr_tables import CHEAP, SETS, draw_table, psnr_table, shipped

from srgame.recipe import run

FAMILY = "rrdbnet-x2"
SMOKE = CHEAP


def measure(
    networks: tuple[str, ...] = shipped(FAMILY),
    sets: tuple[str, ...] = SETS,
    degradations: tuple[str, ...] = ("all",),
    images: int | None = 20,
    crop: int | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """The frame of `psnr_tables.psnr_table`; by default with all networks of the family that the zoo has.

    Of each set the first `images` images are measured, which are all of Set5 and of Set14.
    """
    return psnr_table(4, FAMILY, networks, sets, degradations, images, crop, seed)


draw = partial(draw_table, title="Table 4: RRDBNet ×2, trained with second-order degradations")

if __name__ == "__main__":
    run(__file__, measure, draw)
