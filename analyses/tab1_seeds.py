"""Table 1 with several seeds: do strategies differ by more than trainings of a small SRResNet ×4 do?"""

from functools import partial

from psnr_tables import CHEAP, draw_table, measured_as
from psnr_tables import found as found
from psnr_tables import verdict as verdict
from zoo_names import SMALL

from srgame.report.recipe import run

SMOKE = CHEAP

measure = measured_as(1, SMALL)
draw = partial(draw_table, title="Table 1 with several seeds: SRResNet ×4 of 32 features, 8 blocks; printed: 64, 16")

if __name__ == "__main__":
    run(__file__, measure, draw, found)
