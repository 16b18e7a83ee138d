"""A network audited: the games that its filters can play, and one table of all their values."""

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import pandas as pd
from torch import nn

from srgame.data.pairs import Pairs
from srgame.errors import InputError, chosen
from srgame.files import lock
from srgame.filters import Filters
from srgame.networks import identity_of, original
from srgame.shapley.additive import AdditiveGame, additive_shapley, affordable_tail
from srgame.shapley.game import Game, Grouped
from srgame.shapley.gradients import cheaper_than_a_permutation, multilevel_shapley
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.sampling import Workers
from srgame.shapley.store import open_store
from srgame.shapley.until import OutOfTimeError, Until
from srgame.shapley.values import ShapleyValues

Unions = list[range] | None
Played = tuple[pd.DataFrame, Game, Unions]  # the players, their game, and the unions that stay together
Play = Callable[[int, Played], pd.DataFrame]
Restored = Callable[[Filters], Game]
T = TypeVar("T")


HOW = ("empty", "grand", "replicates", "evaluations", "relative_stderr", "ended")
MISSING, CUT = "missing", "interrupted"  # in the attrs of a frame: layers without values, and whether by Ctrl-C


@runtime_checkable
class Executor(Protocol):
    """Runs the games of a network on its pairs.

    `game` builds a game, `additive` finds its additive tail, `replicates` computes replicates, and `each` runs
    all games and returns their tables.
    """

    @property
    def replicates(self) -> Workers | None: ...

    def game(self, filters: Filters, **restoration: Any) -> Game: ...

    def additive(self, game: Game, until: Until) -> AdditiveGame | None: ...

    def each(self, play: Play, games: Iterable[tuple[int, Played]]) -> Iterator[pd.DataFrame]: ...


@dataclass(frozen=True)
class _InProcess:
    """This process, which runs one game after the other."""

    network: nn.Module
    pairs: Pairs
    replicates: None = None

    def game(self, filters: Filters, **restoration: Any) -> Game:
        return RestorationGame(self.network, filters, self.pairs, **restoration)

    def additive(self, game: Game, until: Until) -> AdditiveGame | None:
        return affordable_tail(game, until)

    def each(self, play: Play, games: Iterable[tuple[int, Played]]) -> Iterator[pd.DataFrame]:
        for game in games:
            frame = play(*game)
            yield frame
            if interrupted(frame):
                return


@contextmanager
def in_process(network: nn.Module, pairs: Pairs) -> Iterator[Executor]:
    """The executor that runs games in this process; Cluster.executor (cluster.py) is for a cluster."""
    yield _InProcess(network, pairs)


def network_values(
    network: nn.Module,
    filters: Filters,
    pairs: Pairs,
    *,
    until: Until,
    game: str = "each layer",
    seed: int = 0,
    regression: bool | None = None,
    antithetic: bool | None = None,
    gradients: bool | None = None,
    confidence: float = 0.95,
    progress: bool = False,
    store: Path | None = None,
    executor: Callable[[nn.Module, Pairs], AbstractContextManager[Executor]] = in_process,
    **restoration: Any,
) -> pd.DataFrame:
    """One row per player: layer, filter, shapley, stderr, low, high (in the payoff's unit), between_images, flag, rank.

    flag: "heavy tails" if rare large contributions may make the interval too narrow, "agreed" if all replicates agree
    (ShapleyValues.flags).

    Further columns hold what is the same for all players of a game: empty and grand (the worth of the empty and of the
    grand coalition), replicates, evaluations, relative_stderr, ended, used, and by what factor each method lowers the
    variance (antithetic_reduction, control_variates_reduction, gradients_reduction, and with bfloat16
    low_precision_reduction; NaN if not measured).

    game: one of GAMES. `until` holds for each game; after Ctrl-C the games so far are returned (see `interrupted`).
        The frame's attrs["missing"] lists the layers without values. A game with an additive tail is solved to 0.01%
        (`additive_shapley`), unless an estimator is asked for.
    regression, antithetic: as in sampled_shapley.
    gradients: True samples with gradients (multilevel_shapley), by default only if all filters play one game and this
        is cheaper than a permutation.
    store: a folder for replicates. An interrupted run resumes and gives the same bits as an uninterrupted one; a run
        asked for a smaller tolerance adds replicates to the stored ones.
    restoration: further arguments of RestorationGame.

    The values are the same to the last bit for every `executor`, provided all workers use the same kind of device,
    libraries, number of threads and batch size (a device that runs out of memory takes smaller batches). Otherwise the
    last digits may differ; so they may if `until` limits seconds, which decide the number of replicates.

    Raises InputError if the folder holds replicates of another game, or another run is using it; if replicates are to
    be stored of a network, payoff or ablation without a name of its own, such as a lambda; and if `gradients` is asked
    of a game without gradients, or together with an option of other estimators.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> filters = srgame.filters_of(network, ["conv_hr"])
    >>> values = network_values(network, filters, pairs, until=srgame.Until(tolerance=0.02))
    >>> values[["layer", "filter", "shapley", "low", "high"]].shape
    (4, 5)
    >>> bool(abs(values["shapley"].sum() - (values["grand"] - values["empty"])[0]) < 1e-9)
    True
    """
    if not 0 < confidence < 1:
        raise InputError(f"a confidence lies between 0 and 1, not {confidence}")
    identity = _identity(network, pairs, restoration, store) | {"game": game, "seed": seed} if store else {}
    if gradients is None:
        others = regression is not None or antithetic is not None or restoration.get("bfloat16")
        gradients = game == "all filters" and not others and cheaper_than_a_permutation(len(filters))
    if (gradients or regression) and restoration.get("bfloat16"):
        raise InputError("bfloat16 is an option of permutations, and gradients and regression use none: ask for either")
    plain = regression is None and antithetic is None and not gradients
    frames: list[pd.DataFrame] = []
    late = False
    with lock(store), executor(network, pairs) as running:

        def play(number: int, evaluated: Played) -> pd.DataFrame:
            who, restored, unions = evaluated
            options = {"regression": regression, "antithetic": antithetic, "gradients": gradients}
            run = identity | options | {"players": who.to_dict("list")}
            of_game = open_store(store / f"game{number}", run) if store else None
            estimate = _estimator(gradients, regression, antithetic, unions)
            sums = running.additive(restored, until) if plain and unions is None else None
            if sums is not None:
                values = additive_shapley(sums, until, seed)
            else:
                values = estimate(
                    restored, until=until, seed=seed, progress=progress, store=of_game, workers=running.replicates
                )
            return who.join(values.frame(confidence)).assign(**_how(values))

        games = chosen("game", game, GAMES)(partial(running.game, **restoration), filters)
        try:
            for frame in running.each(play, enumerate(games)):
                frames.append(frame)
        except KeyboardInterrupt:
            if not frames:
                raise
        except OutOfTimeError as error:
            if not frames:
                raise
            warnings.warn(f"the values end with {frames[-1]['layer'].iloc[0]}: {error}", stacklevel=2)
            late = True
    values = pd.concat(frames, ignore_index=True)
    asked = filters.layers if game == "each layer" else ()
    missing = [layer for layer in asked if layer not in set(values["layer"])]
    values.attrs = {MISSING: missing, CUT: bool(missing) and not late}
    return values


