"""Independent replicates of sampling: run until a limit is reached, and what their mean tells.

A replicate is an array of numbers, one per quantity that is estimated; replicate k depends on (seed, k), and on the pilot replicates
if it chooses to and is none of them, and on nothing else. So it does not matter where replicates are made, nor in which
permutation: they are reduced in the order of their numbers.
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
from srgame.shapley.store import Store
from srgame.shapley.until import SCHEDULE, Effort, Until

Quantities = Float64[np.ndarray, "..."]
Replicate = Callable[[np.random.Generator, Sequence[Quantities]], Quantities]
Make = Callable[[int], Quantities]
# Makes the replicates of these numbers: each with its number, in whichever permutation they are done; it may begin some ahead.
Workers = Callable[[Make, Iterator[int]], Generator[tuple[int, Quantities], None, None]]

ENDLESS = 10**15  # more replicates than anybody makes
BAR = "{percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"
FEW = 4  # replicates that could agree by luck: where all coalitions cost no more, they are played


@dataclass(frozen=True)
class Estimate:
    """Quantities in the unit of the payoff, and the standard error of each over `replicates` independent replicates.

    It is 0 where a quantity is exact (`replicates` is 0 where all are) or all replicates agree, infinite after a single replicate.
    """

    value: Quantities
    stderr: Quantities
    replicates: int

    @property
    def relative_stderr(self) -> float:
        """The largest standard error, as a share of the range of the values."""
        return self._share(self.stderr.max(initial=0))

    @property
    def relative_rms(self) -> float:
        """The root mean square of the standard errors, as a share of the range of the values."""
        return self._share(np.sqrt(np.mean(self.stderr**2)) if self.stderr.size else 0.0)

    def _share(self, error: float) -> float:
        spread = np.ptp(self.value) if self.value.size else 0.0
        return 0.0 if error == 0 else float(error / spread) if spread > 0 else math.inf

    def interval(self, confidence: float = 0.95) -> tuple[Quantities, Quantities]:
        """The ends of each quantity's own confidence interval (Student's t over the replicates).

        From a dozen replicates on it covers what it says; fewer, and skewed, cover less (analyses/bench_coverage.py).
        """
        quantile = stats.t.ppf((1 + confidence) / 2, self.replicates - 1) if self.replicates > 1 else 1.0
        return self.value - quantile * self.stderr, self.value + quantile * self.stderr


def mean_of(replicates: Float64[np.ndarray, "replicate ..."]) -> Estimate:
    """The mean over independent replicates; a single replicate tells nothing of its error."""
    first, count = replicates[0], len(replicates)
    mean = first + (replicates - first).mean(0)  # of equal replicates: exactly that, with an error of exactly 0
    deviation = (replicates - mean).std(0, ddof=1) if count > 1 else np.full_like(mean, math.inf)
    return Estimate(mean, deviation / math.sqrt(count), count)


@dataclass(frozen=True)
class Sampled:
    """All replicates that were run, how many coalitions that took, and what ended it."""

    replicates: Float64[np.ndarray, "replicate ..."]
    evaluations: int
    ended: str


def sample(
    replicate: Replicate,
    until: Until,
    cost: int,
    beforehand: int = 0,
    seed: int = 0,
    progress: bool = False,
    estimate: Callable[[Float64[np.ndarray, "replicate ..."]], Estimate] = mean_of,
    store: Store | None = None,
    workers: Workers | None = None,
    pilot: int = 0,
) -> Sampled:
    """Replicates until a limit is reached; each takes `cost` evaluations, and `beforehand` were spent before.

    A replicate is made of its own generator and the first `pilot` replicates; these are made without. Replicates that are `kept`
    already are not made again; `workers` make the others, or else this process, one by one.

    How precise they are is read off `estimate`, at the numbers of replicates that SCHEDULE holds, if anybody asks.

    Ctrl-C ends the sampling and keeps what was measured; `progress` shows a bar. Raises InputError where `until` allows
    fewer evaluations than one replicate takes.
    """
    if seed < 0:
        raise InputError(f"a seed is a whole number from 0 on, not {seed}")
    replicates: list[Quantities] = []
    start, relative_stderr, relative_rms, ended = monotonic(), math.inf, math.inf, None
    looking = progress or until.tolerance is not None or until.rms_tolerance is not None
    most = ENDLESS if until.evaluations is None else max(0, until.evaluations - beforehand) // cost
    makes = _Made(store, workers or _one_by_one)
    with (
        tqdm(total=1.0, disable=not progress, bar_format=BAR, leave=False, miniters=0) as bar,
        closing(makes.in_order(partial(_unit, replicate, seed), min(pilot, most), most)) as coming,
    ):
        while True:
            effort = Effort(
                len(replicates), beforehand + len(replicates) * cost, monotonic() - start, relative_stderr, relative_rms
            )
            if ended := until.reached(effort, cost):
                break
            bar.set_postfix_str(
                f"{len(replicates)} replicates, largest standard error {relative_stderr:.2%} of the range"
                if replicates
                else "",
                refresh=False,
            )
            bar.update(until.share_done(effort) - bar.n)
            try:
                replicates.append(next(coming))
            except KeyboardInterrupt:
                if not replicates:
                    raise
                ended = "interrupted"
                break
            if looking and len(replicates) in SCHEDULE:
                found = estimate(np.stack(replicates))
                relative_stderr, relative_rms = found.relative_stderr, found.relative_rms
    if not replicates:
        raise InputError(
            f"{until.evaluations} evaluations are fewer than one replicate takes ({beforehand + cost}): allow more"
        )
    return Sampled(np.stack(replicates), beforehand + len(replicates) * cost, ended)


def _unit(replicate: Replicate, seed: int, pilots: Sequence[Quantities], number: int) -> Quantities:
    return replicate(np.random.default_rng([seed, number]), pilots)


def _one_by_one(make: Make, numbers: Iterator[int]) -> Generator[tuple[int, Quantities], None, None]:
    for number in numbers:
        yield number, make(number)


@dataclass(frozen=True)
class _Made:
    """Replicates in the order of their numbers, wherever they come from: the folder they are kept in, or the workers."""

    store: Store | None
    workers: Workers

    def in_order(
        self, make: Callable[[Sequence[Quantities], int], Quantities], pilot: int, most: int
    ) -> Generator[Quantities, None, None]:
        """The pilot replicates, then those that may depend on them."""
        pilots: list[Quantities] = []
        for replicate in self._of(range(pilot), partial(make, ())):
            pilots.append(replicate)
            yield replicate
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
                    number, replicate = next(made)
                    if self.store:
                        self.store.put(number, replicate)
                    come[number] = replicate
                yield come.pop(wanted)

    def _kept(self, number: int) -> Quantities | None:
        return self.store.get(number) if self.store else None


def cheaper_enumerated(players: int, cost: int, until: Until) -> bool:
    """Whether all coalitions of so many players cost no more than a FEW replicates, and no more than `until` allows."""
    return bool(2**players <= min(FEW * cost, until.evaluations or math.inf))
