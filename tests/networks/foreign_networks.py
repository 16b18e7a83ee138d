"""Foreign networks of the kinds that public code has, small, and the plain one whose weights they hold."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


class Plain(nn.Module):
    """Three convs and a batch normalisation, x2."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.tail = nn.Conv2d(8, 12, 3, padding=1)

    def forward(self, lr: Tensor) -> Tensor:
        return F.pixel_shuffle(self.tail(F.relu(self.norm(self.head(lr)))), 2)


class Normed(Plain):
    """Its convs have today's weight norm."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.tail = weight_norm(self.head), weight_norm(self.tail)


class Wrapped(nn.Module):
    """A user's adapter to [0, 255]; the weights in the file are the inner network's."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Plain()
        self.register_buffer("peak", torch.tensor(255.0))

    def forward(self, lr: Tensor) -> Tensor:
        sr: Tensor = self.net(lr * self.peak) / self.peak
        return sr


class Scaled(Wrapped):
    """An adapter with a parameter of its own, which no file of the inner network holds."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))


class OwnLoad(Plain):
    """Its files call the first conv `stem`; its own `load_state_dict` knows."""

    def load_state_dict(self, state: dict[str, Any], *args: Any, **options: Any) -> Any:
        return super().load_state_dict({k.replace("stem", "head"): v for k, v in state.items()}, *args, **options)


class Copying(Plain):
    """Loads as EDSR's public code does, by hand, and tells nobody what is missing."""

    def load_state_dict(self, state_dict: dict[str, Tensor], strict: bool = False) -> None:  # type: ignore[override]
        own = self.state_dict()
        for name, tensor in state_dict.items():
            if name in own:
                own[name].copy_(tensor)


class Fused(Plain):
    """Its files hold two convs in place of the first, which it adds."""

    def load_state_dict(self, state_dict: dict[str, Tensor], strict: bool = True) -> Any:  # type: ignore[override]
        state = dict(state_dict)
        for kind in ("weight", "bias"):
            state[f"head.{kind}"] = state.pop(f"one.{kind}") + state.pop(f"two.{kind}")
        return super().load_state_dict(state, strict)


class Twice(Plain):
    """One conv of it runs under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.again = self.body

    def forward(self, lr: Tensor) -> Tensor:
        return F.pixel_shuffle(self.tail(self.again(self.body(self.norm(self.head(lr))))), 2)


def drawn(kind: Callable[[], nn.Module]) -> nn.Module:
    """A network whose weights, statistics included, are all random, and none of them initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = kind().eval()
        for tensor in filled(network):
            tensor.data = torch.rand_like(tensor) + 0.1
    return network


def filled(network: nn.Module) -> Iterator[Tensor]:
    yield from (tensor for tensor in network.state_dict(keep_vars=True).values() if tensor.is_floating_point())
