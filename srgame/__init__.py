"""srgame audits a super-resolution network as a cooperative game: its filters are the players.

The public names load when first used, so that `import srgame` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srgame.audit import layer_values
    from srgame.benchmarks import benchmark
    from srgame.errors import InputError
    from srgame.evaluation import evaluate
    from srgame.filters import Filters, erased, filters_of, resume
    from srgame.game import Game, RestorationGame
    from srgame.networks import load_network
    from srgame.pairs import Pairs, load_pairs
    from srgame.shapley import ShapleyValues, exact_shapley, sampled_shapley
    from srgame.strategies import EATS, BicubicPull, Dropout, Original
    from srgame.training import fit
    from srgame.until import Until

_ROOMS = {
    "audit": ("layer_values",),
    "benchmarks": ("benchmark",),
    "errors": ("InputError",),
    "evaluation": ("evaluate",),
    "filters": ("Filters", "erased", "filters_of", "resume"),
    "game": ("Game", "RestorationGame"),
    "networks": ("load_network",),
    "pairs": ("Pairs", "load_pairs"),
    "shapley": ("ShapleyValues", "exact_shapley", "sampled_shapley"),
    "strategies": ("EATS", "BicubicPull", "Dropout", "Original"),
    "training": ("fit",),
    "until": ("Until",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = [
    "EATS",
    "BicubicPull",
    "Dropout",
    "Filters",
    "Game",
    "InputError",
    "Original",
    "Pairs",
    "RestorationGame",
    "ShapleyValues",
    "Until",
    "benchmark",
    "erased",
    "evaluate",
    "exact_shapley",
    "filters_of",
    "fit",
    "layer_values",
    "load_network",
    "load_pairs",
    "resume",
    "sampled_shapley",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"srgame has no '{name}': its public names are {', '.join(__all__)}")
    return getattr(import_module(f"srgame.{_ROOM_OF[name]}"), name)
