"""Table 4: does a small RRDBNet ×2 trained with EATS restore degraded images better than Original and bicubic-pull?"""

from functools import partial

import psnr_tables
from psnr_tables import found as found
from psnr_tables import texts as texts
from psnr_tables import verdict as verdict
from zoo_names import RRDBNET_X2, TRAINED, family_title, shipped

from srgame.report.recipe import run

SMOKE = psnr_tables.CHEAP

measure = partial(psnr_tables.measure, 4, RRDBNET_X2, networks=shipped(RRDBNET_X2, TRAINED), crop=128)
draw = partial(psnr_tables.draw, title=f"Table 4: {family_title(RRDBNET_X2)}, 6,000 steps; crops of 128 pixels")

if __name__ == "__main__":
    run(__file__, measure, draw, found, texts)
