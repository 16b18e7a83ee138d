"""Does the reading of EATS that is nearest to Table 1 do to filters what the paper says of EATS?

The paper says that with EATS channels are less correlated, and that all filters contribute. Networks trained with
λ = 0.1 are compared with Original, and with the control that erases nothing, over three seeds. Cosines are those of the
responses as they are, and of the responses minus their mean over the image (correlations); the means of |cos| over
pairs of filters and images. Shares are those of the mean size of the responses, of salience, and of φ, from whose
squares the variance of its errors is subtracted. φ, its bound (Eq. 6) and diminishing returns are those of the layer in
front of the last.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from equities import without_noise
from families import AUTO, Architectures, Checkpoints, load_each
from intervals import mean_interval
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from printed import judged
from readings import ORIGINAL, kind_of, shipped_readings
from returns import diminishing
from torch import Tensor, nn
from zoo_names import CONTROL, READING

from srgame.cli.comparison import labels
from srgame.data.lazy import lr_images
from srgame.data.pairs import Pairs, load_pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.networks import scale_of
from srgame.probes.cosine import cosines
from srgame.probes.equity import effective_players
from srgame.probes.features import mean_over_images
from srgame.probes.responses import channel_responses
from srgame.probes.salience import channel_salience
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREY, ORANGE, styled
from srgame.shapley.additive import additive_tail
from srgame.shapley.audit import uninterrupted
from srgame.shapley.game import Game
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.semivalues import marginal_contributions
from srgame.shapley.until import Until

NETWORKS = tuple(name for name in shipped_readings() if (kind_of(name) or ("",))[0] in (ORIGINAL, READING, CONTROL))
QUANTITIES = {
    "cosine": "mean |cos| of responses",
    "correlation": "mean |cos| of centred responses",
    "responding": "effective share of filters, by responses",
    "salient": "effective share of filters, by salience (CSM)",
    "contributing": "effective\nshare, φ",
    "violating": "φ below\nleave-one-out",
    "diminishing": "returns\ndiminish",
}
OF_GAMES = ("contributing", "violating", "diminishing")  # shares of the filters, or draws, of one layer's game
DIFFERENCES = {  # in words, with the kinds that are subtracted, and a colour
    "EATS (λ = 0.1) − Original": (READING, ORIGINAL, ORANGE),
    "nothing erased (λ = 0.1) − Original": (CONTROL, ORIGINAL, BLUE),
    "EATS − nothing erased": (READING, CONTROL, GREY),
}
EVALUATIONS, DRAWS = 12_000, 1_000  # of a layer's game: coalitions, and draws of a filter and two coalitions
SMOKE = {"layers": ("body.1",), "dataset": "photographs", "images": 1, "crop": 24, "restored": "photographs"}


def measure(
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    layers: tuple[str, ...] = ("body.1", "body.4", "body.6"),
    worth_layer: str = "conv_hr",
    dataset: str = "unseen109",
    images: int = 20,
    crop: int = 96,
    restored: str = "Set5",
    degradation: str = "b+n",
    seed: int = 0,
) -> pd.DataFrame:
    """One row per network, layer and quantity of QUANTITIES: checkpoint, kind, seed, layer, quantity, value.

    Responses and salience are those of the middle `crop` pixels of the first `images` images of `dataset`, taken as LR
    images. The game is of the filters of `worth_layer`, on the middle `crop` pixels of the `restored` images.

    The names of the networks end in a kind and a seed, as readings-x4-w0.1-0; raises InputError if not.
    """
    lr = lr_images(dataset, images=images, crop=crop)
    rows: list[dict[str, Any]] = []
    for label, model in zip(labels(networks), load_each(networks, network).values(), strict=True):
        kind, of_seed = kind_of(label) or ("", 0)
        if kind not in (ORIGINAL, READING, CONTROL):
            raise InputError(f"'{label}' ends in none of {ORIGINAL}, {READING} and {CONTROL} with a seed: rename it")
        values = _alike(model, lr, layers) | _shares("responding", channel_responses(model, lr, layers), "mean_abs")
        values |= _shares("salient", channel_salience(model, lr, layers), "salience")
        pairs = load_pairs(restored, degradation, scale_of(model), images, crop, seed)
        values |= _contributing(model, pairs, worth_layer, seed)
        about = {"checkpoint": label, "kind": kind, "seed": of_seed}
        rows += [about | {"layer": layer, "quantity": name, "value": each} for (name, layer), each in values.items()]
    return pd.DataFrame(rows)


def _alike(network: nn.Module, lr: Any, layers: tuple[str, ...]) -> dict[tuple[str, str], float]:
    """Mean |cos| of each layer's responses, and of its centred responses."""
    means, _ = mean_over_images(network, lr, layers, _sizes_of_cosines)
    return {
        (name, layer): float(mean[place])
        for layer, mean in means.items()
        for place, name in enumerate(("cosine", "correlation"))
    }


