"""The filters of a network, how to erase them, and how to resume the network behind a layer.

A filter is one output channel of a conv layer; its response is that channel before any activation. To erase a filter is
to replace its response; an ablation computes the replacement. The game and EATS both build on this module.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor, fx, nn

from srgame.errors import InputError, chosen, nearest

CONVS = (nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d)

Response = Float[Tensor, "b c *space"]
Presences = Bool[Tensor, "b filter"] | Float[Tensor, "b filter"]
Ablation = Callable[[Response], Response]


@dataclass(frozen=True)
class Filters:
    """The filters of some conv layers, numbered layer by layer."""

    layers: tuple[str, ...]
    widths: tuple[int, ...]

    def __len__(self) -> int:
        return sum(self.widths)

    def frame(self) -> pd.DataFrame:
        """One row per filter: layer, filter (its number within the layer)."""
        numbers = [np.arange(width) for width in self.widths]
        return pd.DataFrame({"layer": np.repeat(self.layers, self.widths), "filter": np.concatenate(numbers)})


def filters_of(network: nn.Module, layers: Sequence[str] | None = None) -> Filters:
    """The filters of the named conv layers (default: all), in the network's order.

    Raises InputError if a name is not that of a conv layer of `network`; the message lists the nearest names.
    """
    layers = (layers,) if isinstance(layers, str) else layers
    convs = {name: module for name, module in network.named_modules() if isinstance(module, CONVS)}
    if not (convs if layers is None else layers):
        raise InputError("no layer, no filters: name at least one conv layer of the network")
    for layer in layers or ():
        if layer not in convs:
            raise InputError(f"the network has no conv layer '{layer}'; the nearest are {nearest(layer, convs)}")
    names = tuple(name for name in convs if layers is None or name in layers)
    return Filters(names, tuple(convs[name].out_channels for name in names))


def zero(response: Response) -> Response:
    """Zeros, as if the filter's weights and bias were 0."""
    return torch.zeros_like(response)


def mean(response: Response) -> Response:
    """Each channel's mean over the image: its level without its structure."""
    return response.mean(dim=tuple(range(2, response.ndim)), keepdim=True).expand_as(response)


def noise(response: Response, seed: int = 0) -> Response:
    """Gaussian noise with each channel's mean and standard deviation; all items of a batch share one pattern."""
    space = tuple(range(2, response.ndim))
    pattern = torch.randn(response.shape[1:], generator=torch.Generator().manual_seed(seed)).to(response)
    variance = response.var(dim=space, keepdim=True, correction=0)
    deviation = torch.where(variance > 0, variance, 1).sqrt() * (variance > 0)  # √0 has no gradient
    return mean(response) + deviation * pattern


def donor(response: Response, seed: int = 0, donors: Sequence[int] | None = None) -> Response:
    """The response of another filter, as in EATS (paper, Eq. 3): channel c becomes channel `donors[c]`.

    By default the donors form one random cycle through all channels. Raises InputError for a layer of one filter.
    """
    width = response.shape[1]
    if donors is None:
        if width == 1:
            raise InputError("a layer of one filter has no donor: choose another ablation")
        cycle = torch.randperm(width, generator=torch.Generator().manual_seed(seed))
        donors = torch.empty_like(cycle).scatter_(0, cycle, cycle.roll(1)).tolist()
    return response[:, donors]


ABLATIONS: dict[str, Ablation] = {"zero": zero, "mean": mean, "noise": noise, "donor": donor}


def ablation_named(ablation: str | Ablation) -> Ablation:
    """The ablation of that name; a function is returned as it is."""
    return ablation if callable(ablation) else chosen("ablation", ablation, ABLATIONS)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Puts `network` into eval mode; on exit each module returns to its own mode, also after an error."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        network.eval()
        yield
    finally:
        network.train(modes[0][1])  # some networks override train(), and undo there what eval() did
        for module, mode in modes:
            module.training = mode


@contextmanager
def erased(
    network: nn.Module, filters: Filters, present: Presences, ablation: str | Ablation = "zero"
) -> Iterator[None]:
    """Erases from `network` the filters whose presence is False; on exit the network is as before, also after an error.

    Row b of `present` applies to item b of the batch; a single row applies to all items. Presences may also be numbers
    from 0 to 1, with respect to which worths can be differentiated: the response is interpolated linearly between the
    ablation's replacement and the filter's own.
    """
    ablation = ablation_named(ablation)
    with ExitStack() as hooks:
        for layer, rows in zip(filters.layers, torch.split(present, list(filters.widths), dim=1), strict=True):
            handle = network.get_submodule(layer).register_forward_hook(_erasure(rows, ablation))
            hooks.callback(handle.remove)
        yield


