"""Batches of patches: where they are cut, how they are mixed, and who computes them ahead."""

import multiprocessing
import os
import runpy
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from commands import forking
from torch import Tensor
from trainings import IMAGES, batches, tiny

from srgame.errors import InputError
from srgame.training.loop import Schedule, fit
from srgame.training.patches import Patches, mixed, moved, prefetched
from srgame.training.strategies import Original

Made = Callable[[int], tuple[Tensor, Tensor]]


def test_patches_are_cut_from_the_images_and_repeat() -> None:
    lr, hr = batches()(5)
    assert lr.shape == (5, 3, 6, 6) and hr.shape == (5, 3, 24, 24)
    again = batches()(5)
    assert torch.equal(lr, again[0]) and torch.equal(hr, again[1])
    assert not torch.equal(hr, batches()(6)[1])
    variants = {
        turned.tobytes()
        for image in IMAGES
        for top in range(17)
        for left in range(27)
        for patch in [image[top : top + 24, left : left + 24]]
        for turned in (patch, patch[:, ::-1])
    }
    for patch in (hr * 255).round().byte().permute(0, 2, 3, 1).numpy():
        assert np.ascontiguousarray(patch).tobytes() in variants


@pytest.mark.parametrize("degradation", ["bicubic", "second-order", "bsrgan"])
def test_lr_and_hr_patches_show_the_same_place(degradation: str) -> None:
    lr, hr = Patches(IMAGES, degradation, patch=24, batch=64, crop=36, seed=1)(0)
    assert lr.shape == (64, 3, 6, 6) and hr.shape == (64, 3, 24, 24)
    small = F.avg_pool2d(hr, 4)
    own = (lr - small).abs().mean((1, 2, 3))
    others = (lr - small.roll(1, 0)).abs().mean((1, 2, 3))
    assert (own < others).float().mean() > 0.85
    assert torch.equal(Patches(IMAGES, degradation, patch=24, batch=64, crop=36, seed=1)(0)[0], lr)


def test_crops_larger_than_the_image_are_reflected_and_sharpening_changes_hr() -> None:
    plain, sharp = (Patches(IMAGES, patch=24, crop=64, batch=2, sharpen=sharpen)(0)[1] for sharpen in (False, True))
    assert plain.shape == sharp.shape == (2, 3, 24, 24) and not torch.equal(plain, sharp)


@pytest.mark.parametrize("count", [2, 5])
def test_mixed_batches_hold_the_same_patches_shuffled_and_repeat(count: int) -> None:
    source, pool = batches(), mixed(batches(), count)
    for block in (0, 1):
        steps = range(block * count, (block + 1) * count)
        before, after = (
            [str((lr.tolist(), hr.tolist())) for step in steps for lr, hr in zip(*made(step), strict=True)]
            for made in (source, pool)
        )
        assert sorted(before) == sorted(after) and before != after
    resumed = mixed(batches(), count)
    assert torch.equal(resumed(count + 1)[0], pool(count + 1)[0])


def test_prefetched_batches_are_the_same_in_any_order() -> None:
    with prefetched(batches()) as ahead, prefetched(mixed(batches(), 3), ahead=3) as pool:
        for step in (0, 1, 2, 7, 3, 4):
            assert all(torch.equal(a, b) for a, b in zip(ahead(step), batches()(step), strict=True))
            assert all(torch.equal(a, b) for a, b in zip(pool(step), mixed(batches(), 3)(step), strict=True))


def test_prefetched_batches_of_a_pool_are_made_before_their_block_begins() -> None:
    made: list[int] = []

    def recorded(step: int) -> tuple[Tensor, Tensor]:
        made.append(step)
        return batches()(step)

    with prefetched(mixed(recorded, 3), ahead=3) as pool:
        pool(0)
        deadline = time.monotonic() + 20
        while len(made) < 6 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert made == [0, 1, 2, 3, 4, 5]


