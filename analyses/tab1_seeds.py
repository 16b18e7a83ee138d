"""Table 1 with several seeds: do strategies differ by more than trainings of a small SRResNet ×4 do?"""

from functools import partial

import pandas as pd
from psnr_tables import CHEAP, SETS, draw_table, psnr_table, shipped

from srgame.recipe import run

FAMILY = "small-x4"
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
    return psnr_table(1, FAMILY, networks, sets, degradations, images, crop, seed)


draw = partial(draw_table, title="Table 1 with several seeds: SRResNet ×4 of 32 features, 8 blocks; printed: 64, 16")

if __name__ == "__main__":
    run(__file__, measure, draw)
