"""Degraded patches that are made once, in a folder that any number of trainings read: lr.npy, hr.npy and patches.json.

All trainings then see the same patches, which makes them comparable, and none spends time on degradation
(analyses/bench_patches.py). The files are read through a memory map, which all processes share.
"""

import json
import os
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from tqdm.auto import tqdm

from srgame.errors import InputError, check_counts
from srgame.files import differences, lock, write_atomic
from srgame.training.patches import Batch, Patches, prefetched

MANIFEST = "patches.json"
PARTS = ("lr", "hr")
BATCHES_BETWEEN_RECORDS = 64  # progress is recorded in the manifest this often


def write_patches(patches: Patches, count: int, folder: Path, workers: int = 0, progress: bool = False) -> Path:
    """Writes the first `count` of `patches` into `folder` as 8-bit values; returns the path of its manifest.

    After an interruption, the same call resumes; the result is the same to the last bit with any number of `workers`.
    Sharpened HR patches are rounded to 8 bits.

    Raises InputError if the folder holds other patches, if it is not writable, or if the disk is full.

    >>> from tempfile import TemporaryDirectory
    >>> from srgame.data.images import image_paths, read_rgb
    >>> images = [read_rgb(path) for path in image_paths("photographs")]
    >>> with TemporaryDirectory() as folder:
    ...     manifest = write_patches(Patches(images, patch=32, batch=2), 4, Path(folder))
    ...     lr, hr = StoredPatches(Path(folder), batch=3)(0)  # the batch of step 0
    >>> manifest.name, lr.shape, hr.shape
    ('patches.json', torch.Size([3, 3, 8, 8]), torch.Size([3, 3, 32, 32]))
    """
    check_counts(patches=count)
    settings = _settings(patches) | {"count": count}
    with lock(folder):
        stored = _manifest(folder)
        manifest = stored or {"settings": settings, "made": 0, "crc32": dict.fromkeys(PARTS, 0)}
        if differ := differences(manifest["settings"], settings):
            raise InputError(f"'{folder}' holds other patches ({'; '.join(differ.values())}): choose another folder")
        if not stored and (there := [part for part in PARTS if (folder / f"{part}.npy").exists()]):
            raise InputError(f"'{folder}' holds another '{there[0]}.npy' already: choose another folder")
        try:
            _record(folder, manifest)
            _write(patches, folder, manifest, workers, progress)
        except OSError as error:
            raise InputError(
                f"patches cannot be written to '{folder}' ({error.strerror}): free space, and the same command resumes"
            ) from error
    return folder / MANIFEST


