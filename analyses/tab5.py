"""Table 5: does light HAN ×4 trained with EATS restore unseen degradations better, also than bicubic-pull?"""

from functools import partial

from psnr_tables import CHEAP, draw_table, measured_as
from psnr_tables import found as found
from psnr_tables import verdict as verdict

from srgame.report.recipe import run

SMOKE = CHEAP

measure = measured_as(5, "han-lite-x4")
draw = partial(draw_table, title="Table 5: light HAN ×4, trained with second-order degradations")

if __name__ == "__main__":
    run(__file__, measure, draw, found)
