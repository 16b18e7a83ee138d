"""Sampled Shapley values: random permutations of the players, or random coalitions, with error bars.

The Shapley value φ of a player is its marginal contribution v(S ∪ i) − v(S), averaged over all permutations in which
the players can join, where S are the players before i (paper, Eq. 1).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int

from srgame.errors import InputError
from srgame.shapley.coalitions import Active, active_players, contributions_along, worth_of_ends
from srgame.shapley.control_variates import DEGREES, best_regression, of_places
from srgame.shapley.exact import exact_shapley
from srgame.shapley.game import Game
from srgame.shapley.low_precision import (
    NEGLIGIBLE,
    evaluates_both,
    low_precision_games,
    variance_over_rounding,
    with_error_of_rounding,
)
from srgame.shapley.regression import LARGEST, Regression, affordable
from srgame.shapley.sampler import (
    ActiveValues,
    Replicates,
    Rows,
    Sampler,
    deviation_between_parts,
    parts_of,
    sampled_values,
)
from srgame.shapley.sampling import Workers, cheaper_enumerated
from srgame.shapley.store import Store
from srgame.shapley.until import Until
from srgame.shapley.values import ShapleyValues, mean_of

Unions = Sequence[Sequence[int]]
Places = Int[np.ndarray, " _"]  # in the array of active players

PILOT = 8  # replicates that decide whether reversed permutations and the low-precision game pay
REGRESSED = 24  # replicates from which on a regression on the control variates is tried
WORTHWHILE = 1.05  # variance reduction from which on the regression is used: less could be luck


def sampled_shapley(
    game: Game,
    *,
    until: Until,
    seed: int = 0,
    regression: bool | None = None,
    antithetic: bool | None = None,
    unions: Unions | None = None,
    progress: bool = False,
    store: Store | None = None,
    workers: Workers | None = None,
) -> ShapleyValues:
    """The Shapley values, estimated without bias; they add up to v(N) − v(∅).

    regression: True draws coalitions and adjusts what they tell by a regression (regression.py), False draws
        permutations. None takes the regression, which has about half the error, unless an option of permutations is
        given, the game has a low-precision game or more than LARGEST players, or `until` allows no FIRST replicates.
    antithetic: True evaluates each permutation and its reverse, whose errors mostly cancel (Mitchell et al. 2022),
        False two independent permutations; None lets the first PILOT replicates decide.
    unions: a partition of the players. Only permutations that keep each union together count: the values are Owen's
        (1977), and their sum over a union is its Shapley value in the game of the unions.
    seed, progress, store, workers: as in `sampling.sample`. Ctrl-C ends the sampling and keeps the replicates so far.

    A replicate takes 2(n − 1) coalitions of the n players, for each part of the game: two permutations, or a coalition
    of each size with its complement. Permutations are adjusted by a regression on the players' places, from REGRESSED
    replicates on, if this lowers the error. If the game has a low-precision game that rounds little, most replicates
    evaluate it (low_precision.py); `evaluations` counts a coalition once, in whichever game. Players in `game.dummies`
    are worth exactly 0 and are never sampled. If all coalitions cost no more than FEW replicates, they are all
    evaluated instead. If the first ENOUGH replicates agree on all players, 2n more coalitions check that the mean of a
    player's first and last contribution agrees with them: only then are errors of 0 reported.

    Raises InputError if `until` allows fewer evaluations than one replicate takes, if a player is not in exactly one
    union, or if a regression is asked for of more than LARGEST players or together with an option of permutations.

    >>> class Sum:  # of seven players, each of whom is worth its number, and 5 more for the odd ones together
    ...     players = 7
    ...     def __call__(self, coalitions):
    ...         return coalitions.double() @ torch.arange(7.0).double() + 5 * coalitions[:, 1::2].all(1)
    >>> import torch
    >>> from srgame.shapley.until import Until
    >>> values = sampled_shapley(Sum(), until=Until(tolerance=0.05))
    >>> bool(values.relative_stderr <= 0.05), values.value.sum().round(9)
    (True, np.float64(26.0))
    """
    active = active_players(game)
    places = None if unions is None else _places_of(unions, active, game.players)
    cost = 2 * (len(active) - 1)
    if len(active) < 2 or (unions is None and cheaper_enumerated(len(active), cost, until)):
        return exact_shapley(game)
    parts = parts_of(game)
    how: dict[str, Any] = {"seed": seed, "progress": progress, "workers": workers}
    low_precision = low_precision_games(parts, game.players)
    options = antithetic is not None or unions is not None
    if regression and options:
        raise InputError("a regression draws no permutations, reversed or with unions: ask for either")
    if regression and len(active) > LARGEST:
        raise InputError(
            f"a regression takes at most {LARGEST} players, not {len(active)}: sample permutations instead"
        )
    if regression is None and not options and not low_precision and len(active) <= LARGEST:
        regression = affordable(until, len(active))
        if not regression and store:  # a longer run begins with other replicates
            store = Store(store.folder / "permutations")
    if regression:
        coalitions = Regression(game=game, active=active, parts=parts, ends=worth_of_ends(parts, active))
        return sampled_values(coalitions, until, cost, pilot=0, store=store, **how)
    sampler = _Permutations(
        game=game,
        active=active,
        parts=parts,
        ends=worth_of_ends(parts, active),
        low_precision=low_precision,
        low_precision_ends=worth_of_ends(low_precision, active),
        antithetic=antithetic,
        unions=places,
    )
    pilot = PILOT if antithetic is None or low_precision else 0
    return sampled_values(sampler, until, cost, pilot, store=store, **how)


def drawn_permutation(rng: np.random.Generator, players: int, unions: Sequence[Places] | None) -> Active:
    """A random permutation of 0 … players − 1; each union stays together, in a random permutation of the unions."""
    if unions is None:
        return rng.permutation(players)
    return np.concatenate([rng.permutation(unions[k]) for k in rng.permutation(len(unions))])


def drawn_pair(
    rng: np.random.Generator, players: int, unions: Sequence[Places] | None, reverse: bool
) -> Int[np.ndarray, "2 active"]:
    """A random permutation, and its reverse or an independent one."""
    first = drawn_permutation(rng, players, unions)
    return np.stack([first, first[::-1] if reverse else drawn_permutation(rng, players, unions)])


def _places_of(unions: Unions, active: Active, players: int) -> list[Places]:
    """Each union as places in `active`."""
    if sorted(player for union in unions for player in union) != list(range(players)):
        raise InputError(f"unions share out the {players} players: each is in exactly one of them")
    return [np.flatnonzero(np.isin(active, union)) for union in unions]


@dataclass(frozen=True)
class Measured:
    """What one replicate measured, or what many did: then every array has the replicates as its first axis.

    contributions: of each player to each part, the mean of both permutations.
    half_difference: half the difference of the two permutations, the mean over parts.
    control_variates: polynomials of the places in the permutations.
    rounding: the contributions minus those in low precision; NaN in a replicate that evaluated one game only, and None
        if there is no low-precision game.
    """

    contributions: Float64[np.ndarray, "*replicate part active"]
    half_difference: Float64[np.ndarray, "*replicate active"]
    control_variates: Float64[np.ndarray, "*replicate degree active"]
    rounding: Float64[np.ndarray, "*replicate part active"] | None

    def pack(self) -> Float64[np.ndarray, "*replicate row active"]:
        """All fields in one array, as the store keeps it."""
        fields = [self.contributions, self.half_difference[..., None, :], self.control_variates]
        return np.concatenate(fields if self.rounding is None else [*fields, self.rounding], axis=-2)

    @classmethod
    def unpack(cls, rows: Float64[np.ndarray, "*replicate row active"], parts: int, rounding: bool) -> "Measured":
        """The fields of `rows`: of a game of so many parts, with or without a low-precision game."""
        end = parts + 1 + len(DEGREES)
        return cls(
            contributions=rows[..., :parts, :],
            half_difference=rows[..., parts, :],
            control_variates=rows[..., parts + 1 : end, :],
            rounding=rows[..., end:, :] if rounding else None,
        )


@dataclass(frozen=True)
class Decisions:
    """What the pilot decides: whether second permutations are reversed, and whether the low-precision game is used."""

    reverse: bool
    low_precision: bool


@dataclass(frozen=True)
class _Permutations(Sampler):
    """Replicates of two permutations for each part; `unions` are places in `active`."""

    low_precision: list[Game]
    low_precision_ends: Float64[np.ndarray, "_ 2"]
    antithetic: bool | None
    unions: list[Places] | None

    def replicate(self, rng: np.random.Generator, pilot: Sequence[Rows], number: int) -> Rows:
        """The two permutations of each part, in the game that the pilot decided for, and sometimes in both."""
        decisions = self.decisions(self.unpacked(np.stack(pilot))) if len(pilot) else self.decisions(None)
        pairs = [drawn_pair(rng, len(self.active), self.unions, decisions.reverse) for _ in self.parts]
        permutations = np.stack(pairs)
        both = bool(self.low_precision) and (
            not len(pilot) or (decisions.low_precision and evaluates_both(number, PILOT))
        )
        contributions = self._contributions(permutations, decisions.low_precision)
        rounding = np.full((len(self.parts), len(self.active)), np.nan) if self.low_precision else None
        if both:
            others = self._contributions(permutations, not decisions.low_precision)
            fine, coarse = (others, contributions) if decisions.low_precision else (contributions, others)
            rounding = (fine - coarse).mean(1)
        return Measured(
            contributions=contributions.mean(1),
            half_difference=(contributions[:, 0] - contributions[:, 1]).mean(0) / 2,
            control_variates=self.polynomials[:, permutations.argsort(2)].mean((1, 2)),
            rounding=rounding,
        ).pack()

    def estimate(self, replicates: Replicates) -> ActiveValues:
        """The mean over replicates, with control variates if they lower the error, and corrected for rounding."""
        measured = self.unpacked(replicates)
        enough = len(replicates) >= PILOT
        decisions = self.decisions(measured if enough else None)
        used: tuple[str, ...] = ("antithetic",) * decisions.reverse
        variance_reduction = {"antithetic": antithetic_reduction(measured)} if enough else {}
        contributions = measured.contributions.copy()
        checked = self.checked(measured) if decisions.low_precision else np.zeros(len(replicates), bool)
        if measured.rounding is not None and checked.any():
            contributions[PILOT:] += measured.rounding[checked].mean(0)
        means = contributions.mean(1)
        estimate = mean_of(means)
        if len(replicates) >= REGRESSED and estimate.stderr.any() and self.unions is None:
            regression = best_regression(means, measured.control_variates)
            reduction = float((estimate.stderr**2).sum() / (regression.stderr**2).sum())
            variance_reduction["control_variates"] = reduction
            if reduction > WORTHWHILE:
                least = estimate.stderr / math.sqrt(reduction)  # a larger reduction of one player's error could be luck
                estimate = replace(regression, stderr=np.maximum(regression.stderr, least))
                used = (*used, "control_variates")
        if measured.rounding is not None and enough:
            variance_reduction["low_precision"] = low_precision_reduction(measured)
        if measured.rounding is not None and checked.any():
            share = 1 - PILOT / len(replicates)
            estimate = with_error_of_rounding(estimate, means[checked], share * measured.rounding[checked].mean(1))
            used = (*used, "low_precision")
        return ActiveValues(
            estimate=estimate,
            means=measured.contributions.mean(1),
            between=deviation_between_parts(contributions),
            variance_reduction=variance_reduction,
            used=used,
        )

    @cached_property
    def polynomials(self) -> Float64[np.ndarray, "degree place"]:
        """The control variates of each place in a permutation."""
        return of_places(len(self.active))

    def checked(self, measured: Measured) -> Bool[np.ndarray, " replicate"]:
        """The replicates after the pilot that evaluated both games: the pilot decided, so it may not correct too."""
        rounding = np.full(len(measured.contributions), np.nan)
        if measured.rounding is not None:
            rounding[PILOT:] = measured.rounding[PILOT:].sum((1, 2))
        checked: Bool[np.ndarray, " replicate"] = ~np.isnan(rounding)
        return checked

    def decisions(self, pilot: Measured | None) -> Decisions:
        """What the first PILOT replicates decide; without a pilot, permutations are reversed unless forbidden."""
        if pilot is None:
            return Decisions(reverse=self.antithetic is not False, low_precision=False)
        reverse = antithetic_reduction(pilot) >= 1 if self.antithetic is None else self.antithetic
        negligible = bool(self.low_precision) and low_precision_reduction(pilot) >= 1 / NEGLIGIBLE
        return Decisions(reverse=reverse, low_precision=negligible)

    def unpacked(self, replicates: Replicates) -> Measured:
        """The named fields of packed replicates."""
        return Measured.unpack(replicates, len(self.parts), rounding=bool(self.low_precision))

    def _contributions(
        self, permutations: Int[np.ndarray, "part 2 active"], low_precision: bool
    ) -> Float64[np.ndarray, "part 2 active"]:
        games, ends = (self.low_precision, self.low_precision_ends) if low_precision else (self.parts, self.ends)
        parts = zip(games, ends, permutations, strict=True)
        return np.stack([contributions_along(game, self.active, of_game, pair) for game, of_game, pair in parts])


def antithetic_reduction(measured: Measured) -> float:
    """The factor by which the pilot's pairs have a lower variance than two independent permutations."""
    paired = measured.contributions[:PILOT].mean(1).var(0, ddof=1).sum()
    half_difference = measured.half_difference[:PILOT].var(0, ddof=1).sum()
    return float((paired + half_difference) / (2 * paired)) if paired > 0 else math.inf


def low_precision_reduction(measured: Measured) -> float:
    """The pilot's variance of sampling over its mean square of rounding; 0 without a low-precision game."""
    if measured.rounding is None:
        return 0.0
    return variance_over_rounding(measured.contributions[:PILOT].mean(1), measured.rounding[:PILOT].mean(1))
