"""Shapley values by regression on random coalitions, with error bars.

φ depends on the odd part of a game only: half the worth of a coalition minus half that of its complement. A surrogate
that is linear in the players, with slopes that may change with the size of the coalition, explains most of it. What the
surrogate leaves is averaged without bias (regression-adjusted Monte Carlo, Witter et al. 2025), from coalitions of all
sizes in equal numbers (Musco & Witter 2024), each with its complement (Covert & Lee 2021).

Coalitions drawn independently tell more about a regression than those that follow each other in a permutation, which
are nearly the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int

from srgame.shapley.coalitions import evaluated, with_dummies
from srgame.shapley.game import Game
from srgame.shapley.sampler import ActiveValues, PerActive, Replicates, Rows, Sampler, deviation_between_parts
from srgame.shapley.until import Until
from srgame.shapley.values import mean_of

FIRST = 4  # replicates from which on regression has the smaller error; fewer are left to permutations
LARGEST = 256  # players: the work of the regression grows with their cube
FOLDS = 12
RIDGE = 0.03  # of the slopes that change with size, in units of one replicate's sum of squares
TINY = 1e-12  # the same of the other coefficients, so that they can be solved for

Coalitions = Bool[np.ndarray, "replicate size active"]
Odd = Float64[np.ndarray, "replicate size"]
Features = Float64[np.ndarray, "replicate size feature"]


@dataclass(frozen=True)
class Regression(Sampler):
    """Replicates of a coalition of each size and its complement, for each part."""

    def replicate(self, rng: np.random.Generator, _pilot: Sequence[Rows], _number: int) -> Rows:
        """For each part, the odd part of the game at each size, and the key from which the coalitions are drawn."""
        keys = rng.integers(2**53, size=len(self.parts)).tolist()  # whole numbers that a float holds exactly
        return np.stack([self._row(part, key) for part, key in zip(self.parts, keys, strict=True)])

    def estimate(self, replicates: Replicates) -> ActiveValues:
        """The mean over replicates, each adjusted by a surrogate that was fitted to others."""
        odd, keys = replicates[..., :-1], replicates[..., -1].astype(np.int64)
        values = np.empty_like(replicates)
        for part, (empty, grand) in enumerate(self.ends):
            coalitions = np.stack([drawn_coalitions(key, len(self.active)) for key in keys[:, part].tolist()])
            values[:, part] = adjusted_values(coalitions, odd[:, part], grand - empty)
        estimate = mean_of(values.mean(1))
        share = freedom_left(len(replicates), len(self.active))
        return ActiveValues(
            estimate=replace(
                estimate, stderr=estimate.stderr / np.sqrt(share) if share > 0 else estimate.stderr + np.inf
            ),
            means=values.mean(1),
            between=deviation_between_parts(values),
            variance_reduction={},
            used=("regression",),
        )

    def _row(self, part: Game, key: int) -> PerActive:
        coalitions = drawn_coalitions(key, len(self.active))
        both = np.concatenate([coalitions, ~coalitions])
        worth, of_complement = evaluated(part, with_dummies(self.game, self.active, both)).reshape(2, -1)
        return np.append((worth - of_complement) / 2, key)


def freedom_left(replicates: int, players: int) -> float:
    """The share of the degrees of freedom that the surrogate's coefficients leave; 0 if they leave none.

    As in any regression, the variance that is seen is too small by this share.
    """
    return max(0.0, 1 - (2 * players + 1) / (replicates * (players - 1)))


def affordable(until: Until, players: int) -> bool:
    """Whether `until` allows FIRST replicates of so many players."""
    return until.evaluations is None or until.evaluations >= 2 + FIRST * 2 * (players - 1)


def drawn_coalitions(key: int, players: int) -> Bool[np.ndarray, "size active"]:
    """A random coalition of each size from 1 to players − 1."""
    ranks = np.random.default_rng(key).random((players - 1, players)).argsort(1).argsort(1)
    drawn: Bool[np.ndarray, "size active"] = ranks < np.arange(1, players)[:, None]
    return drawn


def adjusted_values(coalitions: Coalitions, odd: Odd, total: float) -> Float64[np.ndarray, "replicate active"]:
    """For each replicate, the Shapley values of the surrogate, plus an unbiased estimate of those of what it leaves.

    The surrogate of a replicate is fitted to the replicates of the other folds, so it does not depend on it. The values
    of each replicate add up to `total`, v(N) − v(∅).
    """
    players = coalitions.shape[2]
    size = np.arange(1, players)
    fold = np.arange(len(odd)) % FOLDS
    values = np.empty((len(odd), players))
    for own, coefficients in enumerate(cross_fitted(coalitions, odd, fold)):
        here = coalitions[fold == own]
        residual = odd[fold == own] - features_of(here) @ coefficients
        present, absent = residual / size, residual / (players - size)
        values[fold == own] = (
            shapley_of_features(players) @ coefficients
            + np.einsum("rsp,rs->rp", here, present)
            - np.einsum("rsp,rs->rp", ~here, absent)
        )
    adjusted: Float64[np.ndarray, "replicate active"] = values + (total - values.sum(1, keepdims=True)) / players
    return adjusted


def cross_fitted(
    coalitions: Coalitions, odd: Odd, fold: Int[np.ndarray, " replicate"]
) -> Float64[np.ndarray, "fold feature"]:
    """The coefficients of the surrogates, each fitted to all folds but one, by least squares weighted as in KernelSHAP.

    Coalitions of each size are equally frequent, so KernelSHAP's weights are those of a size, 1 / (size · (n − size)).
    """
    players = coalitions.shape[2]
    size = np.arange(1, players)
    weight = 1 / (size * (players - size))
    root = np.sqrt(weight / weight.mean())
    grams, products = [], []
    for own in range(fold.max() + 1):
        features = (features_of(coalitions[fold == own]) * root[:, None]).reshape(-1, 2 * players + 1)
        grams.append(features.T @ features)
        products.append(features.T @ (odd[fold == own] * root).ravel())
    ridge = np.full(2 * players + 1, TINY)
    ridge[players : 2 * players] = RIDGE
    gram, product = np.sum(grams, axis=0) + np.diag(ridge * (players - 1)), np.sum(products, axis=0)
    return np.stack([np.linalg.solve(gram - a, product - b) for a, b in zip(grams, products, strict=True)])


def features_of(coalitions: Coalitions) -> Features:
    """Odd functions of a coalition: x, x · z² of each player and z³.

    x is 1 for a player who is present and −1 for the others; z, the mean of x, runs from −1 to 1.
    """
    players = coalitions.shape[2]
    x = 2.0 * coalitions - 1
    z = np.broadcast_to((2 * np.arange(1, players) / players - 1)[:, None], (*x.shape[:2], 1))
    return np.concatenate([x, x * z**2, z**3], axis=2)


def shapley_of_features(players: int) -> Float64[np.ndarray, "active feature"]:
    """The Shapley values of each feature, as a game."""
    squares = (2 * np.arange(players + 1) / players - 1) ** 2
    own = np.mean(squares[1:] + squares[:-1])  # of x · z²: a player who joins turns −z² into z²
    others = (squares[0] + squares[-1] - own) / (players - 1)
    changing = np.full((players, players), others) + (own - others) * np.eye(players)
    return np.hstack([2 * np.eye(players), changing, np.full((players, 1), 2 / players)])
