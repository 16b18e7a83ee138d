"""Is the gain of EATS over Original that of bicubic upsampling on the paper's SRResNet ×4, too?"""

from functools import partial

import confounds
from confounds import draw as draw
from confounds import found as found
from confounds import verdict as verdict
from zoo_names import PAPERS, shipped

from srgame.report.recipe import run

SMOKE = confounds.SMOKE

measure = partial(confounds.measure, networks=shipped(PAPERS))

if __name__ == "__main__":
    run(__file__, measure, draw, found)
