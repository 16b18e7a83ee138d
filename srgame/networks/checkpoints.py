"""Networks loaded from checkpoints."""

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
from typing import Any

import torch
from torch import Tensor, nn

from srgame.errors import InputError
from srgame.networks.adapter import Convention, adapted, convention_of, scale_of
from srgame.networks.advice import notes
from srgame.networks.layouts import LAYOUTS, NETWORKS
from srgame.networks.weights import Weights, carries_checksum, digest, read_weights

ZOO = Path(__file__).with_name("zoo")


def load_network(
    checkpoint: str | Path, network: str | None = None, scale: int | None = None, **convention: Any
) -> nn.Module:
    """The network in `checkpoint`, in eval mode on the CPU.

    `checkpoint` is a name of the zoo, or a file of torch or safetensors. `network` is one of NETWORKS, whose sizes are
    read from the shapes of the weights, or "module:function": srgame imports that module and calls the function, with
    `scale` if it takes one, to build the network. Without `network`, the names of the weights identify it.

    `convention` has arguments of `adapted`, for a network that does not map RGB images in [0, 1] to such images. A
    network that accepts only some sizes is adapted without being asked.

    Warns if filters are tied, if the file carries no checksum, and if an image restored by the network of
    "module:function" suggests another convention. Raises InputError if the network cannot be restored
    exactly as it was saved, or if it has another `scale`. Code in the file is never run.
    """
    path, network = _located(checkpoint, network)
    weights = read_weights(path)
    if path.parent != ZOO and not carries_checksum(path):
        warnings.warn(
            f"'{path}' carries no checksum, so damage to its numbers would go unnoticed: compare its sha256 with "
            f"its publisher's, {hashlib.sha256(path.read_bytes()).hexdigest()}",
            stacklevel=2,
        )
    if network is not None and ":" in network:
        built = _imported(network, scale)
    else:
        built, weights = _own(weights, network, path)
    _fill(built, weights, path)
    if tied := tied_filters(built):
        warnings.warn(
            f"in '{path}' {len(tied)} weights are each tied over several layers ({', '.join(tied[0][:3])} …): "
            "a game counts a tied filter as several players",
            stacklevel=2,
        )
    return _adapted(built.eval(), path, scale, network is not None and ":" in network, convention)


def _adapted(
    network: nn.Module, path: Path, scale: int | None, is_foreign: bool, convention: dict[str, Any]
) -> nn.Module:
    """The network for srgame's convention; raises InputError if it has another `scale`."""
    if is_foreign or convention:
        network = adapted(network, **convention)
    if scale is not None and (own := scale_of(network)) != scale:
        hint = ", or say --upsampled-input if it wants enlarged images" if own == 1 else ""
        raise InputError(
            f"wrong scale: '{path}' enlarges {own} times, not {scale} times: "
            f"give another checkpoint or scale {own}{hint}"
        )
    for note in notes(network) if is_foreign else ():
        warnings.warn(f"'{path}': {note}", stacklevel=3)
    return network


def zoo() -> dict[str, dict[str, str]]:
    """The rows of zoo/zoo.csv by name: network, training and PSNR of each shipped checkpoint."""
    table = ZOO / "zoo.csv"
    if not table.exists():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def tied_filters(network: nn.Module) -> list[tuple[str, ...]]:
    """Groups of layers that share the memory of their weights, a tuple of names for each group."""
    sharers = defaultdict[int, list[str]](list)
    for name, layer in network.named_modules(remove_duplicate=False):
        weight = getattr(layer, "weight", None)
        if isinstance(weight, Tensor) and weight.ndim > 2 and not weight.is_meta:
            sharers[weight.data_ptr()].append(name)
    return [tuple(names) for names in sharers.values() if len(names) > 1]


def fingerprint(network: nn.Module) -> str:
    """The sha256 of the names and bytes of the state_dict, in its order, and of a convention that is not srgame's."""
    weights = digest(network.state_dict().items())
    convention = convention_of(network).told
    if convention == Convention():
        return weights
    return hashlib.sha256(f"{weights} {convention}".encode()).hexdigest()


def _located(checkpoint: str | Path, network: str | None) -> tuple[Path, str | None]:
    """The file of a checkpoint, and the name of its network if the caller or the zoo gives one."""
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
    """All names, and the one nearest to `name`, for a sentence."""
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0)
    return f"{', '.join(names)} (the nearest is '{nearest[0]}')" if nearest else "no networks"


def _own(weights: Weights, network: str | None, path: Path) -> tuple[nn.Module, Weights]:
    """The network of NETWORKS that fits the weights, with initial weights, and the weights under its names."""
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
        with torch.random.fork_rng(devices=[]):  # initial weights must not use up the caller's random numbers
            return NETWORKS[full_size](**settings), weights
    except InputError as error:
        raise InputError(f"'{path}' cannot be loaded: {error}") from error


def _recognised(weights: Weights, path: Path) -> str:
    """The name of our only network whose weights have such names."""
    names = [name for name, layout in LAYOUTS.items() if any(re.match(layout.mark, weight) for weight in weights)]
    if len(names) != 1:
        raise InputError(
            f"the weights in '{path}' ({_few(list(weights))}) are not recognised as one of our networks: "
            f"say network={', '.join(NETWORKS)} or 'module:function'"
        )
    return names[0]


def _imported(function: str, scale: int | None) -> nn.Module:
    """The network that "module:function" returns."""
    module, _, name = function.partition(":")
    try:
        build = getattr(importlib.import_module(module), name)
        takes_scale = scale is not None and "scale" in inspect.signature(build).parameters
        built = build(scale=scale) if takes_scale else build()
    except Exception as error:  # the caller's own code, which may raise anything
        raise InputError(
            f"network '{function}' cannot be built ({type(error).__name__}: {error}): give 'module:function' "
            "with a module that can be imported and a function that needs no argument"
        ) from error
    if not isinstance(built, nn.Module):
        raise InputError(
            f"network '{function}' is of type {type(built).__name__}: let the function return a torch.nn.Module"
        )
    return built


def _fill(network: nn.Module, weights: Weights, path: Path) -> None:
    """Assigns the tensors themselves to `network`, so weights that share memory in the file share it in the network."""
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
            raise InputError(f"'{name}' in '{path}' is {has}, but {kind} needs {needs}; is it another network's?")
    nn.Module.load_state_dict(network, weights, assign=True)


def _few(names: list[str]) -> str:
    """The first three names and the number of the others, for a sentence."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name}'" for name in names[:3]) + more
