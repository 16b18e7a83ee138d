"""Do a layer's filters share Shapley values, salience and responses more equally with EATS? Small SRResNet ×4."""

import equities
from equities import draw as draw
from equities import found as found
from equities import measure as measure
from equities import verdict as verdict

from srgame.report.recipe import run

SMOKE = equities.SMOKE

if __name__ == "__main__":
    run(__file__, measure, draw, found)
