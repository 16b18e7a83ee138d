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


MEAN = (0.45, 0.44, 0.40)


class Plain(nn.Module):
    """Three convs, x4, and a bilinear skip; the networks below change one habit of it each, not its images."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 6, 3, padding=1)
        self.body = nn.Conv2d(6, 6, 3, padding=1)
        self.tail = nn.Conv2d(6, 48, 3, padding=1)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))

    def restored(self, x: Tensor) -> Tensor:
        sr = nn.functional.pixel_shuffle(self.tail(self.body(self.head(x).relu()).relu()), 4)
        return sr * 0.2 + nn.functional.interpolate(x, scale_factor=4, mode="bilinear")

    def forward(self, x: Tensor) -> Tensor:
        sr: Tensor = self.restored(x - self.mean) + self.mean
        return sr


class EditsInput(Plain):
    """Subtracts the mean from the caller's own tensor."""

    def forward(self, x: Tensor) -> Tensor:
        x -= self.mean
        sr: Tensor = self.restored(x) + self.mean
        return sr


class EditsInputTwice(Plain):
    """Edits its input, and the response that it has recorded: after the layer head, x changes again."""

    def restored(self, x: Tensor) -> Tensor:
        z = self.head(x).relu_()
        z = self.body(z).relu_()
        x.mul_(2.0)
        sr = nn.functional.pixel_shuffle(self.tail(z), 4).mul_(0.2)
        return sr.add_(nn.functional.interpolate(x, scale_factor=4, mode="bilinear"), alpha=0.5)

    def forward(self, x: Tensor) -> Tensor:
        x.sub_(self.mean)
        sr: Tensor = self.restored(x).add_(self.mean)
        return sr


class SetsAttributes(Plain):
    """Sets an attribute, a buffer and a parameter in each run, to what they were."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.mean = self.mean.type_as(x)
        self.seen = x.mean()
        self.head.bias = nn.Parameter(self.head.bias.detach() + 0)
        sr: Tensor = self.restored(x - self.mean) + self.mean
        return sr


class Checked(Plain):
    """Looks at sizes, as efficient SR networks do: nothing that torch.fx can trace."""

    def restored(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        assert c == 3 and h > 2
        z = nn.functional.pad(self.head(x), (0, w % 2, 0, h % 2)).relu()
        z = self.body(z[:, :, :h, :w]).relu()
        sr = nn.functional.pixel_shuffle(self.tail(z), 4).view(b, 3, 4 * h, 4 * w)
        return sr * 0.2 + nn.functional.interpolate(x, size=(4 * h, 4 * w), mode="bilinear")


class MeansByChannel(Plain):
    """Makes the means a tensor without a batch axis in each run."""

    def forward(self, x: Tensor) -> Tensor:
        means = x.new_tensor(MEAN)[:, None, None]
        sr: Tensor = self.restored(x - means) + means
        return sr


class AddsInPlace(Plain):
    """Overwrites the response of the layer body by code, not by a module."""

    def restored(self, x: Tensor) -> Tensor:
        z = self.body(self.head(x).relu())
        z += 0.0
        sr = nn.functional.pixel_shuffle(self.tail(nn.functional.relu(z, inplace=True)), 4)
        return sr * 0.2 + nn.functional.interpolate(x, scale_factor=4, mode="bilinear")


class NoGradients(Plain):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


class OverwritesGates(Plain):
    """Overwrites what the gradient of a sigmoid needs."""

    def restored(self, x: Tensor) -> Tensor:
        z = self.body(self.head(x).relu()).sigmoid().mul_(0.5)
        sr = nn.functional.pixel_shuffle(self.tail(z), 4)
        return sr * 0.2 + nn.functional.interpolate(x, scale_factor=4, mode="bilinear")


class BatchOfOne(Plain):
    def forward(self, x: Tensor) -> Tensor:
        assert len(x) == 1, "one image at a time"
        return super().forward(x)


class OneByOne(Plain):
    """Takes batches, and calls its layers once for each image."""

    def forward(self, x: Tensor) -> Tensor:
        forward = super().forward
        return torch.cat([forward(each) for each in x.split(1)])


class NamedAsOurs(Checked):
    """Its layers have the names that attributes of srgame's own modules had."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.network = self.head, self.body
        del self.head, self.body

    @property
    def head(self) -> nn.Module:
        return self.layers

    @property
    def body(self) -> nn.Module:
        return self.network


class BatchCoupled(Plain):
    """Normalises over the batch."""

    def restored(self, x: Tensor) -> Tensor:
        z = self.body(self.head(x).relu()).relu()
        z = (z - z.mean((0, 1, 2, 3), keepdim=True)) / (z.std() + 1e-3)
        sr = nn.functional.pixel_shuffle(self.tail(z), 4)
        return sr * 0.05 + nn.functional.interpolate(x, scale_factor=4, mode="bilinear")


class Recursive(Plain):
    """Calls one layer three times."""

    def restored(self, x: Tensor) -> Tensor:
        z = self.head(x).relu()
        for _ in range(3):
            z = z + self.body(z).relu()
        sr = nn.functional.pixel_shuffle(self.tail(z), 4)
        return sr * 0.2 + nn.functional.interpolate(x, scale_factor=4, mode="bilinear")


class Normed(Plain):
    """A norm and an activation that overwrites behind the layer body; the same activation serves the head."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.act = nn.BatchNorm2d(6), nn.ReLU(inplace=True)
        self.norm.bias.data += 0.3
        self.norm.running_mean += 0.2

    def restored(self, x: Tensor) -> Tensor:
        z = self.act(self.norm(self.body(self.act(self.head(x)))))
        sr = nn.functional.pixel_shuffle(self.tail(z), 4)
        return sr * 0.2 + nn.functional.interpolate(x, scale_factor=4, mode="bilinear")


class Windows(Plain):
    """Attention in windows of 4×4 pixels, two heads of three features, and linear features behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj, self.fc = nn.Linear(6, 18), nn.Linear(6, 6), nn.Linear(6, 6)

    def attended(self, z: Tensor) -> Tensor:
        b, c, h, w = z.shape
        z = z.view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(-1, 16, c)
        q, k, v = self.qkv(z).view(len(z), 16, 3, 2, 3).permute(2, 0, 3, 1, 4)
        z = self.proj((q @ k.transpose(-1, -2)).softmax(-1).matmul(v).transpose(1, 2).reshape(-1, 16, c))
        z = self.fc(z).view(b, h // 4, w // 4, 4, 4, c)
        return z.permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)

    def restored(self, x: Tensor) -> Tensor:
        z = self.head(x).relu()
        sr = nn.functional.pixel_shuffle(self.tail(z + self.attended(z)), 4)
        return sr * 0.2 + nn.functional.interpolate(x, scale_factor=4, mode="bilinear")


HABITS = {
    kind.__name__: kind
    for kind in (
        *(Plain, EditsInput, EditsInputTwice, SetsAttributes, Checked, MeansByChannel, BatchOfOne, BatchCoupled),
        *(AddsInPlace, Recursive, Normed, Windows, NoGradients, OverwritesGates, OneByOne, NamedAsOurs),
    )
}


def with_habit(name: str) -> nn.Module:
    """A network of HABITS; those of the same modules have the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return HABITS[name]().eval()
