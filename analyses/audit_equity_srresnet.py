"""How equally do the filters of the paper's SRResNet share? audit_equity, of one seed."""

from functools import partial

import audit_equity
from audit_equity import draw as draw
from audit_equity import found as found
from audit_equity import verdict as verdict
from zoo_names import PAPERS, shipped

from srgame.report.recipe import run

NETWORKS = shipped(PAPERS)
SMOKE = audit_equity.SMOKE | {"networks": NETWORKS[:1]}

measure = partial(audit_equity.measure, networks=NETWORKS, layers=("conv_first", "body.7.conv2", "conv_hr"))

if __name__ == "__main__":
    run(__file__, measure, draw, found)
