"""Scores of filters by any measure in one tidy form, so that how equal they are can be compared."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from torch import nn

from srgame.data.pairs import Pairs
from srgame.errors import InputError, chosen
from srgame.filters import filters_of
from srgame.probes.attributions import METHODS, channel_attributions
from srgame.probes.responses import channel_responses
from srgame.probes.salience import channel_salience
from srgame.shapley.audit import network_values
from srgame.shapley.until import Until

Layers = Sequence[str]
Measure = Callable[[nn.Module, Pairs, Layers, Until], pd.DataFrame]


def _attributions(method: str) -> Measure:
    return lambda network, pairs, layers, _: channel_attributions(network, pairs, layers, method)


SCORES: dict[str, Measure] = {
    "responses": lambda network, pairs, layers, _: channel_responses(network, pairs.lr, layers),
    "salience": lambda network, pairs, layers, _: channel_salience(network, pairs.lr, layers),
    "shapley": lambda network, pairs, layers, until: network_values(
        network, filters_of(network, layers), pairs, until=until
    ),
} | {method: _attributions(method) for method in METHODS}

# The column, in a frame of each kind, that holds the score, and what the score is called.
COLUMNS = {"shapley": "shapley", "salience": "salience", "mean_abs": "responses", "attribution": "attribution"}


def filter_scores(
    network: nn.Module, pairs: Pairs, layers: Layers, scores: Sequence[str], until: Until
) -> pd.DataFrame:
    """One row per score, layer and filter: score, layer, filter, value.

    `scores` are of SCORES: the mean size of responses, channel salience, Shapley values φ of PSNR (sampled `until`),
    and captum's attributions of PSNR.
    """
    if not scores:
        raise InputError(f"no score: name some of {', '.join(SCORES)}")
    frames = {score: chosen("score", score, SCORES)(network, pairs, layers, until) for score in scores}
    return pd.concat([_tidy(frame, score) for score, frame in frames.items()], ignore_index=True)


def read_scores(path: Path) -> pd.DataFrame:
    """The same of a csv that `srgame shapley` or a probe wrote; with a column checkpoint if it has one.

    Raises InputError for a file that is none, or has more than one number of a filter.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read as a csv: {error}") from error
    column = next((column for column in COLUMNS if column in frame), None)
    if column is None or "layer" not in frame:
        raise InputError(
            f"'{path}' holds no score of filters: columns layer and one of {', '.join(COLUMNS)} are needed"
        )
    names = frame.get("method", pd.Series(COLUMNS[column], frame.index))
    frames = [_tidy(rows, str(name)) for name, rows in frame.groupby(names, sort=False)]
    scores = pd.concat(frames, ignore_index=True)
    if scores.duplicated([name for name in scores if name != "value"]).any():
        raise InputError(f"'{path}' has several numbers of one filter, such as a map or images: one score is needed")
    return scores


def _tidy(frame: pd.DataFrame, score: str) -> pd.DataFrame:
    value = next(column for column in COLUMNS if column in frame)
    tidy = frame.rename(columns={"filter": "filter", value: "value"}).assign(score=score)
    return tidy[[name for name in ("checkpoint", "score", "layer", "filter", "value") if name in tidy]]
