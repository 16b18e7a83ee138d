"""A measured frame and where it comes from, under one stem: csv and json."""

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from srgame.errors import InputError
from srgame.files import write_atomic

PACKAGES = ("srgame", "torch", "numpy", "scipy", "opencv-python", "scikit-image")


def provenance(settings: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """What it takes to repeat a measurement: its settings, what it was measured on, the code and when."""
    return {
        "settings": settings,
        **facts,
        "commit": _commit(),
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def save_frame(stem: Path, frame: pd.DataFrame, source: dict[str, Any]) -> list[Path]:
    """Writes `stem`.csv and `stem`.json, each whole or not at all; returns their paths.

    Raises InputError where the folder cannot be written to.
    """
    return save_files(stem, {".csv": as_csv(frame), ".json": as_json(source)})


def as_csv(frame: pd.DataFrame) -> bytes:
    """The frame as a csv file holds it."""
    return frame.to_csv(index=False).encode()


def as_json(source: dict[str, Any]) -> bytes:
    """The provenance as a json file holds it."""
    return f"{json.dumps(source, indent=2, ensure_ascii=False)}\n".encode()


def save_files(stem: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Writes a file for each suffix, in that order, each whole or not at all; returns their paths.

    Raises InputError where the folder cannot be written to.
    """
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        return [write_atomic(stem.with_suffix(suffix), content) for suffix, content in contents.items()]
    except OSError as error:
        raise InputError(f"results cannot be written to '{stem.parent}' ({error.strerror}): choose another") from error


def _commit() -> str:
    """The commit of the code that runs, marked where it was changed since; "unknown" outside of a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(
            [*git, "status", "--porcelain", "."], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head} and changes" if changed else head
