"""srgame audits a super-resolution network as a cooperative game: its filters are the players.

The public names load when first used, so that `import srgame` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srgame.audit import network_values
    from srgame.benchmarks import benchmark
    from srgame.errors import InputError
    from srgame.evaluation import evaluate
    from srgame.filters import Filters, erased, filters_of, resume
    from srgame.game import Differentiable, Game, RestorationGame
    from srgame.interactions import PairInteractions, pair_interactions
    from srgame.networks import load_network
    from srgame.pairs import Pairs, load_pairs
    from srgame.probes.attributions import channel_attributions
    from srgame.probes.cosine import channel_cosine
    from srgame.probes.ddr import ddr
    from srgame.probes.equity import effective_players, entropy, equity, gini
    from srgame.probes.lam import lam
    from srgame.probes.responses import channel_responses
    from srgame.probes.salience import channel_salience
    from srgame.probes.srga import srga
    from srgame.probes.streams import lr_images
    from srgame.scores import filter_scores
    from srgame.semivalues import Contributions, leave_one_out, marginal_contributions
    from srgame.shapley import ShapleyValues, exact_shapley, sampled_shapley
    from srgame.strategies import EATS, BicubicPull, Dropout, Original
    from srgame.training import fit
    from srgame.two_level import two_level_shapley
    from srgame.until import Until

_ROOMS = {
    "audit": ("network_values",),
    "benchmarks": ("benchmark",),
    "errors": ("InputError",),
    "evaluation": ("evaluate",),
    "filters": ("Filters", "erased", "filters_of", "resume"),
    "game": ("Differentiable", "Game", "RestorationGame"),
    "interactions": ("PairInteractions", "pair_interactions"),
    "networks": ("load_network",),
    "pairs": ("Pairs", "load_pairs"),
    "semivalues": ("Contributions", "leave_one_out", "marginal_contributions"),
    "probes.attributions": ("channel_attributions",),
    "probes.cosine": ("channel_cosine",),
    "probes.ddr": ("ddr",),
    "probes.equity": ("effective_players", "entropy", "equity", "gini"),
    "probes.lam": ("lam",),
    "probes.responses": ("channel_responses",),
    "probes.salience": ("channel_salience",),
    "probes.srga": ("srga",),
    "probes.streams": ("lr_images",),
    "scores": ("filter_scores",),
    "shapley": ("ShapleyValues", "exact_shapley", "sampled_shapley"),
    "strategies": ("EATS", "BicubicPull", "Dropout", "Original"),
    "training": ("fit",),
    "two_level": ("two_level_shapley",),
    "until": ("Until",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

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
    "network_values",
    "pair_interactions",
    "resume",
    "sampled_shapley",
    "srga",
    "two_level_shapley",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"srgame has no '{name}': its public names are {', '.join(__all__)}")
    return getattr(import_module(f"srgame.{_ROOM_OF[name]}"), name)
