"""Loads networks as the flags say, for all verbs."""

from typing import TYPE_CHECKING, Any

from srgame.cli.flags import Convention
from srgame.errors import InputError

if TYPE_CHECKING:
    from torch import nn


def loaded(
    checkpoint: str, network: str | None, scale: int | None, strict: bool, convention: Convention
) -> "nn.Module":
    """The network in `checkpoint`, adapted to `convention` unless it is one of the zoo."""
    from srgame.networks import load_network, zoo

    arguments = {} if checkpoint in zoo() else arguments_of(convention, scale)
    return load_network(checkpoint, network, scale, strict, **arguments)


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
