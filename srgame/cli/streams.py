"""Standard output and standard error that cannot end a run."""

import io
import os
import sys
from typing import Any, TextIO


def secure_streams() -> None:
    """Replaces standard output and standard error of this process.

    A character that their encoding lacks becomes a question mark or an escape, and a closed stream the null device.
    What cannot be written is dropped; `check_output` says so at the end, unless the reader of a pipe has gone, as with
    `| head -1`.
    """
    sys.stdout = _secured(sys.stdout, "replace")
    sys.stderr = _secured(sys.stderr, "backslashreplace")


def check_output() -> None:
    """Writes what standard output still holds; raises OSError if something could not be written."""
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Forgiving) and raw.failure:
        raise raw.failure


def _secured(stream: TextIO | None, errors: str) -> TextIO:
    if stream is None:  # it was closed before the process started
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if stream.isatty():  # nobody closes it, and on Windows it is no file
        stream.reconfigure(errors=errors)
        return stream
    stream.flush()
    file = io.BufferedWriter(_Forgiving(stream.fileno()))
    lines, at_once = stream.line_buffering, stream.write_through
    return io.TextIOWrapper(file, stream.encoding, errors, line_buffering=lines, write_through=at_once)


class _Forgiving(io.FileIO):
    """An open file that drops what it cannot write; `failure` is the first error, except that of a closed pipe."""

    failure: OSError | None = None

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            return len(data)
        except OSError as error:
            self.failure = self.failure or error
            return len(data)
