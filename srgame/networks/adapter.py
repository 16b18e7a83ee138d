"""Networks of other conventions, adapted to srgame's: RGB images of any size in and out, values in [0, 1]."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from srgame.data.images import resize
from srgame.devices import device_of, out_of_memory
from srgame.errors import InputError, check_counts, chosen
from srgame.filters import evaluating
from srgame.metrics import LUMA, LUMA_OFFSET

# MATLAB's YCbCr (ITU-R BT.601): a matrix from RGB, and offsets; values in [0, 1].
YCBCR = (LUMA, (-37.797 / 255, -74.203 / 255, 112 / 255), (112 / 255, -93.786 / 255, -18.214 / 255))
YCBCR_OFFSET = (LUMA_OFFSET, 128 / 255, 128 / 255)
CHANNELS = {"rgb": 3, "bgr": 3, "ycbcr": 3, "y": 1}

EXTRA = re.compile(r"((\d+|h|w)(x(\d+|h|w))*)?(=-?\d*\.?\d+)?")  # sizes, and the number that fills them

ODD = (17, 19)  # primes: no window divides them
SIZES = (*range(16, 129), 192, 256)  # tried upwards if a network does not run on the odd size

Constant = float | tuple["Constant", ...]


@dataclass(frozen=True)
class Convention:
    """What a network takes and gives, with sizes in pixels of the image that it takes."""

    value_range: tuple[float, float] = (0, 1)
    output_range: tuple[float, float] = (0, 1)
    channels: str = "rgb"
    mean: tuple[float, ...] = (0,)
    upsampling: int = 1
    output: tuple[int | str, ...] = ()
    extra_inputs: tuple[str | tuple[Constant, ...], ...] = ()
    clamp: bool = False
    smallest: int = 1
    multiple: int = 1
    scale: int = 1

    @property
    def declared(self) -> "Convention":
        """The convention without what is measured: sizes and scale."""
        return replace(self, smallest=1, multiple=1, scale=1)

    def padded(self, length: int) -> int:
        """The shortest side that the network takes and that is not below `length`: smallest, and steps of multiple."""
        return self.smallest + max(0, math.ceil((length - self.smallest) / self.multiple)) * self.multiple


class Adapted(nn.Module):
    """`network` with srgame's convention: it maps RGB images "b 3 h w" in [0, 1] to RGB images "b 3 sh sw".

    It shares all state of the network (modules, parameters, hooks, mode), so layers and weights keep their names.
    """

    __slots__ = ("_convention", "_original")  # apart from the shared __dict__, and no names of layers
    _convention: Convention
    _original: nn.Module

    def __init__(self, network: nn.Module, convention: Convention) -> None:
        object.__setattr__(self, "__dict__", network.__dict__)
        object.__setattr__(self, "_original", network)
        object.__setattr__(self, "_convention", convention)

    def forward(self, lr: Tensor) -> Tensor:
        kept = colours_kept(lr, self._convention)
        return restored(_output(self._original, lr, self._convention), lr, kept, self._convention)

    def train(self, mode: bool = True) -> "Adapted":
        self._original.train(mode)  # some networks override it
        return self

    def extra_repr(self) -> str:
        return f"{type(self._original).__name__}, {self._convention}"

    def __reduce__(self) -> tuple[Any, ...]:
        return Adapted, (self._original, self._convention)


def adapted(
    network: nn.Module,
    *,
    value_range: float | tuple[float, float] = 1,
    output_range: float | tuple[float, float] | None = None,
    channels: str = "rgb",
    mean: float | Sequence[float] = 0,
    upsampled_input: int | None = None,
    output: int | str | Sequence[int | str] = (),
    extra_inputs: Sequence[str | Sequence[Any] | Tensor] = (),
    clamp: bool = False,
) -> nn.Module:
    """`network` for srgame, which passes RGB images "b 3 h w" in [0, 1] and expects such images in return.

    The sizes that the network accepts are found by trying them. An image of another size is padded by reflection at its
    bottom and right, and the SR image is cropped. Layers and weights keep their names, and share their memory with
    `network`, which itself is returned if it needs no adapter.

    value_range: the least and the greatest value of images for the network, such as (-1, 1); 255 stands for (0, 255).
    output_range: the same for its SR images, by default `value_range`.
    channels: rgb, bgr, ycbcr or y (ITU-R BT.601, as MATLAB). With y, Cb and Cr are upsampled bicubically.
    mean: subtracted from its input and added to its output, in [0, 1]; one number, or one for each of its channels.
    upsampled_input: the scale, if the network wants images that are already enlarged (bicubically), as SRCNN does.
    output: where the SR image is, if the network returns several values: an index or a key, or a path of them.
    extra_inputs: further inputs of the network. A text gives the size of a tensor without its batch axis,
        filled with 0 or with a number: "10", "1x1x1=0.1", "15xhxw" (h and w: the sides of its input). Numbers or a
        tensor are passed as they are, repeated for each item of the batch.
    clamp: whether SR images are clamped to [0, 1].

    Raises InputError if the network restores no image under this convention; the message names the sizes tried.

    >>> import torch
    >>> class Bytes(torch.nn.Module):  # takes and returns values in [0, 255]
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.conv = torch.nn.Conv2d(3, 12, 3, padding=1)
    ...     def forward(self, image):
    ...         return torch.nn.functional.pixel_shuffle(self.conv(image), 2)
    >>> network = adapted(Bytes(), value_range=255)
    >>> network(torch.rand(1, 3, 8, 8)).shape
    torch.Size([1, 3, 16, 16])
    """
    check_counts(upsampled_input=upsampled_input)
    means = (mean,) if isinstance(mean, int | float) else tuple(mean)
    if len(means) not in (1, chosen("channels", channels, CHANNELS)):
        raise InputError(f"{len(means)} means for the channels '{channels}': give one, or one for each channel")
    convention = Convention(
        value_range=_range(value_range),
        output_range=_range(value_range if output_range is None else output_range),
        channels=channels,
        mean=means,
        upsampling=upsampled_input or 1,
        output=(output,) if isinstance(output, int | str) else tuple(output),
        extra_inputs=tuple(map(_extra, extra_inputs)),
        clamp=clamp,
    )
    convention = measured(network, convention)
    return network if replace(convention, scale=1) == Convention() else Adapted(network, convention)


def original(network: nn.Module) -> nn.Module:
    """The network inside an adapter; any other network itself."""
    return network._original if isinstance(network, Adapted) else network


def convention_of(network: nn.Module) -> Convention:
    """The convention to which a network is adapted; srgame's own, of scale 1, for a network without an adapter."""
    return network._convention if isinstance(network, Adapted) else Convention()


