"""SRGA against scipy's generalized Gaussian and the integral of the divergence."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.special import gamma
from scipy.stats import gennorm
from slow_responses import some_images
from small_networks import with_filters

from srgame.errors import InputError
from srgame.networks import SRResNet
from srgame.probes.srga import divergence, generalized_gaussian, srga, srga_index


@pytest.mark.parametrize("beta", [1, 2, 4])
def test_moments_determine_a_generalized_gaussian(beta: float) -> None:
    alpha, shape = generalized_gaussian(gennorm.rvs(beta, scale=3, size=200_000, random_state=0))
    assert shape == pytest.approx(beta, rel=0.06) and alpha == pytest.approx(3, rel=0.12)


@pytest.mark.parametrize(("p", "q"), [((1.0, 2.0), (1.0, 2.0)), ((1.0, 0.7), (2.0, 1.5)), ((3.0, 2.0), (1.5, 2.0))])
def test_divergence_is_the_integral_that_defines_it(p: tuple[float, float], q: tuple[float, float]) -> None:
    x = np.linspace(-200, 200, 2_000_001)
    log_p, log_q = (gennorm.logpdf(x, beta, scale=alpha) for alpha, beta in (p, q))
    assert divergence(p, q) == pytest.approx(np.trapezoid(np.exp(log_p) * (log_p - log_q), x), abs=1e-4)


def test_srga_of_a_set_with_itself_is_0(small: SRResNet) -> None:
    images = some_images(*[(5, 5)] * 6)
    frame = srga(small, images, {"same": images, "other": [1 - image.square() for image in images]}).set_index("set")
    assert frame.loc["reference", "srga"] == frame.loc["same", "srga"] == 0
    assert frame.loc["other", "srga"] > 0 and frame.loc["other", "patches"] == 6


def test_srga_grows_with_a_change_of_shape() -> None:
    indices = [srga_index(divergence((1.0, 1.0), (1.0, beta))) for beta in (1.0, 1.1, 1.3, 1.6, 2.0)]
    assert indices[0] == 0 and all(a < b for a, b in pairwise(indices))


def test_srga_grows_with_a_change_of_shape_that_is_estimated() -> None:
    sampled = [generalized_gaussian(gennorm.rvs(beta, size=50_000, random_state=0)) for beta in (1, 1.3, 2)]
    moved = [srga_index(divergence(sampled[0], shape)) for shape in sampled]
    assert moved[0] == 0 and moved[0] < moved[1] < moved[2]


def test_the_second_moment_is_raw_and_the_first_absolute_one_centred_as_in_the_papers_formula() -> None:
    values = gennorm.rvs(2, size=20_000, random_state=0)  # none is left out as an outlier
    values -= values.mean()
    shifted = values + 0.5 * values.std()
    wanted = (shifted**2).mean() / np.abs(shifted - shifted.mean()).mean() ** 2
    betas = np.arange(0.2, 10, 0.001)
    ratio = gamma(1 / betas) * gamma(3 / betas) / gamma(2 / betas) ** 2
    _, beta = generalized_gaussian(shifted)
    assert beta == pytest.approx(betas[np.abs(ratio - wanted).argmin()], abs=0.002)
    assert beta < generalized_gaussian(values)[1] - 0.1  # a centred second moment would ignore the shift


def test_a_layer_that_never_changes_has_no_distribution() -> None:
    network = with_filters(torch.zeros(2, 3), torch.ones(2))
    with pytest.raises(InputError, match="do not differ"):
        srga(network, some_images((5, 5), (5, 5)), {}, "0")
