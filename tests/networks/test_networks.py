"""The networks: their sizes and formulas, and that a game can cut and erase them."""

import pytest
import torch
import torch.nn.functional as F
from small_networks import SMALL, images, small
from torch import Tensor, fx, nn

from srgame.errors import InputError
from srgame.filters import filters_of, resume
from srgame.networks import HAN, NETWORKS, RRDBNet, SRResNet
from srgame.networks.han import ChannelSpatialAttention, LayerAttention, han_lite
from srgame.networks.rrdbnet import DenseBlock


@pytest.fixture(params=SMALL)
def network(request: pytest.FixtureRequest) -> nn.Module:
    return small(request.param)


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (lambda: SRResNet(4), 1_517_571),
        (lambda: SRResNet(2), 1_369_859),
        (lambda: RRDBNet(4), 16_697_987),
        (lambda: RRDBNet(2), 16_703_171),
        (lambda: HAN(4), 16_071_745),
        (lambda: han_lite(4), 802_633),
    ],
)
def test_a_network_has_as_many_parameters_as_the_public_one(build, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in build().parameters()) == parameters


@pytest.mark.parametrize(("build", "filters"), [(SRResNet, 2_691), (RRDBNet, 13_571)])
def test_a_network_has_as_many_filters_as_the_public_one(build, filters):
    with torch.device("meta"):
        assert len(filters_of(build())) == filters


@pytest.mark.parametrize("name", NETWORKS)
def test_every_named_network_enlarges_four_times_by_default(name):
    with torch.device("meta"):
        assert NETWORKS[name]()(torch.empty(1, 3, 6, 5)).shape == (1, 3, 24, 20)


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (2, 3)])
def test_the_sr_image_is_scale_times_larger_for_even_and_odd_sizes(network, size):
    height, width = size
    with torch.no_grad():
        assert network(images(2, *size)).shape == (2, 3, height * network.scale, width * network.scale)


def test_nothing_is_changed_in_place(network):
    recorded = []

    def record(_: nn.Module, inputs: tuple[Tensor, ...], response: Tensor) -> None:
        recorded.extend((tensor, tensor.clone()) for tensor in (*inputs, response))

    for layer in network.modules():
        layer.register_forward_hook(record)
    with torch.no_grad():
        network(images(1, 5, 6))
    assert all(torch.equal(after, before) for after, before in recorded)
    assert not any(getattr(layer, "inplace", False) for layer in network.modules())


def test_a_trace_takes_any_batch_and_size(network):
    traced = fx.symbolic_trace(network)
    with torch.no_grad():
        for lr in (images(1, 4, 6), images(3, 5, 7)):
            torch.testing.assert_close(traced(lr), network(lr))


def test_a_network_can_be_resumed_with_a_larger_batch(network):
    lr, layers = images(1, 5, 6), filters_of(network).layers
    with torch.no_grad():
        expected = network(lr).expand(2, -1, -1, -1)
        for layer in layers[1 :: len(layers) // 2]:
            cut = resume(network, [layer])
            live = [tensor.expand(2, *tensor.shape[1:]) for tensor in cut.head(lr)]
            torch.testing.assert_close(cut.tail(*live), expected, msg=layer)


@pytest.mark.parametrize(("build", "scale"), [(RRDBNet, 3), (HAN, 5)])
def test_a_scale_that_a_network_does_not_have_is_named(build, scale):
    with pytest.raises(InputError, match=f"not {scale} times"):
        build(scale)


def test_an_odd_image_is_restored_like_its_reflected_extension():
    network, lr = small("rrdbnet-x2"), images(1, 5, 7)
    continued = torch.cat((lr, lr[:, :, -2:-1]), 2)
    continued = torch.cat((continued, continued[..., -2:-1]), 3)
    with torch.no_grad():
        torch.testing.assert_close(network(lr), network(continued)[..., :10, :14])


def test_a_dense_block_is_its_formula_written_out():
    block = DenseBlock(6, 4)
    x = images(2, 5, 5).repeat(1, 2, 1, 1)
    act = nn.LeakyReLU(0.2)
    x1 = act(block.conv1(x))
    x2 = act(block.conv2(torch.cat((x, x1), 1)))
    x3 = act(block.conv3(torch.cat((x, x1, x2), 1)))
    x4 = act(block.conv4(torch.cat((x, x1, x2, x3), 1)))
    torch.testing.assert_close(block(x), 0.2 * block.conv5(torch.cat((x, x1, x2, x3, x4), 1)) + x)


def test_dense_blocks_start_small():
    weight = RRDBNet(4, features=16, blocks=1, growth=16).body[0].rdb1.conv5.weight
    assert weight.std().item() == pytest.approx(0.1 * (2 / (9 * weight.shape[1])) ** 0.5, rel=0.1)


@pytest.mark.parametrize(("features", "growth"), [(64, 32), (24, 12), (1, 1)])
def test_growth_is_half_of_the_features_unless_given(features, growth):
    with torch.device("meta"):
        assert RRDBNet(features=features, blocks=1).body[0].rdb1.conv1.out_channels == growth


def test_layer_attention_is_its_definition_in_loops():
    attention = LayerAttention()
    nn.init.constant_(attention.gamma, 0.7)
    x = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0)) / 10
    expected = torch.empty_like(x)
    for image in range(2):
        for i in range(3):
            alike = torch.stack([(x[image, i] * x[image, j]).sum() for j in range(3)])
            weights = (-alike).exp() / (-alike).exp().sum()
            expected[image, i] = x[image, i] + 0.7 * sum(weights[j] * x[image, j] for j in range(3))
    torch.testing.assert_close(attention(x), expected.flatten(1, 2))


def test_channel_spatial_attention_is_its_definition_in_loops():
    attention = ChannelSpatialAttention()
    nn.init.constant_(attention.gamma, 0.7)
    x = torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    kernel, padded = attention.conv.weight[0, 0], F.pad(x[0], (1,) * 6)
    expected = x.clone()
    for c, i, j in torch.cartesian_prod(torch.arange(3), torch.arange(4), torch.arange(5)).tolist():
        response = (kernel * padded[c : c + 3, i : i + 3, j : j + 3]).sum() + attention.conv.bias[0]
        expected[0, c, i, j] += 0.7 * torch.sigmoid(response) * x[0, c, i, j]
    torch.testing.assert_close(attention(x), expected)


def test_han_is_the_public_definition_written_out():
    network, lr = small("han-x4"), images(2, 5, 6)
    mean = torch.tensor([0.4488, 0.4371, 0.4040]).reshape(1, 3, 1, 1)
    with torch.no_grad():
        head = response = network.head(lr - mean)
        stacked = torch.empty(2, 0, *head.shape[1:])
        for stage in network.body:
            response = stage(response)
            stacked = torch.cat((response.unsqueeze(1), stacked), 1)
        holistic = network.last_conv(network.la(stacked))
        detail = network.last(torch.cat((network.csa(response), holistic), 1))
        torch.testing.assert_close(network(lr), network.tail(head + detail) + mean)
