"""Table 4: does RRDBNet ×2 trained with EATS restore unseen degradations better, and better than bicubic-pull does?"""

from functools import partial

from psnr_tables import CHEAP, draw_table, measured_as
from psnr_tables import found as found
from psnr_tables import verdict as verdict

from srgame.report.recipe import run

SMOKE = CHEAP

measure = measured_as(4, "rrdbnet-x2")
draw = partial(draw_table, title="Table 4: RRDBNet ×2, trained with second-order degradations")

if __name__ == "__main__":
    run(__file__, measure, draw, found)
