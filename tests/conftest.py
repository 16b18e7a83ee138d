"""Fixtures that many tests share; shapes and types in srgame's signatures are checked from here on.

Networks are imported without these checks, since torch.fx traces them with proxies.
"""

import os
import sys
from collections.abc import Callable

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook(["srgame.data", "srgame.filters", "srgame.metrics"], "beartype.beartype")  # networks import these

from small_networks import Foreign  # noqa: E402

from srgame.networks import SRResNet  # noqa: E402

install_import_hook("srgame", "beartype.beartype")

from srgame.cli.verbs import main  # noqa: E402
from srgame.data.pairs import Pairs, load_pairs  # noqa: E402

settings.register_profile("srgame", deadline=None)  # nothing is timed in tests
settings.load_profile("srgame")

torch.set_num_threads(1)  # the networks of the tests are too small for more
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands that tests start, beside the other test processes


@pytest.fixture(scope="session")
def small() -> SRResNet:
    """A random SRResNet, small enough to run thousands of times, with weights large enough to matter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SRResNet(scale=4, features=8, blocks=2).eval()
        for weights in network.parameters():
            torch.nn.init.normal_(weights, std=0.15)
    return network


@pytest.fixture(scope="session")
def foreign() -> Foreign:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Foreign()


@pytest.fixture(scope="session")
def photographs() -> Pairs:
    """Two small crops of the embedded photographs."""
    return load_pairs("photographs", "clean", scale=4, images=2, crop=24)


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands and recipes draw their figures but save none: that takes a second each."""
    for module in ("report.style", "report.recipe", "report.results"):
        monkeypatch.setattr(f"srgame.{module}.save_figure", lambda *_: [])


@pytest.fixture
def srgame(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process: exit status, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["srgame", *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, *capsys.readouterr()

    return run
