"""Resuming a network: torch.fx cuts it behind its first erased layers, so what lies before is computed once."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from torch import Tensor, fx, nn

from srgame.filters.layers import Place


class ResumeError(Exception):
    """The network cannot be resumed behind the layers; the message says why."""


@dataclass(frozen=True)
class Resumable:
    """A network cut behind its first erased layers, `at_cut`: `tail(*head(lr))` equals `network(lr)`.

    `head` returns the responses of the layers at the cut, followed by everything else that `tail` needs; none of it
    depends on which filters are erased. Layers have the same names in `tail` as in the network; a layer at the cut is
    the identity there. So `erased` works on `tail` exactly as on the network.

    `at_cut` are module names. `edited` are the positions of the inputs that the tail edits, or None if these are not
    known. To use inputs again, give the tail `copies` of them.
    """

    head: nn.Module
    tail: nn.Module
    at_cut: tuple[str, ...]
    edited: frozenset[int] | None = None

    @classmethod
    def whole(cls, network: nn.Module) -> "Resumable":
        """The network without a cut: the tail is the whole network."""
        return cls(_Inputs(), network, (), frozenset({0}))

    def copies(self, live: Sequence[Any], count: int | None = None) -> list[Any]:
        """The inputs of the tail, of one item each if it is for `count` items: views, or copies if it may edit them."""
        inputs = [_repeated(value, count) for value in live]
        may_edit = range(len(inputs)) if self.edited is None else self.edited
        return [_cloned(value) if number in may_edit else value for number, value in enumerate(inputs)]

    def edits(self, live: Sequence[Any], run: Callable[..., Any]) -> "Resumable":
        """The same, with the inputs that the tail edits when `run` runs it."""
        inputs = [_cloned(value) for value in live]
        before = [value._version if isinstance(value, Tensor) else 0 for value in inputs]
        run(*inputs)
        after = [value._version if isinstance(value, Tensor) else 0 for value in inputs]
        edited = frozenset(n for n, (old, new) in enumerate(zip(before, after, strict=True)) if new != old)
        return replace(self, edited=edited)


def _repeated(value: Any, count: int | None) -> Any:
    """A tensor of one item for a batch of `count`, without a copy; what has no axis of one item stays as it is."""
    if not isinstance(value, Tensor) or count in (None, 1) or value.shape[:1] != (1,):
        return value
    return value.expand(count, *value.shape[1:])


def _cloned(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


class _Inputs(nn.Module):
    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return inputs


def resume(network: nn.Module, layers: Sequence[str]) -> Resumable:
    """`network` cut so that its tail contains only what depends on the responses of `layers`.

    Both parts share their parameters with `network`, and gradients flow through both. Raises ResumeError if torch.fx
    cannot trace the network, or if the network does not call each of `layers` exactly once.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> import torch
    >>> resumable, lr = resume(network, ["conv_hr"]), torch.rand(1, 3, 8, 8)
    >>> responses = resumable.head(lr)  # of conv_hr, and what the tail needs besides; computed once for all coalitions
    >>> torch.equal(resumable.tail(*responses), network(lr))
    True
    """
    try:
        traced = _copy_to_trace(network)
        nodes = list(fx.Tracer().trace(traced).nodes)
    except Exception as error:  # a forward() can raise anything when torch.fx passes it a proxy
        raise ResumeError(f"torch.fx cannot trace it: {error}") from error
    places = [Place.of(layer) for layer in layers]
    modules = sorted(place.module for place in places)
    calls = [node for node in nodes if node.op == "call_module" and node.target in modules]
    if sorted(str(call.target) for call in calls) != modules or any(place.is_input or place.call for place in places):
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
    parts = _parts(network, traced, nodes)
    identities = {name: nn.Identity() for name in names}
    return Resumable(fx.GraphModule(parts, head), fx.GraphModule(parts | identities, tail), names)


def _copy_to_trace(network: nn.Module) -> nn.Module:
    """A copy of the network: a forward() that sets attributes leaves proxies in the network that is traced."""
    computed = {  # tensors that cannot be copied by deepcopy: weights computed from others, as weight_norm has them
        id(value): value.detach().clone()
        for module in network.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return copy.deepcopy(network, computed)


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


def _parts(network: nn.Module, traced: nn.Module, nodes: Sequence[fx.Node]) -> dict[str, Any]:
    """The network's own modules and tensors that a graph names; constants exist in the traced copy only."""
    targets = [str(node.target) for node in nodes if node.op in ("call_module", "get_attr")]
    parts = {}
    for target in targets:
        try:
            parts[target] = attrgetter(target)(network)
        except AttributeError:
            parts[target] = attrgetter(target)(traced)
    return parts
