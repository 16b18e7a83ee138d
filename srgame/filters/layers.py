"""The layers whose filters play, where these are in a network, and the calls of layers in a run.

A layer is written NAME for the responses of a module, or NAME:input for the channels that it receives. NAME/4 joins
every 4 consecutive channels into one filter, such as the channels that a PixelShuffle(2) turns into one. A head of 32
features is a filter of NAME:input/32, of the linear layer behind the heads of an attention.
"""

import math
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from operator import ge
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

from srgame.errors import InputError, nearest
from srgame.filters.running import evaluating, run

CONVS = (nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d)
PLAYERS = (*CONVS, nn.Linear)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Hardtanh, nn.Hardsigmoid, nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Softplus, nn.Softsign),
)


@dataclass(frozen=True)
class Filters:
    """The filters of some layers, numbered layer by layer.

    >>> filters = Filters(("conv_first", "conv_hr"), (64, 64))
    >>> len(filters)
    128
    """

    layers: tuple[str, ...]
    widths: tuple[int, ...]

    def __len__(self) -> int:
        return sum(self.widths)

    def frame(self) -> pd.DataFrame:
        """One row per filter: layer, filter (its number within the layer)."""
        numbers = [np.arange(width) for width in self.widths]
        return pd.DataFrame({"layer": np.repeat(self.layers, self.widths), "filter": np.concatenate(numbers)})


@dataclass(frozen=True)
class Place:
    """Where the filters of a layer are: the channels that a module returns or receives, `size` for each filter."""

    module: str
    is_input: bool = False
    size: int = 1

    @classmethod
    def of(cls, layer: str) -> "Place":
        """The place that NAME, NAME:input, NAME/4 or NAME:input/4 stands for."""
        name, _, size = layer.partition("/")
        module, _, side = name.partition(":")
        if side not in ("", "input") or not (size or "1").isdigit() or int(size or 1) < 1:
            raise InputError(f"'{layer}' names no filters: write NAME, NAME:input, NAME/4 or NAME:input/4")
        return cls(module, bool(side), int(size or 1))


def filters_of(network: nn.Module, layers: Sequence[str] | None = None) -> Filters:
    """The filters of the named layers (default: all conv layers), in the network's order.

    Linear layers play if they are named. Raises InputError if a name is not that of a conv or linear layer of
    `network` (the message lists the nearest names), or if NAME/4 does not divide its channels.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> filters_of(network, ["conv_hr", "conv_first"])
    Filters(layers=('conv_first', 'conv_hr'), widths=(4, 4))
    """
    players = {name: module for name, module in network.named_modules() if isinstance(module, PLAYERS)}
    if layers is None:
        layers = [name for name, module in players.items() if isinstance(module, CONVS)]
    layers = [layers] if isinstance(layers, str) else list(dict.fromkeys(layers))
    if not layers:
        raise InputError("no layer, no filters: name at least one conv or linear layer of the network")
    places = {layer: Place.of(layer) for layer in layers}
    for place in places.values():
        if place.module not in players:
            raise InputError(
                f"the network has no conv or linear layer '{place.module}'; the nearest are "
                f"{nearest(place.module, players)}"
            )
    order = {name: number for number, name in enumerate(players)}
    layers.sort(key=lambda layer: order[places[layer].module])
    return Filters(tuple(layers), tuple(_width(layer, places[layer], players) for layer in layers))


def _width(layer: str, place: Place, players: Mapping[str, nn.Module]) -> int:
    """The number of a layer's filters."""
    module: Any = players[place.module]
    kind = "features" if isinstance(module, nn.Linear) else "channels"
    channels = int(getattr(module, f"{'in' if place.is_input else 'out'}_{kind}"))
    if channels % place.size:
        raise InputError(
            f"the {channels} {kind} of '{layer}' cannot be grouped by {place.size}: give a divisor of {channels}"
        )
    return channels // place.size


