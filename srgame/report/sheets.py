"""Contact sheets of degraded images: HR, LR, and under each LR image how it was made."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes

from srgame.data.degradations.steps import Plan
from srgame.data.images import read_rgb
from srgame.provenance import save_files
from srgame.report.style import Figure, as_png, styled

WIDTH = 2.1  # inches of a picture
LINE = 0.115  # inches of a line of parameters
PIXELS = 420  # the longest side of a picture that is drawn

Pixels = UInt8[np.ndarray, "_ _ 3"]


def sheet_of_images(images: Sequence[Path], folders: Mapping[str, Path]) -> Figure:
    """A row per HR image: the image, and its LR image in each folder that `degrade_set` wrote, by degradation."""
    rows = []
    for image in images:
        row: list[tuple[str, Pixels, list[str]]] = [(image.stem, read_rgb(image), [])]
        for name, folder in folders.items():
            entries = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["images"]
            entry = next(entry for entry in entries if entry["image"] == image.name)
            row.append((name, read_rgb(folder / entry["lr"]), in_words(entry["drawn"])))
        rows.append(row)
    return _sheet(rows)


def sheet_of_patches(folder: Path, count: int) -> Figure:
    """A row per patch: the first HR patches that `write_patches` wrote into `folder`, and their LR patches."""
    hr, lr = (np.load(folder / f"{part}.npy", mmap_mode="r") for part in ("hr", "lr"))
    pairs = list(zip(hr[:count], lr[:count], strict=True))
    return _sheet([[(f"HR {n}", np.array(h), []), (f"LR {n}", np.array(low), [])] for n, (h, low) in enumerate(pairs)])


def save_sheet(folder: Path, figure: Figure) -> Path:
    """Writes the sheet of a folder beside it, where nobody takes it for one of its images; returns its path."""
    return save_files(folder.with_name(f"{folder.name}-sheet"), {".png": as_png(figure)})[0]


def _sheet(rows: Sequence[Sequence[tuple[str, Pixels, list[str]]]]) -> Figure:
    """Pictures in rows, each with a title and with lines of text below it."""
    most = [max(len(lines) for _, _, lines in row) for row in rows]
    heights = [
        WIDTH * max(pixels.shape[0] / pixels.shape[1] for _, pixels, _ in row) + 0.3 + LINE * lines
        for row, lines in zip(rows, most, strict=True)
    ]
    with styled():
        figure = Figure(figsize=(WIDTH * len(rows[0]), sum(heights)))
        panels = figure.subplots(len(rows), len(rows[0]), squeeze=False, height_ratios=heights)
        for panel, (title, pixels, lines) in zip(panels.flat, (cell for row in rows for cell in row), strict=True):
            _picture(panel, title, pixels, lines)
    return figure


def _picture(panel: Axes, title: str, pixels: Pixels, lines: list[str]) -> None:
    height, width = pixels.shape[:2]
    if max(height, width) > PIXELS:
        factor = PIXELS / max(height, width)
        pixels = cv2.resize(pixels, (round(width * factor), round(height * factor)), interpolation=cv2.INTER_AREA)
    panel.imshow(pixels, interpolation="nearest")
    panel.set_title(f"{title} {width}×{height}", fontsize=7, parse_math=False)
    panel.set_axis_off()
    panel.annotate("\n".join(lines), (0, 0), (0, -2), "axes fraction", "offset points", fontsize=5.5, va="top")


def in_words(plan: Plan) -> list[str]:
    """The steps of a plan, a line for each; bicubic downsampling alone if nothing was drawn."""
    return [_step(name.rstrip("0123456789"), **drawn) for name, drawn in plan.items()] or ["bicubic downsampling"]


def _step(name: str, **drawn: Any) -> str:
    match name:
        case "blur":
            return _blur(**drawn)
        case "resize":
            return f"resize to {drawn['width']}×{drawn['height']}, {drawn['mode']}"
        case "bicubic":
            return f"bicubic downsampling, {drawn['scale']} times"
        case "noise":
            return _noise(**drawn)
        case "jpeg":
            return f"JPEG, quality {drawn['quality']}"
        case _:
            return f"every {drawn['step']}th pixel"


def _blur(kind: str, size: int = 1, **drawn: Any) -> str:
    if kind == "identity":
        return "no last filter"
    if kind == "sinc":
        return f"sinc {size}×{size}, cutoff {drawn['cutoff']:.2f}"
    widths = dict.fromkeys(f"{drawn[side]:.2f}" for side in ("sigma_x", "sigma_y"))
    shape = f", β {drawn['beta']:.2f}" if "beta" in drawn else ""
    return f"blur, {kind} {size}×{size}, σ {' and '.join(widths)}{shape}"


def _noise(kind: str, strength: float = 0.0, grey: bool = False, **_: Any) -> str:
    colour = "grey " if grey else ""
    match kind:
        case "gaussian":
            return f"{colour}noise, σ {255 * strength:.1f}/255"
        case "poisson":
            return f"{colour}Poisson noise × {strength:.2f}"
        case _:
            return "noise, correlated between channels"
