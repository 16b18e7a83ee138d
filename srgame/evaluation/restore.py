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

    Raises InputError if two images would get the same name, if `folder` is that of the LR images, or holds SR images of
    other weights or settings or other PNG files of these names, and if it is in use or not writable.
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
                f"SR images cannot be written to '{folder}' ({error.strerror}): free space, and run it again"
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
    """The PNG of each image; no two images share one, and none replaces an LR image."""
    targets = [folder / f"{path.stem}.png" for path in images.paths]
    if len(set(targets)) < len(targets):
        raise InputError(
            "some images differ only in suffix or folder: rename them, since SR images are PNG files in one folder"
        )
    if folder.resolve() in {path.parent.resolve() for path in images.paths}:
        raise InputError(f"'{folder}' is the folder of the LR images: write the SR images to another")
    return targets


def _check_run(manifest: Path, run: dict[str, Any], targets: list[Path]) -> None:
    """Raises InputError if the folder of the manifest holds the PNG files of another run."""
    try:
        stored = dict(json.loads(manifest.read_text(encoding="utf-8"))) if manifest.exists() else {}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"'{manifest}' is damaged: choose another folder") from error
    if not stored and (there := [target.name for target in targets if target.exists()]):
        raise InputError(
            f"'{manifest.parent}' already holds a file '{there[0]}' of unknown origin: choose another folder"
        )
    if stored and (differ := differences(stored, run)):
        raise InputError(f"'{manifest.parent}' holds SR images of {'; '.join(differ.values())}: choose another folder")