def test_batches_of_workers_are_those_of_one_process_in_any_order() -> None:
    source = Patches(IMAGES, "second-order", patch=24, batch=3, sharpen=True)
    with (
        prefetched(source, ahead=4, workers=2) as made,
        prefetched(source, ahead=2, workers=1) as few,
        prefetched(mixed(moved(few, "cpu"), 2), ahead=2) as pool,
    ):
        for step in (0, 1, 2, 7, 8, 1):
            assert all(torch.equal(a, b) for a, b in zip(made(step), source(step), strict=True))
            assert all(torch.equal(a, b) for a, b in zip(pool(step), mixed(source, 2)(step), strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_no_thread_and_no_process_outlives_prefetching(workers: int) -> None:
    threads, processes = set(threading.enumerate()), set(multiprocessing.active_children())
    with pytest.raises(ZeroDivisionError), prefetched(batches(), ahead=2, workers=workers) as ahead:
        ahead(0)
        assert set(threading.enumerate()) > threads
        assert len(set(multiprocessing.active_children()) - processes) == workers
        _ = 1 / 0
    assert set(threading.enumerate()) <= threads and set(multiprocessing.active_children()) <= processes


def training_by_workers(batches: Made, **how: Any) -> tuple[BaseProcess, TextIO]:
    """A process that trains on batches from two workers; it prints when it begins and why it ends.

    What it prints ends when every process that could print has ended.
    """
    printed, out = forking().Pipe(duplex=False)
    process = forking().Process(target=_train, args=(batches, how, out))
    process.start()
    out.close()
    return process, os.fdopen(os.dup(printed.fileno()))


def _train(batches: Made, how: dict[str, Any], out: Connection) -> None:
    multiprocessing.set_start_method("fork", force=True)  # as in a program that a shell starts
    os.setsid()
    os.dup2(out.fileno(), 1)
    try:
        with prefetched(batches, workers=2, **how) as made, TemporaryDirectory() as folder:
            fit(Original(tiny()), partial(_announced, made), Schedule(10**6, save_every=10**6), Path(folder))
            log = torch.load(Path(folder) / "state.pt", weights_only=True)["log"]
            print("saved", len(log), log[0]["step"] > 0, flush=True)
    except InputError as error:
        print(error, flush=True)


def _announced(made: Made, step: int) -> tuple[Tensor, Tensor]:
    batch = made(step)
    if step == 0:
        print("made", flush=True)
    return batch


def killed(step: int) -> tuple[Tensor, Tensor]:
    if step == 20:
        os.kill(os.getpid(), signal.SIGKILL)
    lr, hr = batches()(step)
    return lr, hr.repeat(1, 1, 9, 9)[..., :24, :24] if step < 20 else hr.repeat(99, 1, 9, 9)  # more than a pipe holds


def test_a_worker_that_is_killed_ends_the_training_with_a_sentence() -> None:
    process, shown = training_by_workers(killed, ahead=8)
    printed = shown.read()
    process.join()
    assert printed.startswith("made\na worker ") and "was killed" in printed and printed.count("\n") == 2


UNGUARDED = """
import multiprocessing, signal
from pathlib import Path
from tempfile import mkdtemp
from srgame.training.loop import Schedule, fit
from srgame.training.patches import Patches, prefetched
from srgame.training.strategies import Original
from trainings import batches, tiny
multiprocessing.set_start_method("spawn", force=True)
with prefetched(batches(), workers=1) as made:
    fit(Original(tiny()), made, Schedule(10**6, save_every=10**6), Path(mkdtemp()))
"""


@pytest.mark.parametrize("terminated", [False, True])
def test_spawned_workers_of_a_script_without_a_main_guard_end_it_with_a_sentence(
    tmp_path: Path, terminated: bool
) -> None:
    (tmp_path / "unguarded.py").write_text(UNGUARDED)
    printed, out = forking().Pipe(duplex=False)
    process = forking().Process(target=_run_script, args=(tmp_path / "unguarded.py", out))
    process.start()
    out.close()
    if terminated:
        time.sleep(1)  # it waits for its worker, which is importing
        process.terminate()
    with os.fdopen(os.dup(printed.fileno())) as shown:
        error = shown.read()  # after the end of both processes
    process.join()
    assert process.exitcode != 0
    if not terminated:
        assert "if __name__ == '__main__'" in error.splitlines()[-1] and "memory" not in error.splitlines()[-1]


def _run_script(path: Path, out: Connection) -> None:
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (Path(__file__).parents[2], Path(__file__).parent)))
    os.dup2(out.fileno(), 2)
    runpy.run_path(str(path), run_name="__main__")


def slow(step: int) -> tuple[Tensor, Tensor]:
    time.sleep(1)
    return batches()(step)


def test_a_process_group_that_receives_sigterm_saves_and_stops() -> None:
    process, shown = training_by_workers(slow, ahead=0)
    assert shown.readline() == "made\n"
    time.sleep(2)  # by now it waits for patches
    os.killpg(process.pid, signal.SIGTERM)
    assert shown.read() == "saved 1 True\n"
    process.join()


def test_workers_end_with_a_training_that_is_killed() -> None:
    process, shown = training_by_workers(batches(), ahead=0)
    assert shown.readline() == "made\n"
    process.kill()
    assert shown.read() == ""  # after the end of every process that has the pipe open
    process.join()


def test_an_unknown_degradation_to_train_on_is_refused() -> None:
    with pytest.raises(InputError, match="unknown training degradation 'fog': choose one of bicubic, second-order"):
        Patches(IMAGES, "fog", patch=24)


def test_images_smaller_than_the_patch_are_refused() -> None:
    with pytest.raises(InputError, match=r"3 of 3 images are smaller than the patch of 48 pixels \(the first: 50×40\)"):
        Patches(IMAGES, patch=48)


def test_a_side_that_the_scale_does_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match="scale 4, not 30"):
        Patches(IMAGES, patch=30)
