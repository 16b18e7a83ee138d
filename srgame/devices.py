"""Where networks compute, and how exactly."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

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


def faster_in_bfloat16(device: str) -> bool:
    """Whether a device computes in bfloat16 itself; others imitate it, which takes longer."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    told = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return told.get("architecture") != "x86_64" or bool(told.get("avx512_bf16") or told.get("amx_bf16"))


@contextmanager
def full_float32() -> Iterator[None]:
    """Convolutions keep all digits of float32, of which a GPU, left alone, drops more than half (TF32)."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def out_of_memory(error: BaseException) -> bool:
    """Whether this is what a device without memory left raises."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in OUT_OF_MEMORY)


def disable_onednn(error: BaseException) -> bool:
    """Whether `error` took oneDNN from this thread; then this process computes without it from here on, and is warned.

    oneDNN that finds no memory to write a kernel in keeps that error, and writes no kernel in that thread again.
    """
    written = "create a primitive" in str(error) and "descriptor" not in str(error)
    lost = written and bool(torch.backends.mkldnn.enabled)
    if lost:
        torch.backends.mkldnn.set_flags(_enabled=False)
        words = "memory ended while oneDNN wrote a kernel: what follows is computed without oneDNN, slower"
        warnings.warn(words, stacklevel=2)
    return lost


def device_of(network: nn.Module) -> torch.device:
    """Where the network's parameters are; the CPU if it has none."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
