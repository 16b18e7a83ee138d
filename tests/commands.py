"""Commands in a process of their own, and limits on this one."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

# What a shell starts in the background ignores Ctrl-C, and so do its children: this makes them listen.
HEARS_CTRL_C = "from signal import SIGINT, default_int_handler, signal; signal(SIGINT, default_int_handler); "


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """While open, no file may grow beyond `size` bytes: writing fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
