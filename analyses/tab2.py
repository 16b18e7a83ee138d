"""Table 2: does RRDBNet ×4 trained with EATS restore unseen degradations better, and better than bicubic-pull does?"""

from functools import partial

from psnr_tables import CHEAP, draw_table, measured_as
from psnr_tables import found as found
from psnr_tables import verdict as verdict
from zoo_names import RRDBNET

from srgame.report.recipe import run

SMOKE = CHEAP

measure = measured_as(2, RRDBNET)
draw = partial(draw_table, title="Table 2: RRDBNet ×4, trained with second-order degradations")

if __name__ == "__main__":
    run(__file__, measure, draw, found)