def _erasure(present: Presences, ablation: Ablation) -> Callable[[nn.Module, Any, Response], Response]:
    def erase(_: nn.Module, __: Any, response: Response) -> Response:
        if len(present) not in (1, len(response)):
            raise InputError(
                f"{len(present)} rows of presences for a batch of {len(response)}: give one row, or one per item"
            )
        rows = present.to(response.device)[(...,) + (None,) * (response.ndim - 2)]
        replacement = ablation(response)
        if rows.dtype == torch.bool:
            return torch.where(rows, response, replacement)
        return replacement.lerp(response, rows.to(response.dtype))

    return erase


class ResumeError(Exception):
    """The network cannot be resumed behind the layers; the message says why."""


@dataclass(frozen=True)
class Resumable:
    """A network cut behind its first erased layers, `at_cut`: `tail(*head(lr))` equals `network(lr)`.

    `head` returns the responses of the layers at the cut, followed by everything else that `tail` needs; none of it
    depends on which filters are erased. Layers have the same names in `tail` as in the network; a layer at the cut is
    the identity there. So `erased` works on `tail` exactly as on the network.
    """

    head: nn.Module
    tail: nn.Module
    at_cut: tuple[str, ...]

    @classmethod
    def whole(cls, network: nn.Module) -> "Resumable":
        """The network without a cut: the tail is the whole network."""
        return cls(_Inputs(), network, ())


class _Inputs(nn.Module):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return inputs


def resume(network: nn.Module, layers: Sequence[str]) -> Resumable:
    """`network` cut so that its tail contains only what depends on the responses of `layers`.

    Both parts share their parameters with `network`, and gradients flow through both. Raises ResumeError if torch.fx
    cannot trace the network, or if the network does not call each of `layers` exactly once.
    """
    try:
        nodes = list(fx.Tracer().trace(network).nodes)
    except Exception as error:  # a forward() can raise anything when torch.fx passes it a proxy
        raise ResumeError(f"torch.fx cannot trace it: {error}") from error
    calls = [node for node in nodes if node.op == "call_module" and node.target in layers]
    if sorted(str(call.target) for call in calls) != sorted(layers):
        raise ResumeError("it does not call each layer exactly once")
    after = _dependents(calls)
    inputs = [node for node in nodes if node.op == "placeholder"]
    varying = _dependents(inputs).union(inputs)
    live = [node for node in nodes if node in varying - after and after.intersection(node.users)]
    at_cut = [call for call in calls if call not in after]
    if not after.issuperset(nodes[-1:]) or not set(at_cut) <= set(live):
        raise ResumeError("its output does not depend on every layer")
    live.sort(key=lambda node: node not in at_cut)  # stable: the responses first

    head, tail = fx.Graph(), fx.Graph()
    copied: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        if node not in after:
            copied[node] = head.node_copy(node, copied.__getitem__)
    head.output(tuple(copied[node] for node in live))

    copied = {node: tail.placeholder(node.name) for node in live}
    copied |= {call: tail.call_module(str(call.target), (copied[call],)) for call in at_cut}
    for node in nodes:
        if node in after or node not in varying:
            copied[node] = tail.node_copy(node, copied.__getitem__)
    names = tuple(str(call.target) for call in at_cut)
    return Resumable(_module(network, head), _module(network, tail, identities=names), names)


def _dependents(roots: Sequence[fx.Node]) -> set[fx.Node]:
    """All nodes that use one of `roots`, directly or not."""
    dependents: set[fx.Node] = set()
    waiting = [user for root in roots for user in root.users]
    while waiting:
        node = waiting.pop()
        if node not in dependents:
            dependents.add(node)
            waiting.extend(node.users)
    return dependents


def _module(network: nn.Module, graph: fx.Graph, identities: Sequence[str] = ()) -> fx.GraphModule:
    targets = [str(node.target) for node in graph.nodes if node.op in ("call_module", "get_attr")]
    parts = {target: attrgetter(target)(network) for target in targets}
    return fx.GraphModule(parts | {name: nn.Identity() for name in identities}, graph)
