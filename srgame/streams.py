"""Standard output and standard error that cannot end a run."""

import io
import os
import sys
from typing import Any, TextIO


def secure_streams() -> None:
    """Replaces standard output and standard error of this process.

    A character that their encoding lacks becomes a question mark or an escape, and a closed stream the null device.
    What cannot be written, such as after the reader of `| head -1` has gone, is dropped; `flush_output` reports it.
    """
    sys.stdout = _secured(sys.stdout, "replace")
    sys.stderr = _secured(sys.stderr, "backslashreplace")


def flush_output() -> None:
    """Flushes standard output; raises OSError if something was dropped, except for want of a reader."""
    sys.stdout.flush()
    file = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(file, _Forgiving) and file.failure:
        raise file.failure


def _secured(stream: io.TextIOBase | TextIO | None, errors: str) -> Any:
    if stream is None:  # it was closed before the process started
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    if not isinstance(stream, io.TextIOWrapper) or not _is_of_a_file(stream):
        return stream
    if stream.isatty():  # nobody closes it, and on Windows it is no file
        stream.reconfigure(errors=errors)
        return stream
    stream.flush()
    file = io.BufferedWriter(_Forgiving(stream.fileno()))
    lines, at_once = stream.line_buffering, stream.write_through
    return io.TextIOWrapper(file, stream.encoding, errors, line_buffering=lines, write_through=at_once)


def _is_of_a_file(stream: io.TextIOBase) -> bool:
    try:
        stream.fileno()
    except OSError:
        return False
    return True


class _Forgiving(io.FileIO):
    """An open file that drops what it cannot write, and keeps the error unless nobody reads the file."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)
        except OSError as error:
            self.failure = error
            return len(data)
