"""A network audited layer by layer: each layer's filters play a game of their own; all values stand in one table."""

import pandas as pd
from torch import nn

from srgame.errors import InputError
from srgame.filters import Absence, Filters
from srgame.game import RestorationGame
from srgame.metrics import Payoff
from srgame.pairs import Pairs
from srgame.shapley import sampled_shapley
from srgame.until import Until


def layer_values(
    network: nn.Module,
    filters: Filters,
    pairs: Pairs,
    *,
    until: Until,
    payoff: str | Payoff = "psnr",
    absent: str | Absence = "zero",
    seed: int = 0,
    antithetic: bool = True,
    confidence: float = 0.95,
    progress: bool = False,
) -> pd.DataFrame:
    """One row per filter: layer, filter, and in its layer's game shapley, stderr, low, high (payoff's unit) and rank.

    What is the same for all filters of a layer stands in each of its rows: empty and grand (the worth of none and of
    all of them), units, evaluations, precision, ended. `until` holds for each layer. After Ctrl-C what was measured is
    returned.
    """
    if not 0 < confidence < 1:
        raise InputError(f"a confidence lies between 0 and 1, not {confidence}")
    frames: list[pd.DataFrame] = []
    for layer, width in zip(filters.layers, filters.widths, strict=True):
        try:
            game = RestorationGame(network, Filters((layer,), (width,)), pairs, payoff, absent)
            values = sampled_shapley(game, until=until, seed=seed, antithetic=antithetic, progress=progress)
        except KeyboardInterrupt:
            if not frames:
                raise
            break
        how = ("empty", "grand", "units", "evaluations", "precision", "ended")
        frames.append(
            game.filters.frame().join(values.frame(confidence)).assign(**{h: getattr(values, h) for h in how})
        )
        if values.ended == "interrupted":
            break
    return pd.concat(frames, ignore_index=True)
