"""Files that are whole or not there, and what tells a run from another."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srgame.errors import InputError


def replaced(path: Path, content: bytes) -> Path:
    """`path`, holding `content`; whoever reads it meanwhile, or after a failure, finds what was there before.

    Raises OSError where it cannot be written, and leaves no partial file.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)  # noqa: PTH105
    except OSError:
        if partial.is_file():
            partial.unlink()
        raise
    return path


def writable(folder: Path) -> Path:
    """The folder, made where there was none; raises InputError where nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replaced(folder / ".writable", b"").unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"nothing can be written to '{folder}' ({error.strerror}): choose another") from error
    return folder


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, str]:
    """Of each name with another value there than here: what it is, for a sentence."""
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    return {name: f"{name} {there.get(name)}, not {here.get(name)}" for name in names}
