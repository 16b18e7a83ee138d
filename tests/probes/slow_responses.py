"""Images, and what layers respond to them, computed without hooks."""

import torch
from torch import Tensor

from srgame.data.images import Image
from srgame.networks import SRResNet

LAYERS = ("body.1", "conv_hr")


def some_images(*sizes: tuple[int, int]) -> list[Image]:
    rng = torch.Generator().manual_seed(0)
    return [torch.rand(3, *size, generator=rng) for size in sizes]


IMAGES = some_images((9, 7), (6, 11), (8, 8))


def by_hand(network: SRResNet, image: Image) -> dict[str, Tensor]:
    """What two layers respond, from the network's parts in a row instead of hooks."""
    with torch.no_grad():
        block = network.body(network.lrelu(network.conv_first(image[None])))
        x = network.lrelu(network.shuffle(network.upconv1(block)))
        x = network.lrelu(network.shuffle(network.upconv2(x)))
        hr = network.conv_hr(x)
    return {"body.1": block[0], "conv_hr": hr[0], "conv_hr:input": x[0], "conv_last:input": network.lrelu(hr)[0]}
