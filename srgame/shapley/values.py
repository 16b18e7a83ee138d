"""Estimates with their standard errors, and the Shapley values of a game's players."""

import html
import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64
from scipy.special import stdtrit

from srgame.errors import InputError
from srgame.files import write_atomic

Quantities = Float64[np.ndarray, "..."]
PerPlayer = Float64[np.ndarray, " player"]

LOSS = 0.08  # squared skewness per replicate at which 95% intervals cover 93% (Hall 1992, section 3.5)
AGREED, HEAVY_TAILS = "agreed", "heavy tails"


@dataclass(frozen=True)
class Estimate:
    """Quantities in the unit of the payoff, and the standard error of each over `replicates` independent replicates.

    The error is 0 if a quantity is exact or if all replicates agree, and infinite after a single replicate. If all
    quantities are exact, `replicates` is 0.

    freedom: the degrees of freedom of Student's t; None for one less than the replicates.
    """

    value: Quantities
    stderr: Quantities
    replicates: int
    freedom: float | None = field(default=None, kw_only=True)

    @property
    def relative_stderr(self) -> float:
        """The largest standard error, as a share of the range of the values."""
        return self._share(self.stderr.max(initial=0))

    @property
    def relative_rms(self) -> float:
        """The root mean square of the standard errors, as a share of the range of the values."""
        return self._share(np.sqrt(np.mean(self.stderr**2)) if self.stderr.size else 0.0)

    @property
    def precision(self) -> str:
        """The largest standard error in words."""
        if np.isinf(self.stderr).any():
            return "no error yet"
        if self.relative_stderr > 1:
            return f"largest standard error {self.stderr.max():.2g}, more than their range"
        return f"largest standard error {self.relative_stderr:.2%} of their range"

    def _share(self, error: float) -> float:
        spread = np.ptp(self.value) if self.value.size else 0.0
        return 0.0 if error == 0 else float(error / spread) if spread > 0 else math.inf

    def interval(self, confidence: float = 0.95) -> tuple[Quantities, Quantities]:
        """The lower and upper ends of each quantity's own confidence interval (Student's t over the replicates).

        Intervals reach their nominal coverage from a dozen replicates on; with fewer replicates and skewed values they
        cover less (analyses/bench_coverage.py).
        """
        freedom = self.replicates - 1 if self.freedom is None else self.freedom
        quantile = stdtrit(freedom, (1 + confidence) / 2) if self.replicates > 1 else 1.0
        return self.value - quantile * self.stderr, self.value + quantile * self.stderr


def mean_of(replicates: Float64[np.ndarray, "replicate ..."]) -> Estimate:
    """The mean over independent replicates; the error of a single replicate is infinite."""
    first, count = replicates[0], len(replicates)
    mean = first + (replicates - first).mean(0)  # equal replicates have exactly this mean, with an error of exactly 0
    deviation = (replicates - mean).std(0, ddof=1) if count > 1 else np.full_like(mean, math.inf)
    return Estimate(mean, deviation / math.sqrt(count), count, freedom=_freedom(replicates))


def _freedom(replicates: Float64[np.ndarray, "replicate ..."]) -> float | None:
    """The degrees of freedom of a variance, fewer if the replicates have heavy tails; None for fewer than four.

    The variance of a sample variance grows with the kurtosis, here the mean of that of all quantities that vary
    (Satterthwaite's approximation).
    """
    count = len(replicates)
    if count < 4:
        return None
    second, fourth = _moments(replicates, 2, 4)
    with np.errstate(invalid="ignore", divide="ignore"):
        excess = (count - 1) / ((count - 2) * (count - 3)) * ((count + 1) * (fourth / second**2 - 3) + 6)
    finite = excess[np.isfinite(excess)]
    kurtosis = max(0.0, float(finite.mean())) if finite.size else 0.0
    return (count - 1) / (1 + kurtosis * (count - 1) / (2 * count))


def agreement(replicates: Float64[np.ndarray, "replicate ..."], rounding: float) -> Bool[np.ndarray, "..."]:
    """The quantities on which all replicates agree up to rounding; none after a single replicate."""
    agree: Bool[np.ndarray, "..."] = (np.ptp(replicates, axis=0) <= rounding) & (len(replicates) > 1)
    return agree


def with_floor(
    estimate: Estimate,
    agree: Bool[np.ndarray, "..."],
    largest: float,
    certain: Bool[np.ndarray, "..."] | None = None,
) -> Estimate:
    """The estimate, with an error for the quantities on which all replicates agree, perhaps by luck.

    The error is at least the pooled error of the others; or if there are none, what the rule of three leaves open: with
    a confidence of 95%, fewer than 3 of as many replicates would differ, each by no more than `largest`. Quantities
    that are certain, because every replicate measures them exactly, keep their error and are none of the others.
    """
    known = np.zeros_like(agree) if certain is None else certain
    lucky, count = agree & ~known, estimate.replicates
    if not lucky.any():
        return estimate
    others = estimate.stderr[~agree & ~known]
    floor = np.sqrt(np.mean(others**2)) if others.size else 3 / count * largest / stdtrit(count - 1, 0.975)
    return replace(estimate, stderr=np.where(lucky, np.hypot(estimate.stderr, floor), estimate.stderr))


