"""What a user gave cannot be used: one exception, whose message is a sentence."""

import difflib
from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """Says what was wrong, with which value in which file, and what to do; the command line exits with status 2."""


def chosen(kind: str, name: str, known: Mapping[str, T]) -> T:
    """What `known` has under `name`; raises InputError, with all names, where it has nothing."""
    if name not in known:
        raise InputError(f"unknown {kind} '{name}': choose one of {', '.join(known)}")
    return known[name]


def nearest(name: str, known: Iterable[str], most: int = 3) -> str:
    """The known names that are most like `name`, for a sentence."""
    return ", ".join(difflib.get_close_matches(name, list(known), n=most, cutoff=0)) or "none"


def check_counts(**counts: int | None) -> None:
    """Raises InputError for a count below 1; None is no limit."""
    for name, count in counts.items():
        if count is not None and count < 1:
            raise InputError(f"{name} is a number from 1 on, not {count}")
