"""The devices that networks compute on, their precision, and what to do when memory runs out."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from srgame.errors import InputError

# Parts of the messages of torch, oneDNN, OpenCV and Python's threads; the types of these errors are too general.
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
    """`name`, the name of a device; raises InputError if there is no such device."""
    if name not in ("cpu", "cuda") or (name == "cuda" and not torch.cuda.is_available()):
        there = "cpu, cuda" if torch.cuda.is_available() else "cpu"
        raise InputError(f"there is no device '{name}'{_why_no_gpu() if name == 'cuda' else ''}: choose one of {there}")
    return name


def _why_no_gpu() -> str:
    """Why torch can use no GPU, in brackets."""
    if torch.version.cuda is None and torch.version.hip is None:
        return f" (torch {torch.__version__} is built for the CPU alone; pytorch.org has builds for GPUs)"
    return f" (torch {torch.__version__} finds no GPU that it can use)"


def faster_in_bfloat16(device: str) -> bool:
    """Whether the device computes bfloat16 in hardware; others emulate it, which takes longer than float32."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    features = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return features.get("architecture") != "x86_64" or bool(features.get("avx512_bf16") or features.get("amx_bf16"))


@contextmanager
def full_float32() -> Iterator[None]:
    """While open, a GPU computes convolutions in full float32; by default it drops more than half the digits (TF32)."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def out_of_memory(error: BaseException) -> bool:
    """Whether this is the error of a device that has no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in OUT_OF_MEMORY)


def disable_onednn(error: BaseException) -> bool:
    """Disables oneDNN in this process, with a warning, if `error` broke it in this thread; returns whether it did.

    If oneDNN has no memory to compile a kernel, it keeps that error and compiles no kernel in that thread again.
    """
    in_compilation = "create a primitive" in str(error) and "descriptor" not in str(error)
    broken = in_compilation and bool(torch.backends.mkldnn.enabled)
    if broken:
        torch.backends.mkldnn.set_flags(_enabled=False)
        words = "oneDNN ran out of memory while it compiled a kernel: the rest is computed without oneDNN, slower"
        warnings.warn(words, stacklevel=2)
    return broken


def device_of(network: nn.Module) -> torch.device:
    """The device of the network's parameters; the CPU if it has none."""
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
