"""The SR images of a whole image set, as PNG files."""

import json
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import nn
from tqdm.auto import tqdm

from srgame.data.images import to_bytes
from srgame.data.lazy import LRImages
from srgame.errors import InputError
from srgame.evaluation.tiling import Tiled
from srgame.files import differences, lock, write_atomic
from srgame.networks import fingerprint

MANIFEST = "restored.json"


def restore_images(
    network: nn.Module,
    images: LRImages,
    folder: Path,
    *,
    tile: int | None = None,
    overlap: int | None = None,
    progress: bool = False,
) -> list[Path]:
    """Writes the SR image of each LR image into `folder`, as a PNG with the name of its file; returns their paths.

    Images too large for memory are restored in tiles (`Tiled`). After an interruption the same call resumes: images
    that are there already are not restored again.

    Raises InputError if two images differ in their suffix only, if `folder` holds the images themselves, SR images of
    other weights or settings or other PNGs of these names, and if it is in use or nothing can be written to it.
    """
    targets = _targets(images, folder)
    run = {"weights": fingerprint(network), "degradation": images.degradation, "scale": images.scale}
    run |= {"crop": images.crop, "tile": tile, "overlap": overlap}
    with lock(folder):
        _check_run(folder / MANIFEST, run, targets)
        try:
            write_atomic(folder / MANIFEST, json.dumps(run, indent=1).encode())
            _restore(Tiled(network, tile, overlap), images, targets, progress)
        except OSError as error:
            raise InputError(
                f"SR images cannot be written to '{folder}' ({error.strerror}): free space and run it again"
            ) from error
    return targets


def _restore(restore: Tiled, images: LRImages, targets: list[Path], progress: bool) -> None:
    """Writes the SR images that are not there yet."""
    for path, target in zip(tqdm(images.paths, "images", disable=not progress), targets, strict=True):
        if not target.exists():
            with torch.inference_mode():
                sr = restore(images.read(path)[None])[0].cpu()
            write_atomic(target, cv2.imencode(".png", to_bytes(sr)[:, :, ::-1])[1].tobytes())


def _targets(images: LRImages, folder: Path) -> list[Path]:
    """The PNG of each image; no two images share one, and none is an image itself."""
    targets = [folder / f"{path.stem}.png" for path in images.paths]
    if len(set(targets)) < len(targets):
        raise InputError("some images differ in their suffix or folder only: rename them, since all SR images are PNGs")
    if folder.resolve() in {path.parent.resolve() for path in images.paths}:
        raise InputError(f"'{folder}' holds the images themselves: write the SR images to another folder")
    return targets


def _check_run(manifest: Path, run: dict[str, Any], targets: list[Path]) -> None:
    """Raises InputError if the PNGs beside the manifest are of another run."""
    try:
        stored = dict(json.loads(manifest.read_text(encoding="utf-8"))) if manifest.exists() else {}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"'{manifest}' is damaged: choose another folder") from error
    if not stored and (there := [target.name for target in targets if target.exists()]):
        raise InputError(f"'{manifest.parent}' holds another '{there[0]}' already: choose another folder")
    if stored and (differ := differences(stored, run)):
        raise InputError(f"'{manifest.parent}' holds SR images of {'; '.join(differ.values())}: choose another folder")
