"""Files of a training that outlast it: each is whole or not there, and of two states the last good one is used."""

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

STATES = ("state.pt", "state.before.pt")  # the last one, and the one before in case it is damaged


def save(folder: Path, state: Mapping[str, Any], beside: Mapping[str, Callable[[Path], None]]) -> None:
    """Writes the state, and the files `beside` it by the functions that write them; none is replaced by half a file.

    Raises InputError where a file cannot be written, as on a full disk; what was there before is then there still.
    """
    files: dict[str, Callable[[Path], None]] = {**beside, STATES[0]: partial(torch.save, state)}
    partials = {name: folder / f"{name}.partial" for name in files}
    try:
        for name, write in files.items():
            partials[name].unlink(missing_ok=True)  # a link there would lead out of the folder
            write(partials[name])
        if (folder / STATES[0]).exists():
            os.replace(folder / STATES[0], folder / STATES[1])  # noqa: PTH105
        for name, path in partials.items():
            os.replace(path, folder / name)  # noqa: PTH105
    except (OSError, RuntimeError, SafetensorError) as error:  # a full disk raises one of them, by who writes
        for path in partials.values():
            path.unlink(missing_ok=True)
        raise InputError(f"'{folder}' cannot be written to ({error}): it keeps the state saved before") from error


def last_good(folder: Path, run: Mapping[str, Any]) -> dict[str, Any] | None:
    """The last undamaged state in `folder`, None where there is none at all.

    Raises InputError where it is of another run than `run`, or where states are there and all are damaged.
    """
    paths = [folder / name for name in STATES if (folder / name).exists()]
    for path in paths:
        if state := _read(path):
            if differ := differences(state["run"], run):
                raise InputError(
                    f"'{path}' is the state of another run ({'; '.join(differ.values())}): train elsewhere"
                )
            return state
    if paths:
        raise InputError(f"'{paths[0]}' cannot be read: remove it to train from the start, or train elsewhere")
    return None


def _read(path: Path) -> dict[str, Any] | None:
    """What a state file holds, or, with a warning, None where it is damaged or foreign."""
    try:
        content = path.read_bytes()
        check_zip(path, content)  # torch.load takes some flipped bits for weights
        state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
        return state | {"run": dict(state["run"]), "step": int(state["log"][-1]["step"])}
    except Exception:  # damaged bytes raise anything
        warnings.warn(f"'{path}' is damaged or no state of a training: it is not used", stacklevel=2)
        return None
