"""Networks that run in milliseconds; every part of them has an effect."""

from pathlib import Path

import torch
from torch import Tensor, nn

from srgame.networks import HAN, RRDBNet, SRResNet

SMALL = {
    "srresnet-x2": lambda: SRResNet(2, features=8, blocks=2),
    "srresnet-x3": lambda: SRResNet(3, features=8, blocks=2),
    "srresnet-x4": lambda: SRResNet(4, features=8, blocks=2),
    "rrdbnet-x2": lambda: RRDBNet(2, features=8, blocks=2, growth=4),
    "rrdbnet-x4": lambda: RRDBNet(4, features=8, blocks=2, growth=4),
    "han-x2": lambda: HAN(2, groups=2, blocks=2, features=8, reduction=4),
    "han-x3": lambda: HAN(3, groups=2, blocks=2, features=8, reduction=4),
    "han-x4": lambda: HAN(4, groups=2, blocks=2, features=8, reduction=4),
}


def small(name: str) -> nn.Module:
    """A network of SMALL with random weights; HAN's attentions, which are off initially, are on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SMALL[name]()
        for parameter_name, parameter in network.named_parameters():
            if parameter_name.endswith("gamma"):
                nn.init.constant_(parameter, 0.5)
    return network.eval()


def with_filters(weights: Tensor, bias: Tensor) -> nn.Module:
    """A network whose first layer consists of 1 × 1 filters with these weights, one row per filter."""
    network = nn.Sequential(nn.Conv2d(3, len(weights), 1), nn.Conv2d(len(weights), 3, 1))
    network[0].weight.data = weights[:, :, None, None]
    network[0].bias = nn.Parameter(bias)
    return network


class Foreign(nn.Module):
    """In-place activations, a layer that runs twice, one that never runs, one without channels, one of two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.twice = nn.Conv2d(4, 4, 3, padding=1)
        self.never = nn.Conv2d(4, 4, 3)
        self.flat = nn.Flatten()
        self.pair = Pair()
        self.last = nn.Conv2d(4, 12, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        x = self.act(self.conv(lr))
        try:
            x = self.twice(self.twice(x))
        except Exception:  # careless code: an exception that a probe raises to stop the run would end here
            x = x * 0
        self.flat(x)
        if x.mean() > 1e9:  # what torch.fx cannot trace
            return x
        sr: Tensor = nn.functional.pixel_shuffle(self.last(self.pair(x)[0]), 2)
        return sr


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


class Points(nn.Module):
    """Its response to an image is the image."""

    def __init__(self) -> None:
        super().__init__()
        self.same = nn.Identity()

    def forward(self, lr: Tensor) -> Tensor:
        same: Tensor = self.same(lr)
        return same


def images(batch: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def saved(content: object, path: Path) -> Path:
    torch.save(content, path)
    return path


def assert_same_images(network: nn.Module, other: nn.Module) -> None:
    with torch.no_grad():
        torch.testing.assert_close(network(images(2, 5, 7)), other(images(2, 5, 7)))