def interrupted(values: Any) -> bool:
    """Whether Ctrl-C ended the sampling of an estimate or of a frame of `network_values`, or left out a layer."""
    if not isinstance(values, pd.DataFrame):
        return bool(values.ended == "interrupted")
    return bool(values.attrs.get(CUT) or (values["ended"] == "interrupted").any())


def uninterrupted(values: T) -> T:
    """An estimate, or a frame of `network_values`, to go on with; raises KeyboardInterrupt if Ctrl-C cut it short."""
    if interrupted(values):
        raise KeyboardInterrupt
    return values


def _estimator(
    gradients: bool, regression: bool | None, antithetic: bool | None, unions: Unions
) -> Callable[..., ShapleyValues]:
    if not gradients:
        return partial(sampled_shapley, regression=regression, antithetic=antithetic, unions=unions)
    if not regression and antithetic is None and unions is None:
        return multilevel_shapley
    raise InputError(
        "gradients use no regression, and no permutations that can be reversed or keep layers together: ask for either"
    )


def _how(values: ShapleyValues) -> dict[str, Any]:
    methods = dict.fromkeys(("antithetic", "control_variates", "gradients", *values.variance_reduction))
    variance_reduction = {f"{method}_reduction": values.variance_reduction.get(method, np.nan) for method in methods}
    return {column: getattr(values, column) for column in HOW} | variance_reduction | {"used": " ".join(values.used)}


def _identity(network: nn.Module, pairs: Pairs, restoration: dict[str, Any], store: Path) -> dict[str, Any]:
    """All that the replicates depend on: the network, its images and the restoration game's settings."""
    code = {"srgame": version("srgame"), "network": _name_of(type(original(network)))}
    settings = {name: _name_of(value) if callable(value) else value for name, value in restoration.items()}
    known = identity_of(network, next(store.glob("game*/game.json"), None))
    return code | known | {"images": _fingerprint(pairs)} | settings


def _name_of(code: Any) -> str:
    """The name of a class or a function: srgame's own without its module, which may move; others with it."""
    module, name = getattr(code, "__module__", ""), getattr(code, "__qualname__", "<none>")
    if "<" in f"{module}.{name}":
        raise InputError(f"{code!r} has no name by which a later run could know it: define it in a module")
    return name if module.split(".")[0] == "srgame" else f"{module}.{name}"


def _fingerprint(pairs: Pairs) -> str:
    """The sha256 of all pixels."""
    digest = hashlib.sha256()
    for image in (*pairs.lr, *pairs.hr):
        digest.update(image.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _each_layer(restored: Restored, filters: Filters) -> Iterator[Played]:
    """One game per layer, whose filters are the players; all other layers stay intact."""
    for layer, width in zip(filters.layers, filters.widths, strict=True):
        of_layer = Filters((layer,), (width,))
        yield of_layer.frame(), restored(of_layer), None


def _layers(restored: Restored, filters: Filters) -> Iterator[Played]:
    """The layers are the players."""
    players = pd.DataFrame({"layer": "all layers", "filter": filters.layers})
    yield players, Grouped(restored(filters), _unions(filters)), None


def _within_layers(restored: Restored, filters: Filters) -> Iterator[Played]:
    """One game of all filters, in permutations that keep layers together: Owen values, comparable between layers."""
    yield filters.frame(), restored(filters), _unions(filters)


def _all_filters(restored: Restored, filters: Filters) -> Iterator[Played]:
    """One game of all filters, in any permutation."""
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
