"""A network audited: the games that its filters can play, and one table of all their values."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from torch import nn

from srgame.errors import InputError, chosen
from srgame.filters import Filters
from srgame.game import Game, Grouped, RestorationGame
from srgame.kept import kept_in
from srgame.networks import fingerprint
from srgame.pairs import Pairs
from srgame.shapley import ShapleyValues, sampled_shapley
from srgame.units import Workers
from srgame.until import Until

Played = tuple[pd.DataFrame, Callable[..., ShapleyValues]]  # who plays, and how
Play = Callable[[int, Played], pd.DataFrame]
Restored = Callable[[Filters], Game]

HOW = ("empty", "grand", "units", "evaluations", "precision", "ended")


@runtime_checkable
class Players(Protocol):
    """Who plays the games of a network on its pairs: `game` makes them, `units` makes units, `each` plays all games."""

    @property
    def units(self) -> Workers | None: ...

    def game(self, filters: Filters, **restoration: Any) -> Game: ...

    def each(self, play: Play, games: Iterable[tuple[int, Played]]) -> Iterator[pd.DataFrame]: ...


@dataclass(frozen=True)
class _Here:
    """This process, which plays one game after the other."""

    network: nn.Module
    pairs: Pairs
    units: None = None

    def game(self, filters: Filters, **restoration: Any) -> Game:
        return RestorationGame(self.network, filters, self.pairs, **restoration)

    def each(self, play: Play, games: Iterable[tuple[int, Played]]) -> Iterator[pd.DataFrame]:
        for game in games:
            frame = play(*game)
            yield frame
            if (frame["ended"] == "interrupted").any():
                return


@contextmanager
def here(network: nn.Module, pairs: Pairs) -> Iterator[Players]:
    """The players of this process; those of a cluster are Cluster.holding (srgame/cluster.py)."""
    yield _Here(network, pairs)


def network_values(
    network: nn.Module,
    filters: Filters,
    pairs: Pairs,
    *,
    until: Until,
    game: str = "each layer",
    seed: int = 0,
    antithetic: bool | None = None,
    confidence: float = 0.95,
    progress: bool = False,
    keep: Path | None = None,
    players: Callable[[nn.Module, Pairs], AbstractContextManager[Players]] = here,
    **restoration: Any,
) -> pd.DataFrame:
    """One row per player: layer, filter, shapley, stderr, low, high (payoff's unit), between_images, rank.

    `game` is one of GAMES. What is the same for all players of a game stands in each of its rows: empty and grand (the
    worth of none and of all of them), units, evaluations, precision, ended, pairs_gain and controls_gain (by what
    factor these lower the variance; NaN if not measured), used (which are). `until` holds for each game; `restoration`
    goes to RestorationGame. After Ctrl-C what was measured is returned. With a folder to `keep` units in, a run goes on
    where it was stopped, to the last bit as if it had not been, and one that is asked for more adds to what is there.
    Whoever the `players` are, the values are the same to the last bit, as long as they compute alike: on devices of one
    kind, with the same libraries, as many threads and batches of the same size (a device that runs out of memory takes
    smaller ones). Otherwise the last digits may differ; so they may where `until` counts seconds, and with them units.

    Raises InputError where that folder holds units of another game.
    """
    if not 0 < confidence < 1:
        raise InputError(f"a confidence lies between 0 and 1, not {confidence}")
    told = {"weights": fingerprint(network), "images": _fingerprint(pairs), "game": game, "seed": seed} | restoration
    frames: list[pd.DataFrame] = []
    with players(network, pairs) as playing:

        def play(number: int, played: Played) -> pd.DataFrame:
            who, estimate = played
            run = told | {"antithetic": antithetic, "players": who.to_dict("list")}
            kept = kept_in(keep / f"game{number}", run) if keep else None
            how = {"until": until, "seed": seed, "antithetic": antithetic, "progress": progress}
            values = estimate(**how, kept=kept, workers=playing.units)
            return who.join(values.frame(confidence)).assign(**_how(values))

        games = chosen("game", game, GAMES)(partial(playing.game, **restoration), filters)
        try:
            for frame in playing.each(play, enumerate(games)):
                frames.append(frame)
        except KeyboardInterrupt:
            if not frames:
                raise
    return pd.concat(frames, ignore_index=True)


def _how(values: ShapleyValues) -> dict[str, Any]:
    gains = {f"{device}_gain": values.gains.get(device, np.nan) for device in ("pairs", "controls")}
    return {how: getattr(values, how) for how in HOW} | gains | {"used": " ".join(values.used)}


def _fingerprint(pairs: Pairs) -> str:
    """The sha256 of all pixels."""
    digest = hashlib.sha256()
    for image in (*pairs.lr, *pairs.hr):
        digest.update(image.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _each_layer(restored: Restored, filters: Filters) -> Iterator[Played]:
    """Each layer's filters play a game of their own, the other layers being whole."""
    for layer, width in zip(filters.layers, filters.widths, strict=True):
        of_layer = Filters((layer,), (width,))
        yield of_layer.frame(), partial(sampled_shapley, restored(of_layer))


def _layers(restored: Restored, filters: Filters) -> Iterator[Played]:
    """The layers are the players."""
    players = pd.DataFrame({"layer": "all layers", "filter": filters.layers})
    yield players, partial(sampled_shapley, Grouped(restored(filters), _unions(filters)))


def _within_layers(restored: Restored, filters: Filters) -> Iterator[Played]:
    """All filters play one game, in orders that keep layers together: Owen values, comparable between layers."""
    yield filters.frame(), partial(sampled_shapley, restored(filters), unions=_unions(filters))


def _all_filters(restored: Restored, filters: Filters) -> Iterator[Played]:
    """All filters play one game, in any order."""
    yield filters.frame(), partial(sampled_shapley, restored(filters))


def _unions(filters: Filters) -> list[range]:
    ends = np.cumsum(filters.widths).tolist()
    return [range(end - width, end) for end, width in zip(ends, filters.widths, strict=True)]


GAMES = {
    "each layer": _each_layer,
    "layers": _layers,
    "within layers": _within_layers,
    "all filters": _all_filters,
}
