"""Confidence intervals of means, shares and correlations, and how many cells of a table luck decides."""

from collections.abc import Sequence
from itertools import product

import numpy as np
from jaxtyping import Float
from scipy import stats


def proportion(hits: int, of: int, confidence: float = 0.95) -> tuple[float, float, float]:
    """A share and the ends of its Wilson interval, for independent draws."""
    if not of:
        return float("nan"), float("nan"), float("nan")
    interval = stats.binomtest(hits, of).proportion_ci(confidence, method="wilson")
    return hits / of, float(interval.low), float(interval.high)


def correlated(
    x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Pearson's r and the ends of its interval (Fisher's z); the ends are NaN for three points, and r too for fewer."""
    if len(x) < 3 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan"), float("nan"), float("nan")
    found = stats.pearsonr(x, y)
    if len(x) < 4:
        return float(found.statistic), float("nan"), float("nan")
    interval = found.confidence_interval(confidence)
    return float(found.statistic), float(interval.low), float(interval.high)


def in_words(found: tuple[float, float, float]) -> str:
    """The result of `correlated` as "+0.06 (−0.39 to +0.49)", without line breaks; "unknown" if r is NaN."""
    r, low, high = (f"{number:+.2f}".replace("-", "−") for number in found)
    if np.isnan(found[0]):
        return "unknown"
    return r if np.isnan(found[1]) else f"{r} ({low} to {high})".replace(" ", "\N{NO-BREAK SPACE}")


def mean_interval(values: Float[np.ndarray, " n"], confidence: float = 0.95) -> tuple[float, float, float]:
    """The mean of independent values and the ends of its interval (Student's t); NaN ends for fewer than two."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def paired_interval(
    differences: Float[np.ndarray, "seed image"], confidence: float = 0.95
) -> tuple[float, float, float]:
    """The mean of paired differences and the ends of its interval (Student's t).

    With two or more seeds, the interval is over the means of the seeds, as another training would vary; all seeds see
    the same images. With one seed it is over images, and says nothing about another training.
    """
    return mean_interval(differences.mean(1) if len(differences) > 1 else differences[0], confidence)


def decided_by_luck(differences: Float[np.ndarray, "cell seed"], confidence: float = 0.95) -> list[int]:
    """In how many cells the interval over seeds excludes 0, after the signs of some seeds are flipped in all cells.

    If the two strategies that are compared do not differ, each seed's differences are as likely with the opposite sign.
    Whole seeds are flipped, because cells share a seed's luck. There is a number for each way to flip seeds other than
    the first, 2^(seeds − 1) numbers in all; that without flips comes first. (Flipping every seed changes no number.)

    >>> decided_by_luck(np.array([[0.2, 0.21, 0.19], [0.1, 0.1, -0.3]]))
    [1, 0, 0, 0]
    """
    seeds = differences.shape[1]
    signs = np.array([(1, *rest) for rest in product((1, -1), repeat=seeds - 1)])
    flipped = differences * signs[:, None]  # sign, cell, seed
    half = stats.t.ppf((1 + confidence) / 2, seeds - 1) * stats.sem(flipped, axis=-1)
    counts: list[int] = (abs(flipped.mean(-1)) > half).sum(-1).tolist()
    return counts


def luck_in_words(counts: Sequence[int]) -> str:
    """What `decided_by_luck` returned, in a phrase: "0 to 2 decided after swapping the strategies in some seeds"."""
    others = counts[1:]
    least, most = min(others), max(others)
    return f"{least}{f' to {most}' * (most > least)} decided after swapping the strategies in some seeds"