def _sizes_of_cosines(response: Tensor) -> Tensor:
    """The mean |cos| over the pairs of channels of one image: as they are, and centred."""
    return torch.stack([_off_diagonal(cosines(response, centred).abs()) for centred in (False, True)])


def _off_diagonal(matrix: Tensor) -> Tensor:
    width = len(matrix)
    return (matrix.sum() - matrix.diagonal().sum()) / (width * (width - 1))


def _shares(quantity: str, scores: pd.DataFrame, column: str) -> dict[tuple[str, str], float]:
    """The effective share of each layer's filters, by a column of scores."""
    return {
        (quantity, str(layer)): effective_players(each[column]) / len(each)
        for layer, each in scores.groupby("layer", sort=False)
    }


def _contributing(network: nn.Module, pairs: Pairs, layer: str, seed: int) -> dict[tuple[str, str], float]:
    """The quantities OF_GAMES: of the layer's game, as sums of images if its tail is additive."""
    whole = RestorationGame(network, filters_of(network, [layer]), pairs)
    game: Game = additive_tail(whole) or whole
    until = Until(evaluations=EVALUATIONS)
    filters = uninterrupted(marginal_contributions(game, until=until, seed=seed)).players()
    sizes = without_noise(filters["shapley"].to_numpy(float), filters["stderr"].to_numpy(float))
    shares = (
        effective_players(sizes) / len(filters),
        float((filters["eq6"] == "violated").mean()),
        diminishing(game, DRAWS, seed)["diminishing"],
    )
    return {(quantity, layer): share for quantity, share in zip(OF_GAMES, shares, strict=True)}


def differences(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per difference, quantity and layer: mean over seeds with low and high, a 95% interval (Student's t)."""
    wide = frame.pivot(index=["quantity", "layer", "seed"], columns="kind", values="value")
    rows = []
    for words, (first, second, _) in DIFFERENCES.items():
        own = (wide[first] - wide[second]).dropna()
        for quantity in QUANTITIES:
            for layer in frame.loc[frame["quantity"] == quantity, "layer"].unique():
                mean, low, high = mean_interval(own.loc[quantity, layer].to_numpy())
                row = {"difference": words, "quantity": quantity, "layer": layer}
                rows.append(row | {"mean": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def found(frame: pd.DataFrame) -> str:
    """How many differences are clear, in a sentence for each pair of trainings."""
    parts = []
    for words, each in differences(frame).groupby("difference", sort=False):
        up, down = int((each["low"] > 0).sum()), int((each["high"] < 0).sum())
        parts.append(f"{words}: {up} clearly higher, {down} clearly lower")
    names = f"{frame['seed'].nunique()} seeds, {len(each)} quantities and layers"
    return f"Likeness and equality of filters ({names}; 95% intervals over seeds): {'; '.join(parts)}."


def verdict(frame: pd.DataFrame) -> str:
    """Whether erasing makes channels less correlated and contributions more equal, beyond what the control does."""
    own = differences(frame)
    own = own[own["difference"] == "EATS − nothing erased"]
    falls = own["quantity"].isin(["cosine", "correlation", "violating"])
    return judged([*(own.loc[falls, "high"] < 0), *(own.loc[~falls, "low"] > 0)])


def draw(frame: pd.DataFrame) -> Figure:
    """The differences with intervals over seeds: a panel per quantity, by layer, and one for those of a game."""
    table = differences(frame)
    by_layer = [quantity for quantity in QUANTITIES if quantity not in OF_GAMES]
    of_games = table[table["quantity"].isin(OF_GAMES)]
    with styled():
        figure = Figure(figsize=(7.2, 6))
        *panels, last, legend = figure.subplots(3, 2).ravel()
        for panel, quantity in zip(panels, by_layer, strict=True):
            rows = table[table["quantity"] == quantity]
            _panel(panel, rows.assign(place=rows["layer"]))
            panel.set_title(QUANTITIES[quantity])
        _panel(last, of_games.assign(place=of_games["quantity"].map(QUANTITIES)))
        last.set_title(f"shares of the filters, or draws, in {of_games['layer'].iloc[0]}")
        legend.legend(*last.get_legend_handles_labels(), loc="center")
        legend.axis("off")
        figure.suptitle(
            "The reading nearest to Table 1: are filters less alike, and do more of them contribute?", fontsize=8
        )
    return figure


def _panel(panel: Axes, rows: pd.DataFrame) -> None:
    places = list(rows["place"].unique())
    for shift, (words, (_, _, colour)) in zip((-0.15, 0, 0.15), DIFFERENCES.items(), strict=True):
        own = rows[rows["difference"] == words]
        error = [own["mean"] - own["low"], own["high"] - own["mean"]]
        at = np.arange(len(places)) + shift
        panel.errorbar(at, own["mean"], error, fmt="o", color=colour, markersize=4, elinewidth=1, label=words)
    panel.axhline(0, color="black", linewidth=0.6)
    panel.set_xticks(range(len(places)), places)
    panel.set_xlim(-0.5, len(places) - 0.5)
    panel.set_ylabel("difference")


if __name__ == "__main__":
    run(__file__, measure, draw, found)
