"""Figure 8: are the filters of a small RRDBNet trained with EATS less alike, from shallow blocks to the output?"""

from functools import partial

import cosines
from cosines import draw as draw
from cosines import found as found
from cosines import verdict as verdict
from zoo_names import RRDBNET, first_of_each

from srgame.report.recipe import run

SMOKE = cosines.CHEAP

measure = partial(
    cosines.measure,
    family=RRDBNET,
    networks=first_of_each(RRDBNET),
    layers=("body.0.rdb1", "body.0.rdb2", "body.0.rdb3", "conv_hr"),
    crop=64,
)

if __name__ == "__main__":
    run(__file__, measure, draw, found)
