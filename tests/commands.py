"""Commands in a process of their own, and limits on this one."""

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# What a shell starts in the background ignores Ctrl-C, and so do its children: this makes them listen.
HEARS_CTRL_C = "from signal import SIGINT, default_int_handler, signal; signal(SIGINT, default_int_handler); "


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """While open, no file may grow beyond `size` bytes: writing fails as it does on a full disk."""
    with _limited(resource.RLIMIT_FSIZE, size):
        yield


@contextmanager
def memory_for(size: int) -> Iterator[None]:
    """While open, this process may have only so many bytes of memory more than it has."""
    has = int(re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
    with _limited(resource.RLIMIT_AS, has + size):
        yield


@contextmanager
def _limited(what: int, size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))
