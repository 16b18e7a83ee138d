"""Is the gain of EATS over Original that of bicubic upsampling, and does it exceed the gain of a pull alone?"""

import confounds
from confounds import draw as draw
from confounds import found as found
from confounds import measure as measure
from confounds import verdict as verdict

from srgame.report.recipe import run

SMOKE = confounds.SMOKE

if __name__ == "__main__":
    run(__file__, measure, draw, found)
