"""Figure 4: are the filters of a network trained with EATS less alike, in a shallow and in a deep block?"""

from functools import partial

import cosines
from cosines import draw as draw
from cosines import found as found
from cosines import verdict as verdict

from srgame.report.recipe import run

SMOKE = cosines.CHEAP

measure = partial(cosines.measure, layers=("body.1", "body.13"))

if __name__ == "__main__":
    run(__file__, measure, draw, found)
