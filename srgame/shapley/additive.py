"""Games on images to which filters contribute additively, as those of the layer in front of the last conv do.

If the SR image of a coalition S is f(∅) + Σ dᵢ over i in S, then n + 1 images and their inner products give the squared
error of every coalition. A coalition then takes microseconds, and shows the contribution of every player at once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from srgame.metrics import OF_MSE
from srgame.shapley.exact import exact_shapley
from srgame.shapley.game import Coalitions, Game, Worth
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.sampler import deviation_between_parts
from srgame.shapley.until import Until
from srgame.shapley.values import Estimate, PerPlayer, ShapleyValues, mean_of

HALVES = 4  # coalitions that show whether two halves of the players add up
TRIALS = 16  # random coalitions on which additivity is tested
TOLERANCE = 1e-4  # of the root mean square of the standard errors, as a share of the range of the values
ENUMERATED = 16  # players: with 16 or fewer, all coalitions are evaluated
LEAST, MOST = 12, 1200  # replicates
DRAWN = 2**12  # in each replicate and image, at least this number of coalitions
LARGEST = 2**28  # numbers in the images of a pair, 1 GiB
CHUNK = 2**22  # numbers of them that are multiplied at once, in float64

NEGLIGIBLE = 1e-4  # share of the largest change of an image
UNTIL = Until(rms_tolerance=TOLERANCE)

Grams = Float64[Tensor, "image n n"]
OfMSE = Callable[[Tensor], Tensor]
PerImage = Float64[np.ndarray, "image player"]


@dataclass(frozen=True)
class AdditiveGame:
    """The mean over images of a function of the mean squared error, to which players add images.

    grams: per image, the inner products of f(∅) − HR, d₁, …, dₙ, each divided by the number of values in the image.
    of_mse: the worth of an image by its mean squared error.
    """

    grams: Grams
    of_mse: OfMSE

    @property
    def players(self) -> int:
        return self.grams.shape[1] - 1

    def __call__(self, coalitions: Coalitions) -> Worth:
        return self.per_image(coalitions).mean(0)

    def per_image(self, coalitions: Coalitions) -> Float64[Tensor, "image coalition"]:
        """The worth on each image alone."""
        present = torch.cat([torch.ones(len(coalitions), 1), coalitions], 1).double()
        return self.of_mse(((present @ self.grams) * present).sum(2))


def additive_tail(game: Game) -> AdditiveGame | None:
    """The same game as sums of images; None if they are not sums, or if the payoff is no function of the squared error.

    The image of each filter alone is restored. Then the images of the grand coalition and of 16 random ones must agree
    with their sums up to float32 rounding.
    """
    if not isinstance(game, RestorationGame) or game.payoff not in OF_MSE or game.bfloat16:
        return None
    if max(hr.numel() for hr in game.pairs.hr) * (game.players + 1) > LARGEST or not _may_be_additive(game):
        return None
    grams = []
    for image in range(len(game.pairs)):
        if (gram := _gram(game, image)) is None:
            return None
        grams.append(gram)
    return AdditiveGame(torch.stack(grams), OF_MSE[game.payoff])


def affordable_tail(game: Game, until: Until) -> AdditiveGame | None:
    """The additive tail, unless finding it takes more evaluations than `until` allows."""
    affordable = until.evaluations is None or tail_cost(game.players) <= until.evaluations
    return additive_tail(game) if affordable else None


def tail_cost(players: int) -> int:
    """The number of coalitions whose images `additive_tail` restores."""
    return HALVES + (1 + players) + (2 + TRIALS)


def _tests(players: int) -> Coalitions:
    """The empty and the grand coalition, and random ones, small to large."""
    shares = torch.linspace(0.05, 0.95, TRIALS)[:, None]
    drawn = torch.rand(TRIALS, players, generator=torch.Generator().manual_seed(0)) < shares
    return torch.cat([torch.tensor([[False], [True]]).repeat(1, players), drawn])


def _may_be_additive(game: RestorationGame) -> bool:
    """Whether the images of two halves of the players add up on the first image: this rules out most layers."""
    half = torch.arange(game.players) % 2 == 0
    nobody, first, second, everybody = game.images.of(torch.stack([half & ~half, half, ~half, half | ~half]), 0)
    return _add_up(nobody, first + second - nobody, everybody, game.players)


def _add_up(nobody: Tensor, sums: Tensor, images: Tensor, terms: int) -> bool:
    """Whether images equal sums of that many terms, up to rounding that is small beside what the terms change."""
    rounding = torch.finfo(images.dtype).eps * terms * images.abs().max().clamp(min=1)
    return bool((sums - images).abs().max() <= min(rounding, NEGLIGIBLE * (images - nobody).abs().max()))


def _gram(game: RestorationGame, image: int) -> Float64[Tensor, "n n"] | None:
    """The inner products on one image; None if the images of the tests are no sums."""
    tests = _tests(game.players)
    alone = torch.eye(game.players + 1, game.players).roll(1, 0).bool()  # nobody, then each player
    nobody, *added = game.images.of(alone, image).flatten(1)
    added = torch.stack(added) - nobody
    sums = nobody + tests.to(added) @ added
    if not _add_up(nobody, sums, game.images.of(tests, image).flatten(1), game.players + 1):
        return None
    terms = torch.cat([(nobody - game.pairs.hr[image].flatten())[None], added])
    pieces = [piece.double() for piece in terms.split(max(1, CHUNK // len(terms)), dim=1)]
    return torch.stack([piece @ piece.T for piece in pieces]).sum(0) / terms.shape[1]


def additive_shapley(game: AdditiveGame, until: Until = UNTIL, seed: int = 0) -> ShapleyValues:
    """The Shapley values: exact for up to 16 players, otherwise sampled in at least 12 replicates.

    Sampling ends when both tolerances are reached, or at the limit of seconds. Without an rms_tolerance, the root mean
    square of the standard errors is to be at most 0.01% of the range of the values. Under −mse all replicates agree up
    to float64 rounding.
    """
    how: dict[str, Any] = {"evaluations": tail_cost(game.players), "ended": "additive tail", "used": ("additive tail",)}
    if game.players <= ENUMERATED:
        return replace(exact_shapley(game), between=_exact_deviation(game), **how)
    ends = game.per_image(torch.tensor([[False], [True]]).repeat(1, game.players))
    began, per_image, replicates = monotonic(), list[PerImage](), list[PerPlayer]()
    for number in range(MOST):
        contributions = _contributions(game, np.random.default_rng([seed, number]))
        missing = ends.diff() - contributions.sum(1, keepdim=True)  # their sum is known exactly
        per_image.append((contributions + missing / game.players).numpy())
        replicates.append(per_image[-1].mean(0))
        estimate = mean_of(np.stack(replicates))
        if len(replicates) >= LEAST and _precise(estimate, until):
            break
        if until.seconds is not None and len(replicates) >= 2 and monotonic() - began > until.seconds:
            how["ended"] = "seconds"
            break
    return ShapleyValues(
        value=estimate.value,
        stderr=estimate.stderr,
        replicates=len(replicates),
        freedom=estimate.freedom,
        empty=ends[:, 0].mean().item(),
        grand=ends[:, 1].mean().item(),
        between=deviation_between_parts(np.stack(per_image)),
        **how,
    )


def _exact_deviation(game: AdditiveGame) -> PerPlayer:
    """The standard deviation of each player's value between images; NaN for a single image."""
    if len(game.grams) < 2:
        return np.full(game.players, np.nan)
    values = np.stack([exact_shapley(AdditiveGame(gram[None], game.of_mse)).value for gram in game.grams])
    deviation: PerPlayer = values.std(0, ddof=1)
    return deviation


