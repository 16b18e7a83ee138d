"""Replicates on disk: a run that resumes, or that is asked for a smaller tolerance, computes only the missing ones."""

import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srgame.errors import InputError
from srgame.files import differences, write_atomic
from srgame.shapley.values import Quantities

GAME, REPLICATE = "game.json", ".replicate"
DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Store:
    """The replicates of one game in a folder: one file each, complete or absent, with a checksum."""

    folder: Path

    def get(self, number: int) -> Quantities | None:
        """The replicate of this number; None if it is missing or, with a warning, if its file is damaged."""
        path = self._path(number)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, array = content[:DIGEST], content[DIGEST:]
        try:
            if hashlib.sha256(array).digest() != digest:
                raise ValueError("its checksum does not match")
            replicate: Quantities = np.lib.format.read_array(io.BytesIO(array), allow_pickle=False)
        except Exception:  # foreign bytes with a valid checksum can raise anything
            warnings.warn(f"'{path}' is damaged: its replicate is computed again", stacklevel=2)
            return None
        return replicate

    def put(self, number: int, replicate: Quantities) -> None:
        """Writes a replicate. Raises InputError if it cannot be written; the replicates on disk stay intact."""
        array = io.BytesIO()
        np.save(array, replicate, allow_pickle=False)
        _write(self._path(number), hashlib.sha256(array.getvalue()).digest() + array.getvalue())

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:07}{REPLICATE}"


def open_store(folder: Path, game: Mapping[str, Any]) -> Store:
    """The store in `folder` of the replicates of `game`, which describes all that they depend on.

    Raises InputError if the folder holds the replicates of another game, or cannot be written to.
    """
    source, description = folder / GAME, json.dumps(game, indent=2)
    if not source.exists():
        if next(folder.glob(f"*{REPLICATE}"), None):
            raise InputError(f"'{folder}' holds replicates, but no {GAME} that names their game: use another folder")
        _write(source, description.encode())
    elif other := differences(_read(source), json.loads(description)):
        raise InputError(
            f"'{folder}' holds the replicates of another game (other {', '.join(other)}): use another folder"
        )
    return Store(folder)


def _read(source: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(source.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"'{source}' does not describe the game of the replicates beside it ({error}): use another folder"
        ) from error


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be written ({error.strerror}): free space or permit writing; others are intact"
        ) from error
