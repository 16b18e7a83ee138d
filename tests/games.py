"""Games whose Shapley values are known: textbook games, random ones of known form, and the definitions, enumerated.

The families of SolvedGame have any number of players and bring along their Shapley values and pair interactions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class FormulaGame:
    """A game whose worth is a formula of the presences, float64 "coalition player"."""

    players: int
    worth: Callable[[Tensor], Tensor]

    def __call__(self, coalitions: Tensor) -> Tensor:
        return self.worth(coalitions.double())


class Counting:
    """A game that remembers what it is asked."""

    def __init__(self, game: FormulaGame, dummies: list[bool] | None = None) -> None:
        self.game, self.asked, self.players = game, [], game.players
        self.dummies = None if dummies is None else torch.tensor(dummies)

    def __call__(self, coalitions: Tensor) -> Tensor:
        self.asked.append(coalitions)
        return self.game(coalitions)


def glove(left: int, right: int) -> FormulaGame:
    """`left` players hold a left glove, `right` players a right one; a pair is worth 1."""
    return FormulaGame(left + right, lambda p: torch.minimum(p[:, :left].sum(1), p[:, left:].sum(1)))


def airport(costs: list[float]) -> FormulaGame:
    """The runway must be as long as the largest plane needs (Littlechild & Owen 1973)."""
    return FormulaGame(len(costs), lambda p: (p * torch.tensor(costs).double()).amax(1))


def voting(weights: list[float], quota: float) -> FormulaGame:
    """A coalition whose weights reach the quota wins 1."""
    return FormulaGame(len(weights), lambda p: (p @ torch.tensor(weights).double() >= quota).double())


def unanimity(players: int, needed: list[int]) -> FormulaGame:
    """Worth 1 if all of `needed` are there."""
    return FormulaGame(players, lambda p: p[:, needed].prod(1))


def additive(weights: list[float]) -> FormulaGame:
    """Every player adds its own weight."""
    return FormulaGame(len(weights), lambda p: p @ torch.tensor(weights).double())


def saturating(players: int, seed: int) -> FormulaGame:
    """A logarithm of a random additive game: returns diminish, and every order of interaction is there."""
    weights = torch.rand(players, generator=torch.Generator().manual_seed(seed)).double()
    return FormulaGame(players, lambda p: torch.log1p(p @ weights))


def heavy(weights: list[float]) -> FormulaGame:
    """Every player adds its own weight, and the coalition of the first half of them 100 more: replicates miss it."""
    first_half = torch.arange(len(weights)) < len(weights) / 2
    return FormulaGame(len(weights), lambda p: additive(weights).worth(p) + 100.0 * ((p > 0.5) == first_half).all(1))


@dataclass(frozen=True)
class SolvedGame(FormulaGame):
    """A game that brings along its Shapley values and its matrix of Shapley interaction indices (diagonal 0)."""

    shapley: np.ndarray
    interaction: np.ndarray


def quadratic(players: int, seed: int) -> SolvedGame:
    """A random linear part and random pairwise synergies: v(S) = 3 + Σ aᵢ + Σ bᵢⱼ over ordered pairs, i = j too."""
    rng = torch.Generator().manual_seed(seed)
    linear = torch.randn(players, generator=rng).double()
    pairs = torch.randn(players, players, generator=rng).double()
    synergy = pairs + pairs.T
    return SolvedGame(
        players,
        lambda p: 3 + p @ linear + ((p @ pairs) * p).sum(1),
        shapley=(linear + synergy.sum(1) / 2).numpy(),
        interaction=(synergy - synergy.diag().diag()).numpy(),
    )


def cubic(players: int, seed: int, triples: int | None = None) -> SolvedGame:
    """A quadratic game and synergies of random triples, by default four for each player."""
    rng = torch.Generator().manual_seed(seed)
    base = quadratic(players, seed)
    count = 4 * players if triples is None else triples
    members = torch.rand(count, players, generator=rng).argsort(1)[:, :3]
    synergy = torch.randn(count, generator=rng).double()
    shapley, interaction = base.shapley.copy(), base.interaction.copy()
    for triple, worth in zip(members.tolist(), synergy.tolist(), strict=True):
        shapley[triple] += worth / 3
        for i, j in combinations(triple, 2):
            interaction[[i, j], [j, i]] += worth / 2
    return SolvedGame(players, lambda p: base.worth(p) + p[:, members].prod(2) @ synergy, shapley, interaction)


def saturating_groups(players: int, seed: int, size: int = 8, groups: int | None = None) -> SolvedGame:
    """A sum of saturating games of random, overlapping groups of `size` players, by default as many as players.

    Returns diminish, every order of interaction up to `size` is there, and each group is small enough to be enumerated.
    """
    rng = torch.Generator().manual_seed(seed)
    count = players if groups is None else groups
    members = torch.rand(count, players, generator=rng).argsort(1)[:, :size]
    weights = 3 * torch.rand(members.shape, generator=rng).double()
    height = torch.randn(count, generator=rng).double()
    shapley, interaction = np.zeros(players), np.zeros((players, players))
    for group, weight, factor in zip(members.numpy(), weights, height.tolist(), strict=True):
        alone = FormulaGame(len(group), lambda p, weight=weight: torch.log1p(p @ weight))
        shapley[group] += factor * shapley_by_definition(alone)
        interaction[np.ix_(group, group)] += factor * interaction_by_definition(alone)
    weights_of_all = torch.zeros(count, players).double().scatter(1, members, weights)
    return SolvedGame(
        players,
        lambda p: torch.log1p(p @ weights_of_all.T) @ height,
        shapley,
        interaction,
    )


def humped(players: int, seed: int, middle: float = 1 / 3) -> SolvedGame:
    """A quadratic game of small synergies, and a step in the number of players, where each adds most: at `middle`."""
    base = quadratic(players, seed)
    step = torch.sigmoid((torch.arange(players + 1).double() / players - middle) * 12) * 10 * players
    second = (step[2:] - 2 * step[1:-1] + step[:-2]).mean().item() if players > 1 else 0.0
    return SolvedGame(
        players,
        lambda p: base.worth(p) / players + step[p.sum(1).long()],
        shapley=base.shapley / players + (step[-1] - step[0]).item() / players,
        interaction=base.interaction / players + second * (1 - np.eye(players)),
    )


def present_without(players: int, seed: int, present: int, absent: int, worth: float = 1.0) -> SolvedGame:
    """A random additive game, and `worth` for a coalition that has all of A and nobody of B, both random.

    Of A the last to join gains it, if all of B come later; the first of B loses it, if all of A came earlier.
    """
    rng = torch.Generator().manual_seed(seed)
    linear = torch.randn(players, generator=rng).double()
    chosen = torch.randperm(players, generator=rng)
    a, b = chosen[:present], chosen[present : present + absent]
    shapley = linear.clone()
    shapley[a] += worth / (present * comb(present + absent, present))
    shapley[b] -= worth / (absent * comb(present + absent, present)) if absent else 0.0
    return SolvedGame(
        players,
        lambda p: p @ linear + worth * p[:, a].prod(1) * (1 - p[:, b]).prod(1),
        shapley=shapley.numpy(),
        interaction=np.full((players, players), np.nan),
    )


def worths_of(game: FormulaGame) -> dict[frozenset[int], float]:
    """What each coalition is worth."""
    everybody = range(game.players)
    coalitions = [frozenset(members) for size in range(game.players + 1) for members in combinations(everybody, size)]
    present = torch.tensor([[player in members for player in everybody] for members in coalitions])
    return dict(zip(coalitions, game(present).tolist(), strict=True))


def enumerated(game: FormulaGame) -> tuple[np.ndarray, np.ndarray]:
    """All coalitions, "coalition player", and their worths; the digits of a coalition's number are its members."""
    present = (np.arange(2**game.players)[:, None] >> np.arange(game.players) & 1).astype(bool)
    return present, game(torch.from_numpy(present)).numpy()


