"""Batches of LR and HR patches to train on, each a pure function of (seed, step): nothing has to be saved to resume."""

import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import parent_process
from threading import Thread
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from srgame.data.degradations.training import DEGRADATIONS, sharpened
from srgame.errors import InputError, chosen

Batch = tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 H W"]]
Batches = Callable[[int], Batch]


@dataclass(frozen=True)
class Patches:
    """Random crops of `images`, flipped at random and degraded; of each, one patch of `patch` HR pixels a side.

    A crop has `crop` pixels a side, at least the patch's; images smaller than it are reflected at their edges (the
    second-order degradation is defined on crops of 400). With `sharpen` the HR images are sharpened first (USM). Every
    `shard`, of processes that train together, has patches of its own.
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
            raise InputError("batch and patch are numbers from 1 on, crop and seed from 0 on")
        for side in (self.patch, self.crop):
            if side % self.scale:
                raise InputError(f"a patch or crop of {side} pixels is no multiple of the scale {self.scale}")
        small = [image.shape for image in self.images if min(image.shape[:2]) < self.patch]
        if small:
            raise InputError(
                f"{len(small)} of {len(self.images)} images are smaller than the patch of {self.patch} pixels "
                f"(the first: {small[0][1]}×{small[0][0]}): choose a smaller patch or leave them out"
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
    """Batches dealt anew from the patches of each `count` successive ones.

    A degraded batch shares draws; mixed, it is not trained on in one step (Real-ESRGAN's pool, of any size).
    """

    @lru_cache(maxsize=1)
    def dealt(block: int) -> tuple[Tensor, Tensor, list[np.ndarray]]:
        lr, hr = (
            torch.cat(parts) for parts in zip(*map(batches, range(block * count, (block + 1) * count)), strict=True)
        )
        order = np.random.default_rng([seed, block, 2]).permutation(len(lr))
        return lr, hr, np.split(order, count)

    def batch(step: int) -> Batch:
        lr, hr, hands = dealt(step // count)
        hand = hands[step % count]
        return lr[hand], hr[hand]

    return batch if count > 1 else batches


def prefetched(batches: Batches, ahead: int = 1, workers: int = 0) -> Batches:
    """The same batches, the next `ahead` being made while one is trained on (of mixed ones, a block).

    They are made in a thread or, on the CPU, by so many processes. Raises InputError where such a process is killed.
    Where processes are not forked (macOS, Windows, Python 3.14 on), each has a copy of the images.
    """
    maker: Executor = (
        ProcessPoolExecutor(workers, initializer=_work_on, initargs=(batches,)) if workers else ThreadPoolExecutor(1)
    )
    make = _made if workers else batches
    coming: dict[int, Future[tuple[Any, Any]]] = {}

    def batch(step: int) -> Batch:
        for other in set(coming) - set(range(step, step + ahead + 1)):
            coming.pop(other).cancel()
        try:
            for next_step in range(step, step + ahead + 1):
                if next_step not in coming:
                    coming[next_step] = maker.submit(make, next_step)
            lr, hr = coming.pop(step).result()
        except BrokenProcessPool as error:
            raise InputError("a process that made patches was killed: give fewer workers, or free memory") from error
        return torch.as_tensor(lr), torch.as_tensor(hr)

    return batch


_MINE: list[Batches] = []  # what a worker makes


def _work_on(batches: Batches) -> None:
    """A worker computes in one thread, leaves what asks to stop to the process that trains, and ends with it."""
    _MINE.append(batches)
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # which is how its pool ends it
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # torchrun and shells stop whole groups


def _end_with_parent() -> None:
    """One that was killed closes nothing that its workers wait for."""
    if parent := parent_process():
        parent.join()
        os._exit(1)


def _made(step: int) -> tuple[np.ndarray, np.ndarray]:
    """A worker's batch as arrays: tensors would take shared memory, of which containers have little."""
    lr, hr = _MINE[0](step)
    return lr.numpy(), hr.numpy()


def moved(batches: Batches, device: str) -> Batches:
    """The same batches on this device."""

    def batch(step: int) -> Batch:
        lr, hr = batches(step)
        return lr.to(device), hr.to(device)

    return batch
