"""The results of one run in its output folder: csv, json and pictures, which never replace other results."""

import json
import warnings
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from srgame.errors import InputError
from srgame.files import differences
from srgame.provenance import as_csv, as_json, save_files
from srgame.report.style import save_figure

SUFFIXES = (".csv", ".json", ".png", ".pdf", ".html", ".safetensors")


def save_results(
    folder: Path, frames: Mapping[str, pd.DataFrame], source: dict[str, Any], picture: Figure | Mapping[str, bytes]
) -> list[Path]:
    """Writes a csv and a json for each name in `frames`, and the picture under the first name; returns their paths.

    `picture` is a figure, which is saved as png and pdf, or the contents of files by suffix, such as ".html".

    Other results under these names are renamed first, for example shapley.csv to shapley-1.csv, and a warning says so.
    Equal results are replaced.

    Raises InputError if the folder is not writable.
    """
    tables = {name: as_csv(frame) for name, frame in frames.items()}
    if others := [name for name, table in tables.items() if _differs(folder / name, table)]:
        _keep(folder, list(tables), _difference(folder / f"{others[0]}.json", source))
    written = []
    for name, table in tables.items():
        written += save_files(folder / name, {".csv": table, ".json": as_json(source)})
    stem = folder / next(iter(tables))
    return written + (save_figure(stem, picture) if isinstance(picture, Figure) else save_files(stem, picture))


def _differs(stem: Path, table: bytes) -> bool:
    """Whether there are results of this name without this table."""
    path = stem.with_name(f"{stem.name}.csv")
    there = any(stem.with_name(f"{stem.name}{suffix}").exists() for suffix in SUFFIXES)
    return there and not (path.is_file() and path.read_bytes() == table)


def _difference(path: Path, source: Mapping[str, Any]) -> str:
    """How the run that the json at `path` describes differs from that of `source`, in a phrase."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        current = json.loads(as_json(dict(source)))
        differ = list(differences(stored["settings"], current["settings"]).values())
        return "; ".join(differ) or ("other weights" if stored["weights"] != current["weights"] else "an earlier run")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "of unknown origin"


def _keep(folder: Path, names: list[str], difference: str) -> None:
    """Renames the files under these names: all get the first number that none of them has."""
    number = next(
        n for n in count(1) if not any((folder / f"{name}-{n}{s}").exists() for name in names for s in SUFFIXES)
    )
    try:
        for name in names:
            for suffix in SUFFIXES:
                with suppress(FileNotFoundError):  # not every table has a picture
                    (folder / f"{name}{suffix}").rename(folder / f"{name}-{number}{suffix}")
    except OSError as error:
        raise InputError(
            f"the results in '{folder}' cannot be renamed ({error.strerror}): choose another folder"
        ) from error
    warnings.warn(
        f"'{folder / names[0]}.*' had other results ({difference}); they are now in '{names[0]}-{number}.*'",
        stacklevel=2,
    )
