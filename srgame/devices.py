"""Where networks compute."""

import torch
from torch import nn

from srgame.errors import InputError

# What torch, oneDNN, OpenCV and Python's threads say of it; each in a type of its own that says nothing.
OUT_OF_MEMORY = (
    "allocate memory",
    "to allocate",
    "bad_alloc",
    "not enough memory",
    "Insufficient memory",
    "create a memory",
    "create a primitive",
    "new thread",
)


def available(name: str) -> str:
    """The name of a device that is there; raises InputError where it is not."""
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        there = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        raise InputError(f"there is no device '{name}': choose one of {there}")
    return name


def out_of_memory(error: BaseException) -> bool:
    """Whether this is what a device without memory left raises."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in OUT_OF_MEMORY)


def device_of(network: nn.Module) -> torch.device:
    """Where the network's parameters are; the CPU if it has none."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