def _write(patches: Patches, folder: Path, manifest: dict[str, Any], workers: int, progress: bool) -> None:
    """Writes the patches that the manifest does not count yet, and records the progress in it."""
    count, made = manifest["settings"]["count"], manifest["made"]
    sides = {"lr": patches.patch // patches.scale, "hr": patches.patch}
    paths = {part: _cut_to(folder / f"{part}.npy", (count, side, side, 3), made) for part, side in sides.items()}
    steps = range(-(-made // patches.batch), -(-count // patches.batch))
    bar = tqdm(steps, "patches", initial=steps.start, total=steps.stop, disable=not progress)
    with prefetched(patches, 2 * workers, workers) if workers else nullcontext(patches) as batches:
        for step in bar:
            rows = min(patches.batch, count - made)
            for part, images in zip(PARTS, batches(step), strict=True):
                content = _bytes(images[:rows])
                with paths[part].open("ab") as file:
                    file.write(content)
                manifest["crc32"][part] = zlib.crc32(content, manifest["crc32"][part])
            made += rows
            if made == count or (step + 1) % BATCHES_BETWEEN_RECORDS == 0:
                manifest["made"] = made
                _record(folder, manifest)


def _record(folder: Path, manifest: dict[str, Any]) -> None:
    write_atomic(folder / MANIFEST, json.dumps(manifest, indent=1).encode())


def _cut_to(path: Path, shape: tuple[int, ...], made: int) -> Path:
    """Makes `path` a .npy file of 8-bit values of this shape that ends after its first `made` rows; returns it."""
    if not made:
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with path.open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        start = file.tell()
    os.truncate(path, start + made * int(np.prod(shape[1:])))
    return path


def _bytes(images: Tensor) -> bytes:
    pixels: np.ndarray = (images * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return pixels.tobytes()


def _settings(patches: Patches) -> dict[str, Any]:
    """All settings that the patches depend on."""
    names = ("degradation", "scale", "patch", "crop", "batch", "sharpen", "seed")
    return {name: getattr(patches, name) for name in names} | {"images": _fingerprint(patches.images)}


def _fingerprint(images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> str:
    digest = sha256()
    for image in images:
        digest.update(f"{image.shape}".encode())
        digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a store; None if `folder` is no store."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        manifest: dict[str, Any] = json.loads(path.read_bytes())
        int(manifest["settings"]["count"]), int(manifest["made"]), [int(manifest["crc32"][part]) for part in PARTS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"'{path}' is damaged: make the patches again in another folder") from error
    return manifest


class StoredPatches:
    """Batches of the patches in `folder`, each a pure function of (seed, step).

    Each epoch uses every patch once, in a permutation drawn with `seed`. If `shards` processes train together, each
    reads its own share. A batch has LR images "batch 3 h w" and HR images "batch 3 H W" with values in [0, 1].

    Raises InputError if the folder holds no complete store, or if its files have changed since (CRC-32).

    >>> from tempfile import TemporaryDirectory
    >>> from srgame.data.images import image_paths, read_rgb
    >>> images = [read_rgb(path) for path in image_paths("photographs")]
    >>> with TemporaryDirectory() as folder:
    ...     manifest = write_patches(Patches(images, patch=32, batch=2), 4, Path(folder))
    ...     lr, hr = StoredPatches(Path(folder), batch=3)(0)  # the batch of step 0
    >>> manifest.name, lr.shape, hr.shape
    ('patches.json', torch.Size([3, 3, 8, 8]), torch.Size([3, 3, 32, 32]))
    """

    def __init__(self, folder: Path, batch: int = 16, seed: int = 0, shard: int = 0, shards: int = 1) -> None:
        check_counts(batch=batch)
        manifest = _manifest(folder)
        if manifest is None:
            raise InputError(f"'{folder}' holds no patches: make them with srgame degrade … --patches N")
        count = manifest["settings"]["count"]
        if manifest["made"] < count:
            raise InputError(
                f"'{folder}' holds {manifest['made']:,} of {count:,} patches: let srgame degrade finish them "
                "(the same command resumes)"
            )
        self.settings = manifest["settings"] | {"crc32": manifest["crc32"]}
        self.batch, self.seed, self.shard, self.shards = batch, seed, shard, shards
        self._parts = [_mapped(folder / f"{part}.npy", manifest["crc32"][part]) for part in PARTS]

    def __call__(self, step: int) -> Batch:
        count = self.settings["count"]
        first = (step * self.shards + self.shard) * self.batch
        rows = [int(_permutation(self.seed, at // count, count)[at % count]) for at in range(first, first + self.batch)]
        lr, hr = (torch.from_numpy(part[rows]).permute(0, 3, 1, 2).float() / 255 for part in self._parts)
        return lr, hr


def _mapped(path: Path, crc32: int) -> UInt8[np.ndarray, "n _ _ 3"]:
    try:
        pixels: np.ndarray = np.load(path, mmap_mode="r")
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read ({error}): make the patches again in another folder") from error
    checksum = 0
    for start in range(0, len(pixels), 1024):
        checksum = zlib.crc32(pixels[start : start + 1024].tobytes(), checksum)
    if checksum != crc32:
        raise InputError(f"'{path}' is damaged (its checksum does not match): make the patches again in another folder")
    return pixels


@lru_cache(maxsize=2)  # a batch may end one epoch and begin the next
def _permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch, 3]).permutation(count)
