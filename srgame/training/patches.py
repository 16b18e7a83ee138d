"""Batches of LR and HR patches to train on.

Each batch is a pure function of (seed, step), so a run resumes without any saved state of its data.
"""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import get_start_method, parent_process
from threading import Thread
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from srgame.data.degradations.training import DEGRADATIONS, sharpened
from srgame.data.lazy import LazyImages
from srgame.errors import MAIN_GUARD, InputError, check_main_guard, chosen

Batch = tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 H W"]]
Batches = Callable[[int], Batch]


@dataclass(frozen=True)
class Patches:
    """Batches of patches: each is cut from a random crop of a random image, flipped at random and then degraded.

    A patch has `patch` HR pixels a side. A crop has `crop` HR pixels a side, or `patch` if that is more; smaller images
    are reflected at their edges. (The second-order degradation is defined on crops of 400 pixels.) With `sharpen`, HR
    images are sharpened first (USM). Processes that train together pass their number as `shard` and draw different
    patches.

    Raises InputError for an unknown degradation, for a side that the scale does not divide, and for images smaller than
    the patch.

    >>> from srgame.data.images import image_paths, read_rgb
    >>> images = [read_rgb(path) for path in image_paths("photographs")]
    >>> lr, hr = Patches(images, "second-order", patch=32, batch=2, crop=64)(0)  # the batch of step 0
    >>> lr.shape, hr.shape
    (torch.Size([2, 3, 8, 8]), torch.Size([2, 3, 32, 32]))
    """

    images: Sequence[UInt8[np.ndarray, "_ _ 3"]]
    degradation: str = "bicubic"
    scale: int = 4
    patch: int = 128
    batch: int = 16
    crop: int = 0
    sharpen: bool = False
    seed: int = 0
    shard: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        chosen("training degradation", self.degradation, DEGRADATIONS)
        if self.batch < 1 or self.patch < 1 or self.crop < 0 or self.seed < 0:
            raise InputError(
                "batch and patch must be at least 1, crop and seed at least 0, "
                f"not {self.batch}, {self.patch}, {self.crop} and {self.seed}"
            )
        for side in (self.patch, self.crop):
            if side % self.scale:
                raise InputError(f"patch and crop must be multiples of the scale {self.scale}, not {side} pixels")
        shapes = self.images.shapes if isinstance(self.images, LazyImages) else [image.shape for image in self.images]
        small = [shape for shape in shapes if min(shape[:2]) < self.patch]
        if small:
            raise InputError(
                f"{len(small)} of {len(self.images)} images are smaller than the patch of {self.patch} pixels "
                f"(the first: {small[0][1]}×{small[0][0]}): choose a smaller patch or remove them"
            )

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step, 0, self.shard])
        crops = np.stack([self._crop(rng) for _ in range(self.batch)])
        hr = torch.from_numpy(crops).to(self.device).permute(0, 3, 1, 2).float() / 255
        hr = sharpened(hr) if self.sharpen else hr
        lr, _ = DEGRADATIONS[self.degradation](hr, rng, self.scale)
        size = self.patch // self.scale
        corners = rng.integers(lr.shape[-1] - size + 1, size=(self.batch, 2)).tolist()
        return _cut(lr, corners, size), _cut(hr, [[self.scale * side for side in c] for c in corners], self.patch)

    def _crop(self, rng: np.random.Generator) -> UInt8[np.ndarray, "side side 3"]:
        side = max(self.crop, self.patch)
        image = self.images[int(rng.integers(len(self.images)))]
        below, right = (max(0, side - length) for length in image.shape[:2])
        if below or right:
            image = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_REFLECT_101)
        top, left = (rng.integers(length - side + 1) for length in image.shape[:2])
        crop = image[top : top + side, left : left + side]
        return crop[:, ::-1] if rng.random() < 0.5 else crop


