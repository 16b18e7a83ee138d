"""The exception for input that srgame cannot use, and checks that raise it."""

import difflib
from collections.abc import Iterable, Mapping
from multiprocessing import current_process
from typing import TypeVar

T = TypeVar("T")

INTERRUPTED = 130  # the exit status of a command that Ctrl-C ended


class InputError(ValueError):
    """Says what is wrong, with the value and the file, and what to do; the command line exits with status 2.

    >>> import srgame
    >>> try:
    ...     srgame.load_pairs(degradation="fog")
    ... except srgame.InputError as error:
    ...     print(error)
    unknown degradation 'fog': choose one of clean, blur, noise, jpeg, b+n, b+j, n+j, b+n+j
    """


def chosen(kind: str, name: str, known: Mapping[str, T]) -> T:
    """The value of `name` in `known`; raises InputError, which lists all names, if there is none."""
    if name not in known:
        raise InputError(f"unknown {kind} '{name}': choose one of {', '.join(known)}")
    return known[name]


def nearest(name: str, known: Iterable[str], most: int = 3) -> str:
    """The known names most similar to `name`, joined by commas; "none" if there are none."""
    return ", ".join(difflib.get_close_matches(name, list(known), n=most, cutoff=0)) or "none"


def check_counts(**counts: int | None) -> None:
    """Raises InputError for a count below 1; None means no limit and passes."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"{name} must be at least 1, not {count}")


MAIN_GUARD = "each worker process first runs the script that starts it, so the script needs: if __name__ == '__main__'"


def check_main_guard() -> None:
    """Raises InputError in a worker process that is still running the script which started it."""
    if getattr(current_process(), "_inheriting", False):  # as multiprocessing itself checks it
        raise InputError(f"no processes can be started here: {MAIN_GUARD}")
