"""Shapley values of a game's players: exact for a few of them, sampled for any number, with honest error bars.

The Shapley value φ of a player is its marginal contribution v(S ∪ i) − v(S), averaged over all permutations in which the
players can join, S being those who came before (paper, Eq. 1).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int

from srgame.errors import InputError
from srgame.shapley.coalitions import MOST, active_players, among, enumerated, evaluated, prefixes
from srgame.shapley.control_variates import DEGREES, of_places, regressed
from srgame.shapley.game import Game
from srgame.shapley.sampling import Estimate, Workers, cheaper_enumerated, mean_of, sample
from srgame.shapley.store import Store
from srgame.shapley.until import Until

PerPlayer = Float64[np.ndarray, " player"]
PerActive = Float64[np.ndarray, " active"]
Permutation = Int[np.ndarray, " active"]
Rows = Float64[np.ndarray, "row active"]

MANY = 10  # players: with more, a quadratic game is solved by far fewer coalitions than all
PROOFS = 4  # random permutations that must agree
ROUNDING = 1e-5  # of the largest value: what float32 leaves of −mse lies a permutation of magnitude below
PILOT = 8  # replicates that tell whether reversed permutations pay
REGRESSED = 24  # replicates from which on a regression on the controls is tried
WORTHWHILE = 1.05  # the gain from which on a device is used: less could be luck
NEGLIGIBLE = (
    1 / 400
)  # share of the variance of permutations: if no more is rounded off, the low-precision game is played
CHECKED = 1 / 16  # of the replicates are then played in both games


@dataclass(frozen=True)
class ShapleyValues(Estimate):
    """Shapley values in the unit of the payoff, and how they were found.

    `empty` and `grand` are the worth of nobody and of everybody. `evaluations` counts the coalitions that were played,
    each on all images; `ended` says what ended the sampling. `between` is the standard deviation of a player's value
    between the parts of the game, the images, without what sampling adds to it; NaN where there is one part only.
    `gains` has, of each device that lowers the variance, by what factor it did here, and of "low-precision" how many times
    the variance of what the low-precision game rounds off is below that of permutations; `used` names those in use.
    """

    empty: float
    grand: float
    evaluations: int
    ended: str
    between: PerPlayer | None = None
    variance_reduction: dict[str, float] = field(default_factory=dict)
    used: tuple[str, ...] = ()

    def frame(self, confidence: float = 0.95) -> pd.DataFrame:
        """One row per player: shapley, stderr, low and high (its interval), between_images, rank (1 is the largest)."""
        low, high = self.interval(confidence)
        between = np.full(len(self.value), np.nan) if self.between is None else self.between
        rank = pd.Series(self.value).rank(ascending=False, method="first").astype(int)
        columns = {"shapley": self.value, "stderr": self.stderr, "low": low, "high": high, "between_images": between}
        return pd.DataFrame(columns | {"rank": rank})


def exact_shapley(game: Game) -> ShapleyValues:
    """The Shapley values, without sampling error: of any number of players if the game is quadratic, else of up to 20.

    A game is quadratic if players interact in pairs only: −mse is, for the filters in front of a linear tail. Then one
    permutation and its reverse give the values, whichever permutation, and so do each player's first and last contribution. Of more
    than 10 players, four random permutations and those contributions must agree within 1e-5 of the largest value, room for
    float32 rounding and little else; otherwise all 2ⁿ coalitions are played. Raises InputError for more than 20 players
    whose game is not quadratic.
    """
    active = active_players(game)
    if len(active) <= MANY:
        return _from_all_coalitions(game)
    values, disagreement = _as_if_quadratic(game, active)
    if disagreement <= ROUNDING:
        return values
    if len(active) > MOST:
        raise InputError(
            f"{len(active)} players have 2^{len(active)} coalitions, too many to play all, and the game is not "
            f"quadratic (permutations disagree by {disagreement:.1g} of the largest value): sample instead (sampled_shapley)"
        )
    return _from_all_coalitions(game)


def _from_all_coalitions(game: Game) -> ShapleyValues:
    """The definition: marginal contributions, averaged over the coalitions of a size and then over sizes."""
    everything = enumerated(game)
    n, worth = len(everything.active), everything.worth
    weight = np.array([1 / (n * math.comb(n - 1, size)) for size in range(n)])
    value = np.zeros(game.players)
    for place, player in enumerate(everything.active):
        size, contribution = everything.changes(place)
        value[player] = weight[size] @ contribution
    return ShapleyValues(value, np.zeros(game.players), 0, worth[0], worth[-1], len(worth), "exact")


def _as_if_quadratic(game: Game, active: Int[np.ndarray, " active"]) -> tuple[ShapleyValues, float]:
    """The values if the game is quadratic, and how far it is from that, as a share of the largest value.

    A synergy of three or more players counts half for each of them in the mean of first and last contribution, but in a
    pair of permutations only for those who come first or last among them: so the two disagree, however few such synergies.
    """
    alone = among(game, active, np.eye(len(active), dtype=bool))
    missing = among(game, active, ~np.eye(len(active), dtype=bool))
    nobody, everybody = among(game, active, np.array([[False], [True]]).repeat(len(active), 1))
    worth = evaluated(game, np.concatenate([[nobody, everybody], alone, missing]))
    ends, (first, last) = worth[:2], np.split(worth[2:], 2)
    expected = np.zeros(game.players)
    expected[active] = (first - ends[0] + ends[1] - last) / 2
    pairs = np.zeros((PROOFS, game.players))
    for proof in range(PROOFS):
        permutation = np.random.default_rng([0, proof]).permutation(len(active))
        pairs[proof, active] = _marginals(game, active, ends, np.stack([permutation, permutation[::-1]])).mean(0)
    value, largest = pairs.mean(0), np.abs([expected, *pairs]).max()
    disagreement = float(np.abs(pairs - expected).max() / largest) if largest > 0 else 0.0
    evaluations = len(worth) + PROOFS * 2 * (len(active) - 1)
    return ShapleyValues(value, np.zeros(game.players), 0, ends[0], ends[1], evaluations, "exact"), disagreement


def sampled_shapley(
    game: Game,
    *,
    until: Until,
    seed: int = 0,
    antithetic: bool | None = None,
    unions: Sequence[Sequence[int]] | None = None,
    progress: bool = False,
    store: Store | None = None,
    workers: Workers | None = None,
) -> ShapleyValues:
    """The Shapley values estimated, without bias, from random permutations of the players.

    An independent replicate has two permutations for each part of the game: a permutation and its reverse, whose errors cancel in large
    part (Mitchell et al. 2022), or two independent ones; by default the first PILOT replicates tell which. Parts, if the
    game has any, are games whose mean it is, such as its images: each has permutations of its own. Where that lowers the
    error, a regression on the places in the permutations, whose mean is known, is subtracted from the contributions. Replicate k
    depends on `seed` and the pilot replicates only. The values add up to v(N) − v(∅). Players in `game.dummies` are worth
    exactly 0 and are never sampled. Where all coalitions cost no more than a FEW replicates, these are played. Ctrl-C ends
    the sampling and keeps what was measured; `progress` shows a bar. Replicates that are `kept` on disk are not made again;
    `workers` make the others, or else this process.

    If the game has a low-precision one, the pilot replicates play both. Where what is rounded off is a NEGLIGIBLE share of the
    variance, the other replicates play the low-precision one; some play both, and what those differ by corrects all, without bias.
    `evaluations` counts a coalition once, in whichever game.

    With `unions` that share out the players, only permutations count in which the members of a union follow each other: the
    values are Owen's (1977), and the sum over a union is its own Shapley value in the game of the unions.

    Raises InputError where `until` allows fewer evaluations than one replicate takes, or a player is not in one union.
    """
    if unions is not None and sorted(player for union in unions for player in union) != list(range(game.players)):
        raise InputError(f"unions share out the {game.players} players: each is in exactly one of them")
    active = active_players(game)
    cost = 2 * (len(active) - 1)
    if len(active) < 2 or (unions is None and cheaper_enumerated(len(active), cost, until)):
        return exact_shapley(game)
    sampler = _Permutations(game, active, antithetic, unions)
    how = {"seed": seed, "progress": progress, "store": store, "workers": workers}
    return sampled_by(sampler, until, cost, PILOT if antithetic is None or sampler.low_precision else 0, **how)


@dataclass(frozen=True)
class Estimated:
    """What the replicates tell of the active players, and of the devices."""

    found: Estimate
    between: PerPlayer
    variance_reduction: dict[str, float]
    used: tuple[str, ...]


class Sampler(ABC):
    """What makes replicates of a game and reads them; `ends` has what nobody and everybody is worth to each of its parts."""

    def __init__(self, game: Game, active: Int[np.ndarray, " active"]) -> None:
        self.game = game
        self.active = active
        self.parts: Sequence[Game] = getattr(game, "parts", None) or [game]
        self.ends = self.worth_of_ends(self.parts)

    def worth_of_ends(self, parts: Sequence[Game]) -> Float64[np.ndarray, "part 2"]:
        """What nobody and everybody is worth to each part."""
        ends = among(self.game, self.active, np.array([[False], [True]]).repeat(len(self.active), 1))
        return np.array([evaluated(part, ends) for part in parts]).reshape(-1, 2)

    @abstractmethod
    def replicate(self, rng: np.random.Generator, before: Sequence[Rows]) -> Rows:
        """Rows of numbers per active player: first its contribution to each part."""

    @abstractmethod
    def estimate(self, replicates: Float64[np.ndarray, "replicate row active"]) -> Estimated:
        """What the replicates tell."""

    def for_all(self, values: PerActive) -> PerPlayer:
        everyone = np.zeros(self.game.players)
        everyone[self.active] = values
        return everyone


def sampled_by(sampler: Sampler, until: Until, cost: int, pilot: int, **how: Any) -> ShapleyValues:
    """The values that replicates of `sampler` tell, each of which takes `cost` evaluations; `how` goes to `sample`."""

    def estimate_of(replicates: Float64[np.ndarray, "replicate row active"]) -> Estimate:
        return sampler.estimate(replicates).found

    sampled = sample(sampler.replicate, until, cost, beforehand=2, estimate=estimate_of, pilot=pilot, **how)
    estimate = sampler.estimate(sampled.replicates)
    return ShapleyValues(
        sampler.for_all(estimate.found.value),
        sampler.for_all(estimate.found.stderr),
        estimate.found.replicates,
        sampler.ends[:, 0].mean(),
        sampler.ends[:, 1].mean(),
        sampled.evaluations,
        sampled.ended,
        sampler.for_all(estimate.between),
        estimate.variance_reduction,
        estimate.used,
    )


class _Permutations(Sampler):
    """Replicates of two permutations for each part: their mean; half their difference; what the devices are measured by."""

    def __init__(
        self,
        game: Game,
        active: Int[np.ndarray, " active"],
        antithetic: bool | None,
        unions: Sequence[Sequence[int]] | None,
    ) -> None:
        super().__init__(game, active)
        self.antithetic = antithetic
        self.decided: tuple[bool, bool] | None = None
        self.unions = None if unions is None else [np.flatnonzero(np.isin(active, union)) for union in unions]
        self.controls = of_places(len(active))
        low_precision = [getattr(part, "low_precision", None) for part in self.parts]
        self.low_precision: list[Game] = [
            each for each in low_precision if each is not None and each.players == game.players
        ]
        if len(self.low_precision) < len(low_precision):
            self.low_precision = []
        self.low_precision_ends = self.worth_of_ends(self.low_precision)

    def permutation(self, rng: np.random.Generator) -> Permutation:
        """A random permutation of the places in `active`."""
        if self.unions is None:
            return rng.permutation(len(self.active))
        return np.concatenate([rng.permutation(self.unions[k]) for k in rng.permutation(len(self.unions))])

    def replicate(self, rng: np.random.Generator, before: Sequence[Rows]) -> Rows:
        """Rows of numbers per player: the mean of both permutations for each part; half their difference; the controls.

        Where there is a low-precision game, there follows what it rounds off of each part, NaN in replicates that do not play both.
        """
        reverse, low_precision = self.decisions(before)
        permutations = np.stack([self._two_permutations(rng, reverse) for _ in self.parts])
        both = bool(self.low_precision) and (len(before) < PILOT or (low_precision and rng.random() < CHECKED))
        found = self._marginals(permutations, low_precision)
        half = (found[:, 0] - found[:, 1]).mean(0) / 2
        rows = [*found.mean(1), half, *self.controls[:, permutations.argsort(2)].mean((1, 2))]
        if both:
            more = (found - self._marginals(permutations, not low_precision)).mean(1)
            rows += [*(-more if low_precision else more)]
        elif self.low_precision:
            rows += [np.full(len(half), np.nan)] * len(self.parts)
        return np.stack(rows)

    def _two_permutations(self, rng: np.random.Generator, reverse: bool) -> Int[np.ndarray, "2 active"]:
        permutation = self.permutation(rng)
        return np.stack([permutation, permutation[::-1] if reverse else self.permutation(rng)])

    def _marginals(
        self, permutations: Int[np.ndarray, "part 2 active"], low_precision: bool
    ) -> Float64[np.ndarray, "part 2 active"]:
        evaluated = zip(
            *((self.low_precision, self.low_precision_ends) if low_precision else (self.parts, self.ends)),
            permutations,
            strict=True,
        )
        return np.stack([_marginals(game, self.active, ends, pair) for game, ends, pair in evaluated])

    def decisions(self, before: Sequence[Rows] | Float64[np.ndarray, "replicate row active"]) -> tuple[bool, bool]:
        """Whether second permutations are the first ones' reverse, and whether the low-precision game is played: the pilot tells."""
        if len(before) < PILOT:
            return self.antithetic is not False, False
        if self.decided is None:
            pilot, parts = np.stack(list(before[:PILOT])), len(self.parts)
            reverse = _gain_of_pairs(pilot, parts) >= 1 if self.antithetic is None else self.antithetic
            self.decided = reverse, bool(self.low_precision) and _times_less_rounded(pilot, parts) >= 1 / NEGLIGIBLE
        return self.decided

    def estimate(self, replicates: Float64[np.ndarray, "replicate row active"]) -> Estimated:
        """The mean over replicates, less the regression on controls if that lowers the error, and what was rounded off."""
        parts = len(self.parts)
        reverse, low_precision = self.decisions(replicates)
        contributions, controls = replicates[:, :parts].copy(), replicates[:, parts + 1 :][:, : len(DEGREES)]
        off = replicates[:, -parts:]
        if low_precision:
            contributions[:PILOT] -= off[:PILOT]  # as all others are
        means = contributions.mean(1)
        found, used, variance_reduction = mean_of(means), ("antithetic",) * reverse, {}
        if len(replicates) >= PILOT:
            variance_reduction["antithetic"] = _gain_of_pairs(replicates[:PILOT], parts)
        if len(replicates) >= REGRESSED and found.stderr.any() and self.unions is None:
            tried = [regressed(means, controls[:, :degrees]) for degrees in (1, 2)]
            best = min(tried, key=lambda estimate: (estimate.stderr**2).sum())
            variance_reduction["control_variates"] = float((found.stderr**2).sum() / (best.stderr**2).sum())
            if variance_reduction["control_variates"] > WORTHWHILE:
                found, used = best, (*used, "control_variates")
        if self.low_precision and len(replicates) >= PILOT:
            variance_reduction["low_precision"] = _times_less_rounded(replicates[:PILOT], parts)
        if low_precision:
            both = ~np.isnan(off).any((1, 2))
            found, used = _corrected(found, means[both], off[both].mean(1)), (*used, "low_precision")
            contributions += off[both].mean(0)
        return Estimated(found, between(contributions), variance_reduction, used)