def _cut(images: Float[Tensor, "b 3 _ _"], corners: list[list[int]], side: int) -> Float[Tensor, "b 3 side side"]:
    parts = [image[:, y : y + side, x : x + side] for image, (y, x) in zip(images, corners, strict=True)]
    return torch.stack(parts)


def mixed(batches: Batches, count: int, seed: int = 0) -> Batches:
    """The same patches, shuffled within each block of `count` successive batches.

    The patches of a degraded batch share some draws; after mixing, a step sees patches with different draws. This is
    Real-ESRGAN's pool, with any size.
    """

    @lru_cache(maxsize=1)
    def shuffled(block: int) -> tuple[Tensor, Tensor, list[np.ndarray]]:
        lr, hr = (
            torch.cat(parts) for parts in zip(*map(batches, range(block * count, (block + 1) * count)), strict=True)
        )
        order = np.random.default_rng([seed, block, 2]).permutation(len(lr))
        return lr, hr, np.split(order, count)

    def batch(step: int) -> Batch:
        lr, hr, shares = shuffled(step // count)
        share = shares[step % count]
        return lr[share], hr[share]

    return batch if count > 1 else batches


def joined(parts: Sequence[Batches]) -> Batches:
    """Batches that hold a batch of each part, one after the other."""

    def batch(step: int) -> Batch:
        lr, hr = zip(*(part(step) for part in parts), strict=True)
        return torch.cat(lr), torch.cat(hr)

    return batch


@contextmanager
def prefetched(batches: Batches, ahead: int = 1, workers: int = 0) -> Iterator[Batches]:
    """While open, yields the same batches, of which the next `ahead` are computed while training uses one.

    They are computed in one thread or, on the CPU, in `workers` processes; thread and processes end when this closes.
    For mixed batches, let `ahead` be the size of a block. A batch raises InputError if a process was killed. If
    processes are not forked (macOS, Windows, Python 3.14 and later), each has a copy of the images, unless these are
    LazyImages.
    """
    if workers:
        check_main_guard()
    executor: Executor = (
        ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(batches,))
        if workers
        else ThreadPoolExecutor(1)
    )
    compute = _arrays if workers else batches
    coming: dict[int, Future[tuple[Any, Any]]] = {}
    made = False

    def batch(step: int) -> Batch:
        nonlocal made
        for other in set(coming) - set(range(step, step + ahead + 1)):
            coming.pop(other).cancel()
        try:
            for next_step in range(step, step + ahead + 1):
                if next_step not in coming:
                    coming[next_step] = executor.submit(compute, next_step)
            lr, hr = coming.pop(step).result()
        except BrokenProcessPool as error:
            if not made and get_start_method() != "fork":
                raise InputError(f"no worker that makes patches could start: {MAIN_GUARD}") from error
            raise InputError("a worker that makes patches was killed: use fewer workers, or free memory") from error
        made = True
        return torch.as_tensor(lr), torch.as_tensor(hr)

    try:
        yield batch
    finally:
        executor.shutdown(cancel_futures=True)


_WORKER_BATCHES: list[Batches] = []  # the batches of a worker process


def _start_worker(batches: Batches) -> None:
    """Prepares a worker: it computes in one thread, leaves signals to the process that trains, and ends with it."""
    _WORKER_BATCHES.append(batches)
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the pool ends its workers with it
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # torchrun and shells signal whole groups


def _end_with_parent() -> None:
    """Ends the worker with its parent: a parent that was killed does not close the pipe that the worker reads."""
    if parent := parent_process():
        parent.join()
        os._exit(1)


def _arrays(step: int) -> tuple[np.ndarray, np.ndarray]:
    """A worker's batch as arrays: tensors would use shared memory, which is small in containers."""
    lr, hr = _WORKER_BATCHES[0](step)
    return lr.numpy(), hr.numpy()


def moved(batches: Batches, device: str) -> Batches:
    """The same batches on this device."""

    def batch(step: int) -> Batch:
        lr, hr = batches(step)
        return lr.to(device), hr.to(device)

    return batch
