"""Cooperative games: what each coalition of players is worth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from srgame.errors import InputError

Coalitions = Bool[Tensor, "coalition player"]
Worth = Float[Tensor, " coalition"]


@runtime_checkable
class Game(Protocol):
    """The worth, in float64, of each coalition of `players` players; row c has True for the players in coalition c.

    A game may have further attributes. `dummies`: "player" booleans, True for players that never change the worth of a
    coalition. `parts`: games of the same players whose mean this game is; a sampler may evaluate them one by one.
    `low_precision`, which the parts may have too: the same game in faster and less exact arithmetic, or None.
    `rounding`: the relative rounding error of a worth that is computed in less than float64.

    >>> class Gloves:  # player 0 has a left glove, 1 and 2 have right ones; a pair is worth 1
    ...     players = 3
    ...     def __call__(self, coalitions):
    ...         return (coalitions[:, 0] & coalitions[:, 1:].any(1)).double()
    >>> isinstance(Gloves(), Game)
    True
    """

    @property
    def players(self) -> int: ...

    def __call__(self, coalitions: Coalitions) -> Worth: ...


@runtime_checkable
class Differentiable(Game, Protocol):
    """A game whose worth is defined, and smooth, for presences between 0 and 1 too.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> game = srgame.RestorationGame(network, srgame.filters_of(network, ["conv_hr"]), pairs)
    >>> isinstance(game.parts[0], Differentiable)  # the game on one image
    True
    """

    def gradient(self, presences: Float[Tensor, "row player"]) -> Float64[Tensor, "row player"]:
        """The derivative of the worth by each presence, at each row of presences."""
        ...


@dataclass(frozen=True)
class Grouped:
    """A game whose players are groups of the players of another game; a group is present or absent as a whole."""

    game: Game
    groups: Sequence[Sequence[int]]

    @property
    def players(self) -> int:
        return len(self.groups)

    @property
    def rounding(self) -> float | None:
        return getattr(self.game, "rounding", None)

    @property
    def low_precision(self) -> Game | None:
        low_precision = getattr(self.game, "low_precision", None)
        return None if low_precision is None else Grouped(low_precision, self.groups)

    @property
    def parts(self) -> list[Game]:
        return [Grouped(part, self.groups) for part in getattr(self.game, "parts", [])]

    def __call__(self, coalitions: Coalitions) -> Worth:
        """The worth of the players in the groups that are present; players in no group are always present."""
        everyone = torch.ones(len(coalitions), self.game.players, dtype=torch.bool)
        for group, present in zip(self.groups, coalitions.T, strict=True):
            everyone[:, list(group)] = present[:, None]
        return self.game(everyone)


def as_coalitions(coalitions: Any, players: int) -> Coalitions:
    """The coalitions as a tensor of booleans, from a tensor, an array or nested lists of booleans, 0 and 1.

    Raises InputError unless they are a row of `players` booleans for each coalition.
    """
    try:
        rows = torch.as_tensor(coalitions)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"coalitions are rows of booleans, one for each player, not {coalitions!r:.60}") from error
    if rows.ndim != 2 or rows.shape[1] != players:
        raise InputError(
            f"coalitions have the shape (coalitions, {players}), a column for each player, not {tuple(rows.shape)}"
        )
    if rows.dtype != torch.bool and not ((rows == 0) | (rows == 1)).all():
        raise InputError("coalitions hold True or 1 for each player inside and False or 0 outside, no other number")
    return rows.bool()
