"""Networks loaded from checkpoints."""

import csv
import hashlib
import itertools
import re
import warnings
from collections import defaultdict
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from srgame.errors import InputError, nearest
from srgame.networks.adapter import Convention, adapted, convention_of, scale_of
from srgame.networks.advice import notes
from srgame.networks.builders import FORMS, built_by, by_spandrel, is_function
from srgame.networks.layouts import LAYOUTS, NETWORKS
from srgame.networks.loading import fill, fit_of, renamings
from srgame.networks.weights import Weights, carries_checksum, digest, few, read_weights

ZOO = Path(__file__).with_name("zoo")
OF_ANALYSES = Path(__file__).parents[2] / "analyses" / "zoo"  # in a checkout: the networks that no wheel holds
SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")


def load_network(
    checkpoint: str | Path, network: str | None = None, scale: int | None = None, strict: bool = True, **convention: Any
) -> nn.Module:
    """The network in `checkpoint`, in eval mode on the CPU.

    `checkpoint` is a name of the zoo, a file of torch or safetensors, or a folder with one. `network` is one of
    NETWORKS, whose sizes are read from the shapes of the weights; or "module:function" or "file.py:function": srgame
    imports that code, from the current folder too, and calls the function, with `scale` if it takes one, to build the
    network; or "spandrel", whose own loader finds the architecture. Without `network`, the names of the weights
    identify it. Weights are loaded as torch loads them, by the network's own `load_state_dict` if it has one; without
    `strict`, missing and unexpected weights are no error, but a note.

    `convention` has arguments of `adapted`, for a network that does not map RGB images in [0, 1] to such images. A
    network that accepts only some sizes is adapted without being asked.

    Warns if filters are tied, if the file carries no checksum, and if an image restored by the network of
    "module:function" suggests another convention. Raises InputError if the network cannot be restored
    exactly as it was saved, or if it has another `scale`. Code in the file is never run.

    >>> network = load_network("small-x4-eats-0")  # or the path of a file
    >>> type(network).__name__, network.scale, network.training
    ('SRResNet', 4, False)
    """
    path, network = _located(checkpoint, network)
    built = _restored(path, network, scale, strict).eval()
    if path.parent not in (ZOO, OF_ANALYSES) and not carries_checksum(path):
        warnings.warn(
            f"'{path}' carries no checksum, so damage to its numbers would go unnoticed: compare its sha256 with "
            f"its publisher's, {hashlib.sha256(path.read_bytes()).hexdigest()}",
            stacklevel=2,
        )
    if tied := tied_filters(built):
        warnings.warn(
            f"in '{path}' {len(tied)} weights are each tied over several layers ({', '.join(tied[0][:3])} …): "
            "a game counts a tied filter as several players",
            stacklevel=2,
        )
    is_foreign = network is not None and network not in NETWORKS
    return _adapted(built.eval(), path, scale, is_foreign, convention)


def _adapted(
    network: nn.Module, path: Path, scale: int | None, is_foreign: bool, convention: dict[str, Any]
) -> nn.Module:
    """The network for srgame's convention; raises InputError if it has another `scale`."""
    if is_foreign or convention:
        network = adapted(network, **convention)
    if scale is not None and (own := scale_of(network)) != scale:
        hint = ", or --upsampled-input if it needs enlarged images" if own == 1 else ""
        raise InputError(
            f"wrong scale: '{path}' enlarges {own} times, not {scale} times: "
            f"give another checkpoint or scale {own}{hint}"
        )
    for note in notes(network) if is_foreign else ():
        warnings.warn(f"'{path}': {note}", stacklevel=3)
    return network


def untrained(network: str, scale: int | None = None, **sizes: int | None) -> nn.Module:
    """A network with initial weights: one of NETWORKS, or what a function builds, as for `load_network`.

    Without `scale`, ours enlarge 4 times. Sizes that are None are the network's own choice.

    Raises InputError if there is no such network, or if the one that is built has another scale.
    """
    settings = {name: size for name, size in sizes.items() if size is not None}
    if not is_function(network):
        if network not in NETWORKS:
            raise InputError(f"unknown network '{network}'{_known(NETWORKS, network)}; others: {FORMS}")
        return NETWORKS[network](scale=scale or 4, **settings)
    built = built_by(network, scale, **settings).eval()
    if scale is not None and (own := scale_of(built)) != scale:
        raise InputError(f"wrong scale: network '{network}' enlarges {own} times, not {scale} times: give scale {own}")
    return built.train()


def zoo() -> dict[str, dict[str, str]]:
    """The rows of zoo/zoo.csv by name: network, training and PSNR of each shipped checkpoint.

    >>> zoo()["small-x4-eats-0"]["network"]
    'srresnet'
    """
    table = ZOO / "zoo.csv"
    if not table.exists():
        return {}
    with table.open(newline="", encoding="utf-8") as file:
        return {row["name"]: row for row in csv.DictReader(file) if _shipped(row).exists()}


def _shipped(row: Mapping[str, str]) -> Path:
    """The file of a row of zoo.csv."""
    own = ZOO / row["file"]
    return own if own.exists() else OF_ANALYSES / row["file"]


