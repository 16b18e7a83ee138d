"""The sampling loop: independent replicates until a limit is reached.

A replicate is an array of numbers. Replicate k depends on (seed, k) only, and after the pilot on the pilot replicates
too. So replicates can be computed anywhere and in any order; the estimate reads them in the order of their numbers.
"""

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import numpy as np
from jaxtyping import Float64
from tqdm.auto import tqdm

from srgame.errors import InputError
from srgame.shapley.store import Store
from srgame.shapley.until import SCHEDULE, DeadlineError, Effort, Errors, OutOfTimeError, Until, deadline
from srgame.shapley.values import Estimate, Quantities, mean_of

Replicates = Float64[np.ndarray, "replicate ..."]
Replicate = Callable[[np.random.Generator, Sequence[Quantities], int], Quantities]
Make = Callable[[int], Quantities]
# Computes the replicates of these numbers and returns each with its number, in any order; may take numbers ahead.
Workers = Callable[[Make, Iterator[int]], Generator[tuple[int, Quantities], None, None]]

ENDLESS = 10**15  # more replicates than anybody computes
BAR = "{percentage:3.0f}%|{bar}| {postfix} [{elapsed}<{remaining}]"
ENOUGH = 8  # replicates whose agreement counts, if an independent check agrees too
FEW = 4  # replicates that could agree by luck: all coalitions are evaluated if they cost no more


@dataclass(frozen=True)
class Sampled:
    """All replicates of a run, the number of coalitions they took, and the limit that ended the run."""

    replicates: Replicates
    evaluations: int
    ended: str


def sample(
    replicate: Replicate,
    until: Until,
    cost: int,
    *,
    spent: int = 0,
    seed: int = 0,
    progress: bool = False,
    estimate: Callable[[Replicates], Estimate] = mean_of,
    extra: Callable[[Replicates, float], int] | None = None,
    store: Store | None = None,
    workers: Workers | None = None,
    pilot: int = 0,
) -> Sampled:
    """Replicates until a limit is reached; each takes `cost` evaluations, after `spent` evaluations at the start.

    `replicate` gets a random generator of its own, the first `pilot` replicates, which themselves get none, and its
    number. If a limit is an error, `estimate` computes it after the numbers of replicates in SCHEDULE; it ends the
    sampling from DOZEN replicates on, if it is reached twice in a row. `extra`, called after ENOUGH replicates with the
    evaluations that are left, may evaluate more, and returns how many. Replicates in the `store` are not computed
    again; `workers`, if given, compute the others. Ctrl-C ends the sampling and keeps the replicates so far, and so
    does the end of the seconds, even within a replicate; `progress` shows a bar.

    Raises InputError for a negative seed, and if `until` allows fewer evaluations or seconds than one replicate takes.
    """
    if seed < 0:
        raise InputError(f"a seed is a whole number from 0 on, not {seed}")
    most = ENDLESS if until.evaluations is None else max(0, until.evaluations - spent) // cost
    estimating = progress or until.tolerance is not None or until.rms_tolerance is not None
    replicates: list[Quantities] = []
    start, errors, before = monotonic(), Errors(), Errors()
    with (
        deadline(until.seconds),
        tqdm(total=1.0, disable=not progress, bar_format=BAR, leave=False, miniters=0) as bar,
        closing(_in_order(partial(_make, replicate, seed), min(pilot, most), most, store, workers)) as coming,
    ):
        while True:
            evaluations = spent + len(replicates) * cost
            effort = Effort(len(replicates), evaluations, monotonic() - start, errors, before)
            if ended := until.reached(effort, cost):
                break
            _show(bar, effort, until)
            try:
                replicates.append(next(coming))
                if extra and len(replicates) == ENOUGH:
                    left = float(until.evaluations or math.inf) - spent - len(replicates) * cost
                    spent += extra(np.stack(replicates), left)
                if estimating and len(replicates) in SCHEDULE:
                    current = estimate(np.stack(replicates))
                    before, errors = errors, Errors(current.relative_stderr, current.relative_rms)
            except KeyboardInterrupt:
                if not replicates:
                    raise
                ended = "interrupted"
                break
            except DeadlineError:
                if not replicates:
                    raise OutOfTimeError(
                        f"{until.seconds} seconds end before the first replicate ({cost} evaluations): "
                        "allow more, or take fewer or smaller images"
                    ) from None
                ended = "seconds"
                break
    if not replicates:
        raise InputError(
            f"{until.evaluations} evaluations are fewer than one replicate takes ({spent + cost}): allow more"
        )
    return Sampled(np.stack(replicates), evaluations, ended)


def cheaper_enumerated(players: int, cost: int, until: Until) -> bool:
    """Whether all coalitions of `players` players cost no more than FEW replicates and than `until` allows."""
    return bool(2**players <= min(FEW * cost, until.evaluations or math.inf))


def _show(bar: Any, effort: Effort, until: Until) -> None:
    if effort.replicates:
        largest = effort.errors.largest
        error = f"largest standard error {largest:.2%} of the range" if math.isfinite(largest) else "no error yet"
        bar.set_postfix_str(f"{effort.replicates} replicates, {error}", refresh=False)
    bar.update(until.share_done(effort) - bar.n)


def _make(replicate: Replicate, seed: int, pilot: Sequence[Quantities], number: int) -> Quantities:
    return replicate(np.random.default_rng([seed, number]), pilot, number)


def _in_order(
    make: Callable[[Sequence[Quantities], int], Quantities],
    pilot: int,
    most: int,
    store: Store | None,
    workers: Workers | None,
) -> Generator[Quantities, None, None]:
    """The replicates in the order of their numbers: first the pilot, then those that may depend on it."""
    compute = partial(_prefetched, workers) if workers else _one_by_one
    pilot_replicates: list[Quantities] = []
    for replicate in compute(store, partial(make, ()), range(pilot)):
        pilot_replicates.append(replicate)
        yield replicate
    yield from compute(store, partial(make, pilot_replicates), range(pilot, most))


def _one_by_one(store: Store | None, make: Make, numbers: range) -> Iterator[Quantities]:
    """The replicates, from the store or computed in this process."""
    for number in numbers:
        replicate = store.get(number) if store else None
        if replicate is None:
            replicate = make(number)
            if store:
                store.put(number, replicate)
        yield replicate


def _prefetched(workers: Workers, store: Store | None, make: Make, numbers: range) -> Iterator[Quantities]:
    """The replicates, from the store or from the workers, who compute some ahead."""
    ready: dict[int, Quantities] = {}
    wanted = numbers.start

    def stored(number: int) -> bool:
        replicate = store.get(number) if store else None
        if replicate is not None:
            ready[number] = replicate
        return replicate is not None

    def missing() -> Iterator[int]:
        for number in numbers:
            if number < wanted or number in ready:
                continue
            if number == wanted or not stored(number):  # the loop below has looked for the wanted one already
                yield number

    with closing(workers(make, missing())) as computed:
        for wanted in numbers:
            if wanted not in ready:
                stored(wanted)
            while wanted not in ready:
                number, replicate = next(computed)
                if store:
                    store.put(number, replicate)
                ready[number] = replicate
            yield ready.pop(wanted)
