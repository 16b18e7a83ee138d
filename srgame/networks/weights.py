"""Checkpoint files: read as tensors and nothing else, so code in a file never runs."""

import hashlib
import io
import json
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from srgame.errors import InputError
from srgame.files import check_zip
from srgame.networks.inert import inert_types

Weights = dict[str, Tensor]

# What training code calls the weights of the network that it trains, if the file holds others too
CONTAINERS = ("params", "state_dict", "model_state_dict", "model_state", "model", "net", "net_g", "generator")
AVERAGED = re.compile(r"(?:^|[._])(?:ema|averaged?|shadow)(?:$|[._])", re.IGNORECASE)
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")  # parts torch puts in names
LEFTOVERS = ("step_counter", "total_ops", "total_params", "n_averaged")  # of mmcv, thop and torch's averaging
CHECKSUM = "srgame.sha256"  # in the metadata of the safetensors that srgame writes
LONGEST_HEADER = 100_000_000  # bytes, by the definition of safetensors
PICKLES = (b"\x80\x03", b"\x80\x04", b"\x80\x05")  # Python's own; torch writes zips, and pickles of protocol 2


def read_weights(path: Path, fit: Callable[[Collection[str]], int] | None = None) -> Weights:
    """The tensors in `path` by name, on the CPU, floating-point ones in float32.

    If a file holds several sets of weights, those count whose names have the highest `fit`, a function from the names
    to a number. Of these, averaged weights (EMA) are read before raw ones, as in Real-ESRGAN, and then the first of
    CONTAINERS; a note says so. What torch puts before all names, such as DataParallel's `module.`, is dropped, and so
    are LEFTOVERS, with a note, and what is no tensor. Tensors that share memory in the file share it here.

    Checksums are verified: those in torch's zips (CRC-32 of each part) and those that `save_weights` wrote.

    Raises InputError, with the name of the file, if it holds no set of plain, finite tensors, if it holds several and
    none is preferred, or if its tensors cannot be read without running code.
    """
    weights, seen = Weights(), dict[tuple[object, ...], Tensor]()
    for name, tensor in _stripped(_without_leftovers(_chosen(_read(path), path, fit), path)).items():
        if not _is_plain(tensor):
            raise InputError(f"'{name}' in '{path}' is no plain tensor: save the network's state_dict again")
        place = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        plain = seen.setdefault(place, tensor.detach().float() if tensor.is_floating_point() else tensor)
        if not plain.isfinite().all():
            raise InputError(f"'{name}' in '{path}' holds NaN or infinite values: give an earlier checkpoint")
        weights[name] = plain
    return weights


def few(names: Collection[str]) -> str:
    """The first three names and the number of the others, for a sentence."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(f"'{name}'" for name in list(names)[:3]) + more


def note(sentence: str) -> None:
    """Warns of what else a file holds."""
    warnings.warn(sentence, stacklevel=4)


def save_weights(weights: Weights, path: Path, about: Mapping[str, str] | None = None) -> None:
    """Writes safetensors with a checksum of their names and numbers, which `read_weights` verifies.

    `about` is further metadata.
    """
    metadata = {**(about or {}), CHECKSUM: digest(sorted(weights.items()))}
    content = safetensors.torch.save(weights, metadata)
    path.write_bytes(_with_sorted_metadata(content))  # save_file ignores the umask


def _with_sorted_metadata(content: bytes) -> bytes:
    """The same safetensors with sorted metadata, which the library writes in a random order."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]


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
        quiet = warnings.catch_warnings(action="ignore")  # torch warns of what it is about to refuse
        with quiet, torch.serialization.safe_globals(inert_types()):
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
        return (
            f"refused: '{path}' holds code ({code}), not only tensors: ask its publisher for its state_dict alone, in "
            "safetensors; opening the file elsewhere to save it yourself would run the code"
        )
    return f"'{path}' is truncated, damaged, or no file of torch or safetensors: download or save it again"


def _chosen(content: Any, path: Path, fit: Callable[[Collection[str]], int] | None) -> Weights:
    """The set of weights that is meant in the content of a file; a note says if there were others."""
    sets = dict(_sets(content))
    if large := {place: tensors for place, tensors in sets.items() if any(t.ndim > 1 for t in tensors.values())}:
        sets = large  # not a step counter or the state of a random generator
    if not sets:
        items = list(content.items()) if isinstance(content, Mapping) else []
        names = ", ".join(f"'{name}'" for name, _ in items[:3]) or f"a {type(content).__name__}"
        kind = "an optimizer's state" if "optim" in names or "param_groups" in names else "no weights by name"
        raise InputError(f"'{path}' holds {kind} ({names}): give the file with the network's state_dict")
    fits = {place: fit(tensors) if fit else 0 for place, tensors in sets.items()}
    fitting = [place for place, value in fits.items() if value == max(fits.values())]
    averaged = [place for place in fitting if AVERAGED.search(place)]
    preferred = averaged if len(averaged) == 1 else [place for name in CONTAINERS for place in fitting if place == name]
    if len(fitting) > 1 and not preferred:
        raise InputError(
            f"'{path}' holds several sets of weights ({', '.join(map(repr, fitting))}), and nothing says which is "
            "meant: give a file with one of them"
        )
    chosen = (preferred or fitting)[0]
    if others := [place for place in sets if place != chosen]:
        kind = "averaged weights (EMA)" if AVERAGED.search(chosen) else "weights"
        note(f"'{path}' holds {few(others)} too: the {kind} '{chosen}' are loaded")
    return sets[chosen]


def _sets(content: Any, place: str = "", above: tuple[int, ...] = ()) -> Iterator[tuple[str, Weights]]:
    """The sets of tensors by name in nested dicts, each with its place, such as "ema.model"; no optimizer's state."""
    if not isinstance(content, Mapping) or "param_groups" in content or id(content) in above:
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        yield place, tensors
    for name, value in content.items():
        yield from _sets(value, f"{place}.{name}" if place else str(name), (*above, id(content)))


def _without_leftovers(weights: Weights, path: Path) -> Weights:
    """The weights without the counters that tools of training and profiling leave among them."""
    kept = {name: tensor for name, tensor in weights.items() if name.rpartition(".")[2] not in LEFTOVERS}
    if kept and len(kept) < len(weights):
        note(f"in '{path}' {few([name for name in weights if name not in kept])} are ignored, which are no weights")
    return kept or weights


def _stripped(weights: Weights) -> Weights:
    """The weights without the WRAPPERS that stand before all their names."""
    while (first := common_part(weights)) in WRAPPERS:
        weights = {name.removeprefix(f"{first}."): tensor for name, tensor in weights.items()}
    return weights


def common_part(names: Collection[str]) -> str:
    """The part up to the first dot, if all names have the same one; else nothing."""
    parts = {name.partition(".")[0] if "." in name else "" for name in names}
    return parts.pop() if len(parts) == 1 else ""


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor is dense, real, not empty and as large as its memory."""
    dense = tensor.layout is torch.strided and not (tensor.is_quantized or tensor.is_meta)
    if not dense or tensor.is_complex() or tensor.numel() == 0:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()  # else one number, expanded
