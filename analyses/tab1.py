"""Table 1: does SRResNet ×4 trained with EATS restore unseen degradations better, and better than bicubic-pull does?"""

from functools import partial

from psnr_tables import CHEAP, draw_table, measured_as
from psnr_tables import found as found
from psnr_tables import verdict as verdict
from zoo_names import PAPERS

from srgame.report.recipe import run

SMOKE = CHEAP

measure = measured_as(1, PAPERS)
draw = partial(draw_table, title="Table 1: SRResNet ×4, trained with second-order degradations")

if __name__ == "__main__":
    run(__file__, measure, draw, found)
