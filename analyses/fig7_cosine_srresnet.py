"""Figure 7: are the channels of an SRResNet trained with EATS less alike, from shallow blocks to the output?

The paper's blocks are the 2nd, 8th and 14th of 16; those of small networks lie as deep, the 1st, 4th and 7th of 8.
"""

from functools import partial

from cosines import CHEAP, draw_cosines, measured_in
from cosines import found as found
from cosines import verdict as verdict

from srgame.recipe import run

SMOKE = CHEAP

measure = measured_in(("body.0", "body.3", "body.6", "conv_hr"))
draw = partial(draw_cosines, blocks="blocks 2, 8 and 14 of 16, output")

if __name__ == "__main__":
    run(__file__, measure, draw)
