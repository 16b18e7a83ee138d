"""Loads networks as the flags say, for all verbs."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from srgame.cli.flags import Convention
from srgame.errors import InputError, chosen

if TYPE_CHECKING:
    from torch import nn

    from srgame.data.pairs import Pairs


def loaded(
    checkpoint: str, network: str | None, scale: int | None, strict: bool, convention: Convention
) -> "nn.Module":
    """The network in `checkpoint`, adapted to `convention` unless it is one of the zoo."""
    from srgame.networks import load_network, zoo

    arguments = {} if checkpoint in zoo() else arguments_of(convention, scale)
    return load_network(checkpoint, network, scale, strict, **arguments)


def architectures_of(networks: Sequence[str], count: int) -> list[str | None]:
    """What --network names for each of `count` checkpoints; None: read from the weights."""
    return [None if name == "auto" else name for name in one_each("--network", networks, count)]


def conventions_of(convention: Convention, differences: Sequence[str], count: int) -> list[Convention]:
    """The convention of each of `count` checkpoints: the one of the flags, with what --conventions says differs."""
    each = one_each("--conventions", differences or ("",), count)
    return [replace(convention, **dict(map(_setting, text.split()))) for text in each]


def specified(text: str) -> tuple[str | None, int | None, Convention]:
    """The architecture, the scale and the convention in a text such as "nets.py:build scale=2 range=255 clamp".

    The architecture is None for "auto": read from the weights. Words without = are settings if they name a flag.
    """
    flags = {name for name, default in _settings().items() if isinstance(default, bool)}
    architecture, *words = text.strip().split(" ")
    while words and not ("=" in words[0] or words[0] in flags):
        architecture = f"{architecture} {words.pop(0)}".rstrip()  # a path with a space
    size = next((word for word in words if word.startswith("scale=")), "")
    (convention,) = conventions_of(Convention(), [" ".join(word for word in words if word != size)], 1)
    scale = size.removeprefix("scale=")
    if size and not scale.isdigit():
        raise InputError(f"'{text}' has {size}: write a whole number, such as scale=4")
    if convention.upsampled_input and not size:
        raise InputError(f"'{text}' does not say by which scale images are enlarged: add it, such as scale=4")
    return None if architecture == "auto" else architecture, int(scale) if size else None, convention


def one_each(flag: str, values: Sequence[str], count: int) -> list[str]:
    """The values of a flag for `count` checkpoints, which share a single value."""
    if len(values) not in (1, count):
        raise InputError(f"{flag} has {len(values)} values for {count} checkpoints: give it one, or one for each")
    return list(values) if len(values) == count else [*values] * count


def _setting(word: str) -> tuple[str, Any]:
    """The field of Convention and its value that "channels=y", "mean=0.4,0.4,0.4" or "clamp" stands for."""
    name, equals, value = word.partition("=")
    default = chosen("setting of a convention", name, _settings())
    if isinstance(default, bool) == bool(equals):
        form = name if isinstance(default, bool) else f"{name}=VALUE"
        raise InputError(f"a convention has '{word}': write {form}")
    values: Any = value.split(",")
    try:
        values = map(float, values) if name == "mean" else values
        read = tuple(values) if isinstance(default, tuple) else value if equals else True
    except ValueError as error:
        raise InputError(f"a convention has '{word}': a mean is a number, or one for each channel") from error
    return name.replace("-", "_"), read


def _settings() -> dict[str, Any]:
    """The defaults of what a convention says, by the names of its flags."""
    return {field.replace("_", "-"): default for field, default in vars(Convention()).items()}


def judge(checkpoint: str, network: "nn.Module", pairs: "Pairs") -> None:
    """Warns if the network restores the user's own pairs so badly that it may need the flags of a convention."""
    from srgame.networks import zoo
    from srgame.networks.advice import notes_on

    for note in () if checkpoint in zoo() else notes_on(network, pairs):
        warnings.warn(f"'{checkpoint}': {note}", stacklevel=2)


def arguments_of(convention: Convention, scale: int | None) -> dict[str, Any]:
    """The arguments of `adapted` for these flags; none if all are at their defaults."""
    if convention.upsampled_input and scale is None:
        raise InputError("--upsampled-input needs the scale by which images are enlarged: give it, such as --scale 4")
    if convention == Convention():
        return {}
    return {
        "value_range": _values(convention.range),
        "output_range": None if convention.output_range is None else _values(convention.output_range),
        "channels": convention.channels,
        "mean": convention.mean,
        "upsampled_input": scale if convention.upsampled_input else None,
        "output": tuple(map(_step, convention.output_index)),
        "extra_inputs": convention.extra_input,
        "clamp": convention.clamp,
    }


def _values(text: str) -> tuple[float, float]:
    """The ends of a range of values; the lower one is 0 if it is left out."""
    low, _, high = text.rpartition("..")
    try:
        return float(low or 0), float(high)
    except ValueError as error:
        raise InputError(f"'{text}' is no range of values: give 1, 255 or LOW..HIGH, such as -1..1") from error


def _step(text: str) -> int | str:
    """An index, or a key."""
    return int(text) if text.removeprefix("-").isdigit() else text