def _precise(estimate: Estimate, until: Until) -> bool:
    """Whether both tolerances are reached."""
    largest, rms = until.tolerance or math.inf, until.rms_tolerance or TOLERANCE
    return estimate.relative_stderr <= largest and estimate.relative_rms <= rms


def _contributions(game: AdditiveGame, rng: np.random.Generator) -> Float64[Tensor, "image player"]:
    """Each player's mean contribution to the coalitions of players that follow each other in random circles, per image.

    In a circle of n players there are n such coalitions of each size. Together they hold n + 1 contributions of each
    player to coalitions of each size, so all contributions have the same weight. Each other player is a member of half
    of these coalitions, so a quadratic worth gives the exact value.
    """
    n = game.players
    grams = game.grams.repeat(math.ceil(DRAWN / n**2), 1, 1)  # several circles if they are small
    circle = torch.from_numpy(rng.permuted(np.tile(np.arange(n), (len(grams), 1)), axis=1))
    row, start = torch.arange(len(grams))[:, None], torch.arange(n)
    between, squares = grams[:, 1:, 1:], grams[:, 1:, 1:].diagonal(dim1=1, dim2=2)
    error = grams[:, 0, :1].repeat(1, n)  # of each coalition: a row per circle, a column per start
    along = grams[:, None, 0, 1:].repeat(1, n, 1)  # inner products of its image with each player's
    sign = torch.ones(len(grams), n, n, dtype=torch.float64)  # −1 for the members of the coalition
    total = torch.zeros(len(grams), n, dtype=torch.float64)
    for size in range(n + 1):
        changed = game.of_mse(error[..., None] + 2 * sign * along + squares[:, None])  # one player more, or one fewer
        total += (sign * (changed - game.of_mse(error)[..., None])).sum(1)
        joining = circle[:, (start + size) % n]
        error = error + 2 * along[row, start, joining] + squares[row, joining]
        along = along + between[row, joining]
        sign[row, start, joining] = -1
    return total.view(-1, len(game.grams), n).mean(0) / (n * (n + 1))
