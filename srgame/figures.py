"""The pictures of srgame's frames, as matplotlib figures: a notebook shows them, `savefig` saves them.

Each function takes the frame of the public function of the same subject, and, if it compares networks, a column
`checkpoint`:

>>> import srgame
>>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
>>> responses = srgame.channel_responses(network, srgame.load_pairs(images=1, crop=24), ["conv_hr"])
>>> figure = srgame.figures.responses(responses.assign(checkpoint="mine"))
>>> [axes.get_xlabel() for axes in figure.axes]
['filter', 'filter, sorted by |response|']
"""

from srgame.report.figures import interaction_matrices as interactions
from srgame.report.figures import removal_plot as removals
from srgame.report.figures import shapley_bars as shapley
from srgame.report.probe_figures import attribution_plot as attributions
from srgame.report.probe_figures import cosine_matrices as cosine
from srgame.report.probe_figures import ddr_planes as ddr
from srgame.report.probe_figures import lam_maps as lam
from srgame.report.probe_figures import lorenz_curves as equity
from srgame.report.probe_figures import response_plot as responses
from srgame.report.probe_figures import salience_mosaics as salience
from srgame.report.probe_figures import srga_bars as srga
from srgame.report.profile_figures import profile_plot as profiles
from srgame.report.sheets import sheet_of_images as degraded

__all__ = [
    "attributions",
    "cosine",
    "ddr",
    "degraded",
    "equity",
    "interactions",
    "lam",
    "profiles",
    "removals",
    "responses",
    "salience",
    "shapley",
    "srga",
]
