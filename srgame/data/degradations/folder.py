"""The LR images of a whole image set, and a manifest of the random draws for each."""

from pathlib import Path

import numpy as np

from srgame.data.degradations.steps import Plan
from srgame.data.degradations.testing import SETTINGS, degrade, seed_of, steps_of
from srgame.data.degradations.training import DEGRADATIONS, sharpened
from srgame.data.images import Image, image_paths, in_words, read_image, to_bytes
from srgame.data.written import Manifest, png_paths, write_png
from srgame.errors import InputError, chosen
from srgame.files import lock


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

    `degradation` is one of training (DEGRADATIONS), or one of the SETTINGS of the tests, whose LR images are those of
    `load_pairs`. The manifest has an entry per image: image, its sha256, lr, and drawn, the steps in the order in which
    they are applied. The draws depend only on the image's name and `seed` (in the tests, also on its folder and the
    setting); `degradations.steps.degraded` makes the same LR image from those of a training degradation. After an
    interruption the same call resumes.

    Raises InputError if images are to be sharpened for the tests, if two images have the same name, if one is too
    small, if `output` holds the images themselves, LR images of other settings or images, or other PNGs of these names,
    and if it is in use or not writable.
    """
    chosen("degradation", degradation, {**DEGRADATIONS, **SETTINGS})
    if sharpen and degradation in SETTINGS:
        raise InputError(f"'{degradation}' is a setting of the tests, whose images are never sharpened: leave it out")
    paths = image_paths(dataset, subfolders)
    targets = png_paths(paths, output)
    settings = {"degradation": degradation, "scale": scale, "sharpen": sharpen, "seed": seed}
    with lock(output):
        try:
            output.mkdir(parents=True, exist_ok=True)  # where there are no locks
            manifest = Manifest(output / "manifest.json", settings, paths, targets)
            try:
                _degrade(manifest, paths, targets)
            finally:
                manifest.write()
        except OSError as error:
            raise InputError(f"LR images cannot be written to '{output}' ({error.strerror}): choose another") from error
    return [*targets, manifest.path]


def _degrade(manifest: Manifest, paths: list[Path], targets: list[Path]) -> None:
    """Writes the LR images that are not there yet, and adds `lr` and `drawn` to their entries."""
    for path, target in zip(paths, targets, strict=True):
        entry = manifest.entries[path.name]
        if "drawn" not in entry or not target.exists():
            lr, drawn = _degraded(path, **manifest.settings)
            entry.update(lr=write_png(target, to_bytes(lr)).name, drawn=drawn)


def _degraded(path: Path, degradation: str, scale: int, sharpen: bool, seed: int) -> tuple[Image, Plan]:
    """The LR image of an HR image, and what was drawn for it."""
    hr = read_image(path)[None]
    height, width = (side // scale * scale for side in hr.shape[-2:])
    if not (height and width):
        raise InputError(f"'{path}' has {in_words(hr)} pixels: too small for scale {scale}")
    hr = hr[..., :height, :width]
    if degradation in SETTINGS:
        drawn_seed = seed_of(path.parent.name, path.stem, degradation, seed)
        return degrade(hr[0], degradation, scale, drawn_seed), steps_of(degradation, scale, drawn_seed)
    rng = np.random.default_rng(seed_of(path.stem, degradation, seed))
    lr, drawn = DEGRADATIONS[degradation](sharpened(hr) if sharpen else hr, rng, scale)
    return lr[0], drawn[0]
