"""Table 1: does SRResNet ×4 trained with EATS restore degraded images better than Original and bicubic-pull?"""

from functools import partial

import psnr_tables
from psnr_tables import found as found
from psnr_tables import texts as texts
from psnr_tables import verdict as verdict
from zoo_names import PAPERS, shipped

from srgame.report.recipe import run

SMOKE = psnr_tables.CHEAP

measure = partial(psnr_tables.measure, 1, PAPERS, networks=shipped(PAPERS), images=None)
draw = partial(psnr_tables.draw, title="Table 1: SRResNet ×4, trained with second-order degradations")

if __name__ == "__main__":
    run(__file__, measure, draw, found, texts)