def heavy_tails(replicates: Float64[np.ndarray, "replicate quantity"]) -> Bool[np.ndarray, " quantity"]:
    """The quantities to which rare replicates contribute much, so that their intervals may be too narrow.

    Skewness γ costs a 95% interval .25 γ² / replicates of its coverage (Hall 1992). All quantities that vary are marked
    if the mean of their γ², beyond that of a normal distribution, costs 2%; any one if half of its own comes from a
    single replicate.
    """
    count = len(replicates)
    varies = np.ptp(replicates, axis=0) > 0
    if count < 4:
        return np.zeros_like(varies)
    second, third = _moments(replicates, 2, 3)
    with np.errstate(invalid="ignore", divide="ignore"):
        squared = np.nan_to_num(third**2 / second**3, posinf=0.0)
    unbiased = count * (count - 1) / (count - 2) ** 2
    normal = 6 * (count - 2) / ((count + 1) * (count + 3)) * unbiased
    pooled = unbiased * squared[varies].mean() if varies.any() else 0.0
    single: Bool[np.ndarray, " quantity"] = squared > (count - 2) ** 2 / (count - 1) / 2
    flagged: Bool[np.ndarray, " quantity"] = varies & ((pooled - normal > LOSS * count) | single)
    return flagged


def _moments(replicates: Float64[np.ndarray, "replicate ..."], *powers: int) -> list[Quantities]:
    centred = replicates - replicates.mean(0)
    return [(centred**power).mean(0) for power in powers]


@dataclass(frozen=True)
class ShapleyValues(Estimate):
    """Shapley values in the unit of the payoff, and how they were computed.

    empty, grand: the worth of the empty and of the grand coalition.
    evaluations: the number of coalitions evaluated, each on all images.
    ended: the limit that ended the sampling, "interrupted" or "exact".
    between: the standard deviation of each player's value between the parts of the game (the images), without the
        variance that sampling adds; NaN if there is one part only, and None (NaN in frames) from `exact_shapley`, which
        evaluates all parts together.
    variance_reduction: for each method that lowers the variance, the factor by which it did so here; for
        "low_precision", the variance of sampling over the mean square of the rounding.
    used: the methods in use.
    flags: for each player "", "heavy tails" (rare large contributions: its interval may be too narrow) or "agreed" (all
        replicates agree, so an effect that is rarer than one in as many can be missed; the error is that of rounding if
        they agree on all players and with the mean of first and last contributions, else at least that of the others).

    >>> class Gloves:  # player 0 has a left glove, 1 and 2 have right ones; a pair is worth 1
    ...     players = 3
    ...     def __call__(self, coalitions):
    ...         return (coalitions[:, 0] & coalitions[:, 1:].any(1)).double()
    >>> import srgame
    >>> values = srgame.exact_shapley(Gloves())
    >>> float(values.value.sum().round(9)), float(values.grand - values.empty)
    (1.0, 1.0)
    >>> values.frame()["rank"].tolist()
    [1, 2, 3]
    """

    empty: float
    grand: float
    evaluations: int
    ended: str
    between: PerPlayer | None = None
    variance_reduction: dict[str, float] = field(default_factory=dict)
    used: tuple[str, ...] = ()
    flags: tuple[str, ...] | None = None

    def frame(self, confidence: float = 0.95) -> pd.DataFrame:
        """One row per player: shapley, stderr, low, high (its interval), between_images, flag, rank (1: largest)."""
        low, high = self.interval(confidence)
        between = np.full(len(self.value), np.nan) if self.between is None else self.between
        rank = pd.Series(self.value).rank(ascending=False, method="first").astype(int)
        columns = {"shapley": self.value, "stderr": self.stderr, "low": low, "high": high, "between_images": between}
        flags = [""] * len(self.value) if self.flags is None else self.flags
        return pd.DataFrame(columns | {"flag": flags, "rank": rank})

    def __repr__(self) -> str:
        how = "exact" if self.ended == "exact" else f"{self.replicates} replicates, ended by {self.ended}"
        return (
            f"<Shapley values of {len(self.value)} players: sum {self.grand - self.empty:.4g}, {self.precision}, "
            f"{self.evaluations:,} evaluations ({how})>"
        )

    def _repr_html_(self) -> str:
        table = (
            self.frame().sort_values("rank").rename_axis("player").to_html(max_rows=20, float_format="{:.4g}".format)
        )
        return f"<p>{html.escape(repr(self)[1:-1])}</p>{table}"

    def save(self, path: str | Path) -> Path:
        """Writes all fields as JSON, to the last digit, for `load`; returns the path.

        Raises InputError if the file cannot be written.
        """
        fields = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in asdict(self).items()}
        try:
            return write_atomic(Path(path), json.dumps(fields, indent=1, default=float).encode())
        except OSError as error:
            raise InputError(f"'{path}' cannot be written ({error.strerror}): choose another file") from error

    @classmethod
    def load(cls, path: str | Path) -> "ShapleyValues":
        """The values that `save` wrote.

        Raises InputError if the file cannot be read or holds no such values.
        """
        try:
            fields = json.loads(Path(path).read_text(encoding="utf-8"))
            for name in ("value", "stderr", "between"):
                if fields[name] is not None:
                    fields[name] = np.asarray(fields[name], dtype=np.float64)
            flags = None if fields["flags"] is None else tuple(fields["flags"])
            return cls(**fields | {"used": tuple(fields["used"]), "flags": flags})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"'{path}' holds no Shapley values ({error}): give a file that save() wrote") from error
