"""Figure 4: are the channels of a network trained with EATS less alike, in a shallow and in a deep block?

The paper's blocks are the 2nd and the 14th of 16; those of small networks lie as deep, the 1st and the 7th of 8.
"""

from functools import partial

from cosines import CHEAP, draw_cosines, measured_in
from cosines import found as found
from cosines import verdict as verdict

from srgame.recipe import run

SMOKE = CHEAP

measure = measured_in(("body.0", "body.6"))
draw = partial(draw_cosines, blocks="blocks 2 and 14 of 16")

if __name__ == "__main__":
    run(__file__, measure, draw)
