"""A helper of `srgame probe equity`: scores of filters by any measure, as frames of one form."""

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
from srgame.shapley.audit import network_values, uninterrupted
from srgame.shapley.until import Until

Layers = Sequence[str]
Measure = Callable[[nn.Module, Pairs, Layers, Until], pd.DataFrame]


def _attributions(method: str) -> Measure:
    return lambda network, pairs, layers, _: channel_attributions(network, pairs, layers, method)


SCORES: dict[str, Measure] = {
    "responses": lambda network, pairs, layers, _: channel_responses(network, pairs.lr, layers),
    "salience": lambda network, pairs, layers, _: channel_salience(network, pairs.lr, layers),
    "shapley": lambda network, pairs, layers, until: uninterrupted(
        network_values(network, filters_of(network, layers), pairs, until=until)
    ),
} | {method: _attributions(method) for method in METHODS}

# The column that holds the score in each kind of frame, and the name of that score.
COLUMNS = {"shapley": "shapley", "salience": "salience", "mean_abs": "responses", "attribution": "attribution"}


def filter_scores(
    network: nn.Module, pairs: Pairs, layers: Layers, scores: Sequence[str], until: Until
) -> pd.DataFrame:
    """One row per score, layer and filter: score, layer, filter, value.

    `scores` are names in SCORES: the mean size of responses, channel salience, Shapley values φ of PSNR (sampled
    `until`) and captum's attributions of PSNR.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> scores = filter_scores(network, pairs, ["conv_hr"], ["responses", "shapley"], srgame.Until(tolerance=0.05))
    >>> scores.groupby("score").size().to_dict()
    {'responses': 4, 'shapley': 4}
    """
    if not scores:
        raise InputError(f"no score: name at least one of {', '.join(SCORES)}")
    frames = {score: chosen("score", score, SCORES)(network, pairs, layers, until) for score in scores}
    return pd.concat([_tidy(frame, score) for score, frame in frames.items()], ignore_index=True)


def read_scores(path: Path) -> pd.DataFrame:
    """The scores in a csv of `srgame shapley` or of a probe, in the same form; its column checkpoint is kept.

    Raises InputError if the file is not such a csv, or if it has more than one number per filter.
    """
    try:
        frame = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read as a csv: {error}") from error
    column = next((column for column in COLUMNS if column in frame), None)
    if column is None or not {"layer", "filter"} <= set(frame):
        raise InputError(
            f"'{path}' holds no score of filters: it needs the columns layer, filter and one of {', '.join(COLUMNS)}"
        )
    names = frame.get("method", pd.Series(COLUMNS[column], frame.index))
    frames = [_tidy(rows, str(name)) for name, rows in frame.groupby(names, sort=False)]
    scores = pd.concat(frames, ignore_index=True)
    if scores.duplicated([name for name in scores if name != "value"]).any():
        raise InputError(
            f"'{path}' has several numbers of one filter, for example per image: give one score per filter"
        )
    return scores


def _tidy(frame: pd.DataFrame, score: str) -> pd.DataFrame:
    value = next(column for column in COLUMNS if column in frame)
    tidy = frame.rename(columns={value: "value"}).assign(score=score)
    return tidy[[name for name in ("checkpoint", "score", "layer", "filter", "value") if name in tidy]]
