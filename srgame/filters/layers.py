"""The layers whose filters play, where these are in a network, and the calls of layers in a run.

A layer is written NAME for the responses of a module, or NAME:input for the channels that it receives. NAME/4 joins
every 4 consecutive channels into one filter, such as the channels that a PixelShuffle(2) turns into one. A head of 32
features is a filter of NAME:input/32, of the linear layer behind the heads of an attention.

A recurrent network calls a layer several times for an image. NAME then stands for all calls, and NAME@2 (or
NAME@2:input) for the second one.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
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


NAMED = re.compile(r"(?P<module>[^@:/]*)(@(?P<call>[1-9]\d*))?(?P<side>:input)?(/(?P<size>[1-9]\d*))?")


@dataclass(frozen=True)
class Place:
    """Where the filters of a layer are: the channels that a module returns or receives, `size` for each filter.

    `call` is the number, from 1, of a call of the module in a run; None: all calls.
    """

    module: str
    is_input: bool = False
    size: int = 1
    call: int | None = None

    @classmethod
    def of(cls, layer: str) -> "Place":
        """The place that NAME, NAME@2, NAME:input or NAME/4 stands for, or a combination, such as NAME@2:input/4."""
        if (parts := NAMED.fullmatch(layer)) is None:
            raise InputError(
                f"'{layer}' names no filters: write NAME, NAME:input, NAME/4, NAME@2 (the second call) or "
                "NAME@2:input/4"
            )
        call, size = parts["call"], parts["size"]
        return cls(parts["module"], parts["side"] is not None, int(size or 1), None if call is None else int(call))


def calls_named(layer: str, count: int) -> str:
    """The names of the calls of a layer that is called `count` times, for a message."""
    name, colon, side = layer.partition(":")
    return f"{name}@1{colon}{side} to {name}@{count}{colon}{side}"


@dataclass
class CurrentRun:
    """The run of a network that is going on: the number of its images, and the calls so far of each layer."""

    images: int | None = None
    calls: Counter[str] = field(default_factory=Counter)

    def is_at(self, layer: str, place: Place) -> bool:
        """Whether the call that begins is one for which the layer stands; each call asks once."""
        self.calls[layer] += 1
        return place.call in (None, self.calls[layer])


@contextmanager
def following(network: nn.Module, layers: Sequence[str]) -> Iterator[CurrentRun]:
    """The current run of the network, while this is open.

    Raises InputError, from the run, if it has no such call as one of `layers` names.
    """
    current = CurrentRun()
    numbered = {layer: place for layer in layers if (place := Place.of(layer)).call}

    def begin(_: nn.Module, given: tuple[Any, ...]) -> None:
        current.images = next((len(value) for value in given if isinstance(value, Tensor) and value.ndim), None)
        current.calls.clear()

    def end(*_: Any) -> None:
        for layer, place in numbered.items():
            if current.calls[layer] < (place.call or 0):
                raise InputError(
                    f"there is no '{layer}': the network calls '{place.module}' {current.calls[layer]} time(s) a run"
                )

    with ExitStack() as hooks:
        hooks.callback(network.register_forward_pre_hook(begin).remove)
        if numbered:
            hooks.callback(network.register_forward_hook(end).remove)
        yield current


def channels_first(response: Tensor, images: int | None, is_last: bool) -> Tensor:
    """A layer's response as "b c *space" with one item for each image; `is_last`: its channels are its last axis.

    Windows of an image, which lie side by side along the first axis, follow each other along one axis of space.
    """
    laid = response.movedim(-1, 1) if is_last else response
    laid = laid if laid.ndim > 2 else laid.unsqueeze(2)
    if images is None or len(laid) <= images or len(laid) % images:
        return laid
    windows: Tensor = laid.unflatten(0, (images, -1))
    return windows.transpose(1, 2).flatten(2)


def as_it_was(laid: Tensor, response: Tensor, is_last: bool) -> Tensor:
    """The inverse of `channels_first`: values laid out in the order of the layer's own response."""
    windows = len(response) // len(laid)
    unfolded = laid if windows < 2 else laid.unflatten(2, (windows, -1)).transpose(1, 2).flatten(0, 1)
    moved = unfolded.movedim(1, -1) if is_last else unfolded
    return moved.reshape(response.shape)


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
    layers.sort(key=lambda layer: (order[places[layer].module], places[layer].call or 0))
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
        """How often the layer was called; for one of its calls, such as NAME@2, 1 if there was such a call, else 0."""
        return len(self._of(layer))

    def behind(self, layer: str) -> tuple[str, ...]:
        """The norm and the activation that follow the layer, if they are modules that take its response unchanged."""
        chains = {call.behind for call in self._of(layer)}
        return tuple(chains.pop()) if len(chains) == 1 else ()

    def _of(self, layer: str) -> list["Call"]:
        """The calls for which the layer stands."""
        place = Place.of(layer)
        calls = [call for call in self.calls if call.layer == place.module]
        return calls if place.call is None else calls[place.call - 1 : place.call]

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
