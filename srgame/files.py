"""Files that are whole or not there, folders with one process in them, and what tells a run from another."""

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
except ImportError:  # Windows has no such locks: there two runs in one folder are not told apart
    fcntl = None  # type: ignore[assignment]

LOCK = ".in-use"


def write_atomic(path: Path, content: bytes) -> Path:
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


def ensure_writable(folder: Path) -> Path:
    """The folder, made where there was none; raises InputError where nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / ".writable", b"").unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"nothing can be written to '{folder}' ({error.strerror}): choose another") from error
    return folder


def check_zip(path: Path, content: bytes) -> None:
    """Raises InputError for a zip of torch's that would unpack to more than it is: torch's never do, bombs always.

    Raises BadZipFile where a part is not what its CRC-32 says, which torch does not look at.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
        if unpacked > len(content):
            raise InputError(
                f"refused: '{path}' has {len(content):,} bytes but would unpack to {unpacked:,}, and the limit is its "
                "own size, since torch.save does not compress: where you trust it, load it and save it again"
            )
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(damaged)


@contextmanager
def held(folder: Path | None) -> Iterator[None]:
    """While open, the folder is this run's alone; the lock ends with the process, however that ends. None: no lock.

    Raises InputError where another run, of this process or another, holds it, or nothing can be written there.
    """
    if folder is None or fcntl is None:
        yield
        return
    path = ensure_writable(folder) / LOCK
    with _locked(path) as lock:
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path) -> TextIO:
    """The file at `path`, open and locked."""
    while True:
        try:
            lock = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644), "r+")
        except OSError as error:
            raise InputError(f"nothing can be written to '{path.parent}' ({error.strerror}): choose another") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            with lock:
                raise InputError(
                    f"'{path.parent}' is in use by another run ({lock.read() or 'just starting'}): "
                    "wait for its end, or choose another folder"
                ) from error
        except OSError:  # a file system without locks
            return lock
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        lock.close()  # whoever held it has removed it meanwhile


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> dict[str, str]:
    """Of each name with another value there than here: what it is, for a sentence."""
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    return {name: f"{name} {there.get(name)}, not {here.get(name)}" for name in names}
