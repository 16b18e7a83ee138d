"""The state of a training on disk: full disks, damage, links and killed processes."""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from commands import room_for, started
from safetensors.torch import load_file

from srgame.cli.verbs import main
from srgame.errors import InputError
from srgame.training.state import STATES, WEIGHTS, read_state, write_state

Run = Callable[..., tuple[int, str, str]]
RUN = {"strategy": "Original", "seed": 0}


def state_at(step: int) -> dict[str, object]:
    return {"run": RUN, "network": {"weight": torch.full((64,), float(step))}, "log": [{"step": step}]}


def test_a_saved_state_is_read_back_and_the_one_before_stays(tmp_path: Path) -> None:
    assert read_state(tmp_path, RUN) is None
    for step in (1, 2):
        write_state(tmp_path, state_at(step), {"log.csv": lambda path, step=step: path.write_text(f"{step}") and None})
    state = read_state(tmp_path, RUN)
    assert state is not None and state["step"] == 2 and (state["network"]["weight"] == 2).all()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", *sorted(STATES)]


@pytest.mark.parametrize("room", [0, 100], ids=["not even for the log", "not for the state"])
def test_a_full_disk_loses_no_earlier_state(tmp_path: Path, room: int) -> None:
    write = {"log.csv": lambda path: path.write_text("step\n1\n") and None}
    write_state(tmp_path, state_at(1), write)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with room_for(room), pytest.raises(InputError, match=f"'{tmp_path}' cannot be written to"):
        write_state(tmp_path, state_at(2), write)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    write_state(tmp_path, state_at(3), write)
    assert read_state(tmp_path, RUN)["step"] == 3


def test_nothing_is_written_through_a_link_in_the_folder(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "run"
    folder.mkdir()
    outside.write_text("precious")
    for name in ("log.csv", "log.csv.partial", STATES[0], f"{STATES[0]}.partial"):
        (folder / name).symlink_to(outside)
    write_state(folder, state_at(1), {"log.csv": lambda path: path.write_text("step\n1\n") and None})
    assert outside.read_text() == "precious" and read_state(folder, RUN)["step"] == 1


@pytest.mark.filterwarnings("ignore:.*damaged")
def test_flipped_bits_are_never_read_as_weights(tmp_path: Path) -> None:
    rng = random.Random(0)
    for step in (1, 2):
        write_state(tmp_path, state_at(step), {})
    path = tmp_path / STATES[0]
    good = path.read_bytes()
    used = set()
    for _ in range(200):
        bad = bytearray(good)
        bad[rng.randrange(len(bad))] ^= 1 << rng.randrange(8)
        path.write_bytes(bad)
        state = read_state(tmp_path, RUN)
        assert state is not None and state["network"]["weight"].eq(state["step"]).all()
        used.add(state["step"])
    assert used == {1, 2}  # most flips make it fall back to the state before; the others hit unused bytes


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.ema.safetensors", "log.csv", "run.json"])
def test_a_training_overwrites_no_results_without_a_state(srgame: Run, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).write_text("precious")
    size = ["--features", 4, "--blocks", 1, "--batch", 1, "--patch", 32, "--crop", 0, "--pool", 1, "--steps", 1]
    status, printed, error = srgame("train", "photographs", *size, "--output", folder)
    assert status == 2 and printed == "" and f"'{folder}' holds {name} but no state" in error
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [(name, "precious")]


def test_a_run_killed_while_it_renames_its_first_files_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_: Path, path: Path) -> None:
        raise KeyboardInterrupt

    write = {"log.csv": lambda path: path.write_text("step\n1\n") and None, WEIGHTS: Path.touch}
    for renamed in range(3):
        folder, rename = tmp_path / str(renamed), os.replace
        folder.mkdir()
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            steps = iter([rename] * renamed + [killed])
            patched.setattr(os, "replace", lambda *paths, steps=steps: next(steps)(*paths))
            write_state(folder, state_at(1), write)
        assert (folder / "log.csv").exists() == (renamed > 0) and not (folder / STATES[0]).exists()
        assert read_state(folder, RUN) is None
        write_state(folder, state_at(1), write)
        assert read_state(folder, RUN)["step"] == 1 and len(list(folder.iterdir())) == 3


def test_a_run_killed_at_random_moments_ends_like_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    cv2.imwrite(str(images / "one.png"), noise)
    size = ["--features", "4", "--blocks", "1", "--batch", "2", "--patch", "32", "--crop", "0", "--pool", "2"]
    length = ["--steps", "60", "--save-every", "5", "--ema", "0.9", "--strategy", "eats"]
    shown = ["--validation", str(images), "--validation-degradations", "clean"]
    train = ["train", str(images), *size, *length, *shown, "--output"]
    log, rng = tmp_path / "killed" / "log.csv", random.Random(1)
    for _ in range(2):
        process = started([*train, tmp_path / "killed"], tmp_path / "shown")
        reached = _size(log)
        while process.is_alive() and _size(log) <= reached:
            time.sleep(0.01)
        time.sleep(rng.random() / 20)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    stopped = len(log.read_text().splitlines())
    for run in ("killed", "whole"):
        monkeypatch.setattr(sys, "argv", ["srgame", *train, str(tmp_path / run)])
        main()
    assert 1 < stopped < len(log.read_text().splitlines())
    for name in ("weights.safetensors", "weights.ema.safetensors"):
        whole, killed = (load_file(tmp_path / run / name) for run in ("whole", "killed"))
        assert whole.keys() == killed.keys() and all(torch.equal(whole[key], killed[key]) for key in whole)
    assert not torch.equal(
        killed["conv_hr.weight"], load_file(tmp_path / "killed" / "weights.safetensors")["conv_hr.weight"]
    )


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
