"""A network and patches small enough for tests of training."""

from torch import nn

from srgame.data.images import image_paths, read_rgb
from srgame.networks import SRResNet
from srgame.training.loop import seeded
from srgame.training.patches import Patches

IMAGES = [read_rgb(image_paths("photographs")[0])[top : top + 40, 180:230] for top in (20, 60, 100)]


def tiny(seed: int = 0) -> nn.Module:
    return seeded(lambda: SRResNet(features=6, blocks=2), seed)


def batches() -> Patches:
    return Patches(IMAGES, scale=4, patch=24, batch=5)
