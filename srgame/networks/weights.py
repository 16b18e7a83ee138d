"""Checkpoint files: read as tensors and nothing else, so code in a file never runs."""

import hashlib
import io
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from srgame.errors import InputError
from srgame.files import check_zip

Weights = dict[str, Tensor]

CONTAINERS = ("params_ema", "params", "state_dict", "model_state_dict", "net")
CHECKSUM = "srgame.sha256"  # in the metadata of the safetensors that srgame writes
LONGEST_HEADER = 100_000_000  # bytes, by the definition of safetensors
PICKLES = (b"\x80\x03", b"\x80\x04", b"\x80\x05")  # Python's own; torch writes zips, and pickles of protocol 2


def read_weights(path: Path) -> Weights:
    """The tensors in `path` by name, on the CPU, floating-point ones in float32.

    If a file holds several sets of weights, the first of CONTAINERS is read: averaged weights before raw ones, as in
    Real-ESRGAN. DataParallel's prefix `module.` is dropped. Tensors that share memory in the file share it here.

    Checksums are verified: those in torch's zips (CRC-32 of each part) and those that `save_weights` wrote.

    Raises InputError, with the name of the file, if it holds anything but plain, finite tensors, or if its tensors
    cannot be read without running code.
    """
    stored = _unwrapped(_read(path), path)
    prefix = "module." if all(name.startswith("module.") for name in stored) else ""
    weights, seen = {}, dict[tuple[object, ...], Tensor]()
    for name, tensor in stored.items():
        if not _is_plain(tensor):
            raise InputError(f"'{name}' in '{path}' is no plain tensor: save the network's state_dict again")
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        plain = seen.setdefault(place, tensor.detach().float() if tensor.is_floating_point() else tensor)
        if not plain.isfinite().all():
            raise InputError(f"'{name}' in '{path}' holds NaN or infinite values: give an earlier checkpoint")
        weights[name.removeprefix(prefix)] = plain
    return weights


def save_weights(weights: Weights, path: Path, about: Mapping[str, str] | None = None) -> None:
    """Writes safetensors with a checksum of their names and numbers, which `read_weights` verifies.

    `about` is further metadata.
    """
    metadata = {**(about or {}), CHECKSUM: digest(sorted(weights.items()))}
    path.write_bytes(safetensors.torch.save(weights, metadata))  # save_file would hide it from everybody else


def digest(weights: Iterable[tuple[str, Tensor]]) -> str:
    """The sha256 of names and bytes, in their order."""
    sha256 = hashlib.sha256()
    for name, tensor in weights:
        sha256.update(name.encode())
        sha256.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sha256.hexdigest()


def carries_checksum(path: Path) -> bool:
    """Whether `read_weights` notices damage to the numbers in this file."""
    with path.open("rb") as file:
        first = file.read(8)
        header = file.read(min(int.from_bytes(first, "little"), LONGEST_HEADER))
        return first.startswith(b"PK") or CHECKSUM in _metadata(first + header)


def _read(path: Path) -> Any:
    """The content of a file; its first bytes decide the format, not its name."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"'{path}' cannot be read ({error.strerror}): give a checkpoint file") from error
    if not content:
        raise InputError(f"'{path}' is empty: download or save it again")
    if content.startswith(b"version https://git-lfs"):
        raise InputError(f"'{path}' is a git-LFS pointer, not the weights themselves: run 'git lfs pull'")
    try:
        if content[8:9] == b"{":
            return _from_safetensors(content)
        if content.startswith(b"PK"):
            check_zip(path, content)
        with warnings.catch_warnings(action="ignore"):  # torch warns of what it is about to refuse
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # the errors of these parsers on damaged bytes are not documented
        raise InputError(_refusal(path, content, error)) from error


def _from_safetensors(content: bytes) -> Weights:
    """The tensors; raises ValueError if they do not match the checksum in the file."""
    weights = safetensors.torch.load(content)
    checksum = _metadata(content).get(CHECKSUM)
    if checksum is not None and checksum != digest(sorted(weights.items())):
        raise ValueError("its checksum does not match its weights")
    return weights


def _metadata(content: bytes) -> dict[str, str]:
    """The metadata in the header of safetensors; empty for any other file."""
    try:
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        return dict(header.get("__metadata__", {}))
    except (ValueError, AttributeError, OverflowError):
        return {}


def _refusal(path: Path, content: bytes, error: Exception) -> str:
    """The message for a file that holds code, which torch does not run, or that is damaged."""
    named = re.search(r"GLOBAL (\S+)|TorchScript", str(error))
    if named or content.startswith(PICKLES):
        code = (named[1] or named[0]) if named else "a pickled object"
        return f"refused: '{path}' holds code ({code}), not only tensors; save its state_dict instead"
    return f"'{path}' is truncated, damaged, or no file of torch or safetensors: download or save it again"


def _unwrapped(content: Any, path: Path) -> Mapping[str, Tensor]:
    """The tensors by name, in the innermost container of the file."""
    while isinstance(content, Mapping) and (inner := next((name for name in CONTAINERS if name in content), None)):
        content = content[inner]
    items = list(content.items()) if isinstance(content, Mapping) else []
    if items and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in items):
        return dict(items)
    names = ", ".join(f"'{name}'" for name, _ in items[:3]) or f"a {type(content).__name__}"
    kind = "an optimizer's state" if "optim" in names or "param_groups" in names else "no weights by name"
    raise InputError(f"'{path}' holds {kind} ({names}): give the file with the network's state_dict")


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is dense, real, not empty and as large as its memory."""
    dense = tensor.layout is torch.strided and not (tensor.is_quantized or tensor.is_meta)
    if not dense or tensor.is_complex() or tensor.numel() == 0:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()  # else one number, expanded
