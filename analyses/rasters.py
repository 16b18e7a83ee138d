"""Small pictures as rows of a csv: one row per line of pixels, 8 bits per value, so that drawing needs only the csv."""

from base64 import b64decode, b64encode

import numpy as np
import pandas as pd
from jaxtyping import Float

LINE = ["line", "low", "high", "pixels"]


def raster(picture: Float[np.ndarray, "h w c"], low: float = 0.0, high: float = 1.0) -> pd.DataFrame:
    """One row per line of `picture`: line, low, high, pixels (base64; byte b is the value low + b/255·(high − low))."""
    share = (picture - low) / ((high - low) or 1.0)
    lines = (share.clip(0, 1) * 255).round().astype(np.uint8)
    pixels = [b64encode(line.tobytes()).decode() for line in lines]
    return pd.DataFrame({"line": range(len(lines)), "low": low, "high": high, "pixels": pixels})


def picture_of(rows: pd.DataFrame, channels: int = 3) -> Float[np.ndarray, "h w c"]:
    """The picture whose lines `rows` are."""
    rows = rows.sort_values("line")
    lines = np.stack([np.frombuffer(b64decode(text), np.uint8) for text in rows["pixels"]])
    low, high = float(rows["low"].iloc[0]), float(rows["high"].iloc[0])
    return low + lines.reshape(len(rows), -1, channels) / 255 * (high - low)


def extremes(values: Float[np.ndarray, "..."]) -> tuple[float, float]:
    """Bounds of a signed map with 0 in the middle, rounded to four digits."""
    largest = float(f"{np.abs(values).max():.4g}") * 1.0005
    return -largest, largest
