"""Maps of all filters of a layer as one sprite sheet: grey WebP images, which the page's script colours."""

import base64
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from srgame.data.images import to_bytes

LARGEST = 128  # side of a stored map, in pixels
SIDES = (128, 96, 80, 64, 48, 40, 32, 24, 16)  # tried until a page is small enough
QUALITY = 80  # of WebP


@dataclass(frozen=True)
class Maps:
    """A map per filter, from 0 for minus its peak to 255 for its peak; if not `signed`, from 0 to its peak."""

    levels: UInt8[np.ndarray, "filter h w"]
    peaks: Float[np.ndarray, " filter"]
    signed: bool

    @classmethod
    def of(cls, maps: Float[Tensor, "filter h w"], signed: bool) -> "Maps":
        """The maps, shrunk by averaging to at most LARGEST pixels a side."""
        height, width = _within(LARGEST, *maps.shape[1:])
        small = F.adaptive_avg_pool2d(maps.detach().float(), (height, width)).cpu().numpy()
        peaks = np.abs(small).max((1, 2))
        scaled = small / np.where(peaks > 0, peaks, 1)[:, None, None]
        levels = np.round(127.5 + 127.5 * scaled if signed else 255 * scaled)
        return cls(levels.clip(0, 255).astype(np.uint8), peaks.astype(float), signed)

    def sheet(self, side: int) -> dict[str, Any]:
        """The maps in rows from left to right, shrunk to at most `side` pixels, as the page reads them."""
        count, *shape = self.levels.shape
        height, width = _within(side, *shape)
        columns = math.ceil(math.sqrt(count))
        sheet = np.zeros((math.ceil(count / columns) * height, columns * width), np.uint8)
        for number, level in enumerate(self.levels):
            row, column = divmod(number, columns)
            small = cv2.resize(level, (width, height), interpolation=cv2.INTER_AREA)
            sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = small
        size = {"width": width, "height": height, "columns": columns}
        return size | {"signed": self.signed, "peaks": [significant(peak) for peak in self.peaks], "src": webp(sheet)}


def webp(image: UInt8[np.ndarray, "..."], quality: int = QUALITY) -> str:
    """A grey or RGB image as the address of a picture."""
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    _, encoded = cv2.imencode(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])
    return "data:image/webp;base64," + base64.b64encode(encoded.tobytes()).decode()


def photograph(image: Float[Tensor, "3 h w"], side: int = 256) -> str:
    """An RGB image in [0, 1] as the address of a picture; larger ones are shrunk to `side` pixels."""
    pixels = to_bytes(image.cpu())
    height, width = _within(side, *pixels.shape[:2])
    if (height, width) != pixels.shape[:2]:
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return webp(pixels, 92)


def significant(number: float, digits: int = 7) -> float | None:
    """The number rounded to so many digits; None if it is not finite, since JSON has no NaN."""
    return float(f"{number:.{digits}g}") if math.isfinite(number) else None


def column(numbers: Iterable[Any]) -> list[float | None]:
    """Numbers for the page."""
    return [significant(float(number)) for number in numbers]


def _within(side: int, height: int, width: int) -> tuple[int, int]:
    """The size shrunk, in proportion, to at most `side` pixels a side."""
    factor = min(1.0, side / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))
