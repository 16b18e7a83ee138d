"""Channel salience against finite differences."""

import math

import numpy as np
import pytest
import torch
from slow_responses import IMAGES, some_images
from small_networks import Foreign, with_habit
from small_networks import small as small_network
from torch import Tensor

from srgame.errors import InputError
from srgame.networks import SRResNet
from srgame.probes.salience import channel_salience, edges, salience_maps


def test_edges_are_their_definition() -> None:
    sr = IMAGES[0][None].double()
    computed = edges(sr, 1e-8)
    for c, y, x in [(0, 0, 0), (1, 3, 4), (2, 7, 5)]:
        down, across = sr[0, c, y, x] - sr[0, c, y + 1, x], sr[0, c, y, x] - sr[0, c, y, x + 1]
        assert computed[0, c, y, x].item() == pytest.approx(math.sqrt(down**2 + across**2 + 1e-8))
    assert computed.shape == (1, 3, 8, 6)


def test_salience_is_the_change_of_edges_when_a_response_changes(small: SRResNet) -> None:
    image, network = some_images((3, 3))[0].double(), small.double()
    try:
        frame = channel_salience(network, [image], ["body.0"])
        with torch.no_grad():
            response = network.body[0](network.lrelu(network.conv_first(image[None])))

            def total(features: Tensor) -> float:
                handle = network.body[0].register_forward_hook(lambda *_: features)
                sum_of_edges = edges(network(image[None])).sum().item()
                handle.remove()
                return sum_of_edges

            gradient = torch.zeros_like(response)
            for place in np.ndindex(*response.shape):
                step = torch.zeros_like(response)
                step[place] = 1e-6
                gradient[place] = (total(response + step) - total(response - step)) / 2e-6
    finally:
        network.float()
    csm = gradient[0].abs() / gradient.abs().max()
    np.testing.assert_allclose(frame["salience"], csm.sum((1, 2)), rtol=1e-3)
    np.testing.assert_allclose(frame["share"], csm.sum((1, 2)) / csm.sum(), rtol=1e-3)
    assert frame["share"].sum() == pytest.approx(1)


def test_salience_reads_what_an_activation_in_place_overwrites(foreign: Foreign) -> None:
    maps = salience_maps(foreign, IMAGES[0], ["conv"])
    with torch.no_grad():
        conv = foreign.conv(IMAGES[0][None])[0]
    np.testing.assert_allclose(maps["feature"], conv.flatten(), rtol=1e-5)
    idle = maps["feature"] < 0  # ReLU lets no gradient pass
    assert idle.any() and (maps.loc[idle, "salience"] == 0).all() and maps["salience"].max() == 1


@pytest.mark.parametrize("frozen", [False, True])
def test_a_flat_image_has_finite_salience_in_a_frozen_network_too(frozen: bool) -> None:
    network = small_network("srresnet-x4").requires_grad_(not frozen)
    frame = channel_salience(network, [torch.full((3, 6, 6), 0.5)], ["conv_first", "conv_last:input"])
    assert np.isfinite(frame[["salience", "share"]]).all(axis=None)


@pytest.mark.parametrize("name", ["NoGradients", "OverwritesGates"])
def test_a_network_that_cannot_be_differentiated_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match="cannot be differentiated"):
        channel_salience(with_habit(name), some_images((10, 12)), ["body"])
