"""Independent units of sampling: run until a limit is reached, and what their mean tells.

A unit is an array of numbers, one per quantity that is estimated; unit k depends on (seed, k), and on the pilot units
if it chooses to and is none of them, and on nothing else. So it does not matter where units are made, nor in which
order: they are reduced in the order of their numbers.
"""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from time import monotonic

import numpy as np
from jaxtyping import Float64
from scipy import stats
from tqdm import tqdm

from srgame.errors import InputError
from srgame.shapley.store import Kept
from srgame.shapley.until import SCHEDULE, Effort, Until

Quantities = Float64[np.ndarray, "..."]
Unit = Callable[[np.random.Generator, Sequence[Quantities]], Quantities]
Make = Callable[[int], Quantities]
# Makes the units of these numbers: each with its number, in whichever order they are done; it may begin some ahead.
Workers = Callable[[Make, Iterator[int]], Generator[tuple[int, Quantities], None, None]]

ENDLESS = 10**15  # more units than anybody makes
BAR = "{percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"
FEW = 4  # units that could agree by luck: where all coalitions cost no more, they are played


@dataclass(frozen=True)
class Estimate:
    """Quantities in the unit of the payoff, and the standard error of each over `units` independent units.

    It is 0 where a quantity is exact (`units` is 0 where all are) or all units agree, infinite after a single unit.
    """

    value: Quantities
    stderr: Quantities
    units: int

    @property
    def precision(self) -> float:
        """The largest standard error, as a share of the range of the values."""
        return self._share(self.stderr.max(initial=0))

    @property
    def rms(self) -> float:
        """The root mean square of the standard errors, as a share of the range of the values."""
        return self._share(np.sqrt(np.mean(self.stderr**2)) if self.stderr.size else 0.0)

    def _share(self, error: float) -> float:
        spread = np.ptp(self.value) if self.value.size else 0.0
        return 0.0 if error == 0 else float(error / spread) if spread > 0 else math.inf

    def interval(self, confidence: float = 0.95) -> tuple[Quantities, Quantities]:
        """The ends of each quantity's own confidence interval (Student's t over the units).

        From a dozen units on it covers what it says; fewer, and skewed, cover less (analyses/bench_coverage.py).
        """
        quantile = stats.t.ppf((1 + confidence) / 2, self.units - 1) if self.units > 1 else 1.0
        return self.value - quantile * self.stderr, self.value + quantile * self.stderr


def mean_of(units: Float64[np.ndarray, "unit ..."]) -> Estimate:
    """The mean over independent units; a single unit tells nothing of its error."""
    first, count = units[0], len(units)
    mean = first + (units - first).mean(0)  # of equal units: exactly that, with an error of exactly 0
    deviation = (units - mean).std(0, ddof=1) if count > 1 else np.full_like(mean, math.inf)
    return Estimate(mean, deviation / math.sqrt(count), count)


@dataclass(frozen=True)
class Sampled:
    """All units that were run, how many coalitions that took, and what ended it."""

    units: Float64[np.ndarray, "unit ..."]
    evaluations: int
    ended: str


def sample(
    unit: Unit,
    until: Until,
    cost: int,
    beforehand: int = 0,
    seed: int = 0,
    progress: bool = False,
    estimate: Callable[[Float64[np.ndarray, "unit ..."]], Estimate] = mean_of,
    kept: Kept | None = None,
    workers: Workers | None = None,
    pilot: int = 0,
) -> Sampled:
    """Units until a limit is reached; each takes `cost` evaluations, and `beforehand` were spent before.

    A unit is made of its own generator and the first `pilot` units; these are made without. Units that are `kept`
    already are not made again; `workers` make the others, or else this process, one by one.

    How precise they are is read off `estimate`, at the numbers of units that SCHEDULE holds, if anybody asks.

    Ctrl-C ends the sampling and keeps what was measured; `progress` shows a bar. Raises InputError where `until` allows
    fewer evaluations than one unit takes.
    """
    if seed < 0:
        raise InputError(f"a seed is a whole number from 0 on, not {seed}")
    units: list[Quantities] = []
    start, precision, rms, ended = monotonic(), math.inf, math.inf, None
    looking = progress or until.precision is not None or until.rms is not None
    most = ENDLESS if until.evaluations is None else max(0, until.evaluations - beforehand) // cost
    makes = _Made(kept, workers or _one_by_one)
    with (
        tqdm(total=1.0, disable=not progress, bar_format=BAR, leave=False, miniters=0) as bar,
        closing(makes.in_order(partial(_unit, unit, seed), min(pilot, most), most)) as coming,
    ):
        while True:
            effort = Effort(len(units), beforehand + len(units) * cost, monotonic() - start, precision, rms)
            if ended := until.reached(effort, cost):
                break
            bar.set_postfix_str(f"{len(units)} units, precision {precision:.2%}" if units else "", refresh=False)
            bar.update(until.share_done(effort) - bar.n)
            try:
                units.append(next(coming))
            except KeyboardInterrupt:
                if not units:
                    raise
                ended = "interrupted"
                break
            if looking and len(units) in SCHEDULE:
                found = estimate(np.stack(units))
                precision, rms = found.precision, found.rms
    if not units:
        raise InputError(
            f"{until.evaluations} evaluations are fewer than one unit takes ({beforehand + cost}): allow more"
        )
    return Sampled(np.stack(units), beforehand + len(units) * cost, ended)


def _unit(unit: Unit, seed: int, pilots: Sequence[Quantities], number: int) -> Quantities:
    return unit(np.random.default_rng([seed, number]), pilots)


def _one_by_one(make: Make, numbers: Iterator[int]) -> Generator[tuple[int, Quantities], None, None]:
    for number in numbers:
        yield number, make(number)


@dataclass(frozen=True)
class _Made:
    """Units in the order of their numbers, wherever they come from: the folder they are kept in, or the workers."""

    kept: Kept | None
    workers: Workers

    def in_order(
        self, make: Callable[[Sequence[Quantities], int], Quantities], pilot: int, most: int
    ) -> Generator[Quantities, None, None]:
        """The pilot units, then those that may depend on them."""
        pilots: list[Quantities] = []
        for unit in self._of(range(pilot), partial(make, ())):
            pilots.append(unit)
            yield unit
        yield from self._of(range(pilot, most), partial(make, pilots))

    def _of(self, numbers: range, make: Make) -> Iterator[Quantities]:
        come: dict[int, Quantities] = {}
        wanted = numbers.start

        def missing() -> Iterator[int]:
            for number in numbers:
                if number < wanted or number in come:
                    continue
                if number == wanted or (found := self._kept(number)) is None:  # whoever is wanted was looked for
                    yield number
                else:
                    come[number] = found

        with closing(self.workers(make, missing())) as made:
            for wanted in numbers:
                if wanted not in come and (found := self._kept(wanted)) is not None:
                    come[wanted] = found
                while wanted not in come:
                    number, unit = next(made)
                    if self.kept:
                        self.kept.put(number, unit)
                    come[number] = unit
                yield come.pop(wanted)

    def _kept(self, number: int) -> Quantities | None:
        return self.kept.get(number) if self.kept else None


def cheaper_played_out(players: int, cost: int, until: Until) -> bool:
    """Whether all coalitions of so many players cost no more than a FEW units, and no more than `until` allows."""
    return bool(2**players <= min(FEW * cost, until.evaluations or math.inf))
