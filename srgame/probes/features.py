"""A helper of the probes, not a probe: it reads what the layers of a network respond.

A layer is any named module that runs once per image and whose response has channels and space, usually "b c h w": a
conv (whose response is then that of its filters before any activation), a block or an activation. `conv_last:input` is
the input of conv_last, whose channels are the features that it combines. `body@2` is the second call of a layer that
runs several times. Linear layers and layer norms have their channels last: probes see their responses as "b c *space".
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from srgame.data.images import Image
from srgame.data.pairs import Pairs
from srgame.errors import InputError, nearest
from srgame.filters import (
    CurrentRun,
    Place,
    as_it_was,
    calls_named,
    channels_first,
    evaluating,
    following,
    run,
)

CHANNELS_LAST = (nn.Linear, nn.LayerNorm)

Response = Float[Tensor, "b c *space"]
Hear = Callable[[str, Response], Response | None]
T = TypeVar("T")


class _Enough(BaseException):
    """Stops a run once all layers have responded; a BaseException, so that `except Exception` cannot catch it."""


def features(
    network: nn.Module, images: Iterable[Image] | Pairs, layers: Sequence[str], transform: Callable[[Response], T]
) -> Iterator[dict[str, T]]:
    """For each LR image, by layer: `transform` of the layer's response.

    Images may differ in size and are read one at a time. `transform` is called as soon as a layer has responded, so
    that no response stays in memory. The first image runs through the whole network, to check that each layer runs
    once; the others run only as far as the last of `layers`.

    Raises InputError if a layer does not exist (the message lists the nearest names), has no channels, or does not run
    exactly once per image (the message names its calls), and if there is no image.
    """
    whole, layers = True, (layers,) if isinstance(layers, str) else layers
    for image in lr_images_of(images):
        yield _read(network, image, layers, transform, whole)
        whole = False
    if whole:
        raise InputError("no image, no response: give at least one")


def lr_images_of(images: Iterable[Image] | Pairs) -> Iterator[Image]:
    """The LR images one by one; those of the pairs if pairs are given. Raises InputError for what is no image."""
    for image in images.lr if isinstance(images, Pairs) else images:
        if not isinstance(image, Tensor) or image.ndim != 3:
            what = f"a tensor of the shape {tuple(image.shape)}" if isinstance(image, Tensor) else f"{image!r:.60}"
            raise InputError(f"images are tensors of the shape (channels, height, width), not {what}")
        yield image


def mean_over_images(
    network: nn.Module, images: Iterable[Image] | Pairs, layers: Sequence[str], transform: Callable[[Response], Tensor]
) -> tuple[dict[str, Tensor], int]:
    """By layer, the mean over images of `transform` of the response, in float64; and the number of images."""
    totals: dict[str, Tensor] = {}
    count = 0
    for values in features(network, images, layers, transform):
        count += 1
        for layer, value in values.items():
            totals[layer] = totals.get(layer, torch.zeros((), dtype=torch.float64)) + value.double().cpu()
    return {layer: total / count for layer, total in totals.items()}, count


@contextmanager
def listening(network: nn.Module, layers: Sequence[str], hear: Hear) -> Iterator[None]:
    """Calls `hear(layer, response)` whenever one of `layers` responds; on exit the network is as before.

    If `hear` returns a tensor, it replaces the response.
    """
    with ExitStack() as hooks:
        current = hooks.enter_context(following(network, layers))
        for layer in dict.fromkeys(layers):
            hooks.callback(_hooked(network, layer, hear, current).remove)
        yield


@contextmanager
def out_of_place(network: nn.Module) -> Iterator[None]:
    """Stops activations from overwriting their input, so that gradients reach it; on exit they overwrite it again."""
    overwriting = [module for module in network.modules() if getattr(module, "inplace", False) is True]
    try:
        for module in overwriting:
            vars(module)["inplace"] = False
        yield
    finally:
        for module in overwriting:
            vars(module)["inplace"] = True


def _read(
    network: nn.Module, image: Image, layers: Sequence[str], transform: Callable[[Response], T], whole: bool
) -> dict[str, T]:
    """By layer, `transform` of its response to one image; the run ends early unless it must be `whole`."""
    values: dict[str, list[T]] = {layer: [] for layer in layers}

    def hear(layer: str, response: Response) -> None:
        values[layer].append(transform(response))
        if not whole and all(values.values()):
            raise _Enough

    with evaluating(network), torch.inference_mode(), listening(network, layers, hear), suppress(_Enough):
        run(network, image[None])
    return {layer: single(layer, runs) for layer, runs in values.items()}


def single(layer: str, runs: Sequence[T]) -> T:
    """The single item of `runs`, one per run of the layer; raises InputError if the layer did not run exactly once."""
    if not runs:
        raise InputError(f"the layer '{layer}' runs 0 times per image: name a layer that runs")
    if len(runs) > 1:
        calls = calls_named(layer, len(runs))
        raise InputError(f"the layer '{layer}' runs {len(runs)} times per image: name one of its calls, {calls}")
    return runs[0]


def _hooked(network: nn.Module, layer: str, hear: Hear, current: CurrentRun) -> RemovableHandle:
    place = Place.of(layer)
    modules = {known: module for known, module in network.named_modules() if known}
    if place.module not in modules:
        raise InputError(f"the network has no layer '{place.module}'; the nearest are {nearest(place.module, modules)}")
    if place.size > 1:
        raise InputError(f"probes read channels one by one: write {layer.partition('/')[0]} instead of '{layer}'")
    module = modules[place.module]
    is_last = isinstance(module, CHANNELS_LAST)

    def heard(response: Any) -> Tensor | None:
        if not current.is_at(layer, place):
            return None
        replacement = hear(layer, _with_channels(layer, response, current.images, is_last))
        return None if replacement is None else as_it_was(replacement, response, is_last)

    def before(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...] | None:
        replacement = heard(given[0] if given else None)
        return None if replacement is None else (replacement, *given[1:])

    def after(_: nn.Module, __: tuple[Any, ...], response: Any) -> Tensor | None:
        return heard(response)

    handle: RemovableHandle = (
        module.register_forward_pre_hook(before) if place.is_input else module.register_forward_hook(after)
    )
    return handle


def _with_channels(layer: str, response: Any, images: int | None, is_last: bool) -> Tensor:
    """The response as "b c *space"; raises InputError if it has no channels and space."""
    if not isinstance(response, Tensor):
        raise InputError(f"the layer '{layer}' has no channels: it responds with a {type(response).__name__}")
    if response.ndim < (3 if is_last else 4):
        shape = "×".join(map(str, response.shape))
        raise InputError(f"the layer '{layer}' has no channels: its response is {shape}, not batch × channel × space")
    return channels_first(response, images, is_last)
