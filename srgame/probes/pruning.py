"""Which filters of a layer can be removed: scores that rank them, and what the removal of the lowest costs.

A sum of scores does not predict a joint removal. φ is a filter's contribution averaged over coalitions of all sizes,
and leave-one-out its contribution to all the others: filters that replace one another cost little one by one and much
together.
"""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from srgame.data.pairs import Pairs
from srgame.errors import InputError, chosen
from srgame.filters import Place, filters_of
from srgame.networks import tied_filters
from srgame.probes.responses import channel_responses
from srgame.probes.salience import channel_salience
from srgame.shapley.audit import network_values, uninterrupted
from srgame.shapley.game import Game
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.semivalues import leave_one_out
from srgame.shapley.until import Until

SCORES: dict[str, Callable[[nn.Module, str, Pairs, Until, int], pd.Series]] = {
    "shapley": lambda network, layer, pairs, until, seed: uninterrupted(
        network_values(network, filters_of(network, [layer]), pairs, until=until, seed=seed)
    )["shapley"],
    "leave-one-out": lambda network, layer, pairs, *_: pd.Series(
        leave_one_out(RestorationGame(network, filters_of(network, [layer]), pairs))
    ),
    "salience": lambda network, layer, pairs, *_: channel_salience(network, pairs, [layer])["salience"],
    "response": lambda network, layer, pairs, *_: channel_responses(network, pairs, [layer])["mean_abs"],
    "norm": lambda network, layer, *_: pd.Series(
        _by_filter(network.get_submodule(layer)).abs().flatten(2).sum(2).flatten().cpu().numpy()
    ),
}


def removal_scores(
    network: nn.Module, layer: str, pairs: Pairs, *, until: Until, by: Sequence[str] = tuple(SCORES), seed: int = 0
) -> pd.DataFrame:
    """One row per filter of a layer: layer, filter, and a column for each score in `by`; a high score asks to keep it.

    shapley: φ of PSNR (dB), sampled `until`. leave-one-out: what PSNR loses without this filter alone (dB). salience:
    the sum of its salience map. response: the mean size of its response. norm: the L1 norm of its weights.

    Raises InputError for an unknown score, and for a layer that is no conv or linear layer by its plain name.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> scores = removal_scores(network, "conv_hr", pairs, until=srgame.Until(tolerance=0.05), by=["shapley", "norm"])
    >>> scores.columns.tolist(), len(scores)
    (['layer', 'filter', 'shapley', 'norm'], 4)
    """
    place = Place.of(layer)
    if place.is_input or place.size > 1 or place.call:
        raise InputError(f"'{layer}' names no whole filters of a layer: give the name of a conv or linear layer alone")
    filters = filters_of(network, [layer])
    scores = {name: chosen("score", name, SCORES)(network, layer, pairs, until, seed) for name in by}
    return filters.frame().assign(**scores)


def removal_drops(
    game: Game, orders: Int[np.ndarray, "order filter"], counts: Int[np.ndarray, " count"]
) -> Float[np.ndarray, " count"]:
    """The loss of worth if the first filters of an order are erased together, for each count; mean over the orders.

    >>> class Gloves:  # player 0 has a left glove, 1 and 2 have right ones; a pair is worth 1
    ...     players = 3
    ...     def __call__(self, coalitions):
    ...         return (coalitions[:, 0] & coalitions[:, 1:].any(1)).double()
    >>> removal_drops(Gloves(), np.array([[1, 2, 0]]), np.array([1, 2]))  # one right glove, then both
    array([0., 1.])
    """
    places = np.argsort(orders, axis=1)
    present = torch.from_numpy(places[:, None] >= counts[:, None])
    rows = torch.cat([torch.ones(1, game.players, dtype=torch.bool), present.flatten(0, 1)])
    worth = game(rows)
    loss: Float[np.ndarray, " count"] = (worth[0] - worth[1:]).reshape(present.shape[:2]).mean(0).numpy()
    return loss


def pruned(network: nn.Module, layer: str, filters: Sequence[int]) -> nn.Module:
    """A copy of the network in which the weights and biases of these filters are 0; it restores as if they were erased.

    The layer keeps its width, so the copy saves and loads like the network. Raises InputError for numbers that the
    layer does not have, for weights that are tied to those of another layer, and for weights that are computed from
    others (as by weight norm).

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> smaller = pruned(network, "conv_hr", [0, 3])
    >>> smaller.conv_hr.weight.flatten(1).norm(dim=1) > 0
    tensor([False,  True,  True, False])
    """
    (width,) = filters_of(network, [layer]).widths
    if wrong := [number for number in filters if not 0 <= number < width]:
        raise InputError(f"'{layer}' has no filter {wrong[0]}: its {width} filters are 0 to {width - 1}")
    if f"{layer}.weight" not in network.state_dict():
        raise InputError(f"'{layer}' computes its weights from others, as weight norm does: give a network without it")
    if tied := [names for names in tied_filters(network) if layer in names]:
        raise InputError(f"the weights of '{layer}' are those of {', '.join(tied[0])}: no filter can be removed alone")
    result = copy.deepcopy(network)
    module = result.get_submodule(layer)
    with torch.no_grad():
        by_filter = _by_filter(module)
        for number in filters:
            by_filter[number // by_filter.shape[1], number % by_filter.shape[1]] = 0
        if module.bias is not None:
            module.get_parameter("bias")[list(filters)] = 0
    return result


def _by_filter(module: nn.Module) -> Float[Tensor, "group filter *weights"]:
    """A view of a layer's weights in which the filters come first, by their group."""
    weight: Tensor = module.get_parameter("weight").detach()[None]
    if isinstance(module, nn.ConvTranspose2d):  # its inputs come first
        weight = weight[0].unflatten(0, (module.groups, -1)).transpose(1, 2)
    return weight
