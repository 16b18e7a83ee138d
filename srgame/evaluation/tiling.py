"""Images larger than memory: a network run on overlapping tiles, with the result of a run on the whole image.

Tiles overlap by the network's reach, so what lies beyond a tile's edge changes only what is cut off again.
"""

import math
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srgame.errors import InputError
from srgame.networks import scale_of

STRIDE = 8  # tiles begin at multiples of so many LR pixels, for networks that fold pixels into channels
BREADTH = 16  # LR pixels across the strips on which reach is found
FARTHEST = 1024  # LR pixels; an overlap beyond would cost more than any tile is worth


class Tiled:
    """`network` for images of any size: those of more than `side`² LR pixels are restored tile by tile.

    By default `side` is what half of the free memory allows, and tiles overlap by the network's reach: then tiled and
    whole runs are equal within float rounding. A smaller `overlap` is faster, and an approximation. A network that sees
    the whole image, such as one with channel attention, cannot be tiled exactly: it is run whole, with a warning.
    """

    def __init__(self, network: nn.Module, side: int | None = None, overlap: int | None = None) -> None:
        for name, size, least in (("tile", side, STRIDE), ("overlap", overlap, 0)):
            if size is not None and size < least:
                raise InputError(f"{name} is a number of LR pixels from {least} on, not {size}")
        self.network = network
        self.side = math.isqrt(free_bytes(self._device) // 2 // bytes_per_pixel(network)) if side is None else side
        self._overlap = overlap

    def __call__(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        """The SR images, on the device of `lr`. Raises InputError where a tile is too small for its overlap."""
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
        """LR pixels by which tiles overlap their neighbours; None where no overlap makes them exact."""
        if self._overlap is not None:
            return self._overlap
        found = reach(self.network)
        if found is None:
            warnings.warn(
                f"each pixel of this network's output depends on the whole image, or on more than {FARTHEST} LR pixels "
                "around it: it cannot be tiled exactly and is run whole; give an overlap to tile it all the same",
                stacklevel=3,
            )
        return found

    def _pieces(self, length: int) -> Iterator[tuple[slice, slice]]:
        """Along one side of the image: what a tile sees, and what is kept of it."""
        if length <= self.side:
            yield slice(0, length), slice(0, length)
            return
        margin = math.ceil((self.overlap or 0) / STRIDE) * STRIDE
        most = (self.side - 2 * margin) // STRIDE * STRIDE
        if most < STRIDE:
            raise InputError(
                f"tiles of {self.side} LR pixels a side are all overlap ({margin} on each side, the network's reach): "
                "allow larger tiles, or give a smaller overlap and accept an approximation"
            )
        kept = math.ceil(length / math.ceil(length / most) / STRIDE) * STRIDE
        for start in range(0, length, kept):
            stop = min(start + kept, length)
            yield slice(max(0, start - margin), min(stop + margin, length)), slice(start, stop)

    def _restored(self, lr: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        sr: Tensor = self.network(lr.to(self._device))
        return sr

    def _part(self, kept: slice, piece: slice = slice(0, 0)) -> slice:
        """Where the SR pixels of `kept` lie in what was restored from `piece` on."""
        return slice((kept.start - piece.start) * self._scale, (kept.stop - piece.start) * self._scale)

    @cached_property
    def _scale(self) -> int:
        return scale_of(self.network)

    @property
    def _device(self) -> torch.device:
        return next(self.network.parameters()).device


@torch.inference_mode()
def reach(network: nn.Module, farthest: int = FARTHEST) -> int | None:
    """How many LR pixels away a pixel can change the SR image; None where that is the whole image or beyond `farthest`.

    A few pixels are made NaN, which spreads to all that is computed from them: even where a weight is 0, and through
    any depth, where a gradient would fade to nothing. What NaN does not reach is then tried with numbers, so that an
    operation that swallows NaN is not believed.
    """
    reaches = [_reach_along(network, axis, farthest) for axis in (-2, -1)]
    return None if None in reaches else max(found for found in reaches if found is not None)


def _reach_along(network: nn.Module, axis: int, farthest: int) -> int | None:
    """The reach along one axis, found on strips that grow until it fits."""
    length = 128
    while length <= 4 * farthest:
        lr = _strip(network, length)
        middle = slice(length // 2, length // 2 + STRIDE)
        poisoned = lr.clone()
        poisoned[..., middle] = math.nan
        spread = _columns(_run(network, poisoned, axis).isnan(), length).nonzero()
        first, last = int(spread.min()), int(spread.max())
        if first > 0 and last < length - 1:
            found = max(middle.start - first, last - middle.stop + 1)
            return found if found <= farthest and _holds(network, lr, middle, axis, found) else None
        length *= 2
    return None


def _holds(network: nn.Module, lr: Float[Tensor, "1 3 h w"], middle: slice, axis: int, found: int) -> bool:
    """Whether the SR image in the middle stays as it is when all farther than `found` pixels from there is changed."""
    other = 1 - lr
    near = slice(max(0, middle.start - found), middle.stop + found)
    other[..., near] = lr[..., near]
    before, after = (_run(network, images, axis) for images in (lr, other))
    change = _columns((after - before).abs() > 1e-4 * before.abs().max(), lr.shape[-1])
    return not change[middle].any()


def _strip(network: nn.Module, length: int) -> Float[Tensor, "1 3 h w"]:
    values = torch.rand(1, 3, BREADTH, length, generator=torch.Generator().manual_seed(0))
    return values.to(next(network.parameters()))


def _run(network: nn.Module, strip: Float[Tensor, "1 3 h w"], axis: int) -> Float[Tensor, "1 3 H W"]:
    """The SR strip; along the other axis both are turned."""
    sr: Tensor = network(strip.transpose(-1, axis).contiguous())
    return sr.transpose(-1, axis)


def _columns(marked: Tensor, length: int) -> Tensor:
    """Which of the LR columns have a marked SR pixel."""
    return marked.flatten(0, 2).any(0).reshape(length, -1).any(1)


@torch.inference_mode()
def bytes_per_pixel(network: nn.Module) -> int:
    """About how much memory a run takes per LR pixel: three times what the largest layer reads and writes."""
    largest = 0

    def note(_: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal largest
        tensors = [value for value in (*inputs, output) if isinstance(value, Tensor)]
        largest = max(largest, sum(value.nbytes for value in tensors))

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    try:
        network(_strip(network, BREADTH))
    finally:
        for hook in hooks:
            hook.remove()
    return 3 * largest // BREADTH**2


def free_bytes(device: torch.device) -> int:
    """The memory that `device` has left; 4 GiB where the system does not tell."""
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
