"""Games with known Shapley values, of formulas and of real networks.

Sums of games of few players, each solved exactly; quadratic games; a game that depends almost only on the number of
players; games in which contributions are rare and large; and games of a layer, whose coalitions are all evaluated.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from srgame.data.pairs import load_pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.networks import load_network
from srgame.shapley.coalitions import enumerated
from srgame.shapley.exact import exact_shapley
from srgame.shapley.game import Coalitions, Differentiable, Game, Grouped, Worth
from srgame.shapley.restoration import RestorationGame

Worths = Callable[[Tensor], Tensor]
Known = Float64[np.ndarray, " player"]


@dataclass(frozen=True)
class SolvedGame:
    """A game with known Shapley values; worth takes float64 presences, slope is its gradient between 0 and 1."""

    players: int
    worth: Worths
    shapley: Known
    slope: Worths
    smooth: bool = True  # by a formula

    def gradient(self, presences: Tensor) -> Tensor:
        return self.slope(presences.double())

    def __call__(self, coalitions: Coalitions) -> Worth:
        return self.worth(coalitions.double())


@dataclass(frozen=True)
class RoundedGame(SolvedGame):
    """A solved game with a low-precision game, whose worth is rounded to multiples of `step`."""

    step: float = 1.0

    @property
    def low_precision(self) -> SolvedGame:
        rounded = lambda p: (self.worth(p) / self.step).round() * self.step  # noqa: E731
        return SolvedGame(self.players, rounded, self.shapley, self.slope)


@dataclass(frozen=True)
class MeanGame:
    """The mean of solved games of the same players, its parts."""

    parts: Sequence[SolvedGame]

    @property
    def players(self) -> int:
        return self.parts[0].players

    @property
    def shapley(self) -> Known:
        mean: Known = np.mean([part.shapley for part in self.parts], axis=0)
        return mean

    def __call__(self, coalitions: Coalitions) -> Worth:
        return torch.stack([part(coalitions) for part in self.parts]).mean(0)


def ordinary_games(
    players: int, network: str, layer: str, groups: int, images: int, crop: int
) -> Iterator[tuple[str, SolvedGame | MeanGame]]:
    """Games of formulas, and those of a layer of the network, by name."""
    yield "quadratic", _quadratic(players)
    yield "cubic", _synergies(players, 4 * players, 3, _all_or_nothing)
    yield "saturating", _synergies(players, players, 8, _saturating)
    yield "humped", _humped(players)
    yield "saturating, 4 parts", MeanGame([_synergies(players, players // 4, 8, _saturating, k) for k in range(4)])
    net, pairs = load_network(network), load_pairs("photographs", images=images, crop=crop)
    mse, psnr = (RestorationGame(net, filters_of(net, [layer]), pairs, payoff) for payoff in ("-mse", "psnr"))
    yield f"{layer}, −mse", MeanGame([_as_quadratic(part) for part in mse.parts])
    yield f"{layer} in {groups} groups, PSNR", MeanGame([_in_groups(part, groups) for part in _smooth_parts(psnr)])


def layers_in_groups(network: str, layers: Sequence[str], groups: int, crop: int) -> Iterator[tuple[str, SolvedGame]]:
    """The game of each layer on one image, its filters in groups, by name."""
    net, pairs = load_network(network), load_pairs("photographs", images=1, crop=crop)
    for name in layers:
        (part,) = _smooth_parts(RestorationGame(net, filters_of(net, [name]), pairs))
        yield f"{name} in {groups} groups, PSNR", _in_groups(part, groups)


def _smooth_parts(game: RestorationGame) -> list[Differentiable]:
    """The game on each image."""
    return [part for part in game.parts if isinstance(part, Differentiable)]


def _quadratic(players: int, size: float = 1.0) -> SolvedGame:
    rng = torch.Generator().manual_seed(0)
    alone = size * torch.randn(players, generator=rng).double()
    pairs = size * torch.randn(players, players, generator=rng).double().triu(1)
    return _of_pairs(0.0, alone, pairs)


def _of_pairs(nobody: float, alone: Tensor, pairs: Tensor) -> SolvedGame:
    """A quadratic game: the worth of the empty coalition, of each player alone, and what each pair adds."""
    both = pairs + pairs.T
    worth = lambda p: nobody + p @ alone + (p @ pairs * p).sum(1)  # noqa: E731
    return SolvedGame(len(alone), worth, (alone + both.sum(1) / 2).numpy(), lambda p: alone + p @ both)


def _synergies(
    players: int, count: int, size: int, kind: Callable[[np.random.Generator, int, int], Worths], seed: int = 0
) -> SolvedGame:
    """The sum of `count` games of `size` random players each; their Shapley values add up."""
    rng = np.random.default_rng(seed)
    members = np.stack([rng.choice(players, size, replace=False) for _ in range(count)])
    present = (torch.arange(2**size)[:, None] >> torch.arange(size) & 1).double()
    each = kind(rng, count, size)
    tables = each(present[:, None].expand(-1, count, -1)).T.contiguous()
    slope = _slope(lambda p: each(p[:, members]).sum(1))
    return _of_tables(players, members, tables, slope)


def _slope(worth: Worths) -> Worths:
    """The gradient of a worth, by autograd."""

    def slope(presences: Tensor) -> Tensor:
        rows = presences.requires_grad_()
        (gradient,) = torch.autograd.grad(worth(rows).sum(), rows)
        return gradient

    return slope


def _all_or_nothing(rng: np.random.Generator, count: int, size: int) -> Worths:
    """Games × members: worth something only if all members are present."""
    heights = torch.from_numpy(rng.normal(size=count))
    return lambda p: heights * p.prod(2)


def _saturating(rng: np.random.Generator, count: int, size: int) -> Worths:
    """Games × members, the logarithm of an additive game: diminishing returns, and interactions of every order."""
    drawn = [(rng.normal(), 3 * rng.random(size)) for _ in range(count)]
    heights, weights = (torch.from_numpy(np.array(each)) for each in zip(*drawn, strict=True))
    return lambda p: heights * torch.log1p((p * weights).sum(2))


def _of_tables(
    players: int, members: Int[np.ndarray, "game member"], tables: Tensor, slope: Worths, smooth: bool = True
) -> SolvedGame:
    """A sum of games of a few members each: `tables[g, c]` is the worth in game g of the coalition with the bits c."""
    bits = torch.zeros(players, len(members)).double()
    for place, column in enumerate(members.T):
        bits[column, torch.arange(len(members))] = 2.0**place
    start = torch.arange(len(members)) * tables.shape[1]
    shapley = np.zeros(players)
    for group, table in zip(members, tables, strict=True):
        code = 2.0 ** torch.arange(len(group)).double()
        alone = SolvedGame(len(group), lambda p, code=code, table=table: table[(p @ code).long()], np.zeros(0), slope)  # type: ignore[misc]
        shapley[group] += exact_shapley(alone).value
    return SolvedGame(players, lambda p: tables.flatten()[(p @ bits).long() + start].sum(1), shapley, slope, smooth)


def _enumerated(players: int, worth: Worths) -> SolvedGame:
    """A game of few players, solved from all its coalitions; its gradient is that of `worth`."""
    present = (torch.arange(2**players)[:, None] >> torch.arange(players) & 1).double()
    return _of_tables(players, np.arange(players)[None], worth(present)[None], _slope(worth))


def _additive(players: int) -> Worths:
    alone = torch.from_numpy(np.random.default_rng(0).normal(size=players))
    return lambda p: p @ alone


def _lognormal(players: int, sigma: float) -> Worths:
    """Every coalition is worth a lognormal number of its own."""
    worth = torch.from_numpy(np.random.default_rng(1).lognormal(0, sigma, 2**players))
    bits = 2.0 ** torch.arange(players).double()
    return lambda p: worth[(p @ bits).long()] + 0 * p.sum(1)


def hard_games() -> dict[str, SolvedGame]:
    """Games in which large contributions are rare, so that few replicates see them."""
    of_10, of_12, pairs, half = _additive(10), _additive(12), _quadratic(12).worth, torch.arange(12) < 6
    weights = torch.arange(1, 13).double() / 78
    return {
        "unanimity of 8 of 12": _enumerated(12, lambda p: p[:, :8].prod(1)),
        "unanimity of 10 of 12": _enumerated(12, lambda p: p[:, :10].prod(1)),
        "additive + unanimity": _enumerated(10, lambda p: of_10(p) + p[:, :8].prod(1)),
        "quadratic + one triple": _enumerated(12, lambda p: pairs(p) + 3 * p[:, :3].prod(1)),
        "step at half of 12": _enumerated(12, lambda p: (p.sum(1) >= 6).double() + 0 * p.sum(1)),
        "4 without 4 others": _enumerated(12, lambda p: of_12(p) + p[:, :4].prod(1) * (1 - p[:, 4:8]).prod(1)),
        "lognormal, σ = 1": _enumerated(10, _lognormal(10, 1)),
        "lognormal, σ = 2": _enumerated(10, _lognormal(10, 2)),
        "one heavy coalition": _enumerated(12, lambda p: of_12(p) + 100.0 * ((p > 0.5) == half).all(1)),
        "steep sigmoid": _enumerated(12, lambda p: torch.sigmoid(40 * (p @ weights - 0.5))),
    }


def _humped(players: int) -> SolvedGame:
    """A step in the number of players, half-way up, and small synergies of pairs: antithetic permutations lose here."""
    small = _quadratic(players, 1 / players)

    def worth(p: Tensor) -> Tensor:
        return small.worth(p) + 10 * players * torch.sigmoid(12 * (p.mean(1) - 0.5))

    rise = worth(torch.tensor([[0.0], [1.0]]).double().expand(2, players)).diff().item()
    return SolvedGame(players, worth, small.shapley + (rise - small.shapley.sum()) / players, _slope(worth))


def _as_quadratic(game: Game) -> SolvedGame:
    """A quadratic game of the network, defined by the worths of the empty coalition, of players and of pairs."""
    one, n = torch.eye(game.players, dtype=torch.bool), game.players
    first, second = torch.triu_indices(n, n, 1)
    worth = game(torch.cat([torch.zeros(1, n, dtype=torch.bool), one, one[first] | one[second]]))
    alone, pairs = worth[1 : n + 1] - worth[0], torch.zeros(n, n).double()
    pairs[first, second] = worth[n + 1 :] - worth[0] - alone[first] - alone[second]
    tabulated = _of_pairs(worth[0].item(), alone, pairs)
    known = exact_shapley(game).value
    if np.abs(tabulated.shapley - known).max() > 1e-4 * np.abs(known).max():
        raise InputError(
            "the game of this layer is not quadratic, so pairs do not determine its values: name another layer"
        )
    return tabulated


def _in_groups(game: Differentiable, groups: int) -> SolvedGame:
    """A game of groups of filters, all of whose coalitions are evaluated once."""
    grouped = Grouped(game, [part.tolist() for part in np.array_split(np.arange(game.players), groups)])
    worth = torch.from_numpy(enumerated(grouped).worth)
    join = torch.zeros(groups, game.players)
    for group, members in enumerate(grouped.groups):
        join[group, members] = 1
    slope: Worths = lambda p: game.gradient(p.float() @ join) @ join.double().T  # noqa: E731
    return _of_tables(groups, np.arange(groups)[None], worth[None], slope, smooth=False)
