"""How equally do the filters of the paper's SRResNet share? audit_equity, of one seed."""

from audit_equity import SMOKE as CHEAP
from audit_equity import draw as draw
from audit_equity import found as found
from audit_equity import measured_on
from audit_equity import verdict as verdict
from families import PAPERS
from psnr_tables import shipped

from srgame.recipe import run

NETWORKS = shipped(PAPERS)
SMOKE = CHEAP | {"networks": NETWORKS[:1]}

measure = measured_on(NETWORKS, ("conv_first", "body.7.conv2", "conv_hr"))

if __name__ == "__main__":
    run(__file__, measure, draw)
