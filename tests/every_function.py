"""Every public function that runs a network, as a function of the network, of pairs of images and of a layer."""

from collections.abc import Callable

import pandas as pd
from torch import Tensor, nn

from srgame.data.pairs import Pairs
from srgame.evaluation.evaluate import evaluate
from srgame.evaluation.tiling import Tiled
from srgame.filters import filters_of
from srgame.metrics import mse
from srgame.probes.attributions import channel_attributions
from srgame.probes.cosine import channel_cosine
from srgame.probes.ddr import ddr, ddr_summary
from srgame.probes.lam import lam
from srgame.probes.responses import channel_responses
from srgame.probes.salience import channel_salience, salience_maps
from srgame.probes.scores import filter_scores
from srgame.probes.srga import srga
from srgame.shapley.audit import network_values
from srgame.shapley.exact import exact_shapley
from srgame.shapley.gradients import multilevel_shapley
from srgame.shapley.interactions import pair_interactions
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until

UNTIL = Until(evaluations=80)
Function = Callable[[nn.Module, Pairs, str], pd.DataFrame]


def editing_payoff(sr: Tensor, hr: Tensor) -> Tensor:
    return -mse(sr.mul_(1.0), hr.mul_(1.0))


def game(network: nn.Module, pairs: Pairs, layer: str, payoff: object = "psnr") -> RestorationGame:
    return RestorationGame(network, filters_of(network, [layer]), pairs, payoff)


FUNCTIONS: dict[str, Function] = {
    "evaluate": lambda network, pairs, _: evaluate(network, pairs),
    "evaluate twice": lambda network, pairs, _: pd.concat([evaluate(network, pairs), evaluate(network, pairs)]),
    "tiles": lambda network, pairs, _: evaluate(Tiled(network, 8, 0), pairs),
    "reach": lambda network, _, __: pd.DataFrame({"reach": [Tiled(network).overlap]}),
    "responses": lambda network, pairs, layer: channel_responses(network, pairs, [layer]),
    "cosine": lambda network, pairs, layer: channel_cosine(network, pairs.lr, [layer]),
    "salience": lambda network, pairs, layer: channel_salience(network, pairs.lr, [layer]),
    "salience of the last input": lambda network, pairs, _: channel_salience(network, pairs.lr, ["tail:input"]),
    "salience maps": lambda network, pairs, layer: salience_maps(network, pairs.lr[0], [layer]),
    "lam": lambda network, pairs, _: lam(network, pairs.lr, steps=4),
    "ddr": lambda network, pairs, layer: ddr_summary(
        ddr(network, {"a": pairs.lr, "b": pairs.lr[:2]}, layer, seeds=(0,))
    ).head(1),  # of principal components; t-SNE magnifies rounding
    "srga": lambda network, pairs, layer: srga(network, pairs.lr, {"b": pairs.lr[:2]}, layer),
    "integrated gradients": lambda network, pairs, layer: channel_attributions(network, pairs, [layer], steps=4),
    "conductance": lambda network, pairs, layer: channel_attributions(network, pairs, [layer], "conductance", steps=4),
    "an editing payoff": lambda network, pairs, layer: channel_attributions(
        network, pairs, [layer], payoff=editing_payoff, steps=4
    ),
    "scores": lambda network, pairs, layer: filter_scores(network, pairs, [layer], ["responses", "shapley"], UNTIL),
    "values": lambda network, pairs, layer: network_values(
        network, filters_of(network, [layer, "head"]), pairs, until=UNTIL, game="within layers"
    ),
    "exact": lambda network, pairs, layer: exact_shapley(game(network, pairs, layer)).frame(0.95),
    "exact, an editing payoff": lambda network, pairs, layer: exact_shapley(
        game(network, pairs, layer, editing_payoff)
    ).frame(0.95),
    "interactions": lambda network, pairs, layer: pd.DataFrame(
        {"pair": pair_interactions(game(network, pairs, layer), until=UNTIL).value.ravel()}
    ),
    "multilevel": lambda network, pairs, layer: multilevel_shapley(
        game(network, pairs, layer), until=Until(evaluations=1600)
    ).frame(0.95),
}