def tied_filters(network: nn.Module) -> list[tuple[str, ...]]:
    """Groups of layers that share the memory of their weights, a tuple of names for each group."""
    sharers = defaultdict[int, list[str]](list)
    parameters = network.named_parameters(remove_duplicate=False)
    for name, tensor in itertools.chain(parameters, network.named_buffers(remove_duplicate=False)):
        layer, _, kind = name.partition(".parametrizations.")[0].rpartition(".")
        if ".parametrizations." in name:  # as weight_norm, which computes the weight anew from what is stored
            layer, kind = name.partition(".parametrizations.")[0], "weight"
        if kind.startswith("weight") and tensor.ndim > 1 and not tensor.is_meta:
            sharers[tensor.data_ptr()].append(layer)
    return [tuple(names) for names in sharers.values() if len(names) > 1]


def fingerprint(network: nn.Module) -> str:
    """The sha256 of the names and bytes of the state_dict, in its order, and of a convention that is not srgame's."""
    weights = digest(network.state_dict().items())
    convention = convention_of(network).declared
    if convention == Convention():
        return weights
    return hashlib.sha256(f"{weights} {convention}".encode()).hexdigest()


def _located(checkpoint: str | Path, network: str | None) -> tuple[Path, str | None]:
    """The file of a checkpoint, and the name of its network if the caller or the zoo gives one."""
    shipped = zoo()
    row = shipped.get(str(checkpoint))
    path = _shipped(row) if row else Path(checkpoint)
    if not path.exists():
        raise InputError(f"'{checkpoint}' is neither a file nor in the zoo{_known(shipped, str(checkpoint))}")
    if row and hashlib.sha256(path.read_bytes()).hexdigest() != row["sha256"]:
        raise InputError(f"'{path}' is not the file that zoo.csv lists (its sha256 differs): install srgame again")
    return _within(path) if path.is_dir() else path, network or (row["network"] if row else None)


def _within(folder: Path) -> Path:
    """The file of weights in a folder: the one that `train` writes, or the only one."""
    files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and not path.name.startswith("."))
    ours = [path for path in files if path.name == "weights.safetensors"]
    if len(chosen := ours or files) == 1:
        return chosen[0]
    found = f"several checkpoints ({few([path.name for path in files])})" if files else "no checkpoint"
    raise InputError(f"'{folder}' is a folder with {found}: give a checkpoint file")


def _known(names: Collection[str], name: str) -> str:
    """The end of a sentence: the known name nearest to `name`, then all of them."""
    return (
        f"; the nearest is '{nearest(name, names, 1)}' (known: {', '.join(names)})"
        if names
        else ", which has no networks"
    )


def _restored(path: Path, network: str | None, scale: int | None, strict: bool) -> nn.Module:
    """The network with the weights of the file."""
    if network == "spandrel":
        return by_spandrel(read_weights(path), path)
    if network is not None and is_function(network):
        with torch.random.fork_rng(devices=[]):  # initial weights must not use up the caller's random numbers
            built = built_by(network, scale)
        weights = read_weights(path, partial(fit_of, built))
    else:
        built, weights = _own(read_weights(path, partial(_recognisable, network)), network, path)
    fill(built, weights, path, strict)
    return built


def _own(weights: Weights, network: str | None, path: Path) -> tuple[nn.Module, Weights]:
    """The network of NETWORKS that fits the weights, with initial weights, and the weights under its names."""
    name, weights = _recognised(weights, network, path)
    if name not in NETWORKS:
        raise InputError(
            f"unknown network '{name}' for '{path}'{_known(NETWORKS, name)}; others: {FORMS} or 'spandrel'"
        )
    full_size = name.removesuffix("-lite")
    layout = LAYOUTS[full_size]
    try:
        weights = layout.names(weights)
        settings = {setting: value for setting, value in layout.settings(weights).items() if value}
        with torch.random.fork_rng(devices=[]):
            return NETWORKS[full_size](**settings), weights
    except InputError as error:
        raise InputError(f"'{path}' cannot be loaded: {error}") from error


def _recognised(weights: Weights, network: str | None, path: Path) -> tuple[str, Weights]:
    """The name of our only network whose weights have such names, if `network` is none, and the weights, renamed."""
    for way in renamings(weights):
        names = _networks_of(way, network)
        if len(names) == 1:
            return network or names[0], {new: weights[name] for new, name in way.items()}
    if network is not None:
        return network, weights
    raise InputError(
        f"the weights in '{path}' ({few(weights)}) are not recognised as one of our networks: "
        f"name the network: {', '.join(NETWORKS)}, {FORMS} or 'spandrel'"
    )


def _recognisable(network: str | None, names: Collection[str]) -> int:
    """1 if a set of weights with these names is one of our networks, or `network`; else 0."""
    return int(any(_networks_of(way, network) for way in renamings(names)))


def _networks_of(names: Collection[str], network: str | None) -> list[str]:
    """The networks of LAYOUTS, or only `network`, that have weights of such names."""
    layouts = LAYOUTS if network is None else {name: LAYOUTS[name] for name in LAYOUTS if network.startswith(name)}
    return [name for name, layout in layouts.items() if any(re.match(layout.mark, weight) for weight in names)]
