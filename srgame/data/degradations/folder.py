"""The LR images of a whole image set, and a manifest of the random draws for each."""

import json
from pathlib import Path

import cv2
import numpy as np

from srgame.data.degradations.testing import seed_of
from srgame.data.degradations.training import DEGRADATIONS, sharpened
from srgame.data.images import image_paths, read_image, to_bytes
from srgame.errors import InputError, chosen
from srgame.files import write_atomic


def degrade_set(
    dataset: str,
    output: Path,
    degradation: str = "second-order",
    scale: int = 4,
    sharpen: bool = False,
    seed: int = 0,
    subfolders: bool = False,
) -> list[Path]:
    """Writes a PNG of each image's LR image and manifest.json into `output`; returns their paths.

    The manifest has an entry per image: image, lr, and drawn, the steps in the order in which they are applied. The
    draws depend only on the image's name and `seed`; `degradations.steps.degraded` makes the same LR image from them.

    Raises InputError if two images have the same name, if one is too small, and if the folder is not writable.
    """
    paths = image_paths(dataset, subfolders)
    if len({path.stem for path in paths}) < len(paths):
        raise InputError(
            f"images of '{dataset}' differ in their suffix only: rename them, since all LR images are PNGs"
        )
    entries, written = [], []
    try:
        output.mkdir(parents=True, exist_ok=True)
        for path in paths:
            hr = read_image(path)[None]
            height, width = (side // scale * scale for side in hr.shape[-2:])
            if not (height and width):
                raise InputError(f"'{path}' has {hr.shape[-1]}×{hr.shape[-2]} pixels: too small for scale {scale}")
            hr = hr[..., :height, :width]
            rng = np.random.default_rng(seed_of(path.stem, degradation, seed))
            lr, drawn = chosen("training degradation", degradation, DEGRADATIONS)(
                sharpened(hr) if sharpen else hr, rng, scale
            )
            written.append(_write_png(output / f"{path.stem}.png", to_bytes(lr[0])))
            entries.append({"image": path.name, "lr": written[-1].name, "drawn": drawn[0]})
        settings = {"degradation": degradation, "scale": scale, "sharpen": sharpen, "seed": seed}
        manifest = output / "manifest.json"
        write_atomic(manifest, json.dumps({"settings": settings, "images": entries}, indent=1).encode())
    except OSError as error:
        raise InputError(f"LR images cannot be written to '{output}' ({error.strerror}): choose another") from error
    return [*written, manifest]


def _write_png(path: Path, pixels: np.ndarray) -> Path:
    """Writes a PNG; returns its path."""
    return write_atomic(path, cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes())