def shapley_by_definition(game: FormulaGame) -> np.ndarray:
    """Each player's marginal contribution, averaged over the coalitions of a size and then over sizes."""
    n, (present, worth) = game.players, enumerated(game)
    number, size, value = np.arange(2**n), present.sum(1), np.zeros(n)
    weight = np.array([1 / (n * comb(n - 1, k)) for k in range(n)])
    for i in range(n):
        without = number[~present[:, i]]
        value[i] = weight[size[without]] @ (worth[without | 1 << i] - worth[without])
    return value


def interaction_by_definition(game: FormulaGame, banzhaf: bool = False) -> np.ndarray:
    """The interaction index of each pair (Grabisch & Roubens 1999), over all coalitions without the two."""
    n, (present, worth) = game.players, enumerated(game)
    number, size, value = np.arange(2**n), present.sum(1), np.zeros((n, n))
    weight = np.array([2.0 ** (2 - n) if banzhaf else 1 / ((n - 1) * comb(n - 2, k)) for k in range(n - 1)])
    for i, j in combinations(range(n), 2):
        without = number[~present[:, i] & ~present[:, j]]
        one, other = without | 1 << i, without | 1 << j
        value[[i, j], [j, i]] = weight[size[without]] @ (
            worth[one | other] - worth[one] - worth[other] + worth[without]
        )
    return value
