"""Where networks compute."""

import torch
from torch import nn

from srgame.errors import InputError


def available(name: str) -> str:
    """The name of a device that is there; raises InputError where it is not."""
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        there = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        raise InputError(f"there is no device '{name}': choose one of {there}")
    return name


def out_of_memory(error: BaseException) -> bool:
    """Whether this is what a device without memory left raises; a CPU has no type of its own for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    said = ("allocate memory", "not enough memory", "std::bad_alloc", "could not create a memory object")
    return isinstance(error, RuntimeError) and any(words in str(error) for words in said)


def device_of(network: nn.Module) -> torch.device:
    """Where the network's parameters are; the CPU if it has none."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
