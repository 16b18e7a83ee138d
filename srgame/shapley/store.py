"""Replicates of sampling kept on disk: a run that goes on there, or is asked for more, computes only what is missing."""

import hashlib
import io
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from srgame.errors import InputError
from srgame.files import differences, write_atomic

GAME = "game.json"
DIGEST = hashlib.sha256().digest_size

Quantities = Float64[np.ndarray, "..."]


@dataclass(frozen=True)
class Store:
    """The replicates of one game in a folder of their own: each a file, whole or not there, that carries its checksum."""

    folder: Path

    def get(self, number: int) -> Quantities | None:
        """A replicate; None where it is not there, or, with a warning, where its file is damaged."""
        path = self._path(number)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, array = content[:DIGEST], content[DIGEST:]
        try:
            if hashlib.sha256(array).digest() != digest:
                raise ValueError("its checksum is not that of its replicate")
            replicate: Quantities = np.lib.format.read_array(io.BytesIO(array), allow_pickle=False)
        except Exception:  # foreign bytes, whose checksum may be right, raise anything
            warnings.warn(f"'{path}' is damaged: its replicate is computed again", stacklevel=2)
            return None
        return replicate

    def put(self, number: int, replicate: Quantities) -> None:
        """Keeps a replicate. Raises InputError where that cannot be written; the replicates before stay."""
        array = io.BytesIO()
        np.save(array, replicate, allow_pickle=False)
        _write(self._path(number), hashlib.sha256(array.getvalue()).digest() + array.getvalue())

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:07}.replicate"


def open_store(folder: Path, game: Mapping[str, Any]) -> Store:
    """The replicates of `game`, which is all that they depend on, in `folder`.

    Raises InputError where the folder holds the replicates of another game, or cannot be written to.
    """
    source, told = folder / GAME, json.dumps(game, indent=2)
    if not source.exists():
        _write(source, told.encode())
    elif other := differences(_read(source), json.loads(told)):
        raise InputError(
            f"'{folder}' holds the replicates of another game (other {', '.join(other)}): keep these elsewhere"
        )
    return Store(folder)


def _read(source: Path) -> dict[str, Any]:
    try:
        there = json.loads(source.read_text(encoding="utf-8"))
        return dict(there)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"'{source}' does not say which game is kept there ({error}): keep replicates elsewhere"
        ) from error


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise InputError(
            f"'{path}' cannot be written ({error.strerror}): what was kept before is still there"
        ) from error
