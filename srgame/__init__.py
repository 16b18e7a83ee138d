"""srgame audits a super-resolution network as a cooperative game: its filters are the players.

These names are enough for a whole study: read images, train or load a network, estimate, probe, evaluate.
`srgame.figures` draws the results. Each name is loaded at its first use, so `import srgame` loads neither torch nor
matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srgame.data.images import image_paths, read_rgb
    from srgame.data.lazy import lr_images
    from srgame.data.pairs import Pairs, load_pairs, paired
    from srgame.errors import InputError
    from srgame.evaluation.benchmark import benchmark
    from srgame.evaluation.evaluate import evaluate
    from srgame.evaluation.restore import restore_images
    from srgame.filters import Filters, erased, filters_of, resume
    from srgame.networks import HAN, RRDBNet, SRResNet, adapted, load_network, zoo
    from srgame.probes.attributions import channel_attributions
    from srgame.probes.cosine import channel_cosine
    from srgame.probes.ddr import ddr
    from srgame.probes.equity import effective_players, entropy, equity, gini
    from srgame.probes.lam import lam
    from srgame.probes.profiles import filter_profiles, layer_profiles, profile_differences
    from srgame.probes.pruning import pruned, removal_drops, removal_scores
    from srgame.probes.responses import channel_responses, response_summary
    from srgame.probes.salience import channel_salience
    from srgame.probes.scores import filter_scores
    from srgame.probes.srga import srga
    from srgame.shapley.audit import network_values
    from srgame.shapley.exact import exact_shapley
    from srgame.shapley.game import Differentiable, Game
    from srgame.shapley.gradients import multilevel_shapley
    from srgame.shapley.interactions import PairInteractions, pair_interactions
    from srgame.shapley.permutations import sampled_shapley
    from srgame.shapley.restoration import RestorationGame
    from srgame.shapley.semivalues import Contributions, leave_one_out, marginal_contributions
    from srgame.shapley.until import Until
    from srgame.shapley.values import ShapleyValues
    from srgame.training.loop import Schedule, fit, seeded
    from srgame.training.patch_store import StoredPatches, write_patches
    from srgame.training.patches import Patches
    from srgame.training.strategies import DIL, EATS, BicubicPull, Dropout, Original

    __version__: str

_MODULES = {
    "errors": ("InputError",),
    "data.images": ("image_paths", "read_rgb"),
    "data.lazy": ("lr_images",),
    "data.pairs": ("Pairs", "load_pairs", "paired"),
    "networks": ("HAN", "RRDBNet", "SRResNet", "adapted", "load_network", "zoo"),
    "filters": ("Filters", "erased", "filters_of", "resume"),
    "shapley.game": ("Differentiable", "Game"),
    "shapley.restoration": ("RestorationGame",),
    "shapley.values": ("ShapleyValues",),
    "shapley.exact": ("exact_shapley",),
    "shapley.permutations": ("sampled_shapley",),
    "shapley.gradients": ("multilevel_shapley",),
    "shapley.until": ("Until",),
    "shapley.interactions": ("PairInteractions", "pair_interactions"),
    "shapley.semivalues": ("Contributions", "leave_one_out", "marginal_contributions"),
    "shapley.audit": ("network_values",),
    "evaluation.evaluate": ("evaluate",),
    "evaluation.restore": ("restore_images",),
    "evaluation.benchmark": ("benchmark",),
    "probes.attributions": ("channel_attributions",),
    "probes.cosine": ("channel_cosine",),
    "probes.ddr": ("ddr",),
    "probes.equity": ("effective_players", "entropy", "equity", "gini"),
    "probes.lam": ("lam",),
    "probes.profiles": ("filter_profiles", "layer_profiles", "profile_differences"),
    "probes.pruning": ("pruned", "removal_drops", "removal_scores"),
    "probes.responses": ("channel_responses", "response_summary"),
    "probes.salience": ("channel_salience",),
    "probes.scores": ("filter_scores",),
    "probes.srga": ("srga",),
    "training.strategies": ("DIL", "EATS", "BicubicPull", "Dropout", "Original"),
    "training.patches": ("Patches",),
    "training.patch_store": ("StoredPatches", "write_patches"),
    "training.loop": ("Schedule", "fit", "seeded"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "DIL",
    "EATS",
    "HAN",
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
    "Patches",
    "RRDBNet",
    "RestorationGame",
    "SRResNet",
    "Schedule",
    "ShapleyValues",
    "StoredPatches",
    "Until",
    "adapted",
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
    "filter_profiles",
    "filter_scores",
    "filters_of",
    "fit",
    "gini",
    "image_paths",
    "lam",
    "layer_profiles",
    "leave_one_out",
    "load_network",
    "load_pairs",
    "lr_images",
    "marginal_contributions",
    "multilevel_shapley",
    "network_values",
    "pair_interactions",
    "paired",
    "profile_differences",
    "pruned",
    "read_rgb",
    "removal_drops",
    "removal_scores",
    "response_summary",
    "restore_images",
    "resume",
    "sampled_shapley",
    "seeded",
    "srga",
    "write_patches",
    "zoo",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("srgame")
    if name == "figures":
        return import_module("srgame.figures")
    if name not in _MODULE_OF:
        raise AttributeError(f"srgame has no '{name}': its public names are {', '.join(__all__)}")
    return getattr(import_module(f"srgame.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__", "figures"]
