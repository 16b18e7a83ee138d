"""Figure 8: are the channels of an RRDBNet trained with EATS less alike, from shallow blocks to the output?"""

from cosines import CHEAP, measured_in
from cosines import draw as draw
from cosines import found as found
from cosines import verdict as verdict
from zoo_names import RRDBNET

from srgame.report.recipe import run

SMOKE = CHEAP

measure = measured_in(("body.1", "body.7", "body.13", "conv_hr"), RRDBNET, crop=64)

if __name__ == "__main__":
    run(__file__, measure, draw, found)
