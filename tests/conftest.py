"""Fixtures that many tests share; shapes and types in srgame's signatures are checked from here on.

Fixtures import srgame when they are used: the process that only hands out tests to others loads neither it nor torch.
"""

import gc
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
import type_checks
from hypothesis import settings

if TYPE_CHECKING:
    from small_networks import Foreign

    from srgame.data.pairs import Pairs
    from srgame.networks import SRResNet

os.environ["OMP_NUM_THREADS"] = "1"  # networks are too small for more, here and in commands that tests start

type_checks.install()

gc.disable()  # until tests are collected: much is imported, and none of it dies

settings.register_profile("srgame", deadline=None)  # nothing is timed in tests
settings.load_profile("srgame")


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()  # what was imported stays: the garbage collector need not look at it again


def pytest_runtest_setup() -> None:
    type_checks.start()


@pytest.fixture(scope="session", autouse=True)
def same_commit() -> Iterator[None]:
    """Results name the commit that git named first: it does not change while tests run."""
    from srgame import provenance

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(provenance, "_commit", cache(provenance._commit))
        yield


@pytest.fixture(scope="session")
def small() -> "SRResNet":
    """A random SRResNet, small enough to run thousands of times, with weights large enough to matter."""
    import torch

    from srgame.networks import SRResNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SRResNet(scale=4, features=8, blocks=2).eval()
        for weights in network.parameters():
            torch.nn.init.normal_(weights, std=0.15)
    return network


@pytest.fixture(scope="session")
def foreign() -> "Foreign":
    import torch
    from small_networks import Foreign

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Foreign()


@pytest.fixture(scope="session")
def photographs() -> "Pairs":
    """Two small crops of the embedded photographs."""
    from srgame.data.pairs import load_pairs

    return load_pairs("photographs", "clean", scale=4, images=2, crop=24)


def modules_that_save() -> list[ModuleType]:
    """All modules with a name for `save_figure`: one imported later would keep the name of a patched one."""
    return [import_module(f"srgame.report.{module}") for module in ("style", "recipe", "results")]


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands and recipes draw their figures but save none: that takes a second each."""
    for module in modules_that_save():
        monkeypatch.setattr(module, "save_figure", lambda *_: [])


@pytest.fixture
def blank_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands draw their figures but save blank ones, each of another size, so that no two files are equal."""
    from matplotlib.figure import Figure

    style, *others = modules_that_save()
    save, widths = style.save_figure, count(10)
    for module in (style, *others):
        monkeypatch.setattr(module, "save_figure", lambda stem, _: save(stem, Figure(figsize=(next(widths) / 10, 1))))


@pytest.fixture
def srgame(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process: exit status, standard output, standard error."""
    from srgame.cli.verbs import main

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["srgame", *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def checkpoints(tmp_path: Path) -> list[Path]:
    """Files of two small networks with random weights."""
    import torch

    from srgame.networks import SRResNet
    from srgame.training.loop import seeded

    paths = [tmp_path / f"{name}.pth" for name in ("first", "second")]
    for seed, path in enumerate(paths):
        torch.save(seeded(lambda: SRResNet(features=6, blocks=2), seed).state_dict(), path)
    return paths
