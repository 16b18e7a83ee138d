"""Folders into which srgame writes a PNG for each image of a set, and a manifest of the run that wrote them."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from srgame.errors import InputError
from srgame.files import differences, write_atomic

Entry = dict[str, Any]


def png_paths(images: Sequence[Path], folder: Path) -> list[Path]:
    """The PNG in `folder` of each image.

    Raises InputError if two images would share one, and if `folder` holds the images themselves.
    """
    targets = [folder / f"{path.stem}.png" for path in images]
    if len(set(targets)) < len(targets):
        raise InputError("some images differ in their suffix or folder only: rename them, since PNGs are written")
    if folder.resolve() in {path.parent.resolve() for path in images}:
        raise InputError(f"'{folder}' holds the images themselves: write to another folder")
    return targets


def write_png(path: Path, pixels: UInt8[np.ndarray, "h w 3"]) -> Path:
    """Writes RGB pixels as a PNG; returns its path."""
    return write_atomic(path, cv2.imencode(".png", pixels[:, :, ::-1])[1].tobytes())


class Manifest:
    """The settings of a run in a JSON file, and an entry for each image: its name, its sha256 and what the run adds.

    It is written at once, before the images, and keeps the entries of earlier runs with the same settings, so that a
    run resumes and extends them.

    Raises InputError if the file is damaged or is of a run with other settings or images, and if `targets`, the files
    that the run writes for `images`, hold something else.
    """

    def __init__(self, path: Path, settings: dict[str, Any], images: Sequence[Path], targets: Sequence[Path]) -> None:
        self.path, self.settings = path, settings
        current: dict[str, Entry] = {each.name: {"image": each.name, "sha256": _sha256(each)} for each in images}
        stored = self._stored(current) if path.exists() else {}
        for image, target in zip(images, targets, strict=True):
            if image.name not in stored and target.exists():
                raise InputError(f"'{path.parent}' holds another '{target.name}' already: choose another folder")
        self.entries = current | stored
        self.write()

    def _stored(self, current: dict[str, Entry]) -> dict[str, Entry]:
        """The entries in the file."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            settings, stored = dict(content["settings"]), {entry["image"]: dict(entry) for entry in content["images"]}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"'{self.path}' is damaged: choose another folder") from error
        differ = list(differences(settings, json.loads(json.dumps(self.settings))).values())
        for name in stored.keys() & current.keys():
            if stored[name].get("sha256") != current[name]["sha256"]:
                differ.append(f"another '{name}'")
        if differ:
            raise InputError(f"'{self.path.parent}' holds images of {'; '.join(differ)}: choose another folder")
        return stored

    def write(self) -> None:
        """Writes the file; raises OSError if that is impossible."""
        content = {"settings": self.settings, "images": list(self.entries.values())}
        write_atomic(self.path, json.dumps(content, indent=1).encode())


def _sha256(image: Path) -> str:
    try:
        return hashlib.sha256(image.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"'{image}' cannot be read ({error.strerror}): replace or remove it") from error
