"""Two processes that train one network together, as torchrun starts them."""

import os
import signal
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from commands import launched, train_together
from safetensors.torch import load_file

from srgame.cli.train import train
from srgame.data.degradations.training import DISTORTIONS
from srgame.data.images import read_rgb
from srgame.errors import InputError
from srgame.networks import SRResNet
from srgame.training import processes
from srgame.training.loop import Schedule, fit, seeded
from srgame.training.patches import Batches, Patches, joined
from srgame.training.state import STATES
from srgame.training.strategies import STRATEGIES


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    cv2.imwrite(str(folder / "one.png"), np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8))
    return folder


def training(images: Path, output: Path, strategy: str, steps: int) -> list[str]:
    amount = ["--steps", str(steps), "--batch", "4", "--patch", "32", "--crop", "0", "--pool", "1", "--save-every", "3"]
    what = ["--features", "6", "--blocks", "1", "--strategy", strategy]
    what += [] if strategy == "dil" else ["--degradation", "bicubic"]
    shown = ["--validation", str(images), "--validation-degradations", "clean", "--output", str(output)]
    return ["train", str(images), *amount, *what, *shown]


@pytest.mark.parametrize("strategy", ["eats", "dropout", "dil"])
def test_two_processes_train_the_same_weights_as_one(images: Path, tmp_path: Path, strategy: str) -> None:
    train_together(training(images, tmp_path / "two", strategy, steps=6), tmp_path / "shown")
    kinds = DISTORTIONS if strategy == "dil" else ("bicubic",)
    image = read_rgb(images / "one.png")
    parts = [[Patches([image], kind, patch=32, batch=2, shard=shard) for shard in range(2)] for kind in kinds]
    assert all(not torch.equal(shards[0](0)[0], shards[1](0)[0]) for shards in parts)
    network = seeded(lambda: SRResNet(features=6, blocks=1), 0)
    log = fit(
        STRATEGIES[strategy](network), joined(list(map(together, parts))), Schedule(6, save_every=3), tmp_path / "one"
    )
    trained = load_file(tmp_path / "two" / "weights.safetensors")
    for name, weights in network.state_dict().items():
        torch.testing.assert_close(trained[name], weights, rtol=1e-4, atol=1e-6)
    logged = pd.read_csv(tmp_path / "two" / "log.csv")
    assert logged["step"].tolist() == [3, 6]
    np.testing.assert_allclose(logged["original"], log["original"], rtol=1e-5)


def together(shards: list[Patches]) -> Batches:
    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        lr, hr = zip(*(shard(step) for shard in shards), strict=True)
        return torch.cat(lr), torch.cat(hr)

    return batch


def test_a_killed_process_is_restarted_and_the_run_resumes(images: Path, tmp_path: Path) -> None:
    train_together(training(images, tmp_path / "whole", "eats", steps=24), tmp_path / "of-whole")
    out, shown = tmp_path / "killed", tmp_path / "shown"
    run = launched(training(images, out, "eats", steps=24), shown)
    while not (out / STATES[1]).exists() and run.is_alive():
        time.sleep(0.02)
    (worker,) = (number for rank, number in started_by(shown) if rank == 1)
    os.kill(worker, signal.SIGKILL)
    run.join(timeout=120)
    assert run.exitcode == 0 and len(started_by(shown)) == 4, shown.read_text()
    whole, killed = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    steps = pd.read_csv(out / "log.csv")["step"]
    assert steps.tolist() == list(range(3, 25, 3))


def started_by(shown: Path) -> list[tuple[int, int]]:
    """The rank and the number of each process that a launcher started."""
    lines = [line.split() for line in shown.read_text().splitlines() if line.startswith("started ")]
    return [(int(rank), int(number)) for _, rank, number in lines]


def test_processes_that_cannot_share_a_batch_say_so(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "count", lambda: 3)
    with pytest.raises(InputError, match="3 processes cannot share a batch of 4 evenly"):
        train(data=str(images), output=tmp_path / "out", batch=4, patch=32)
