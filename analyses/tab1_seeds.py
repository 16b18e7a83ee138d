"""Table 1 with several seeds: do strategies differ more than the trainings of one small SRResNet ×4 do?"""

from functools import partial

import psnr_tables
from psnr_tables import found as found
from psnr_tables import texts as texts
from psnr_tables import verdict as verdict
from zoo_names import SMALL, shipped

from srgame.report.recipe import run

SMOKE = psnr_tables.CHEAP

measure = partial(psnr_tables.measure, 1, SMALL, networks=shipped(SMALL))
draw = partial(
    psnr_tables.draw, title="Table 1 with several seeds: SRResNet ×4 of 32 features, 8 blocks; printed: 64, 16"
)

if __name__ == "__main__":
    run(__file__, measure, draw, found, texts)
