"""srgame audits a super-resolution network as a cooperative game: its filters are the players.

The public names load when first used, so that `import srgame` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srgame.data.lazy import lr_images
    from srgame.data.pairs import Pairs, load_pairs
    from srgame.errors import InputError
    from srgame.evaluation.benchmark import benchmark
    from srgame.evaluation.evaluate import evaluate
    from srgame.filters import Filters, erased, filters_of, resume
    from srgame.networks import load_network
    from srgame.probes.attributions import channel_attributions
    from srgame.probes.cosine import channel_cosine
    from srgame.probes.ddr import ddr
    from srgame.probes.equity import effective_players, entropy, equity, gini
    from srgame.probes.lam import lam
    from srgame.probes.responses import channel_responses
    from srgame.probes.salience import channel_salience
    from srgame.probes.scores import filter_scores
    from srgame.probes.srga import srga
    from srgame.shapley.audit import network_values
    from srgame.shapley.exact import exact_shapley
    from srgame.shapley.game import Differentiable, Game, RestorationGame
    from srgame.shapley.gradients import multilevel_shapley
    from srgame.shapley.interactions import PairInteractions, pair_interactions
    from srgame.shapley.permutations import sampled_shapley
    from srgame.shapley.semivalues import Contributions, leave_one_out, marginal_contributions
    from srgame.shapley.until import Until
    from srgame.shapley.values import ShapleyValues
    from srgame.training.loop import fit
    from srgame.training.strategies import EATS, BicubicPull, Dropout, Original

_MODULES = {
    "shapley.audit": ("network_values",),
    "evaluation.benchmark": ("benchmark",),
    "errors": ("InputError",),
    "evaluation.evaluate": ("evaluate",),
    "filters": ("Filters", "erased", "filters_of", "resume"),
    "shapley.game": ("Differentiable", "Game", "RestorationGame"),
    "shapley.interactions": ("PairInteractions", "pair_interactions"),
    "networks": ("load_network",),
    "data.pairs": ("Pairs", "load_pairs"),
    "shapley.semivalues": ("Contributions", "leave_one_out", "marginal_contributions"),
    "probes.attributions": ("channel_attributions",),
    "probes.cosine": ("channel_cosine",),
    "probes.ddr": ("ddr",),
    "probes.equity": ("effective_players", "entropy", "equity", "gini"),
    "probes.lam": ("lam",),
    "probes.responses": ("channel_responses",),
    "probes.salience": ("channel_salience",),
    "probes.srga": ("srga",),
    "data.lazy": ("lr_images",),
    "probes.scores": ("filter_scores",),
    "shapley.exact": ("exact_shapley",),
    "shapley.permutations": ("sampled_shapley",),
    "shapley.values": ("ShapleyValues",),
    "training.strategies": ("EATS", "BicubicPull", "Dropout", "Original"),
    "training.loop": ("fit",),
    "shapley.gradients": ("multilevel_shapley",),
    "shapley.until": ("Until",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "EATS",
    "BicubicPull",
    "Contributions",
    "Differentiable",
    "Dropout",
    "Filters",
    "Game",
    "InputError",
    "Original",
    "PairInteractions",
    "Pairs",
    "RestorationGame",
    "ShapleyValues",
    "Until",
    "benchmark",
    "channel_attributions",
    "channel_cosine",
    "channel_responses",
    "channel_salience",
    "ddr",
    "effective_players",
    "entropy",
    "equity",
    "erased",
    "evaluate",
    "exact_shapley",
    "filter_scores",
    "filters_of",
    "fit",
    "gini",
    "lam",
    "leave_one_out",
    "load_network",
    "load_pairs",
    "lr_images",
    "marginal_contributions",
    "multilevel_shapley",
    "network_values",
    "pair_interactions",
    "resume",
    "sampled_shapley",
    "srga",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"srgame has no '{name}': its public names are {', '.join(__all__)}")
    return getattr(import_module(f"srgame.{_MODULE_OF[name]}"), name)
