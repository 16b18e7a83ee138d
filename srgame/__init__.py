"""srgame audits a super-resolution network as a cooperative game: its filters are the players.

The public names load when first used, so that `import srgame` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srgame.errors import InputError
    from srgame.evaluation import evaluate
    from srgame.filters import Filters, erased, filters_of, resume
    from srgame.pairs import Pairs, load_pairs
    from srgame.training import fit

_ROOMS = {
    "errors": ("InputError",),
    "evaluation": ("evaluate",),
    "filters": ("Filters", "erased", "filters_of", "resume"),
    "pairs": ("Pairs", "load_pairs"),
    "training": ("fit",),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["Filters", "InputError", "Pairs", "erased", "evaluate", "filters_of", "fit", "load_pairs", "resume"]


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"srgame has no '{name}': its public names are {', '.join(__all__)}")
    return getattr(import_module(f"srgame.{_ROOM_OF[name]}"), name)
