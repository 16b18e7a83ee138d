"""Resumes networks that torch.fx cannot trace: what their modules return before the first erased layer is recorded once
per image, and returned again in later runs.

A replayed run is a run of the network itself: its own code between the modules runs as ever, with any control flow, and
the modules after the layer compute. Only the modules that ended before the first erased layer do not.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from srgame.filters import Place, Resumable, ResumeError, evaluating, run


def replay(network: nn.Module, layers: Sequence[str], batches: bool = True) -> Resumable:
    """`network` resumed behind the first call of one of `layers`; they may be called several times.

    `head` returns the image and a recording, from runs on the image and, if the network takes `batches`, on two of it.
    """
    return Resumable(_Recorder(network, layers, batches), _Replayer(network), (), frozenset({0}))


@dataclass(frozen=True)
class _Returned:
    """What a call of a module returned.

    axes: the axis of each tensor along which the items of a batch lie, or None if it does not depend on the batch.
    edited: whether later code edited the tensor in place, so that it needs a copy.
    """

    leaves: list[Any]
    tree: TreeSpec
    axes: list[int | None]
    edited: list[bool]

    def again(self, count: int) -> Any:
        """The same for a batch of `count` items."""
        leaves = map(partial(_repeated, count), self.leaves, self.axes, self.edited)
        return tree_unflatten(list(leaves), self.tree)


Calls = list[tuple[nn.Module, _Returned | None]]  # None: the call is repeated, not replayed


class _OfNetwork(nn.Module):
    """A module of the network's own modules, under their names; they hide no attribute, since this one is in a slot."""

    __slots__ = ("_network",)
    _network: nn.Module

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._modules = network._modules
        object.__setattr__(self, "_network", network)


class _Recorder(_OfNetwork):
    __slots__ = ("_batches", "_layers")
    _batches: bool
    _layers: Sequence[str]

    def __init__(self, network: nn.Module, layers: Sequence[str], batches: bool) -> None:
        super().__init__(network)
        object.__setattr__(self, "_layers", layers)
        object.__setattr__(self, "_batches", batches)

    @torch.no_grad()
    def forward(self, lr: Tensor) -> tuple[Tensor, Calls]:
        alone = _recorded(self._network, self._layers, lr)
        if self._batches:
            two = _recorded(self._network, self._layers, torch.cat([lr, lr]))
            if [module for module, _ in alone] != [module for module, _ in two]:
                raise ResumeError("it calls other modules for two images than for one")
            alone = [(module, _with_axes(one, both)) for (module, one), (_, both) in zip(alone, two, strict=True)]
        return lr, alone


class _Replayer(_OfNetwork):
    def forward(self, lr: Tensor, calls: Calls) -> Tensor:
        with evaluating(self._network), _replaying(calls, len(lr)):
            sr: Tensor = self._network(lr)
        return sr


def _recorded(network: nn.Module, layers: Sequence[str], lr: Tensor) -> Calls:
    """The calls that ended before the first of `layers` was called, and its own; calls within them are left out."""
    places = [Place.of(layer) for layer in layers]
    watch = _Watch(
        {network.get_submodule(place.module) for place in places if place.is_input},
        {network.get_submodule(place.module) for place in places},
    )
    with ExitStack() as hooks, evaluating(network):
        for module in {id(module): module for module in network.modules()}.values():
            if module is not network:
                hooks.callback(module.register_forward_pre_hook(watch.before, with_kwargs=True).remove)
                hooks.callback(module.register_forward_hook(watch.after, with_kwargs=True).remove)
        run(network, lr)
    return [(module, None if noted is None else noted()) for module, noted in watch.calls]


class _Watch:
    """Notes the calls of modules in a run, until the first erased layer was called."""

    def __init__(self, before: set[nn.Module], after: set[nn.Module]) -> None:
        self.ends_before, self.ends_after = before, after
        self.calls: list[tuple[nn.Module, Callable[[], _Returned] | None]] = []
        self.open: list[tuple[int, list[Tensor], list[int]]] = []
        self.ended = False

    def before(self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        """A call begins."""
        self.ended = self.ended or module in self.ends_before
        tensors = [value for value in tree_flatten((given, named))[0] if isinstance(value, Tensor)]
        self.open.append((len(self.calls), tensors, [value._version for value in tensors]))

    def after(self, module: nn.Module, given: tuple[Any, ...], named: dict[str, Any], returned: Any) -> None:
        """A call ends; if it edited what it was given, only the calls within it can be replayed."""
        first, tensors, versions = self.open.pop()
        if self.ended:
            return
        if [value._version for value in tensors] == versions:
            self.calls[first:] = [(module, _note(returned))]
        else:
            self.calls.append((module, None))
        self.ended = module in self.ends_after


def _note(returned: Any) -> Callable[[], _Returned]:
    """A copy of what a call returned; called when the run is over, it knows what was edited since."""
    live, tree = tree_flatten(returned)
    leaves = [value.clone() if isinstance(value, Tensor) else value for value in live]
    versions = [value._version if isinstance(value, Tensor) else 0 for value in live]

    def noted() -> _Returned:
        now = [value._version if isinstance(value, Tensor) else 0 for value in live]
        edited = [new != old for new, old in zip(now, versions, strict=True)]
        return _Returned(leaves, tree, [None] * len(leaves), edited)

    return noted


def _with_axes(one: _Returned | None, two: _Returned | None) -> _Returned | None:
    """What a call returned for one item, with the axes that two items double."""
    if one is None or two is None:
        return None
    axes = [
        _batch_axis(a.shape, b.shape) if isinstance(a, Tensor) else None
        for a, b in zip(one.leaves, two.leaves, strict=True)
    ]
    return _Returned(one.leaves, one.tree, axes, one.edited)


def _batch_axis(one: torch.Size, two: torch.Size) -> int | None:
    differing = [axis for axis, (a, b) in enumerate(zip(one, two, strict=True)) if a != b]
    if not differing:
        return None
    if len(differing) > 1 or two[differing[0]] != 2 * one[differing[0]]:
        raise ResumeError(f"a module returns {tuple(two)} for two images and {tuple(one)} for one")
    return differing[0]


def _repeated(count: int, value: Any, axis: int | None, edited: bool) -> Any:
    """The value for `count` items: a view if that is enough."""
    if not isinstance(value, Tensor):
        return value
    if axis is not None and count > 1:
        times = [count if number == axis else 1 for number in range(value.ndim)]
        if value.shape[axis] > 1:
            return value.repeat(times)
        value = value.expand([size * many for size, many in zip(value.shape, times, strict=True)])
    return value.clone() if edited else value


@contextmanager
def _replaying(calls: Calls, count: int) -> Iterator[None]:
    """While open, each module returns what it returned in its first calls, for `count` items, and then computes."""
    returned: dict[nn.Module, deque[_Returned | None]] = defaultdict(deque)
    for module, again in calls:
        returned[module].append(again)
    with ExitStack() as restored:
        for module, waiting in returned.items():
            own = vars(module).get("forward")
            restored.callback(_restore, module, own)
            vars(module)["forward"] = partial(_again, waiting, module.forward, count)
        yield


def _again(
    waiting: "deque[_Returned | None]", forward: Callable[..., Any], count: int, *given: Any, **named: Any
) -> Any:
    noted = waiting.popleft() if waiting else None
    return forward(*given, **named) if noted is None else noted.again(count)


def _restore(module: nn.Module, own: Callable[..., Any] | None) -> None:
    if own is None:
        del vars(module)["forward"]
    else:
        vars(module)["forward"] = own
