"""Weights put into a network as torch puts them, and checked afterwards."""

import inspect
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from srgame.errors import InputError
from srgame.networks.weights import WRAPPERS, Weights, common_part, digest, few, note

Names = dict[str, str]  # the names in a file by the names that a network may have for them

# What frameworks put before the names of the generator, if the file has other networks too; EMA first
GENERATORS = ("generator_ema", "net_g_ema", "generator", "net_g", "netG")
LEVELS = 2  # of modules below a wrapper in which its inner network is looked for
TAIL = "is it another network's? If not, --no-strict (strict=False) loads what fits"


@dataclass(frozen=True)
class Outcome:
    """What became of weights: names of the network that kept initial values, and names of the file left unused."""

    missing: list[str]
    unexpected: list[str]
    computed: list[str]  # by the network's own code: fused convs, for example


def renamings(names: Collection[str]) -> list[Names]:
    """The ways to read the names in a file: as they are, then without parts that wrappers put before or in them."""
    bare = {re.sub(rf"(?:(?<=\.)|^)(?:{'|'.join(WRAPPERS)})\.", "", name): name for name in names}
    ways = [{name: name for name in names}, bare]
    for way in list(ways):
        while first := common_part(way):
            way = {new.removeprefix(f"{first}."): name for new, name in way.items()}
            ways.append(way)
    for part in GENERATORS:
        ways.append({new.removeprefix(f"{part}."): name for new, name in bare.items() if new.startswith(f"{part}.")})
    return [way for way in ways if way]


def fit_of(network: nn.Module, names: Collection[str]) -> int:
    """The number of weights of the network that a file with these names can fill."""
    inner, way = _matched(network, names)
    return len(_below(inner, network.state_dict()) & way.keys())


def fill(network: nn.Module, weights: Weights, path: Path, strict: bool = True) -> None:
    """Loads `weights` as torch does, by the network's own `load_state_dict` if it has one, and checks the values.

    A network in a wrapper takes the weights that bear its names without the wrapper's. If the file lacks weights of the
    network, or has others, that is an error, or without `strict` a note. Weights that share memory in the file, or in
    the network, share it in the network afterwards.

    Raises InputError, with the name of the file, if the weights do not fit.
    """
    inner, way = _matched(network, weights)
    target, kind = network.get_submodule(inner), type(network).__name__
    outcome = _loaded(target, {new: weights[name] for new, name in way.items()}, path, strict)
    outside = _outside(network, inner)
    missing = outcome.missing + [name for name, tensor in outside.items() if isinstance(tensor, nn.Parameter)]
    used = len(weights) - len(outcome.unexpected)
    if missing or outcome.unexpected:
        lacks = f"lacks weights of {kind}: {few(missing)}" if missing else ""
        has = f"holds weights that {kind} does not have: {few(outcome.unexpected)}" if outcome.unexpected else ""
        sentence = f"'{path}' {' and '.join(filter(None, (lacks, has)))}"
        if strict or used == 0:
            raise InputError(f"{sentence}; {TAIL}")
        note(f"{sentence}: the other weights are loaded")
    if left := [name for name in weights if name not in way.values()]:
        note(f"in '{path}' {few(left)} are ignored: they belong to other networks")
    if kept := [name for name, tensor in outside.items() if not isinstance(tensor, nn.Parameter)]:
        note(f"'{path}' lacks {few(kept)} of {kind}, which keep their initial values")
    if outcome.computed:
        note(f"{few(outcome.computed)} of {kind} are computed by its code from the weights in '{path}', unchecked")


def _matched(network: nn.Module, names: Collection[str]) -> tuple[str, Names]:
    """The network or the inner network that the names in a file fit best, and the way to read them."""
    depths = {name: name.count(".") + 1 if name else 0 for name, _ in network.named_modules()}
    modules = [name for name, depth in depths.items() if depth <= (0 if _loads_itself(network) else LEVELS)]
    state = network.state_dict()
    own = {name: _below(name, state) for name in modules}
    pairs = itertools.product(modules, renamings(names))
    return max(pairs, key=lambda pair: len(own[pair[0]] & pair[1].keys()))


def _below(module: str, names: Collection[str]) -> set[str]:
    """The names of the weights of a module, as the module itself names them."""
    start = f"{module}." if module else ""
    return {name.removeprefix(start) for name in names if name.startswith(start)}


def _loads_itself(network: nn.Module) -> bool:
    """Whether the network has a `load_state_dict` of its own."""
    return getattr(network.load_state_dict, "__func__", None) is not nn.Module.load_state_dict


def _outside(network: nn.Module, inner: str) -> Weights:
    """The parameters and persistent buffers that neither lie in a module nor share memory with it."""
    start = f"{inner}." if inner else ""
    every = {n: t for n, t in network.state_dict(keep_vars=True).items() if isinstance(t, Tensor)}
    places = {tensor.data_ptr() for name, tensor in every.items() if name.startswith(start)}
    return {n: t for n, t in every.items() if not n.startswith(start) and t.data_ptr() not in places}