@dataclass(frozen=True)
class Calls:
    """A run of a network: the calls of its conv and linear layers, in order, and its SR images."""

    calls: tuple["Call", ...]
    sr: Float[Tensor, "b k H W"]

    def count(self, layer: str) -> int:
        """How often the layer was called."""
        return sum(call.layer == Place.of(layer).module for call in self.calls)

    def behind(self, layer: str) -> tuple[str, ...]:
        """The norm and the activation that follow the layer, if they are modules that take its response unchanged."""
        chains = {call.behind for call in self.calls if call.layer == Place.of(layer).module}
        return tuple(chains.pop()) if len(chains) == 1 else ()

    def last_feature_layer(self) -> str:
        """The last conv layer (or, without one, linear layer) whose response is not the SR image itself.

        The response of the last layer that is called counts as the image if a PixelShuffle turns it into one; that of
        any other layer does if it has the image's channels.
        """
        convs = [call for call in self.calls if call.is_conv] or list(self.calls)
        if convs and self._is_image(convs[-1]):
            convs = convs[:-1]
        features = [call for call in convs if call.channels != self.sr.shape[1]]
        if not features:
            raise InputError("the network has no feature layer: name a layer")
        return features[-1].layer

    def _is_image(self, call: "Call") -> bool:
        """Whether a PixelShuffle turns the response into the SR image, padded perhaps, or into its luma."""
        colours, *size = self.sr.shape[1:]

        def shuffled(channels: int) -> list[int]:
            factor = math.isqrt(call.channels // channels)
            return [side * factor for side in call.space] if factor**2 * channels == call.channels else []

        padded = shuffled(colours)
        covers = len(padded) == len(size) and all(map(ge, padded, size))
        return call.values == self.sr.numel() or covers or shuffled(1) == size


@dataclass(frozen=True)
class Call:
    """A call of a layer; `behind` are the norm and the activation that followed it."""

    layer: str
    is_conv: bool
    channels: int
    values: int
    space: tuple[int, ...]
    behind: tuple[str, ...]


def calls_of(network: nn.Module, lr: Float[Tensor, "b c h w"]) -> Calls:
    """The calls of the conv and linear layers in one run of the network on the images."""
    heard: list[tuple[str, nn.Module, torch.Size, list[str]]] = []
    followed: MutableMapping[Tensor, list[str]] = WeakIdKeyDictionary()  # by a response that goes on

    def hear(name: str, module: nn.Module, _: Any, response: Any) -> None:
        if isinstance(response, Tensor):
            followed[response] = []
            heard.append((name, module, response.shape, followed[response]))

    def follow(name: str, module: nn.Module, given: tuple[Any, ...], response: Any) -> None:
        chain = followed.pop(given[0], None) if given and isinstance(given[0], Tensor) else None
        if chain is not None and isinstance(response, Tensor):
            chain.append(name)
            if isinstance(module, NORMS):
                followed[response] = chain

    with ExitStack() as hooks, evaluating(network), torch.no_grad():
        for name, module in network.named_modules():
            hook = (
                hear if isinstance(module, PLAYERS) else follow if isinstance(module, (*NORMS, *ACTIVATIONS)) else None
            )
            if hook:
                hooks.callback(module.register_forward_hook(partial(hook, name)).remove)
        sr = run(network, lr)
    calls = (
        Call(
            name,
            isinstance(module, CONVS),
            shape[1 if isinstance(module, CONVS) else -1],
            shape.numel(),
            tuple(shape[2:]),
            tuple(chain),
        )
        for name, module, shape, chain in heard
    )
    return Calls(tuple(calls), sr)


def last_feature_layer(network: nn.Module, lr: Float[Tensor, "3 h w"]) -> str:
    """The network's last feature layer in a run on the image, as `Calls.last_feature_layer` finds it."""
    return calls_of(network, lr[None]).last_feature_layer()


def activations(calls: Calls, layers: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """By layer, the norm and the activation behind it, for `erased(…, at=…)`.

    Raises InputError for a layer that no norm or activation follows as a module: a function, such as
    torch.relu, cannot be seen.
    """
    behind = {layer: () if Place.of(layer).is_input else calls.behind(layer) for layer in layers}
    for layer, modules in behind.items():
        if not modules:
            raise InputError(
                f"no norm or activation module takes the response of '{layer}' as it is (a function such as "
                "torch.relu cannot be seen): erase at the output instead"
            )
    return behind
