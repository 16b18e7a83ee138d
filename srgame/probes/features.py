"""The one way in which probes read what the layers of a network respond.

A layer is any named module that is run once per image and whose response has channels and space, "b c h w" as a rule:
a conv (its response is then before any activation), a block, an activation. `conv_last:input` is what conv_last gets.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from srgame.data.images import Image
from srgame.devices import device_of
from srgame.errors import InputError, nearest
from srgame.filters import evaluating

Response = Float[Tensor, "b c *space"]
Hear = Callable[[str, Response], Response | None]
T = TypeVar("T")


class _Enough(BaseException):
    """All layers have responded; no Exception, so that no foreign forward() takes it for one of its own."""


def features(
    network: nn.Module, images: Iterable[Image], layers: Sequence[str], keep: Callable[[Response], T]
) -> Iterator[dict[str, T]]:
    """For each LR image, by layer: what `keep` makes of the layer's response.

    Images may differ in size; each is asked for when its turn comes. `keep` is called while the response lives, so that
    nothing of it needs to outlive its layer. The first image runs through the whole network, which proves that each
    layer is run once; the others only as far as the last of the layers.

    Raises InputError for a layer that is not there (with the nearest names), that has no channels, or that is not run
    exactly once, and where there is no image.
    """
    whole = True
    for image in images:
        yield _kept(network, image, layers, keep, whole)
        whole = False
    if whole:
        raise InputError("no image, no response: give at least one")


def averaged(
    network: nn.Module, images: Iterable[Image], layers: Sequence[str], keep: Callable[[Response], Tensor]
) -> tuple[dict[str, Tensor], int]:
    """By layer the mean over images of what `keep` makes of a response, in float64, and how many images there were."""
    totals: dict[str, Tensor] = {}
    count = 0
    for kept in features(network, images, layers, keep):
        count += 1
        for layer, value in kept.items():
            totals[layer] = totals.get(layer, torch.zeros((), dtype=torch.float64)) + value.double().cpu()
    return {layer: total / count for layer, total in totals.items()}, count


@contextmanager
def listening(network: nn.Module, layers: Sequence[str], hear: Hear) -> Iterator[None]:
    """While open, `hear(layer, response)` is called whenever one of `layers` responds.

    What it returns, if not None, takes the response's place. The network is as before afterwards.
    """
    with ExitStack() as hooks:
        for layer in dict.fromkeys(layers):
            hooks.callback(_hooked(network, layer, hear).remove)
        yield


@contextmanager
def out_of_place(network: nn.Module) -> Iterator[None]:
    """While open, no activation overwrites its input, so that gradients reach what it was given."""
    overwriting = [module for module in network.modules() if getattr(module, "inplace", False) is True]
    try:
        for module in overwriting:
            vars(module)["inplace"] = False
        yield
    finally:
        for module in overwriting:
            vars(module)["inplace"] = True


def _kept(
    network: nn.Module, image: Image, layers: Sequence[str], keep: Callable[[Response], T], whole: bool
) -> dict[str, T]:
    kept: dict[str, list[T]] = {layer: [] for layer in layers}

    def hear(layer: str, response: Response) -> None:
        kept[layer].append(keep(response))
        if not whole and all(kept.values()):
            raise _Enough

    with evaluating(network), torch.inference_mode(), listening(network, layers, hear), suppress(_Enough):
        network(image[None].to(device_of(network)))
    return {layer: only(layer, responses) for layer, responses in kept.items()}


def only(layer: str, heard: Sequence[T]) -> T:
    """What was heard once; raises InputError where the layer was run more often, or never."""
    if len(heard) != 1:
        raise InputError(f"the layer '{layer}' is run {len(heard)} times per image: name one that is run once")
    return heard[0]


def _hooked(network: nn.Module, layer: str, hear: Hear) -> RemovableHandle:
    name, _, side = layer.partition(":")
    modules = {known: module for known, module in network.named_modules() if known}
    if name not in modules:
        raise InputError(f"the network has no layer '{name}'; the nearest are {nearest(name, modules)}")
    if side not in ("", "input"):
        raise InputError(f"'{layer}' names no response: write '{name}' for its output or '{name}:input'")

    def before(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        heard = hear(layer, _with_channels(layer, given[0] if given else None))
        return None if heard is None else (heard, *given[1:])

    def after(_: nn.Module, __: tuple[Any, ...], response: Any) -> Tensor | None:
        return hear(layer, _with_channels(layer, response))

    module = modules[name]
    handle: RemovableHandle = module.register_forward_pre_hook(before) if side else module.register_forward_hook(after)
    return handle


def _with_channels(layer: str, response: Any) -> Tensor:
    if not isinstance(response, Tensor):
        raise InputError(f"the layer '{layer}' has no channels: it responds with a {type(response).__name__}")
    if response.ndim < 4:
        shape = "×".join(map(str, response.shape))
        raise InputError(f"the layer '{layer}' has no channels: its response is {shape}, not batch × channel × space")
    return response
