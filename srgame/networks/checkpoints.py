"""From a checkpoint to a network."""

import csv
import difflib
import hashlib
import importlib
import inspect
import re
import warnings
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor, nn

from srgame.errors import InputError
from srgame.networks.layouts import LAYOUTS, NETWORKS
from srgame.networks.weights import Weights, carries_checksum, digest, read_weights

ZOO = Path(__file__).with_name("zoo")


def load_network(checkpoint: str | Path, network: str | None = None, scale: int | None = None) -> nn.Module:
    """The network in `checkpoint`, in eval mode on the CPU.

    `checkpoint` is a name of the zoo, or else a file of torch or safetensors. `network` is one of NETWORKS, its sizes
    read off the shapes, or "module:function": that code is imported, and the function called, with `scale` if it takes
    one, for a module to fill. Without `network`, the names of the weights say which of ours it is.

    Warns where filters are tied, and where a file carries no checksum. Raises InputError where the network cannot be
    had exactly as it was saved, or is of another `scale`. Nothing in a file is ever run.
    """
    path, network = _located(checkpoint, network)
    weights = read_weights(path)
    if path.parent != ZOO and not carries_checksum(path):
        warnings.warn(
            f"'{path}' carries no checksum, so that damage to its numbers would go unseen: "
            f"compare its sha256 with its publisher's, {hashlib.sha256(path.read_bytes()).hexdigest()}",
            stacklevel=2,
        )
    if network is not None and ":" in network:
        built = _imported(network, scale)
    else:
        built, weights = _own(weights, network, path)
    _fill(built, weights, path)
    if scale is not None and (own := scale_of(built.eval())) != scale:
        raise InputError(f"wrong scale: '{path}' enlarges {own} times, not {scale} times")
    if tied := tied_filters(built):
        warnings.warn(
            f"in '{path}' {len(tied)} weights are each tied over several layers ({', '.join(tied[0][:3])} …): "
            "a game over tied filters takes one filter for several players",
            stacklevel=2,
        )
    return built.eval()


def zoo() -> dict[str, dict[str, str]]:
    """The rows of zoo/zoo.csv by name: what the shipped weights are, how they were trained and how good they are."""
    table = ZOO / "zoo.csv"
    if not table.exists():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def tied_filters(network: nn.Module) -> list[tuple[str, ...]]:
    """The layers that take their filters from the same memory, a tuple of names for each such memory."""
    sharers = defaultdict[int, list[str]](list)
    for name, layer in network.named_modules(remove_duplicate=False):
        weight = getattr(layer, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim > 2 and not weight.is_meta:
            sharers[weight.data_ptr()].append(name)
    return [tuple(names) for names in sharers.values() if len(names) > 1]


def scale_of(network: nn.Module) -> int:
    """How many times larger than the LR image the network's SR image is, tried on one of 16×16 pixels.

    Raises InputError where the network does not make an RGB image of that.
    """
    lr = next(network.parameters()).new_zeros(1, 3, 16, 16)
    try:
        with torch.inference_mode():
            sr = network(lr)
        scale = sr.shape[-1] // 16
        if sr.shape != (1, 3, 16 * scale, 16 * scale):
            raise ValueError(f"it makes {tuple(sr.shape)} of {tuple(lr.shape)}")
    except Exception as error:  # a foreign forward() may raise anything
        raise InputError(f"the network does not restore RGB images of 16×16 pixels: {error}") from error
    return int(scale)


def fingerprint(network: nn.Module) -> str:
    """The sha256 of the state_dict's names and bytes, in its order."""
    return digest(network.state_dict().items())


def _located(checkpoint: str | Path, network: str | None) -> tuple[Path, str | None]:
    """The file, and the network that the caller or the zoo says is in it."""
    shipped = zoo()
    row = shipped.get(str(checkpoint))
    path = ZOO / row["file"] if row else Path(checkpoint)
    if not path.exists():
        raise InputError(
            f"'{checkpoint}' is neither a file nor in the zoo, which has {_known(shipped, str(checkpoint))}"
        )
    if row and hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
        raise InputError(f"'{path}' is not the file that zoo.csv lists (its sha256 differs): install srgame again")
    return path, network or (row["network"] if row else None)


def _known(names: Collection[str], name: str) -> str:
    """The names there are, and the one that may have been meant."""
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0)
    return f"{', '.join(names)} (the nearest is '{nearest[0]}')" if nearest else "no networks"


def _own(weights: Weights, network: str | None, path: Path) -> tuple[nn.Module, Weights]:
    """The network of NETWORKS that fits the weights, not yet with them, and the weights under its names."""
    name = _recognised(weights, path) if network is None else network
    if name not in NETWORKS:
        raise InputError(
            f"unknown network '{name}' for '{path}': give one of {_known(NETWORKS, name)} or 'module:function'"
        )
    full_size = name.removesuffix("-lite")
    layout = LAYOUTS[full_size]
    try:
        weights = layout.names(weights)
        settings = {setting: value for setting, value in layout.settings(weights).items() if value}
        with torch.random.fork_rng(devices=[]):  # the initial weights are thrown away, and nobody's numbers with them
            return NETWORKS[full_size](**settings), weights
    except InputError as error:
        raise InputError(f"'{path}' cannot be loaded: {error}") from error


def _recognised(weights: Weights, path: Path) -> str:
    """The only one of our networks that bears such names."""
    found = [name for name, layout in LAYOUTS.items() if any(re.match(layout.mark, weight) for weight in weights)]
    if len(found) != 1:
        raise InputError(
            f"the weights in '{path}' ({_few(list(weights))}) are not recognised as one of our networks: "
            f"say network={', '.join(NETWORKS)} or 'module:function'"
        )
    return found[0]


def _imported(function: str, scale: int | None) -> nn.Module:
    """What "module:function" returns."""
    module, _, name = function.partition(":")
    try:
        build = getattr(importlib.import_module(module), name)
        takes_scale = scale is not None and "scale" in inspect.signature(build).parameters
        built = build(scale=scale) if takes_scale else build()
    except Exception as error:  # the caller's own code, which may raise anything
        raise InputError(
            f"network '{function}' cannot be built ({type(error).__name__}: {error}): give 'module:function' "
            "where the module can be imported and the function needs no argument"
        ) from error
    if not isinstance(built, nn.Module):
        raise InputError(
            f"network '{function}' is of type {type(built).__name__}: let the function return a torch.nn.Module"
        )
    return built


def _fill(network: nn.Module, weights: Weights, path: Path) -> None:
    """Gives `network` the very tensors, so that what shared memory in the file shares it in the network."""
    own, kind = network.state_dict(), type(network).__name__
    if missing := [name for name in own if name not in weights]:
        raise InputError(f"'{path}' lacks weights of {kind}: {_few(missing)}; is it another network's?")
    if unexpected := [name for name in weights if name not in own]:
        raise InputError(
            f"'{path}' holds weights that {kind} does not have: {_few(unexpected)}; is it another network's?"
        )
    for name, tensor in weights.items():
        if tensor.shape != own[name].shape or tensor.is_floating_point() != own[name].is_floating_point():
            has, needs = (f"{tuple(t.shape)} of {t.dtype}" for t in (tensor, own[name]))
            raise InputError(f"'{name}' in '{path}' is {has} where {kind} needs {needs}; is it another network's?")
    nn.Module.load_state_dict(network, weights, assign=True)


def _few(names: list[str]) -> str:
    """The first three, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name}'" for name in names[:3]) + more
