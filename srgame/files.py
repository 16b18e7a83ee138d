"""Files that are written whole or not at all, folders locked for one run, and the differences between two runs."""

import io
import os
import socket
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from srgame.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has no such locks: there nothing keeps two runs out of one folder
    fcntl = None  # type: ignore[assignment]

LOCK = ".in-use"


def write_atomic(path: Path, content: bytes) -> Path:
    """Writes `content` to `path` and returns it; readers, and a failure, see the old file until the new one is whole.

    Raises OSError if the file cannot be written, and leaves no partial file.
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


def ensure_writable(folder: Path) -> Path:
    """Creates the folder if it is missing and returns it; raises InputError if nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / ".writable", b"").unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"nothing can be written to '{folder}' ({error.strerror}): choose another") from error
    return folder


def check_zip(path: Path, content: bytes) -> None:
    """Checks the zip `content` that was read from `path`, without unpacking it into memory.

    Raises InputError if it would unpack to more than its own size, as zip bombs do and torch's files never do. Raises
    BadZipFile if a part does not match its CRC-32, which torch does not check.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > len(content):
            raise InputError(
                f"refused: '{path}' has {len(content):,} bytes but would unpack to {unpacked:,}, and the limit is its "
                "own size, since torch.save does not compress: if you trust it, load it and save it again"
            )
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(damaged)


@contextmanager
def lock(folder: Path | None) -> Iterator[None]:
    """While open, no other run can lock the folder; the lock ends with the process in any case. None locks nothing.

    Raises InputError if another run, in this process or another, has the lock, or if the folder is not writable.
    """
    if folder is None or fcntl is None:
        yield
        return
    path = ensure_writable(folder) / LOCK
    with _open_locked(path) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _open_locked(path: Path) -> TextIO:
    """Opens the file at `path` and locks it."""
    while True:
        try:
            file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644), "r+")
        except OSError as error:
            raise InputError(f"nothing can be written to '{path.parent}' ({error.strerror}): choose another") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            with file:
                raise InputError(
                    f"'{path.parent}' is in use by another run ({file.read() or 'just starting'}): "
                    "wait for its end, or choose another folder"
                ) from error
        except OSError:  # a file system without locks
            return file
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        file.close()  # another run removed this file in the meantime


def differences(stored: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, str]:
    """A phrase such as "seed 0, not 1" for each name whose stored and current values differ.

    Of mappings within mappings, and of lists of mappings, only what differs is named: "patches seed 0, not 1".
    """
    phrases = {}
    for name in (name for name in {**stored, **current} if stored.get(name) != current.get(name)):
        old, new = (_mappings(values.get(name)) for values in (stored, current))
        if not old or not new:
            phrases[name] = f"{name} {stored.get(name)}, not {current.get(name)}"
        elif len(old) != len(new):
            phrases[name] = f"{len(old)} sets of {name}, not {len(new)}"
        else:
            for place, pair in enumerate(zip(old, new, strict=True), 1):
                own = f"{name} {place}" if len(old) > 1 else name
                phrases |= {f"{own} {key}": f"{own} {said}" for key, said in differences(*pair).items()}
    return phrases


def _mappings(value: object) -> list[Mapping[str, Any]]:
    """A mapping, or a list of mappings, as such a list; empty for any other value."""
    values = value if isinstance(value, list) else [value]
    mappings = [each for each in values if isinstance(each, Mapping)]
    return mappings if len(mappings) == len(values) else []
