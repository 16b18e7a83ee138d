"""A training that SIGTERM or Ctrl-C stops: `srgame train` in a process of its own, stopped in the middle of a step."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from commands import started
from safetensors.torch import load_file

from srgame.files import LOCK

SIGNALS = [signal.SIGTERM, signal.SIGINT]
STEPS, SAVE_EVERY, HELD = 12, 5, 7
# While the file `hold` exists, the step HELD of this network does not end; `inside` then says that it has begun.
NETWORK = f"""
import time
from pathlib import Path
from srgame.networks import SRResNet
HERE = Path(__file__).parent
class Held(SRResNet):
    steps = 0
    def forward(self, lr):
        self.steps += self.training
        while self.steps == {HELD} and (HERE / "hold").exists():
            (HERE / "inside").touch()
            time.sleep(0.01)
        return super().forward(lr)
def build():
    return Held(features=4, blocks=1)
"""
Run = Callable[..., tuple[int, str, str]]
Start = Callable[[str], BaseProcess]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the network, and with `whole`, a training that nothing stopped."""
    folder = tmp_path_factory.mktemp("stopping")
    (folder / "held.py").write_text(NETWORK)
    (folder / "images").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    cv2.imwrite(str(folder / "images" / "one.png"), noise)
    ended = started(words(folder, "whole"), shown := folder / "whole.txt")
    ended.join()
    assert ended.exitcode == 0 and "weights.safetensors" in shown.read_text(), shown.read_text()
    assert log(folder / "whole") == [SAVE_EVERY, 2 * SAVE_EVERY, STEPS]
    return folder


@pytest.fixture
def held(place: Path) -> Iterator[Start]:
    """Starts a training, and waits until it is in the middle of the step HELD; kills what is left of it in the end."""
    processes: list[BaseProcess] = []

    def start(name: str) -> BaseProcess:
        (place / "hold").touch()
        processes.append(process := started(words(place, name), place / f"{name}.txt"))
        while not (place / "inside").exists():
            assert process.is_alive(), "the training ended before it was stopped"
            time.sleep(0.02)
        assert log(place / name) == [SAVE_EVERY]
        return process

    yield start
    for process in processes:
        process.kill()
        process.join()
    for name in ("hold", "inside"):
        (place / name).unlink(missing_ok=True)


def words(place: Path, name: str) -> list[object]:
    amount = ["--steps", STEPS, "--save-every", SAVE_EVERY, "--batch", 2, "--patch", 32, "--crop", 0, "--pool", 2]
    what = ["--network", f"{place / 'held.py'}:build", "--strategy", "dropout", "--degradation", "bicubic"]
    return ["train", place / "images", *amount, *what, "--validation-degradations", "--output", place / name]


def log(folder: Path) -> list[int]:
    return pd.read_csv(folder / "log.csv")["step"].tolist()


def state(folder: Path) -> dict[str, object]:
    return torch.load(folder / "state.pt", weights_only=True)


def ends_like_the_whole_run(srgame: Run, place: Path, name: str) -> None:
    """Runs the same command again, and compares weights and optimiser with those of the whole run, bit for bit."""
    status, _, error = srgame(*words(place, name))
    assert status == 0, error
    whole, stopped = (load_file(place / run / "weights.safetensors") for run in ("whole", name))
    assert whole.keys() == stopped.keys() and all(torch.equal(whole[key], stopped[key]) for key in whole)
    moments, after = (state(place / run)["optimiser"]["state"] for run in ("whole", name))
    for number, moment in moments.items():
        assert all(torch.equal(moment[key], after[number][key]) for key in moment)


@pytest.mark.parametrize("number", SIGNALS)
def test_one_signal_lets_the_step_end_and_saves_its_state(
    srgame: Run, place: Path, held: Start, number: signal.Signals
) -> None:
    folder, process = place / number.name, held(number.name)
    os.kill(process.pid, number)
    time.sleep(0.5)
    assert process.is_alive() and log(folder) == [SAVE_EVERY]  # the step has not ended
    (place / "hold").unlink()
    process.join(timeout=60)
    error = (place / f"{number.name}.txt").read_text()
    assert process.exitcode == 130 and "Traceback" not in error
    assert f"interrupted: {HELD} of {STEPS} steps are done" in error
    assert log(folder) == [SAVE_EVERY, HELD] and json.loads((folder / "run.json").read_text())["step"] == HELD
    assert state(folder)["log"][-1]["step"] == HELD
    weights = load_file(folder / "weights.safetensors")
    assert all(torch.equal(weights[name], value) for name, value in state(folder)["network"].items())
    ends_like_the_whole_run(srgame, place, number.name)
    assert log(folder) == [SAVE_EVERY, HELD, 2 * SAVE_EVERY, STEPS]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_a_training_at_once_and_keeps_the_state_before(
    srgame: Run, place: Path, held: Start, number: signal.Signals
) -> None:
    name = f"twice {number.name}"
    process = held(name)
    before = files(place / name)
    os.kill(process.pid, number)
    time.sleep(0.5)
    assert process.is_alive()
    os.kill(process.pid, number)
    process.join(timeout=60)
    error = (place / f"{name}.txt").read_text()
    assert (place / "hold").exists() and process.exitcode == 130
    assert error.splitlines()[-1] == "srgame: stopped" and "Traceback" not in error
    assert files(place / name) == before and not (place / name / LOCK).exists()
    (place / "hold").unlink()
    ends_like_the_whole_run(srgame, place, name)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name != LOCK}
