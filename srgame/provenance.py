"""A measured frame as a csv file, and beside it a json file of its settings, code and versions."""

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

ROOT = Path(__file__).parents[1]
CODE = ("srgame", "analyses")  # folders in ROOT that make the numbers
PACKAGES = ("srgame", "torch", "numpy", "scipy", "opencv-python", "scikit-image")


def provenance(settings: dict[str, Any], **facts: Any) -> dict[str, Any]:
    """What repeats a measurement: its settings, `facts` about its inputs, the code, the versions and the date."""
    return {
        "settings": settings,
        **facts,
        "commit": _commit(),
        "versions": {"python": sys.version.split()[0]} | {name: version(name) for name in PACKAGES},
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def save_frame(stem: Path, frame: pd.DataFrame, source: dict[str, Any]) -> list[Path]:
    """Writes `stem`.csv and `stem`.json, each whole or not at all; returns their paths.

    Raises InputError if the folder is not writable.
    """
    return save_files(stem, {".csv": as_csv(frame), ".json": as_json(source)})


def as_csv(frame: pd.DataFrame) -> bytes:
    """The bytes of the frame as a csv file."""
    return frame.to_csv(index=False).encode()


def as_json(source: dict[str, Any]) -> bytes:
    """The bytes of the provenance as a json file."""
    return f"{json.dumps(source, indent=2, ensure_ascii=False, default=str)}\n".encode()


def save_files(stem: Path, contents: Mapping[str, bytes]) -> list[Path]:
    """Writes a file for each suffix, in that order, each whole or not at all; returns their paths.

    Raises InputError if the folder is not writable.
    """
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        return [write_atomic(stem.with_suffix(suffix), content) for suffix, content in contents.items()]
    except OSError as error:
        raise InputError(f"results cannot be written to '{stem.parent}' ({error.strerror}): choose another") from error


def _commit() -> str:
    """The commit of the running code, with "and changes" if it was changed since; "unknown" outside a checkout."""
    try:
        _git("ls-files", "--error-unmatch", "srgame/provenance.py")  # else the repository is not ours: a venv within it
        head, changed = _git("rev-parse", "HEAD").strip(), _git("status", "--porcelain", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head} and changes" if changed else head


def _git(*words: str) -> str:
    """What git prints in the folder that holds srgame."""
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True).stdout
