"""Images larger than memory: a network runs on overlapping tiles, with the same result as on the whole image.

Tiles overlap by the network's reach, so pixels beyond a tile's edge affect only the margin that is cut off.
"""

import math
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srgame.devices import device_of
from srgame.errors import InputError
from srgame.filters import run
from srgame.networks import scale_of
from srgame.networks.adapter import convention_of

STRIDE = 8  # tiles begin at multiples of 8 LR pixels, for networks that fold pixels into channels or work in windows
BREADTH = 16  # LR pixels across the strips on which reach is measured
FARTHEST = 1024  # LR pixels; a larger overlap would cost more than tiling saves


class Tiled:
    """`network` for images of any size: images of more than `side`² LR pixels are restored tile by tile.

    By default `side` is the largest that half of the free memory allows, and tiles overlap by the network's reach;
    tiled and whole runs then agree up to float rounding. A smaller `overlap` is faster but an approximation. If a
    network's output depends on the whole image, for example through channel attention, it cannot be tiled exactly and
    runs on the whole image, with a warning.

    Raises InputError for a `side` below 8 or an `overlap` below 0.
    """

    def __init__(self, network: nn.Module, side: int | None = None, overlap: int | None = None) -> None:
        for name, size, least in (("tile", side, STRIDE), ("overlap", overlap, 0)):
            if size is not None and size < least:
                raise InputError(f"{name} must be at least {least} LR pixels, not {size}")
        self.network = network
        self.side = math.isqrt(free_bytes(self._device) // 2 // bytes_per_pixel(network)) if side is None else side
        self._overlap = overlap

    def __call__(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        """The SR images, on the device of `lr`. Raises InputError if tiles are too small for their overlap."""
        height, width = lr.shape[-2:]
        if height * width <= self.side**2 or self.overlap is None:
            return self._restored(lr).to(lr.device)
        sr = lr.new_empty(*lr.shape[:2], height * self._scale, width * self._scale)
        for rows, kept_rows in self._pieces(height):
            for columns, kept_columns in self._pieces(width):
                tile = self._restored(lr[..., rows, columns])
                inner = tile[..., self._part(kept_rows, rows), self._part(kept_columns, columns)]
                sr[..., self._part(kept_rows), self._part(kept_columns)] = inner
        return sr

    @cached_property
    def overlap(self) -> int | None:
        """LR pixels by which tiles overlap their neighbours; None if no overlap makes the result exact."""
        if self._overlap is not None:
            return self._overlap
        exact = reach(self.network)
        if exact is None:
            warnings.warn(
                f"each pixel of this network's output depends on the whole image, or on more than {FARTHEST} LR pixels "
                "around it: it cannot be tiled exactly and runs on the whole image; give an overlap to tile it anyway",
                stacklevel=3,
            )
        return exact

    def _pieces(self, length: int) -> Iterator[tuple[slice, slice]]:
        """Along one side of the image: the pixels that each tile covers, and those that are kept of its result."""
        if length <= self.side:
            yield slice(0, length), slice(0, length)
            return
        stride = _stride(self.network)
        margin = math.ceil((self.overlap or 0) / stride) * stride
        most = (self.side - 2 * margin) // stride * stride
        if most < stride:
            raise InputError(
                f"tiles of {self.side} LR pixels a side are too small for an overlap of {margin} pixels on each side "
                "(the network's reach): allow larger tiles, or give a smaller overlap and accept an approximation"
            )
        kept = math.ceil(length / math.ceil(length / most) / stride) * stride
        for start in range(0, length, kept):
            stop = min(start + kept, length)
            yield slice(max(0, start - margin), min(stop + margin, length)), slice(start, stop)

    def _restored(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        return run(self.network, lr)

    def _part(self, kept: slice, piece: slice = slice(0, 0)) -> slice:
        """The place of the SR pixels of `kept` in the SR image of `piece`."""
        return slice((kept.start - piece.start) * self._scale, (kept.stop - piece.start) * self._scale)

    @cached_property
    def _scale(self) -> int:
        return scale_of(self.network)

    @property
    def _device(self) -> torch.device:
        return device_of(self.network)


@torch.inference_mode()
def reach(network: nn.Module, farthest: int = FARTHEST) -> int | None:
    """The farthest, in LR pixels, that one pixel affects the SR image; None if farther than `farthest` or everywhere.

    If the network works in windows, this is the reach of a window, rounded up to whole windows.

    A few pixels are set to NaN, which spreads to all values that depend on them, even through a weight of 0 and through
    any depth, where a gradient would fade. The result is then checked with numbers, in case an operation hides NaN.
    """
    reaches = [_reach_along(network, axis, farthest) for axis in (-2, -1)]
    return None if None in reaches else max(each for each in reaches if each is not None)


def _reach_along(network: nn.Module, axis: int, farthest: int) -> int | None:
    """The reach along one axis, measured on strips that grow until it fits."""
    length, stride, multiple = 128, _stride(network), convention_of(network).multiple
    while length <= 4 * farthest:
        lr = _strip(network, length)
        start = length // 2 // stride * stride
        middle = slice(start, start + stride)
        poisoned = lr.clone()
        poisoned[..., middle] = math.nan
        spread = _columns(_run(network, poisoned, axis).isnan(), length).nonzero()
        first, last = int(spread.min()), int(spread.max())
        if first > 0 and last < length - 1:
            distance = max(middle.start - first, last - middle.stop + 1)
            distance = math.ceil(distance / multiple) * multiple
            return distance if distance <= farthest and _is_reach(network, lr, middle, axis, distance) else None
        length *= 2
    return None


def _is_reach(network: nn.Module, lr: Float[Tensor, "1 3 h w"], middle: slice, axis: int, distance: int) -> bool:
    """Whether the middle of the SR image stays the same if all pixels farther than `distance` from it change."""
    other = 1 - lr
    near = slice(max(0, middle.start - distance), middle.stop + distance)
    other[..., near] = lr[..., near]
    before, after = (_run(network, images, axis) for images in (lr, other))
    change = _columns((after - before).abs() > 1e-4 * before.abs().max(), lr.shape[-1])
    return not change[middle].any()


def _stride(network: nn.Module) -> int:
    """LR pixels from one place where a tile may begin to the next."""
    return math.lcm(STRIDE, convention_of(network).multiple)


def _strip(network: nn.Module, length: int) -> Float[Tensor, "1 3 h w"]:
    breadth = max(BREADTH, convention_of(network).smallest)
    values = torch.rand(1, 3, breadth, length, generator=torch.Generator().manual_seed(0))
    return values.to(next(network.parameters(), values))


def _run(network: nn.Module, strip: Float[Tensor, "1 3 h w"], axis: int) -> Float[Tensor, "1 3 H W"]:
    """The SR strip of an LR strip along `axis`."""
    return run(network, strip.transpose(-1, axis)).transpose(-1, axis)


def _columns(marked: Tensor, length: int) -> Tensor:
    """For each LR column, whether one of its SR pixels is marked."""
    return marked.flatten(0, 2).any(0).reshape(length, -1).any(1)


@torch.inference_mode()
def bytes_per_pixel(network: nn.Module) -> int:
    """Estimated memory of a run per LR pixel: three times the inputs and outputs of the largest layer."""
    largest = 0

    def note(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal largest
        tensors = [value for value in (*inputs, output) if isinstance(value, Tensor)]
        largest = max(largest, sum(value.nbytes for value in tensors))

    strip = _strip(network, max(BREADTH, convention_of(network).smallest))
    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        run(network, strip)
    finally:
        for hook in hooks:
            hook.remove()
    return 3 * largest // strip[0, 0].numel()


def free_bytes(device: torch.device) -> int:
    """The free memory of `device`; 4 GiB if the system does not report it."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    meminfo, group = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
    if not meminfo.exists():
        return 4 << 30
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) << 10
    limit, used = (group / f"memory.{name}" for name in ("max", "current"))
    if not (limit.exists() and used.exists()) or limit.read_text().strip() == "max":
        return available
    return min(available, max(0, int(limit.read_text()) - int(used.read_text())))
