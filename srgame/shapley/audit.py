"""A network audited: the games that its filters can play, and one table of all their values."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from torch import nn

from srgame.data.pairs import Pairs
from srgame.errors import InputError, chosen
from srgame.files import lock
from srgame.filters import Filters
from srgame.networks import fingerprint
from srgame.shapley.game import Game, Grouped, RestorationGame
from srgame.shapley.gradients import cheaper_than_a_permutation, multilevel_shapley
from srgame.shapley.permutations import ShapleyValues, sampled_shapley
from srgame.shapley.sampling import Workers
from srgame.shapley.store import open_store
from srgame.shapley.until import Until

Unions = list[range] | None
Played = tuple[pd.DataFrame, Game, Unions]  # who plays what, and who stays together
Play = Callable[[int, Played], pd.DataFrame]
Restored = Callable[[Filters], Game]


HOW = ("empty", "grand", "replicates", "evaluations", "relative_stderr", "ended")


@runtime_checkable
class Executor(Protocol):
    """Who plays the games of a network on its pairs: `game` makes them, `replicates` makes replicates, `each` plays all games."""

    @property
    def replicates(self) -> Workers | None: ...

    def game(self, filters: Filters, **restoration: Any) -> Game: ...

    def each(self, play: Play, games: Iterable[tuple[int, Played]]) -> Iterator[pd.DataFrame]: ...


@dataclass(frozen=True)
class _InProcess:
    """This process, which plays one game after the other."""

    network: nn.Module
    pairs: Pairs
    replicates: None = None

    def game(self, filters: Filters, **restoration: Any) -> Game:
        return RestorationGame(self.network, filters, self.pairs, **restoration)

    def each(self, play: Play, games: Iterable[tuple[int, Played]]) -> Iterator[pd.DataFrame]:
        for game in games:
            frame = play(*game)
            yield frame
            if (frame["ended"] == "interrupted").any():
                return


@contextmanager
def in_process(network: nn.Module, pairs: Pairs) -> Iterator[Executor]:
    """The executor that is this process; that of a cluster is Cluster.executor (srgame/cluster.py)."""
    yield _InProcess(network, pairs)


def network_values(
    network: nn.Module,
    filters: Filters,
    pairs: Pairs,
    *,
    until: Until,
    game: str = "each layer",
    seed: int = 0,
    antithetic: bool | None = None,
    gradients: bool | None = None,
    confidence: float = 0.95,
    progress: bool = False,
    store: Path | None = None,
    executor: Callable[[nn.Module, Pairs], AbstractContextManager[Executor]] = in_process,
    **restoration: Any,
) -> pd.DataFrame:
    """One row per player: layer, filter, shapley, stderr, low, high (payoff's replicate), between_images, rank.

    `game` is one of GAMES. What is the same for all players of a game stands in each of its rows: empty and grand (the
    worth of none and of all of them), replicates, evaluations, precision, ended, antithetic_reduction, control_variates_reduction and
    gradients_reduction (by what factor these lower the variance; NaN if not measured), low_precision_reduction if bfloat16 is tried (how
    many times less it rounds off tha permutations vary by), used (which are). With `gradients` games are sampled by two
    levels (two_level_shapley): by default all filters at once, where they are so many that this is cheaper than an
    permutation. `until` holds for each game; `restoration` goes to RestorationGame. After Ctrl-C what was measured is
    returned. With a folder to `keep` replicates in, a run goes on where it was stopped, to the last bit as if it had not
    been, and one that is asked for more adds to what is there.

    Whatever the `executor` is, the values are the same to the last bit, as long as they compute alike: on devices of one
    kind, with the same libraries, as many threads and batches of the same size (a device that runs out of memory takes
    smaller ones). Otherwise the last digits may differ; so they may where `until` counts seconds, and with them replicates.

    Raises InputError where that folder holds replicates of another game, or another run goes on there; where replicates are to
    be kept of a network, payoff or ablation that has no name of its own, such as a lambda; and where `gradients` are
    asked of a game that has none, or together with what permutations alone have.
    """
    if not 0 < confidence < 1:
        raise InputError(f"a confidence lies between 0 and 1, not {confidence}")
    told = _identity(network, pairs, restoration) | {"game": game, "seed": seed} if store else {}
    if gradients is None:
        permutations = antithetic is not None or restoration.get("bfloat16")  # which these ask for
        gradients = game == "all filters" and not permutations and cheaper_than_a_permutation(len(filters))
    if gradients and restoration.get("bfloat16"):
        raise InputError("bfloat16 plays permutations, of which gradients need none: ask for either")
    frames: list[pd.DataFrame] = []
    with lock(store), executor(network, pairs) as running:

        def play(number: int, evaluated: Played) -> pd.DataFrame:
            who, restored, unions = evaluated
            run = told | {"antithetic": antithetic, "gradients": gradients, "players": who.to_dict("list")}
            of_game = open_store(store / f"game{number}", run) if store else None
            estimate = _estimator(gradients, antithetic, unions)
            how: dict[str, Any] = {"seed": seed, "progress": progress, "store": of_game, "workers": running.replicates}
            values = estimate(restored, until=until, **how)
            return who.join(values.frame(confidence)).assign(**_how(values))

        games = chosen("game", game, GAMES)(partial(running.game, **restoration), filters)
        try:
            for frame in running.each(play, enumerate(games)):
                frames.append(frame)
        except KeyboardInterrupt:
            if not frames:
                raise
    return pd.concat(frames, ignore_index=True)


def _estimator(gradients: bool, antithetic: bool | None, unions: Unions) -> Callable[..., ShapleyValues]:
    if not gradients:
        return partial(sampled_shapley, antithetic=antithetic, unions=unions)
    if antithetic is None and unions is None:
        return multilevel_shapley
    raise InputError(
        "gradients need no permutations, which alone are reversed and keep layers together: ask for either"
    )


def _how(values: ShapleyValues) -> dict[str, Any]:
    devices = dict.fromkeys(("antithetic", "control_variates", "gradients", *values.variance_reduction))
    variance_reduction = {f"{device}_reduction": values.variance_reduction.get(device, np.nan) for device in devices}
    return {how: getattr(values, how) for how in HOW} | variance_reduction | {"used": " ".join(values.used)}


def _identity(network: nn.Module, pairs: Pairs, restoration: dict[str, Any]) -> dict[str, Any]:
    """What tells a network, its images and how they are played from others."""
    code = {"srgame": version("srgame"), "network": _named(type(network))}
    how = {name: _named(value) if callable(value) else value for name, value in restoration.items()}
    return code | {"weights": fingerprint(network), "images": _fingerprint(pairs)} | how


def _named(code: Any) -> str:
    """Where a class or a function is found by its name."""
    name = f"{getattr(code, '__module__', '')}.{getattr(code, '__qualname__', '<none>')}"
    if "<" in name:
        raise InputError(f"{code!r} has no name by which a later run could know it: define it in a module")
    return name


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
        yield of_layer.frame(), restored(of_layer), None


def _layers(restored: Restored, filters: Filters) -> Iterator[Played]:
    """The layers are the players."""
    players = pd.DataFrame({"layer": "all layers", "filter": filters.layers})
    yield players, Grouped(restored(filters), _unions(filters)), None


def _within_layers(restored: Restored, filters: Filters) -> Iterator[Played]:
    """All filters play one game, in permutations that keep layers together: Owen values, comparable between layers."""
    yield filters.frame(), restored(filters), _unions(filters)


def _all_filters(restored: Restored, filters: Filters) -> Iterator[Played]:
    """All filters play one game, in any permutation."""
    yield filters.frame(), restored(filters), None


def _unions(filters: Filters) -> list[range]:
    ends = np.cumsum(filters.widths).tolist()
    return [range(end - width, end) for end, width in zip(ends, filters.widths, strict=True)]


GAMES = {
    "each layer": _each_layer,
    "layers": _layers,
    "within layers": _within_layers,
    "all filters": _all_filters,
}