def scale_of(network: nn.Module) -> int:
    """The factor by which the network enlarges an image: 1 for restoration without super-resolution.

    Raises InputError if it does not return an RGB image of any size that is tried.
    """
    return network._convention.scale if isinstance(network, Adapted) else measured(network, Convention()).scale


def measured(network: nn.Module, convention: Convention) -> Convention:
    """`convention` with the sizes that the network accepts and the scale, found by trying sizes upwards.

    Raises InputError if it accepts none, a single one, or squares only.
    """
    try:
        return replace(convention, scale=_scale_at(network, convention, *ODD))
    except Exception as error:  # a foreign forward() may raise anything
        if out_of_memory(error):
            raise
    working = list[int]()
    last: Exception = ValueError()
    for size in SIZES:
        try:
            scale = _scale_at(network, convention, size, size)
            working.append(size)
        except Exception as error:
            if out_of_memory(error):
                raise
            last = error
        if len(working) == 2:
            return _with_sizes(network, replace(convention, scale=scale), *working)
    if working:
        raise InputError(
            f"the network takes images of {working[0]}×{working[0]} pixels only: give one that takes any size"
        )
    raise InputError(
        f"the network restores no RGB image of {SIZES[0]}×{SIZES[0]} to {SIZES[-1]}×{SIZES[-1]} pixels "
        f"({type(last).__name__}: {last}): {_remedy(network, convention, last)}"
    ) from last


def _with_sizes(network: nn.Module, convention: Convention, first: int, second: int) -> Convention:
    """`convention` with the step between two sizes that work, and with the smallest size that works."""
    step = second - first
    try:
        _scale_at(network, convention, first, second)
    except Exception as error:
        raise InputError(
            f"the network takes square images only ({first}×{second} pixels: {error}): give one that takes any size"
        ) from error
    while first > step:
        try:
            _scale_at(network, convention, first - step, first - step)
        except Exception:  # too small for this network
            break
        first -= step
    return replace(convention, smallest=first, multiple=step)


@torch.inference_mode()
def _scale_at(network: nn.Module, convention: Convention, height: int, width: int) -> int:
    """The factor from LR to SR image when the network's own input has this size; raises ValueError if there is none."""
    weight = next(network.parameters(), torch.zeros(()))
    lr = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    unpadded = replace(convention, upsampling=1, smallest=1, multiple=1)
    with evaluating(network):
        sr = _output(network, lr.to(device_of(network), weight.dtype), unpadded)
    if not isinstance(sr, Tensor):
        raise ValueError(f"it returns a {type(sr).__name__} where an image is expected")
    own = sr.shape[-1] // width
    if own == 0 or sr.shape != (1, CHANNELS[convention.channels], height * own, width * own):
        raise ValueError(f"it maps an image of {width}×{height} pixels to {'×'.join(map(str, sr.shape))} values")
    return own * convention.upsampling


def _remedy(network: nn.Module, convention: Convention, error: Exception) -> str:
    """What to do about a network that fails with `error`."""
    if "positional argument" in str(error):
        return "if it takes further inputs, give their sizes, such as --extra-input 10"
    if " where an image is expected" in str(error):
        return "if it returns several values, choose the SR image, such as --output-index 0"
    if convention.channels != "y":
        try:
            _scale_at(network, replace(convention, channels="y"), 64, 64)
        except Exception:
            return "give a network that restores images, or tell srgame its convention"
        return "it takes one channel: give --channels y"
    return "give a network that restores images, or tell srgame its convention"


