"""The filters of a network, how to erase them, and how to resume the network behind a layer.

A filter is one output channel of a conv layer, or one feature of a linear layer; its response is that channel before
any activation. To erase a filter is to replace its response; an ablation computes the replacement. The game and EATS
both build on this module.

A layer is written NAME for the responses of a module, or NAME:input for the channels that it receives. NAME/4 joins
every 4 consecutive channels into one filter, such as the channels that a PixelShuffle(2) turns into one. A head of 32
features is a filter of NAME:input/32, of the linear layer behind the heads of an attention.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from operator import attrgetter, ge
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor, fx, nn
from torch.utils.hooks import RemovableHandle
from torch.utils.weak import WeakIdKeyDictionary

from srgame.devices import device_of, out_of_memory
from srgame.errors import InputError, chosen, nearest

CONVS = (nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d)
PLAYERS = (*CONVS, nn.Linear)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
ACTIVATIONS = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardswish, nn.Hardtanh, nn.Hardsigmoid, nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Softplus, nn.Softsign),
)

Response = Float[Tensor, "b c *space"]
Presences = Bool[Tensor, "b filter"] | Float[Tensor, "b filter"]
Ablation = Callable[[Response], Response]


@dataclass(frozen=True)
class Filters:
    """The filters of some layers, numbered layer by layer."""

    layers: tuple[str, ...]
    widths: tuple[int, ...]

    def __len__(self) -> int:
        return sum(self.widths)

    def frame(self) -> pd.DataFrame:
        """One row per filter: layer, filter (its number within the layer)."""
        numbers = [np.arange(width) for width in self.widths]
        return pd.DataFrame({"layer": np.repeat(self.layers, self.widths), "filter": np.concatenate(numbers)})


@dataclass(frozen=True)
class Place:
    """Where the filters of a layer are: the channels that a module returns or receives, `size` for each filter."""

    module: str
    is_input: bool = False
    size: int = 1

    @classmethod
    def of(cls, layer: str) -> "Place":
        """The place that NAME, NAME:input, NAME/4 or NAME:input/4 stands for."""
        name, _, size = layer.partition("/")
        module, _, side = name.partition(":")
        if side not in ("", "input") or not (size or "1").isdigit() or int(size or 1) < 1:
            raise InputError(f"'{layer}' names no filters: write NAME, NAME:input, NAME/4 or NAME:input/4")
        return cls(module, bool(side), int(size or 1))


def filters_of(network: nn.Module, layers: Sequence[str] | None = None) -> Filters:
    """The filters of the named layers (default: all conv layers), in the network's order.

    Linear layers play if they are named. Raises InputError if a name is not that of a conv or linear layer of
    `network` (the message lists the nearest names), or if NAME/4 does not divide its channels.
    """
    players = {name: module for name, module in network.named_modules() if isinstance(module, PLAYERS)}
    if layers is None:
        layers = [name for name, module in players.items() if isinstance(module, CONVS)]
    layers = [layers] if isinstance(layers, str) else list(dict.fromkeys(layers))
    if not layers:
        raise InputError("no layer, no filters: name at least one conv or linear layer of the network")
    places = {layer: Place.of(layer) for layer in layers}
    for place in places.values():
        if place.module not in players:
            raise InputError(
                f"the network has no conv or linear layer '{place.module}'; the nearest are "
                f"{nearest(place.module, players)}"
            )
    order = {name: number for number, name in enumerate(players)}
    layers.sort(key=lambda layer: order[places[layer].module])
    return Filters(tuple(layers), tuple(_width(layer, places[layer], players) for layer in layers))


def _width(layer: str, place: Place, players: Mapping[str, nn.Module]) -> int:
    """The number of a layer's filters."""
    module: Any = players[place.module]
    kind = "features" if isinstance(module, nn.Linear) else "channels"
    channels = int(getattr(module, f"{'in' if place.is_input else 'out'}_{kind}"))
    if channels % place.size:
        raise InputError(
            f"the {channels} {kind} of '{layer}' cannot be grouped by {place.size}: give a divisor of {channels}"
        )
    return channels // place.size


