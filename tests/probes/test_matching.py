"""The matching of two networks' filters by the correlation of their responses."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.networks import SRResNet
from srgame.probes.matching import channel_matching


@pytest.fixture
def images() -> list[Tensor]:
    return list(torch.rand(3, 3, 9, 8, generator=torch.Generator().manual_seed(1)))


def permuted(network: SRResNet, order: list[int]) -> SRResNet:
    """The same function, in which filter k of the first block is filter order[k] of `network`."""
    twin = copy.deepcopy(network)
    block = twin.body[0]
    with torch.no_grad():
        block.conv1.weight[:], block.conv1.bias[:] = block.conv1.weight[order].clone(), block.conv1.bias[order].clone()
        block.conv2.weight[:] = block.conv2.weight[:, order].clone()
    return twin


def test_a_network_with_permuted_filters_is_matched_with_its_original(small: SRResNet, images: list[Tensor]) -> None:
    order = [3, 0, 7, 1, 5, 2, 6, 4]
    matched = channel_matching(small, permuted(small, order), images, ["body.0.conv1"])
    assert [order[partner] for partner in matched["partner"]] == matched["filter"].tolist() == list(range(8))
    assert np.allclose(matched["correlation"], 1)
    assert matched["chance"].nunique() == 1 and matched["chance"].iloc[0] < 0.9


def test_correlations_are_those_of_numpy_and_their_sum_is_the_largest(small: SRResNet, images: list[Tensor]) -> None:
    other = SRResNet(scale=4, features=8, blocks=2).eval()
    matched = channel_matching(small, other, images, ["conv_first"])
    with torch.inference_mode():
        responses = [[net.conv_first(image[None])[0].flatten(1).numpy() for image in images] for net in (small, other)]
    each = np.mean([np.corrcoef(a, b)[:8, 8:] for a, b in zip(*responses, strict=True)], axis=0)
    assert np.allclose(each[matched["filter"], matched["partner"]], matched["correlation"], atol=1e-5)
    generator = np.random.default_rng(0)
    others = [each[np.arange(8), generator.permutation(8)].sum() for _ in range(300)]
    assert matched["correlation"].sum() >= max(others) - 1e-5
    apart = np.mean([np.corrcoef(responses[0][i], responses[1][(i + 1) % 3])[:8, 8:] for i in range(3)], axis=0)
    by_chance = [apart[np.arange(8), generator.permutation(8)].mean() for _ in range(300)]
    assert matched["chance"].iloc[0] >= max(by_chance) - 1e-5


def test_without_two_images_of_one_size_chance_is_unknown(small: SRResNet, photographs: Pairs) -> None:
    of_one = channel_matching(small, small, photographs.lr[:1], ["conv_hr"])
    of_two_sizes = channel_matching(small, small, [photographs.lr[0], photographs.lr[1][:, :-1]], ["conv_hr"])
    assert of_one["chance"].isna().all() and of_two_sizes["chance"].isna().all()
    assert np.allclose(of_two_sizes["correlation"], 1)


def test_a_constant_response_correlates_with_nothing_and_a_wider_layer_keeps_filters(images: list[Tensor]) -> None:
    narrow, wide = (nn.Sequential(nn.Conv2d(3, width, 3), nn.Conv2d(width, 3, 1)) for width in (2, 5))
    with torch.no_grad():
        narrow[0].weight[1] = 0
    matched = channel_matching(narrow, wide, images, ["0"])
    assert matched["filter"].tolist() == [0, 1] and matched["correlation"].iloc[1] == 0
    assert matched["partner"].nunique() == 2


def test_responses_of_different_sizes_are_refused(images: list[Tensor]) -> None:
    padded, unpadded = (nn.Sequential(nn.Conv2d(3, 2, 3, padding=p), nn.Conv2d(2, 3, 1)) for p in (1, 0))
    with pytest.raises(InputError, match=r"'0'.*72.*42"):
        channel_matching(padded, unpadded, images, ["0"])
