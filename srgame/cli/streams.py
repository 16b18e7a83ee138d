"""Standard output and standard error that cannot end a run."""

import io
import os
import sys
from typing import Any, TextIO


def secure_streams() -> None:
    """Replaces standard output and standard error of this process.

    A character that their encoding lacks becomes a question mark or an escape, and a closed stream the null device.
    What is written after the reader of a pipe has gone, as with `| head -1`, is dropped; so are notes and progress that
    cannot be written for any reason.
    """
    sys.stdout = _secured(sys.stdout, BrokenPipeError, "replace")
    sys.stderr = _secured(sys.stderr, OSError, "backslashreplace")


def drop_output() -> None:
    """Drops what standard output still holds: it cannot be written, and is not to fail again when the process ends."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Forgiving):
        raw.ignored = OSError


def _secured(stream: TextIO | None, ignored: type[OSError], errors: str) -> TextIO:
    if stream is None:  # it was closed before the process started
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    if stream.isatty():  # nobody closes it, and on Windows it is no file
        stream.reconfigure(errors=errors)
        return stream
    stream.flush()
    file = io.BufferedWriter(_Forgiving(stream.fileno(), ignored))
    lines, at_once = stream.line_buffering, stream.write_through
    return io.TextIOWrapper(file, stream.encoding, errors, line_buffering=lines, write_through=at_once)


class _Forgiving(io.FileIO):
    """An open file that drops what it cannot write because of an `ignored` error."""

    def __init__(self, descriptor: int, ignored: type[OSError]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.ignored = ignored

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except self.ignored:
            return len(data)
