"""The state of a training on disk: every file is whole or missing, and a damaged state falls back to the one before."""

import io
import os
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from srgame.errors import InputError
from srgame.files import check_zip, differences

STATES = ("state.pt", "state.before.pt")  # the last state, and the one before in case that is damaged
WEIGHTS, AVERAGE, LOG, SETTINGS = "weights.safetensors", "weights.ema.safetensors", "log.csv", "run.json"


def write_state(folder: Path, state: Mapping[str, Any], beside: Mapping[str, Callable[[Path], object]]) -> None:
    """Writes the state, and `beside` it one file for each name, with the function given for it.

    No file is ever replaced by half a file. Raises InputError if a file cannot be written, for example on a full disk;
    the files that were there before are then unchanged.
    """
    files: dict[str, Callable[[Path], object]] = {**beside, STATES[0]: partial(torch.save, state)}
    partials = {name: _partial(folder / name) for name in files}
    try:
        for name, write in files.items():
            partials[name].unlink(missing_ok=True)  # never write through a link that leads out of the folder
            write(partials[name])
        if (folder / STATES[0]).exists():
            os.replace(folder / STATES[0], folder / STATES[1])  # noqa: PTH105
        for name, path in partials.items():
            os.replace(path, folder / name)  # noqa: PTH105
    except (OSError, RuntimeError, SafetensorError) as error:  # each writer has its own error for a full disk
        for path in partials.values():
            path.unlink(missing_ok=True)
        raise InputError(
            f"'{folder}' cannot be written to ({error}): free space; it still holds the state saved before"
        ) from error


def read_state(folder: Path, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """The last undamaged state in `folder`; None if there is no state.

    Raises InputError if it belongs to another run than `run`, if every state there is damaged, or if there are results
    without a state, which a training would overwrite. A finished run of fewer steps, which `run` extends, is no other
    run.
    """
    paths = [folder / name for name in STATES if (folder / name).exists()]
    for path in paths:
        if state := _read(path):
            stored = {name: value for name, value in state["run"].items() if name != "extended"}
            finished = state["step"] == stored.get("steps")
            differ = differences(stored, run)
            if differ and not (finished and set(differ) == {"steps"} and stored["steps"] < run["steps"]):
                raise InputError(
                    f"'{path}' is the state of another run ({'; '.join(differ.values())}): train in another folder"
                )
            return state
    if paths:
        raise InputError(f"'{paths[0]}' cannot be read: train in another folder, or empty this one to train anew")
    results = [name for name in (WEIGHTS, AVERAGE, LOG, SETTINGS) if (folder / name).exists()]
    if results and not _partial(folder / STATES[0]).exists():  # which a run leaves that was killed in its first save
        raise InputError(
            f"'{folder}' holds {results[0]} but no state of its training, which would overwrite it: train in another "
            "folder, or move that file"
        )
    return None


def _partial(path: Path) -> Path:
    """Where a file is written before it replaces the one at `path`."""
    return path.with_name(f"{path.name}.partial")


def _read(path: Path) -> dict[str, Any] | None:
    """The state in a file; None, with a warning, if it is damaged or no state of srgame."""
    try:
        content = path.read_bytes()
        check_zip(path, content)  # torch.load reads some flipped bits as weights
        state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        return state | {"run": dict(state["run"]), "step": int(state["log"][-1]["step"])}
    except Exception:  # damaged bytes raise anything
        warnings.warn(f"'{path}' is damaged or no state of a training: it is ignored", stacklevel=2)
        return None