def _marginals(
    game: Game,
    active: Int[np.ndarray, " active"],
    ends: Float64[np.ndarray, "2"],
    permutations: Int[np.ndarray, "permutation active"],
) -> Float64[np.ndarray, "permutation active"]:
    """Each active player's marginal contribution in each permutation."""
    coalitions = [prefixes(active[permutation], game.players) for permutation in permutations]
    worth = evaluated(game, np.concatenate(coalitions)).reshape(len(permutations), -1)
    contributions = np.empty((len(permutations), len(active)))
    np.put_along_axis(contributions, permutations, np.diff(worth, prepend=ends[0], append=ends[1]), axis=1)
    return contributions


def _gain_of_pairs(replicates: Float64[np.ndarray, "replicate row active"], parts: int) -> float:
    """By what factor the variance of these pairs is below that of two independent permutations."""
    paired, apart = (rows.var(0, ddof=1).sum() for rows in (replicates[:, :parts].mean(1), replicates[:, parts]))
    return float((paired + apart) / (2 * paired)) if paired > 0 else math.inf


def _times_less_rounded(replicates: Float64[np.ndarray, "replicate row active"], parts: int) -> float:
    """How many times the variance of sampling is that of what the low-precision game rounds off, its mean included."""
    sampling = replicates[:, :parts].mean(1).var(0, ddof=1).sum()
    rounding = (replicates[:, -parts:].mean(1) ** 2).mean(0).sum()
    if not np.isfinite(rounding):
        return 0.0
    return float(sampling / rounding) if rounding > 0 else math.inf


def _corrected(
    found: Estimate, low_precision: Float64[np.ndarray, "both active"], off: Float64[np.ndarray, "both active"]
) -> Estimate:
    """What the low-precision game tells, and what the replicates that play both say it rounds off: larger contributions, more."""
    by = mean_of(off)
    together = ((low_precision - low_precision.mean(0)) * (off - by.value)).sum(0).clip(0) / (len(off) - 1)
    stderr = np.sqrt(found.stderr**2 + by.stderr**2 + 2 * together / found.replicates)
    return replace(found, value=found.value + by.value, stderr=stderr)


def between(parts: Float64[np.ndarray, "replicate part active"]) -> PerActive:
    """The standard deviation of a player's value between parts, less what sampling adds to it."""
    replicates, count, _ = parts.shape
    if count < 2 or replicates < 2:
        return np.full(parts.shape[2], np.nan)
    sampling = parts.var(0, ddof=1).mean(0) / replicates
    spread: PerActive = np.sqrt((parts.mean(0).var(0, ddof=1) - sampling).clip(0))
    return spread
