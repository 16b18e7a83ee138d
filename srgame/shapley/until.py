"""The limits that end the sampling, and the progress towards them."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from time import monotonic

from srgame.errors import InputError

DOZEN = 12  # with fewer replicates, intervals cover the true value too rarely (analyses/bench_coverage.py)
_END: ContextVar[float] = ContextVar("end", default=math.inf)


class DeadlineError(Exception):
    """The deadline has passed."""


class OutOfTimeError(InputError):
    """The seconds end before the first replicate."""


@contextmanager
def deadline(seconds: float | None) -> Iterator[None]:
    """Within, `check_time` raises DeadlineError after so many seconds; None never ends."""
    token = _END.set(math.inf if seconds is None else monotonic() + seconds)
    try:
        yield
    finally:
        _END.reset(token)


def check_time() -> None:
    """Raises DeadlineError if the deadline has passed."""
    if monotonic() >= _END.get():
        raise DeadlineError


@dataclass(frozen=True)
class Errors:
    """The largest standard error and their root mean square, as a share of the range of the values."""

    largest: float = math.inf
    rms: float = math.inf


@dataclass(frozen=True)
class Effort:
    """What the sampling has spent so far, and its errors when last estimated and when estimated before that."""

    replicates: int
    evaluations: int
    seconds: float
    errors: Errors = Errors()
    before: Errors = Errors()

    @property
    def confirmed(self) -> Errors:
        """The larger of the last two errors: one alone can be small by luck, and so can that of few replicates."""
        if self.replicates < DOZEN:
            return Errors()
        return Errors(max(self.errors.largest, self.before.largest), max(self.errors.rms, self.before.rms))


@dataclass(frozen=True)
class Until:
    """Limits of sampling: the first that is reached ends it; None is no limit.

    tolerance: the largest standard error to reach, as a share of the range of the values.
    rms_tolerance: the root mean square of the standard errors to reach, as a share of the range of the values.
    evaluations: the number of coalitions evaluated, never exceeded.
    seconds: the time after which no coalition is evaluated; a replicate that has not ended is dropped.

    An error ends the sampling after 12 replicates at the earliest, and if it is reached by two estimates in a row.

    >>> Until(tolerance=0.01, seconds=600.0)  # until standard errors are 1% of the range, for ten minutes at most
    Until(tolerance=0.01, evaluations=None, seconds=600.0, rms_tolerance=None)
    """

    tolerance: float | None = None
    evaluations: int | None = None
    seconds: float | None = None
    rms_tolerance: float | None = None

    def __post_init__(self) -> None:
        limits = [
            limit for limit in (self.tolerance, self.rms_tolerance, self.evaluations, self.seconds) if limit is not None
        ]
        if not limits:
            raise InputError(
                "sampling would never end: give a tolerance, a number of evaluations or a number of seconds"
            )
        for limit in limits:
            if not (limit > 0 and math.isfinite(limit)):
                raise InputError(f"a limit of {limit} can never be reached: limits are positive numbers")

    def without(self, evaluations: int, seconds: float) -> "Until":
        """What is left of the limits after these."""
        tiny = 1e-9  # seconds: a limit that is reached at once
        return replace(
            self,
            evaluations=None if self.evaluations is None else self.evaluations - evaluations,
            seconds=None if self.seconds is None else max(tiny, self.seconds - seconds),
        )

    def reached(self, effort: Effort, cost: int) -> str | None:
        """The limit that forbids another replicate of `cost` evaluations, or None."""
        if self.tolerance is not None and effort.confirmed.largest <= self.tolerance:
            return "tolerance"
        if self.rms_tolerance is not None and effort.confirmed.rms <= self.rms_tolerance:
            return "rms tolerance"
        if self.evaluations is not None and effort.evaluations + cost > self.evaluations:
            return "evaluations"
        if self.seconds is not None and effort.seconds >= self.seconds and effort.replicates:
            return "seconds"
        return None

    def share_done(self, effort: Effort) -> float:
        """The progress towards the nearest limit, between 0 and 1."""
        shares = [
            _share(self.tolerance, effort.errors.largest),
            _share(self.rms_tolerance, effort.errors.rms),
            effort.evaluations / self.evaluations if self.evaluations else 0.0,
            effort.seconds / self.seconds if self.seconds else 0.0,
        ]
        return min(1.0, max(shares))


def _share(tolerance: float | None, error: float) -> float:
    """The progress of replicates, whose error falls as the root of their number."""
    return 0.0 if tolerance is None or error == 0 else (tolerance / error) ** 2


def _schedule(first: int, growth: float, last: int) -> frozenset[int]:
    counts = [first]
    while counts[-1] < last:
        counts.append(max(counts[-1] + 1, int(counts[-1] * growth)))
    return frozenset(counts)


# Standard errors are estimated after these numbers of replicates only: every estimate is a chance to stop by luck.
SCHEDULE = _schedule(first=4, growth=1.25, last=10**9)
