"""What a user gave cannot be used: one exception, whose message is a sentence."""

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


class InputError(ValueError):
    """Says what was wrong, with which value in which file, and what to do; the command line exits with status 2."""


def chosen(kind: str, name: str, known: Mapping[str, T]) -> T:
    """What `known` has under `name`; raises InputError, with all names, where it has nothing."""
    if name not in known:
        raise InputError(f"unknown {kind} '{name}': choose one of {', '.join(known)}")
    return known[name]
