"""Does DIL, causality-based training (Li et al. 2023), restore degraded images better than Original?

Both are trained for as many steps of as many patches of the same HR images; a step of DIL takes as many patches of each
of its five types of distortion, one of which is all that Original sees.
"""

from functools import partial

import psnr_tables
from psnr_tables import found as found
from psnr_tables import texts as texts
from zoo_names import SHORT, TRAINED, family_title, shipped

from srgame.report.recipe import run

SMOKE = psnr_tables.CHEAP

SETS = ("Set5", "Set14", "BSD100", "Urban100")  # the paper prints nothing of DIL
measure = partial(psnr_tables.measure, 1, SHORT, networks=shipped(SHORT, TRAINED), sets=SETS, crop=128)
draw = partial(psnr_tables.draw, title=f"DIL: {family_title(SHORT)}, 2,000 steps; crops of 128 pixels")

if __name__ == "__main__":
    run(__file__, measure, draw, found, texts)
