"""The limits that end the sampling, and the progress towards them."""

import math
from dataclasses import dataclass

from srgame.errors import InputError


@dataclass(frozen=True)
class Effort:
    """What the sampling has spent so far, and its relative standard errors when last estimated."""

    replicates: int
    evaluations: int
    seconds: float
    relative_stderr: float
    relative_rms: float = math.inf


@dataclass(frozen=True)
class Until:
    """Limits of sampling: the first that is reached ends it; None is no limit.

    tolerance: the largest standard error to reach, as a share of the range of the values.
    rms_tolerance: the root mean square of the standard errors to reach, as a share of the range of the values.
    evaluations: the number of coalitions evaluated, never exceeded.
    seconds: the time after which no replicate starts, except the first two, which give an error bar.
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

    def reached(self, effort: Effort, cost: int) -> str | None:
        """The limit that forbids another replicate of `cost` evaluations, or None."""
        if self.tolerance is not None and effort.relative_stderr <= self.tolerance:
            return "tolerance"
        if self.rms_tolerance is not None and effort.relative_rms <= self.rms_tolerance:
            return "rms tolerance"
        if self.evaluations is not None and effort.evaluations + cost > self.evaluations:
            return "evaluations"
        if self.seconds is not None and effort.seconds >= self.seconds and effort.replicates >= 2:
            return "seconds"
        return None

    def share_done(self, effort: Effort) -> float:
        """The progress towards the nearest limit, between 0 and 1."""
        shares = [
            (self.tolerance / effort.relative_stderr) ** 2 if self.tolerance and effort.relative_stderr > 0 else 0.0,
            (self.rms_tolerance / effort.relative_rms) ** 2 if self.rms_tolerance and effort.relative_rms > 0 else 0.0,
            effort.evaluations / self.evaluations if self.evaluations else 0.0,
            effort.seconds / self.seconds if self.seconds else 0.0,
        ]
        return min(1.0, max(shares))


def _schedule(first: int, growth: float, last: int) -> frozenset[int]:
    counts = [first]
    while counts[-1] < last:
        counts.append(max(counts[-1] + 1, int(counts[-1] * growth)))
    return frozenset(counts)


# Standard errors are estimated after these numbers of replicates only: every estimate is a chance to stop by luck. Four
# replicates show whether a replicate is exact. If it is not, the intervals of fewer than a dozen may be too narrow, and
# tables say so.
SCHEDULE = _schedule(first=4, growth=1.25, last=10**9)
