"""A network audited: the games that its filters can play, and one table of all their values."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from srgame.errors import InputError, chosen
from srgame.files import held
from srgame.filters import Filters
from srgame.game import Grouped, RestorationGame
from srgame.kept import kept_in
from srgame.networks import fingerprint
from srgame.pairs import Pairs
from srgame.shapley import ShapleyValues, sampled_shapley
from srgame.until import Until

Played = tuple[pd.DataFrame, Callable[..., ShapleyValues]]  # who plays, and how

HOW = ("empty", "grand", "units", "evaluations", "precision", "ended")


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
    **restoration: Any,
) -> pd.DataFrame:
    """One row per player: layer, filter, shapley, stderr, low, high (payoff's unit), between_images, rank.

    `game` is one of GAMES. What is the same for all players of a game stands in each of its rows: empty and grand (the
    worth of none and of all of them), units, evaluations, precision, ended, pairs_gain and controls_gain (by what
    factor these lower the variance; NaN if not measured), used (which are). `until` holds for each game; `restoration`
    goes to RestorationGame. After Ctrl-C what was measured is returned. With a folder to `keep` units in, a run goes on
    where it was stopped, to the last bit as if it had not been, and one that is asked for more adds to what is there.

    Raises InputError where that folder holds units of another game, or another run goes on there.
    """
    if not 0 < confidence < 1:
        raise InputError(f"a confidence lies between 0 and 1, not {confidence}")
    restored = partial(RestorationGame, network, pairs=pairs, **restoration)
    told = {"weights": fingerprint(network), "images": _fingerprint(pairs), "game": game, "seed": seed} | restoration
    frames: list[pd.DataFrame] = []
    with held(keep), suppress(KeyboardInterrupt):
        for number, (players, estimate) in enumerate(chosen("game", game, GAMES)(restored, filters)):
            run = told | {"antithetic": antithetic, "players": players.to_dict("list")}
            kept = kept_in(keep / f"game{number}", run) if keep else None
            values = estimate(until=until, seed=seed, antithetic=antithetic, progress=progress, kept=kept)
            frames.append(players.join(values.frame(confidence)).assign(**_how(values)))
            if values.ended == "interrupted":
                break
    if not frames:
        raise KeyboardInterrupt
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


def _each_layer(restored: Callable[..., RestorationGame], filters: Filters) -> Iterator[Played]:
    """Each layer's filters play a game of their own, the other layers being whole."""
    for layer, width in zip(filters.layers, filters.widths, strict=True):
        of_layer = Filters((layer,), (width,))
        yield of_layer.frame(), partial(sampled_shapley, restored(of_layer))


def _layers(restored: Callable[..., RestorationGame], filters: Filters) -> Iterator[Played]:
    """The layers are the players."""
    players = pd.DataFrame({"layer": "all layers", "filter": filters.layers})
    yield players, partial(sampled_shapley, Grouped(restored(filters), _unions(filters)))


def _within_layers(restored: Callable[..., RestorationGame], filters: Filters) -> Iterator[Played]:
    """All filters play one game, in orders that keep layers together: Owen values, comparable between layers."""
    yield filters.frame(), partial(sampled_shapley, restored(filters), unions=_unions(filters))


def _all_filters(restored: Callable[..., RestorationGame], filters: Filters) -> Iterator[Played]:
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
