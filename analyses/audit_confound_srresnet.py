"""Is what EATS gains that of bicubic upsampling on the paper's SRResNet too? audit_confound, of one seed."""

from functools import partial

import audit_confound
from audit_confound import SMOKE as SMOKE
from audit_confound import draw as draw
from audit_confound import found as found
from audit_confound import verdict as verdict
from zoo_names import PAPERS, shipped

from srgame.report.recipe import run

measure = partial(audit_confound.measure, networks=shipped(PAPERS))

if __name__ == "__main__":
    run(__file__, measure, draw, found)
