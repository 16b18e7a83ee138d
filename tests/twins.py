"""Twins: networks in plain torch that compute what others compute with srgame's help, such as an adapter."""

from copy import deepcopy
from functools import cache

import other_conventions
import torch
import torch.nn.functional as F
from other_conventions import SFTMD, Plain, Windowed
from small_networks import with_habit
from torch import Tensor, nn

from srgame.networks import adapted


class OfLuma(Plain):
    """Restores the luma (BT.601, as MATLAB); Cb and Cr are upsampled bicubically."""

    def forward(self, x: Tensor) -> Tensor:
        matrix = x.new_tensor([[65.481, 128.553, 24.966], [-37.797, -74.203, 112], [112, -93.786, -18.214]]) / 255
        offset = x.new_tensor([16, 128, 128])[:, None, None] / 255
        ycbcr = torch.einsum("kc,bchw->bkhw", matrix, x) + offset
        colours = F.interpolate(ycbcr[:, 1:], scale_factor=4, mode="bicubic", antialias=True)
        restored = torch.cat((self.restored(ycbcr[:, :1]), colours), 1) - offset
        return torch.einsum("ck,bkhw->bchw", torch.linalg.inv(matrix), restored)


class Enlarging(Plain):
    """SRCNN with its bicubic upsampling."""

    def forward(self, x: Tensor) -> Tensor:
        return self.restored(F.interpolate(x, scale_factor=4, mode="bicubic", antialias=True))


class Padding(Windowed):
    """Pads images to whole windows by reflection, and crops."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        padded = F.pad(x, (0, -width % self.window, 0, -height % self.window), mode="reflect")
        return super().forward(padded)[..., : 4 * height, : 4 * width]


class Knowing(SFTMD):
    """Knows its code."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x, x.new_full((len(x), 10), 0.1))


class Features(nn.Module):
    """The MLP of a transformer: its features are linear, with channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 6, 3, padding=1)
        self.norm, self.fc1, self.fc2 = nn.LayerNorm(6), nn.Linear(6, 8), nn.Linear(8, 6)
        self.tail = nn.Conv2d(6, 48, 3, padding=1)

    def mixed(self, x: Tensor) -> Tensor:
        z = x.permute(0, 2, 3, 1)
        return (z + self.fc2(F.gelu(self.fc1(self.norm(z))))).permute(0, 3, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        detail = F.pixel_shuffle(self.tail(self.mixed(self.head(x))), 4)
        return 0.1 * detail + F.interpolate(x, scale_factor=4, mode="bilinear")


class Convs(Features):
    """The same with convs of 1×1 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Conv2d(6, 8, 1), nn.Conv2d(8, 6, 1)

    def mixed(self, x: Tensor) -> Tensor:
        mean, deviation = x.mean(1, keepdim=True), (x.var(1, keepdim=True, correction=0) + 1e-5).sqrt()
        return x + self.fc2(F.gelu(self.fc1((x - mean) / deviation)))


class Unrolled(nn.Module):
    """Recursive of small_networks, with a conv for each of the three calls of its body."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 48, 3, padding=1)
        self.first, self.second, self.third = (nn.Conv2d(6, 6, 3, padding=1) for _ in range(3))
        self.register_buffer("mean", torch.tensor([0.45, 0.44, 0.40]).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        z = self.head(x - self.mean).relu()
        for conv in (self.first, self.second, self.third):
            z = z + conv(z).relu()
        sr = F.pixel_shuffle(self.tail(z), 4) * 0.2
        return sr + F.interpolate(x - self.mean, scale_factor=4, mode="bilinear") + self.mean


def with_weights_of(network: nn.Module, twin: nn.Module) -> nn.Module:
    """The twin with the network's weights; those of a linear layer become a conv of 1×1 pixels."""
    own, state = network.state_dict(), twin.state_dict()
    same = {"first": "body", "second": "body", "third": "body"}
    for name in state:
        layer, _, kind = name.partition(".")
        state[name] = own[f"{same.get(layer, layer)}.{kind}" if kind else name].reshape(state[name].shape)
    twin.load_state_dict(state)
    return twin.eval()


def case(name: str) -> tuple[nn.Module, nn.Module]:
    """A network, and its twin."""
    return deepcopy(_built(name))


@cache
def _built(name: str) -> tuple[nn.Module, nn.Module]:
    built = {"features": Features, "recursive": lambda: with_habit("Recursive")}.get(name)
    twins = {"one_channel": OfLuma(4, 1), "enlarged_first": Enlarging(1), "window8": Padding(8), "sftmd": Knowing()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = (built or getattr(other_conventions, name))().eval()
    twin = with_weights_of(network, {"features": Convs(), "recursive": Unrolled()}.get(name) or twins[name])
    told = {
        "one_channel": {"channels": "y"},
        "enlarged_first": {"upsampled_input": 4},
        "window8": {},
        "sftmd": {"extra_inputs": ["10=0.1"]},
    }
    return adapted(network, **told[name]) if name in told else network, twin