def _output(network: nn.Module, lr: Tensor, convention: Convention) -> Any:
    """The network's own SR image of an RGB image."""
    image = taken(lr, convention)
    output = network.forward(image, *(extra_input(image, extra) for extra in convention.extra_inputs))
    for step in convention.output:
        output = output[step]
    return output


# torch.fx records a call of these, and does not look inside: they may depend on sizes.
@fx.wrap
def taken(lr: Tensor, convention: Convention) -> Tensor:
    """RGB images in [0, 1] as the network takes them: padded, and always in memory of their own."""
    low, high = convention.value_range
    if convention.upsampling > 1:
        lr = resize(lr, lr.shape[-2] * convention.upsampling, lr.shape[-1] * convention.upsampling)
    image = _from_rgb(lr, convention.channels) - _means(lr, convention)
    rows, columns = (_reflected(length, convention.padded(length), lr.device) for length in image.shape[-2:])
    return (image * (high - low) + low)[..., rows, :][..., columns]


@fx.wrap
def extra_input(image: Tensor, extra: str | tuple[Constant, ...]) -> Tensor:
    """A further input for a batch of images that the network takes."""
    if not isinstance(extra, str):
        return image.new_tensor(extra).expand(len(image), *image.new_tensor(extra).shape)
    sizes, _, value = extra.partition("=")
    sides = {"h": image.shape[-2], "w": image.shape[-1]}
    shape = [sides.get(size) or int(size) for size in sizes.split("x") if size]
    return image.new_full((len(image), *shape), float(value or 0))


@fx.wrap
def colours_kept(lr: Tensor, convention: Convention) -> Tensor:
    """What the network does not restore: with one channel, Cb and Cr upsampled bicubically; else nothing."""
    if convention.channels != "y":
        return lr[:, :0]
    larger = resize(lr, lr.shape[-2] * convention.scale, lr.shape[-1] * convention.scale)
    return _from_rgb(larger, "ycbcr")[:, 1:]


@fx.wrap
def restored(output: Tensor, lr: Tensor, kept: Tensor, convention: Convention) -> Tensor:
    """The network's SR images as RGB in [0, 1], cropped to `scale` times the size of `lr`."""
    height, width = (length * convention.scale for length in lr.shape[-2:])
    low, high = convention.output_range
    image = (output[..., :height, :width] - low) / (high - low) + _means(output, convention)
    sr = _to_rgb(torch.cat((image, kept), 1) if convention.channels == "y" else image, convention.channels)
    return sr.clamp(0, 1) if convention.clamp else sr


def _means(images: Tensor, convention: Convention) -> Tensor:
    return images.new_tensor(convention.mean)[:, None, None]


def _reflected(length: int, padded: int, device: torch.device) -> Tensor:
    """The indices that pad `length` pixels by reflection, again and again if one reflection is too short."""
    period = max(2 * (length - 1), 1)
    index = torch.arange(padded, device=device) % period
    return torch.minimum(index, period - index)


def _from_rgb(images: Tensor, channels: str) -> Tensor:
    if channels == "bgr":
        return images.flip(1)
    if channels == "rgb":
        return images
    matrix, offset = images.new_tensor(YCBCR), images.new_tensor(YCBCR_OFFSET)
    ycbcr = torch.einsum("kc,bchw->bkhw", matrix, images) + offset[:, None, None]
    return ycbcr[:, : CHANNELS[channels]]


def _to_rgb(images: Tensor, channels: str) -> Tensor:
    if channels == "bgr":
        return images.flip(1)
    if channels == "rgb":
        return images
    matrix = torch.tensor(YCBCR, dtype=torch.float64).inverse().to(images)
    return torch.einsum("ck,bkhw->bchw", matrix, images - images.new_tensor(YCBCR_OFFSET)[:, None, None])


def _range(values: float | tuple[float, float]) -> tuple[float, float]:
    low, high = (0, values) if isinstance(values, int | float) else values
    if not low < high:
        raise InputError(
            f"a range of values must end above its start, not {low} to {high}: give 255 or (-1, 1), for example"
        )
    return float(low), float(high)


def _extra(given: str | Sequence[Any] | Tensor) -> str | tuple[Constant, ...]:
    """An extra input, checked."""
    if not isinstance(given, str):
        return _constant(given)
    if not EXTRA.fullmatch(given):
        raise InputError(f"'{given}' is no size of an extra input: give one such as 10, 1x1x1=0.1 or 15xhxw")
    return given


def _constant(values: Any) -> tuple[Constant, ...]:
    """Nested tuples of the numbers in a sequence or tensor: constants that can be compared and recorded."""
    numbers = values.tolist() if isinstance(values, Tensor) else values
    return tuple(_constant(each) if isinstance(each, list | tuple) else float(each) for each in numbers)