@dataclass(frozen=True)
class Calls:
    """A run of a network: the calls of its conv and linear layers, in order, and its SR images."""

    calls: tuple["Call", ...]
    sr: Float[Tensor, "b k H W"]

    def count(self, layer: str) -> int:
        """How often the layer was called."""
        return sum(call.layer == Place.of(layer).module for call in self.calls)

    def behind(self, layer: str) -> tuple[str, ...]:
        """The norm and the activation that follow the layer, if they are modules that take its response unchanged."""
        chains = {call.behind for call in self.calls if call.layer == Place.of(layer).module}
        return tuple(chains.pop()) if len(chains) == 1 else ()

    def last_feature_layer(self) -> str:
        """The last conv layer (or, without one, linear layer) whose response is not the SR image itself.

        The response of the last layer that is called counts as the image if a PixelShuffle turns it into one; that of
        any other layer does if it has the image's channels.
        """
        convs = [call for call in self.calls if call.is_conv] or list(self.calls)
        if convs and self._is_image(convs[-1]):
            convs = convs[:-1]
        features = [call for call in convs if call.channels != self.sr.shape[1]]
        if not features:
            raise InputError("the network has no feature layer: name a layer")
        return features[-1].layer

    def _is_image(self, call: "Call") -> bool:
        """Whether a PixelShuffle turns the response into the SR image, padded perhaps, or into its luma."""
        colours, *size = self.sr.shape[1:]

        def shuffled(channels: int) -> list[int]:
            factor = math.isqrt(call.channels // channels)
            return [side * factor for side in call.space] if factor**2 * channels == call.channels else []

        padded = shuffled(colours)
        covers = len(padded) == len(size) and all(map(ge, padded, size))
        return call.values == self.sr.numel() or covers or shuffled(1) == size


@dataclass(frozen=True)
class Call:
    """A call of a layer; `behind` are the norm and the activation that followed it."""

    layer: str
    is_conv: bool
    channels: int
    values: int
    space: tuple[int, ...]
    behind: tuple[str, ...]


def calls_of(network: nn.Module, lr: Float[Tensor, "b c h w"]) -> Calls:
    """The calls of the conv and linear layers in one run of the network on the images."""
    heard: list[tuple[str, nn.Module, torch.Size, list[str]]] = []
    followed: MutableMapping[Tensor, list[str]] = WeakIdKeyDictionary()  # by a response that goes on

    def hear(name: str, module: nn.Module, _: Any, response: Any) -> None:
        if isinstance(response, Tensor):
            followed[response] = []
            heard.append((name, module, response.shape, followed[response]))

    def follow(name: str, module: nn.Module, given: tuple[Any, ...], response: Any) -> None:
        chain = followed.pop(given[0], None) if given and isinstance(given[0], Tensor) else None
        if chain is not None and isinstance(response, Tensor):
            chain.append(name)
            if isinstance(module, NORMS):
                followed[response] = chain

    with ExitStack() as hooks, evaluating(network), torch.no_grad():
        for name, module in network.named_modules():
            hook = (
                hear if isinstance(module, PLAYERS) else follow if isinstance(module, (*NORMS, *ACTIVATIONS)) else None
            )
            if hook:
                hooks.callback(module.register_forward_hook(partial(hook, name)).remove)
        sr = run(network, lr)
    calls = (
        Call(
            name,
            isinstance(module, CONVS),
            shape[1 if isinstance(module, CONVS) else -1],
            shape.numel(),
            tuple(shape[2:]),
            tuple(chain),
        )
        for name, module, shape, chain in heard
    )
    return Calls(tuple(calls), sr)


def last_feature_layer(network: nn.Module, lr: Float[Tensor, "3 h w"]) -> str:
    """The network's last feature layer in a run on the image, as `Calls.last_feature_layer` finds it."""
    return calls_of(network, lr[None]).last_feature_layer()


def activations(calls: Calls, layers: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """By layer, the norm and the activation behind it, for `erased(…, at=…)`.

    Raises InputError for a layer that no norm or activation follows as a module: a function, such as
    torch.relu, cannot be seen.
    """
    behind = {layer: () if Place.of(layer).is_input else calls.behind(layer) for layer in layers}
    for layer, modules in behind.items():
        if not modules:
            raise InputError(
                f"no norm or activation module takes the response of '{layer}' as it is (a function such as "
                "torch.relu cannot be seen): erase at the output instead"
            )
    return behind


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


def copy_for(network: nn.Module, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """A copy of the images on the network's device and in its precision; gradients flow through it."""
    kinds = {weights.dtype for weights in network.parameters() if weights.is_floating_point()}
    kind = kinds.pop() if len(kinds) == 1 else images.dtype  # a network of several casts by itself
    return images.to(device_of(network), kind).clone()


def run(network: nn.Module, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k H W"]:
    """The SR images of a batch of LR images: every network is run through here, except a resumed one.

    A network may edit what it is given, so it gets a copy. Images of a network in half precision are returned in
    float32. Raises InputError, with the images' size, if the network fails or does not return images.
    """
    height, width = images.shape[-2:]
    try:
        sr = network(copy_for(network, images))
    except Exception as error:  # foreign code may raise anything
        if isinstance(error, InputError) or out_of_memory(error):
            raise
        raise InputError(
            f"the network fails on {len(images)} image(s) of {width}×{height} pixels ({type(error).__name__}: {error})"
        ) from error
    if not isinstance(sr, Tensor):
        raise InputError(f"the network returns a {type(sr).__name__}, not SR images: adapt it, so that it returns them")
    return whole_precision(sr)


@contextmanager
def differentiating() -> Iterator[None]:
    """Raises InputError, instead of torch's error, if a network cannot be differentiated while this is open."""
    try:
        yield
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        raise InputError(
            "the network cannot be differentiated, because its code computes without gradients or overwrites values "
            f"that they need (torch: {str(error).partition('. Hint')[0]}): choose a method without gradients, such as "
            "Shapley values from permutations"
        ) from error


def whole_precision(sr: Tensor) -> Tensor:
    """The images in float32 if they are in half precision."""
    return sr.float() if sr.dtype in (torch.float16, torch.bfloat16) else sr


Behind = Mapping[str, Sequence[str]]


@contextmanager
def erased(
    network: nn.Module,
    filters: Filters,
    present: Presences,
    ablation: str | Ablation = "zero",
    at: Literal["output"] | Behind = "output",
) -> Iterator[None]:
    """Erases from `network` the filters whose presence is False; on exit the network is as before, also after an error.

    Row b of `present` applies to item b of the batch; a single row applies to all items. Presences may also be numbers
    from 0 to 1, with respect to which worths can be differentiated: the response is interpolated linearly between the
    ablation's replacement and the filter's own. If a layer is called several times, each call is erased alike.

    at: "output" replaces the layer's own response; with the result of `activations`, the response behind the norm and
        the activation of each layer is replaced.
    """
    ablation = ablation_named(ablation)
    behind: Behind = {} if at == "output" else at
    batch = _Batch()
    with ExitStack() as hooks:
        hooks.callback(network.register_forward_pre_hook(batch.note).remove)
        for layer, rows in zip(filters.layers, torch.split(present, list(filters.widths), dim=1), strict=True):
            place = Place.of(layer)
            module = network.get_submodule(place.module)
            erase = partial(_erase, rows, ablation, place.size, isinstance(module, nn.Linear), batch)
            for handle in _hooked(network, module, place, erase, behind.get(layer, ())):
                hooks.callback(handle.remove)
        yield


Erase = Callable[[Tensor], Tensor]


def _hooked(
    network: nn.Module, module: nn.Module, place: Place, erase: Erase, behind: Sequence[str]
) -> list[RemovableHandle]:
    """The hooks that erase the filters at a place, or behind the modules that follow it there."""
    if place.is_input:
        return [module.register_forward_pre_hook(lambda _, given: (erase(given[0]), *given[1:]))]
    if not behind:
        return [module.register_forward_hook(lambda _, __, response: erase(response))]
    carried: list[Tensor] = []  # the response, as far as it has come

    def start(_: nn.Module, __: Any, response: Tensor) -> None:
        carried[:] = [response]

    def follow(last: bool, _: nn.Module, given: tuple[Any, ...], response: Tensor) -> Tensor | None:
        if not (carried and given and given[0] is carried[0]):  # a call that follows another layer
            return None
        carried[:] = [] if last else [response]
        return erase(response) if last else None

    handles = [module.register_forward_hook(start)]
    for name in behind:
        hook = partial(follow, name == behind[-1])
        handles.append(network.get_submodule(name).register_forward_hook(hook))
    return handles


@dataclass
class _Batch:
    """The number of images in the current run of a network."""

    size: int | None = None

    def note(self, _: nn.Module, given: tuple[Any, ...]) -> None:
        """Notes the number of images that the network receives."""
        self.size = next((len(value) for value in given if isinstance(value, Tensor) and value.ndim), None)


def _erase(
    present: Presences, ablation: Ablation, size: int, channels_last: bool, batch: _Batch, response: Tensor
) -> Tensor:
    """The response without the filters that are absent.

    Windows of an image, which lie side by side along the first axis, belong to the image.
    """
    items = len(response) if batch.size is None or len(response) % batch.size else batch.size
    if len(present) not in (1, items):
        raise InputError(f"{len(present)} rows of presences for a batch of {items}: give one row, or one per item")
    if channels_last:
        laid = response.reshape(items, -1, response.shape[-1]).transpose(1, 2)
    elif items < len(response):
        laid = response.unflatten(0, (items, -1)).transpose(1, 2)
    else:
        laid = response
    laid = laid if size == 1 else laid.unflatten(1, (-1, size))
    result = _mixed(present.to(response.device), laid, ablation)
    result = result if size == 1 else result.flatten(1, 2)
    if channels_last or items < len(response):
        result = result.transpose(1, 2).reshape(response.shape)
    return result


def _mixed(present: Presences, response: Tensor, ablation: Ablation) -> Tensor:
    rows = present[(...,) + (None,) * (response.ndim - 2)]
    own = getattr(ablation, "func", ablation) in ABLATIONS.values()
    replacement = ablation(response if own else response.clone())  # foreign code may edit what it is given
    if rows.dtype == torch.bool:
        return torch.where(rows, response, replacement)
    return replacement.lerp(response, rows.to(response.dtype))


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
    """
    try:
        traced = _copy_to_trace(network)
        nodes = list(fx.Tracer().trace(traced).nodes)
    except Exception as error:  # a forward() can raise anything when torch.fx passes it a proxy
        raise ResumeError(f"torch.fx cannot trace it: {error}") from error
    places = [Place.of(layer) for layer in layers]
    modules = sorted(place.module for place in places)
    calls = [node for node in nodes if node.op == "call_module" and node.target in modules]
    if sorted(str(call.target) for call in calls) != modules or any(place.is_input for place in places):
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
