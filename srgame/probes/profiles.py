"""Networks side by side: what each filter does, what each layer and each network achieve, and how they differ.

Filters of separately trained networks do not correspond by number. So filters are compared as distributions, and only
quantities of whole layers and networks are subtracted.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from scipy.special import ndtri, stdtrit
from torch import nn

from srgame.data.images import some
from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.evaluation.evaluate import evaluate
from srgame.filters import Place, filters_of
from srgame.probes.cosine import cosines
from srgame.probes.equity import effective_players, gini
from srgame.probes.features import features, mean_over_images
from srgame.probes.responses import channel_responses, response_summary
from srgame.probes.salience import channel_salience, salience_summary
from srgame.shapley.audit import network_values, uninterrupted
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until

WHOLE = "whole network"  # in the column layer, for what no layer has alone
IMAGES, SAMPLING = "images", "sampling"  # what an interval covers
FILTER = ["layer", "filter"]
DRAWS = 1000  # of all φ from their standard errors, for the standard errors of what is computed from them
PerFilter = Float[np.ndarray, " filter"]
OfValues = Callable[[PerFilter], float]
OF_VALUES: dict[str, OfValues] = {
    "shapley_gini": gini,
    "shapley_effective_share": lambda values: effective_players(values) / len(values),
    "harmful": lambda values: float((values < 0).mean()),
}
Rows = Iterator[dict[str, Any]]
Interval = tuple[float, float, float]  # a difference, and the ends of its interval


def filter_profiles(
    network: nn.Module,
    pairs: Pairs,
    layers: Sequence[str],
    *,
    until: Until,
    seed: int = 0,
    confidence: float = 0.95,
    progress: bool = False,
    **restoration: Any,
) -> pd.DataFrame:
    """One row per layer and filter: the columns of `network_values`, with one game per layer, and of the probes.

    mean_abs and sparsity of the responses (`channel_responses`), salience and share (`channel_salience`), nearest (the
    filter of the same layer that responds most alike) and cosine (with that filter; NaN in a layer of one filter).
    `restoration` has further arguments of RestorationGame.

    Raises InputError for filters of several channels (NAME/4), which the probes do not know, and as these do.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> profiles = filter_profiles(network, pairs, ["conv_hr"], until=srgame.Until(tolerance=0.05))
    >>> profiles[["layer", "filter", "shapley", "mean_abs", "salience", "nearest", "cosine"]].shape
    (4, 7)
    """
    if grouped := [layer for layer in layers if Place.of(layer).size > 1]:
        raise InputError(f"'{grouped[0]}' joins channels, which probes keep apart: name the layer without /")
    values = uninterrupted(
        network_values(
            network,
            filters_of(network, layers),
            pairs,
            until=until,
            seed=seed,
            confidence=confidence,
            progress=progress,
            **restoration,
        )
    )
    layers = list(values["layer"].unique())
    alike, _ = mean_over_images(network, pairs, layers, cosines)
    others = (
        channel_responses(network, pairs, layers)[[*FILTER, "mean_abs", "sparsity"]],
        channel_salience(network, pairs, layers),
        pd.concat([_nearest(layer, matrix.numpy()) for layer, matrix in alike.items()]),
    )
    for columns in others:
        values = values.merge(columns, on=FILTER, validate="one_to_one")
    return values


def _nearest(layer: str, cosine: Float[np.ndarray, "c c"]) -> pd.DataFrame:
    """The partner of each filter with the largest |cosine|, and that cosine."""
    count = len(cosine)
    size = np.abs(cosine) - 2 * np.eye(count)
    partner = size.argmax(1)
    value = cosine[np.arange(count), partner] if count > 1 else np.full(1, np.nan)
    return pd.DataFrame({"layer": layer, "filter": np.arange(count), "nearest": partner, "cosine": value})


def layer_profiles(
    network: nn.Module, pairs: Pairs, filters: pd.DataFrame, seed: int = 0, **restoration: Any
) -> pd.DataFrame:
    """One row per layer and quantity, and per image if the quantity has a value on each: layer, quantity, image, value,
    stderr.

    Of the whole network: psnr_y, psnr_rgb (dB) and ssim_y (`evaluate`). On each image: worth, the payoff that is lost
    if the whole layer is erased; mean_abs, sparsity, inhibited and responses_effective_share (`response_summary`);
    mean_cosine, the mean |cosine| of pairs; salience_effective_share. Of all images at once, from the frame `filters`
    of `filter_profiles`: shapley_gini, shapley_effective_share and harmful, the share of filters with φ < 0; stderr is
    then the standard error that follows from those of φ, NaN, with a warning, if one of these is infinite.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> filters = filter_profiles(network, pairs, ["conv_hr"], until=srgame.Until(tolerance=0.05))
    >>> layer_profiles(network, pairs, filters)["quantity"].tolist()[:4]
    ['psnr_y', 'psnr_rgb', 'ssim_y', 'worth']
    """
    layers = list(filters["layer"].unique())
    if unknown := filters.loc[np.isinf(filters["stderr"]), "layer"].unique().tolist():
        warnings.warn(
            f"φ of {some(unknown)} has no standard error after so few replicates, so its Gini, effective share and "
            "share below 0 have no intervals: allow more evaluations or seconds",
            stacklevel=2,
        )
    rows = [
        *_of_network(network, pairs),
        *_worths(network, pairs, layers, restoration),
        *_responses(network, pairs, layers),
        *_cosines(network, pairs, layers),
        *_sharing(filters, seed),
    ]
    return pd.DataFrame(rows, columns=["layer", "quantity", "image", "value", "stderr"])


def _of_network(network: nn.Module, pairs: Pairs) -> Rows:
    for row in evaluate(network, pairs).to_dict("records"):
        for score in ("psnr_y", "psnr_rgb", "ssim_y"):
            yield _row(WHOLE, score, row["image"], row[score])


def _worths(network: nn.Module, pairs: Pairs, layers: Sequence[str], restoration: dict[str, Any]) -> Rows:
    for layer in layers:
        game = RestorationGame(network, filters_of(network, [layer]), pairs, **restoration)
        grand, empty = game.per_image(torch.tensor([[True], [False]]).expand(2, game.players)).T.tolist()
        for name, whole, without in zip(pairs.names, grand, empty, strict=True):
            yield _row(layer, "worth", name, whole - without)


def _responses(network: nn.Module, pairs: Pairs, layers: Sequence[str]) -> Rows:
    """Quantities of the responses and of salience, image by image."""
    for pair in pairs:
        responses = channel_responses(network, pair, layers)
        mean_abs = responses.groupby("layer")["mean_abs"].mean()
        for row in response_summary(responses).to_dict("records"):
            layer, (name,) = row["layer"], pair.names
            yield _row(layer, "mean_abs", name, mean_abs[layer])
            yield _row(layer, "sparsity", name, row["sparsity"])
            yield _row(layer, "inhibited", name, row["inhibited"])
            yield _row(layer, "responses_effective_share", name, row["effective_share"])
        for row in salience_summary(channel_salience(network, pair, layers)).to_dict("records"):
            yield _row(row["layer"], "salience_effective_share", pair.names[0], row["effective_share"])


def _cosines(network: nn.Module, pairs: Pairs, layers: Sequence[str]) -> Rows:
    for name, by_layer in zip(pairs.names, features(network, pairs, layers, cosines), strict=True):
        for layer, matrix in by_layer.items():
            of_pairs = matrix.double().abs().cpu().numpy()[np.triu_indices(len(matrix), 1)]
            yield _row(layer, "mean_cosine", name, of_pairs.mean() if of_pairs.size else np.nan)


def _sharing(filters: pd.DataFrame, seed: int) -> Rows:
    """How the filters of each layer share φ, with standard errors from those of φ."""
    for layer, of_layer in filters.groupby("layer", sort=False):
        value, stderr = of_layer["shapley"].to_numpy(), of_layer["stderr"].to_numpy()
        for quantity, measure in OF_VALUES.items():
            yield _row(str(layer), quantity, "", measure(value), _error(measure, value, stderr, seed))


def _error(measure: OfValues, value: PerFilter, stderr: PerFilter, seed: int) -> float:
    """The standard error of what is measured of all φ, from theirs; NaN if one of theirs is infinite."""
    if np.isinf(stderr).any():
        return float("nan")
    drawn = np.random.default_rng(seed).normal(value, stderr, (DRAWS, len(value)))
    return float(np.std([measure(row) for row in drawn])) if stderr.any() else 0.0


def _row(layer: str, quantity: str, image: str, value: float, stderr: float = np.nan) -> dict[str, Any]:
    return {"layer": layer, "quantity": quantity, "image": image, "value": value, "stderr": stderr}


def profile_differences(profiles: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """One row per layer, quantity and checkpoint: layer, quantity, checkpoint, value, difference, low, high, over.

    `profiles` are frames of `layer_profiles` with a column checkpoint, measured on the same images. `value` is the mean
    over images that have one. `difference` is that from the first checkpoint, the mean over images on which both have a
    value, with its confidence interval: over "images", paired (Student's t; NaN for a single image), or of "sampling",
    for what follows from φ (normal; NaN if a standard error is). Both are NaN for the first checkpoint itself, and for
    a layer that it lacks.

    >>> rows = [("a", "worth", "x", 1.0), ("a", "worth", "y", 2.0), ("b", "worth", "x", 2.0), ("b", "worth", "y", 4.0)]
    >>> profiles = pd.DataFrame(rows, columns=["checkpoint", "quantity", "image", "value"])
    >>> differences = profile_differences(profiles.assign(layer="conv", stderr=np.nan))
    >>> differences[["checkpoint", "value", "difference"]].to_numpy().tolist()
    [['a', 1.5, nan], ['b', 3.0, 1.5]]
    """
    first = profiles["checkpoint"].iloc[0]
    rows = []
    for (layer, quantity), group in profiles.groupby(["layer", "quantity"], sort=False):
        of = {str(name): own.set_index("image") for name, own in group.groupby("checkpoint", sort=False)}
        for name, own in of.items():
            compared = of.get(first) if name != first else None
            over = SAMPLING if quantity in OF_VALUES else IMAGES
            interval = _of_sampling if over == SAMPLING else _over_images
            difference, low, high = (np.nan,) * 3 if compared is None else interval(own, compared, confidence)
            numbers = {"value": own["value"].mean(), "difference": difference, "low": low, "high": high, "over": over}
            rows.append({"layer": layer, "quantity": quantity, "checkpoint": name} | numbers)
    return pd.DataFrame(rows)


def _over_images(own: pd.DataFrame, first: pd.DataFrame, confidence: float) -> Interval:
    """The mean difference over the images on which both have a value, and its interval."""
    differences = (own["value"] - first["value"]).dropna()
    count, mean = len(differences), float(differences.mean())
    half = stdtrit(count - 1, (1 + confidence) / 2) * float(differences.std()) / np.sqrt(count) if count > 1 else np.nan
    return mean, mean - half, mean + half


def _of_sampling(own: pd.DataFrame, first: pd.DataFrame, confidence: float) -> Interval:
    """The difference of what follows from all φ, and its interval."""
    difference = float(own["value"].iloc[0] - first["value"].iloc[0])
    half = ndtri((1 + confidence) / 2) * np.hypot(own["stderr"].iloc[0], first["stderr"].iloc[0])
    return difference, difference - half, difference + half
