"""Do a layer's filters share Shapley values, salience and responses more equally with EATS? The paper's SRResNet ×4."""

from functools import partial

import equities
from equities import draw as draw
from equities import found as found
from equities import verdict as verdict
from zoo_names import PAPERS, shipped

from srgame.report.recipe import run

NETWORKS = shipped(PAPERS)
SMOKE = equities.SMOKE | {"networks": NETWORKS[:1]}

measure = partial(equities.measure, networks=NETWORKS, layers=("conv_first", "body.7.conv2", "conv_hr"))

if __name__ == "__main__":
    run(__file__, measure, draw, found)
