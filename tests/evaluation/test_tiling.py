"""Tiled runs against whole ones, and the reach against a slower definition."""

import math
from functools import partial

import pytest
import torch
from small_networks import SMALL, images, small
from torch import Tensor, nn

from srgame.errors import InputError
from srgame.evaluation.tiling import STRIDE, Tiled, bytes_per_pixel, reach
from srgame.networks import RRDBNet, SRResNet
from srgame.training.loop import seeded

CONVOLUTIONAL = [name for name in SMALL if not name.startswith("han")]
SHALLOW = {  # the smaller the reach, the smaller the images that take several tiles
    **{f"srresnet-x{scale}": partial(SRResNet, scale, features=8, blocks=1) for scale in (2, 3, 4)},
    **{f"rrdbnet-x{scale}": partial(RRDBNet, scale, features=8, blocks=1, growth=4) for scale in (2, 4)},
}


class Counted(nn.Module):
    """Records the LR pixels of each run of a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.sizes = network, list[int]()

    def forward(self, lr: Tensor) -> Tensor:
        self.sizes.append(lr.shape[-2] * lr.shape[-1])
        sr: Tensor = self.network(lr)
        return sr


def slow_reach(network: nn.Module, length: int = 256) -> int:
    """How far a bright block affects a dark image if all weights are positive (nothing cancels) and biases are 0."""
    network = network.double()
    for name, weights in network.named_parameters():
        nn.init.constant_(weights, 0.0 if name.endswith("bias") else 0.5)
    middle = slice(length // 2, length // 2 + STRIDE)
    lr = torch.zeros(1, 3, 16, length, dtype=torch.float64)
    lr[..., middle] = 1
    with torch.inference_mode():
        sr = network(lr)
    lit = sr.sum((0, 1, 2)).reshape(length, -1).sum(1).nonzero()
    return max(middle.start - int(lit.min()), int(lit.max()) - middle.stop + 1)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_reach_matches_the_slow_definition(name: str) -> None:
    assert reach(small(name)) == slow_reach(small(name))


def test_reach_grows_by_the_layers() -> None:
    """One LR pixel per conv before upsampling, then a half and two quarters: 1 + 2·16 + 1 + 1/2 + 1/4 + 1/4."""
    assert reach(SRResNet(features=4, blocks=16).eval()) == 35


@pytest.mark.parametrize("name", SHALLOW)
@pytest.mark.parametrize("shape", ["both", "high", "wide"])
def test_tiles_are_the_whole_image(name: str, shape: str) -> None:
    network = Counted(seeded(SHALLOW[name], 0).eval())
    side = 2 * math.ceil((reach(network) or 0) / STRIDE) * STRIDE + 3 * STRIDE
    height, width = {"both": (side + 5, side + 13), "high": (4 * side + 1, 47), "wide": (47, 4 * side + 3)}[shape]
    lr = images(1, height, width)
    with torch.inference_mode():
        whole = network(lr)
        network.sizes.clear()
        torch.testing.assert_close(Tiled(network, side)(lr), whole, rtol=1e-5, atol=1e-5)
    assert len(network.sizes) > 3


def test_an_overlap_below_the_reach_is_an_approximation() -> None:
    network, lr = small("srresnet-x4"), images(1, 100, 100)
    with torch.inference_mode():
        assert (Tiled(network, side=56, overlap=0)(lr) - network(lr)).abs().max() > 1e-3


def test_only_larger_images_are_tiled_and_no_tile_is_larger() -> None:
    counted = Counted(small("srresnet-x4"))
    tiled = Tiled(counted, side=64)
    with torch.inference_mode():
        tiled(images(1, 64, 64))
        assert counted.sizes == [64 * 64]
        tiled(images(1, 64, 65))
        counted.sizes.clear()
        tiled(images(1, 130, 70))
    assert len(counted.sizes) > 1 and max(counted.sizes) <= 64 * 64
    assert sum(counted.sizes) >= 130 * 70


class Swallowing(nn.Module):
    """Depends on the whole image, but hides NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        sr: Tensor = self.conv(lr) + lr.nan_to_num().mean()
        return sr


@pytest.mark.parametrize("network", [small("han-x2"), Swallowing().eval()], ids=["HAN", "swallows NaN"])
def test_a_network_that_depends_on_the_whole_image_runs_whole_with_a_warning(network: nn.Module) -> None:
    assert reach(network, farthest=64) is None
    lr = images(1, 70, 60)
    with torch.inference_mode(), pytest.warns(UserWarning, match="cannot be tiled exactly"):
        assert torch.equal(Tiled(network, side=32)(lr), network(lr))


def test_a_network_without_weights_is_tiled() -> None:
    lr = images(1, 40, 60)
    tiled = Tiled(nn.Upsample(scale_factor=2, mode="nearest"), side=32)
    assert tiled.overlap == 0
    torch.testing.assert_close(tiled(lr), lr.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_too_small_tiles_are_refused() -> None:
    with torch.inference_mode(), pytest.raises(InputError, match="tiles of 16 LR pixels"):
        Tiled(small("srresnet-x4"), side=16)(images(1, 100, 100))
    with pytest.raises(InputError, match=r"tile .* 8 .* not 7"):
        Tiled(small("srresnet-x4"), side=7)
    with pytest.raises(InputError, match=r"overlap .* 0 .* not -1"):
        Tiled(small("srresnet-x4"), overlap=-1)


def test_memory_grows_with_the_widest_layer() -> None:
    """A conv at 4 times the side, reading and writing 64 float32 channels."""
    assert bytes_per_pixel(SRResNet(features=64, blocks=1).eval()) >= 3 * 2 * 64 * 16 * 4
    network = nn.Conv2d(3, 5, 1)
    assert bytes_per_pixel(network) == 3 * (3 + 5) * 4
    assert Tiled(network).side > 100