def _loaded(target: nn.Module, weights: Weights, path: Path, strict: bool) -> Outcome:
    """Loads the weights, and compares the network's new values with them and with its old values."""
    before = {name: tensor.clone() for name, tensor in tensors_of(target).items()}
    if any(name in before and before[name].is_floating_point() != t.is_floating_point() for name, t in weights.items()):
        raise InputError(_misfit(target, before, weights, path))
    try:
        answer = _load(target, weights, strict)
    except Exception as error:  # torch lists what does not fit; a foreign method may raise anything
        raise InputError(_misfit(target, before, weights, path, error)) from error
    after = tensors_of(target)
    differing = [name for name in after if name in weights and not _same(weights[name], after[name])]
    if not _loads_itself(target) and (tied := _tied_among(after, differing)):
        raise InputError(
            f"{few(tied)} of {type(target).__name__} share memory with others, but differ in '{path}': save it again"
        )
    sources = sources_of(after, weights)
    others = [name for name in after if name not in sources]
    kept = [name for name in others if name in before and _same(before[name], after[name])]
    computed = [name for name in others if name not in kept]
    if wrong := [name for name in computed if not after[name].isfinite().all()]:
        raise InputError(
            f"{few(wrong)} of {type(target).__name__} are NaN or infinite with the weights in '{path}': give others"
        )
    if hasattr(answer, "missing_keys"):  # torch knows what its own hooks supply, such as counters of batches
        return Outcome([name for name in answer.missing_keys if name not in sources], answer.unexpected_keys, computed)
    missing = [name for name in kept if after[name].is_floating_point()]
    return Outcome(missing, [] if computed else [name for name in weights if name not in sources.values()], computed)


def _load(target: nn.Module, weights: Weights, strict: bool) -> Any:
    """What the network's `load_state_dict` answers: torch's lists of missing and unexpected names, as a rule."""
    if not _loads_itself(target):
        return target.load_state_dict(weights, strict=False, assign=_share_memory(weights))
    parameters = inspect.signature(target.load_state_dict).parameters.values()
    lenient = any(parameter.name == "strict" or parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    return target.load_state_dict(dict(weights), **({} if strict or not lenient else {"strict": False}))


def tensors_of(network: nn.Module) -> Weights:
    """The parameters and persistent buffers by name; no lazy ones, which have no values yet."""
    state = network.state_dict()
    return {name: value for name, value in state.items() if isinstance(value, Tensor) and not is_lazy(value)}


def sources_of(loaded: Weights, weights: Weights) -> Names:
    """For each tensor that a network loaded, the name in the file of the one with its values, if there is one.

    A tensor under another name is the source of at most one, since many are equal, such as biases of zeros; tensors
    that share memory in the network have one source.
    """
    sources = {name: name for name, tensor in loaded.items() if name in weights and _same(weights[name], tensor)}
    others = {name: tensor for name, tensor in loaded.items() if name not in sources}
    dtypes = {tensor.dtype for tensor in others.values()}
    free = defaultdict[tuple[object, ...], list[str]](list)
    for name, dtype in itertools.product(weights.keys() - sources.keys(), dtypes):
        if weights[name].is_floating_point() == dtype.is_floating_point:
            free[_values(weights[name].to(dtype))].append(name)
    for name, tensor in others.items():
        if same := free[_values(tensor)]:
            sources[name] = same.pop()
    places = {loaded[name].data_ptr(): source for name, source in sources.items()}
    return {name: places[t.data_ptr()] for name, t in loaded.items() if t.data_ptr() in places} | sources


def _values(tensor: Tensor) -> tuple[object, ...]:
    return tensor.dtype, tensor.shape, digest([("", tensor)])


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether the second tensor holds the values of the first, in its own precision; a number may be a list of one."""
    if one.is_floating_point() != other.is_floating_point() or one.numel() != other.numel():
        return False
    one = one.reshape(other.shape) if other.ndim == 0 else one
    return one.to(other.dtype).equal(other)


def _share_memory(weights: Weights) -> bool:
    """Whether tensors share memory, which a network shares only if it is given the tensors themselves."""
    return len({tensor.data_ptr() for tensor in weights.values()}) < len(weights)


def _tied_among(loaded: Weights, names: Collection[str]) -> list[str]:
    """Those of the names whose tensors share memory with another tensor of the network."""
    sharers = Counter(tensor.data_ptr() for tensor in loaded.values())
    return [name for name in names if sharers[loaded[name].data_ptr()] > 1]


def _misfit(target: nn.Module, own: Weights, weights: Weights, path: Path, error: Exception | None = None) -> str:
    """The sentence for weights that cannot be loaded: of the first wrong shape or type, else what torch says."""
    kind = type(target).__name__
    if error and not _loads_itself(target) and (missing := [name for name in own if name not in weights]):
        return f"'{path}' lacks weights of {kind}: {few(missing)}; is it another network's?"
    for name, tensor in weights.items():
        needed = own.get(name, tensor)
        if tensor.shape != needed.shape or tensor.is_floating_point() != needed.is_floating_point():
            has, needs = (f"{tuple(t.shape)} of {t.dtype}" for t in (tensor, needed))
            return f"'{name}' in '{path}' is {has}, but {kind} needs {needs}; is it another network's?"
    reason = " ".join(str(error).split())[:300]
    return f"'{path}' cannot be loaded into {kind} ({type(error).__name__}: {reason}); {TAIL}"
