"""When sampling ends, and how far it has come."""

import math
from dataclasses import dataclass

from srgame.errors import InputError


@dataclass(frozen=True)
class Effort:
    """What was spent so far, and the precision that it had bought when last looked at."""

    units: int
    evaluations: int
    seconds: float
    precision: float
    rms: float = math.inf


@dataclass(frozen=True)
class Until:
    """The first of these limits that is reached ends the sampling; None is no limit.

    precision: the largest standard error, as a share of the range of the values.
    rms: the root mean square of the standard errors, as a share of the range of the values.
    evaluations: of coalitions, never exceeded.
    seconds: after which no unit is begun, but for the first two, without which there is no error bar.
    """

    precision: float | None = None
    evaluations: int | None = None
    seconds: float | None = None
    rms: float | None = None

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.precision, self.rms, self.evaluations, self.seconds) if limit is not None]
        if not limits:
            raise InputError("sampling would never end: give a precision, a number of evaluations or of seconds")
        for limit in limits:
            if not (limit > 0 and math.isfinite(limit)):
                raise InputError(f"a limit of {limit} can never be reached: limits are positive numbers")

    def reached(self, effort: Effort, unit_cost: int) -> str | None:
        """Which limit forbids another unit of `unit_cost` evaluations, or None."""
        if self.precision is not None and effort.precision <= self.precision:
            return "precision"
        if self.rms is not None and effort.rms <= self.rms:
            return "rms"
        if self.evaluations is not None and effort.evaluations + unit_cost > self.evaluations:
            return "evaluations"
        if self.seconds is not None and effort.seconds >= self.seconds and effort.units >= 2:
            return "seconds"
        return None

    def share_done(self, effort: Effort) -> float:
        """How much of the way to the nearest limit lies behind, between 0 and 1."""
        shares = [
            (self.precision / effort.precision) ** 2 if self.precision and effort.precision > 0 else 0.0,
            (self.rms / effort.rms) ** 2 if self.rms and effort.rms > 0 else 0.0,
            effort.evaluations / self.evaluations if self.evaluations else 0.0,
            effort.seconds / self.seconds if self.seconds else 0.0,
        ]
        return min(1.0, max(shares))


def _schedule(first: int, growth: float, last: int) -> frozenset[int]:
    counts = [first]
    while counts[-1] < last:
        counts.append(max(counts[-1] + 1, int(counts[-1] * growth)))
    return frozenset(counts)


# Precision is looked at after these numbers of units only: every look is a chance to stop by luck. Four tell whether a
# unit is exact; where it is not, the intervals of fewer than a dozen may be too narrow, and tables say so.
SCHEDULE = _schedule(first=4, growth=1.25, last=10**9)
