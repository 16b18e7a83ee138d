"""Workers of a dask cluster: what they find is what one process finds, whoever dies, comes late or is not there."""

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import pandas as pd
import pytest
import torch
from commands import forking, run_file
from distributed import LocalCluster
from torch import Tensor, nn

from srgame.cli.verbs import main
from srgame.data.pairs import Pairs, load_pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.metrics import psnr
from srgame.networks import SRResNet
from srgame.shapley import audit
from srgame.shapley import cluster as clusters
from srgame.shapley.audit import GAMES, network_values
from srgame.shapley.cluster import Cluster, connected
from srgame.shapley.gradients import PILOT, replicate_cost
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until

LAYERS = ["conv_first", "body.0.conv1"]


@pytest.fixture(scope="module")
def two() -> Iterator[Cluster]:
    """Two processes of their own, forked from one that has imported what they need."""
    forking()
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"}), connected(workers=2) as cluster:
        yield cluster


@pytest.fixture
def threads() -> Iterator[Callable[[int], LocalCluster]]:
    """Clusters whose workers are threads of this process: quick to start, and as good where nobody is killed."""
    opened = []

    def opening(workers: int) -> LocalCluster:
        options = {
            "processes": False,
            "threads_per_worker": 1,
            "dashboard_address": "127.0.0.1:0",
            "protocol": "tcp://",
        }
        opened.append(LocalCluster(n_workers=workers, **options))
        return opened[-1]

    yield opening
    for each in opened:
        each.close()
    gc.collect()  # tasks that failed unheard log it when they are collected: here, and in no later test


Opened = Callable[[int], LocalCluster]


def slowly(sr: Tensor, hr: Tensor) -> Tensor:
    """PSNR that takes a while, so that there is a middle of a run."""
    time.sleep(0.004)
    return psnr(sr, hr)


def values_of(network: nn.Module, pairs: Pairs, replicates: int = 12, **how: Any) -> pd.DataFrame:
    filters = filters_of(network, how.pop("layers", LAYERS))
    return network_values(network, filters, pairs, until=Until(evaluations=2 + replicates * 14), **how)


def when(happened: Callable[[], bool], then: Callable[[], None]) -> threading.Thread:
    """Does something once something has happened."""

    def watch() -> None:
        while not happened():
            time.sleep(0.002)
        then()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    return watching


@contextmanager
def hearing_ctrl_c() -> Iterator[None]:
    """What a shell starts in the background ignores Ctrl-C: this listens."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def stored(folder: Path, game: int = 0) -> int:
    return len(list(folder.glob(f"game{game}/*.replicate")))


@pytest.mark.parametrize("game", GAMES)
def test_two_processes_find_what_one_finds(small: SRResNet, photographs: Pairs, two: Cluster, game: str) -> None:
    one = values_of(small, photographs, 22, game=game)
    assert values_of(small, photographs, 22, game=game, executor=two.executor).equals(one)


def test_sums_of_images_are_found_by_the_workers(small: SRResNet, photographs: Pairs, two: Cluster) -> None:
    one = values_of(small, photographs, layers=["conv_hr"])
    assert values_of(small, photographs, layers=["conv_hr"], executor=two.executor).equals(one)
    assert one["ended"].eq("additive tail").all()


def test_low_precision_games_are_evaluated_by_the_workers(small: SRResNet, photographs: Pairs, two: Cluster) -> None:
    how: dict[str, Any] = {"until": Until(evaluations=200), "bfloat16": True}
    one = network_values(small, filters_of(small, LAYERS), photographs, **how)
    assert network_values(small, filters_of(small, LAYERS), photographs, executor=two.executor, **how).equals(one)
    assert one["low_precision_reduction"].notna().any()


def test_gradients_are_taken_by_the_workers(small: SRResNet, two: Cluster) -> None:
    pairs, filters = load_pairs("photographs", images=1, crop=16), filters_of(small, ["body.0.conv1", "conv_hr"])
    how: dict[str, Any] = {
        "until": Until(evaluations=2 + (PILOT + 1) * replicate_cost(len(filters))),
        "gradients": True,
    }
    one = network_values(small, filters, pairs, **how)
    assert network_values(small, filters, pairs, executor=two.executor, **how).equals(one)
    assert (one["used"] == "gradients").any() and (one["replicates"] > PILOT).all()  # others hand over


@pytest.mark.parametrize("antithetic", [True, False])
def test_a_tolerance_is_reached_with_the_same_replicates(
    small: SRResNet, photographs: Pairs, two: Cluster, antithetic: bool
) -> None:
    how = {"until": Until(tolerance=0.06), "antithetic": antithetic}
    filters = filters_of(small, LAYERS)
    one = network_values(small, filters, photographs, **how)
    found = network_values(small, filters, photographs, executor=two.executor, **how)
    assert found.equals(one) and (one["ended"] == "tolerance").all()


def test_replicates_of_a_killed_worker_are_computed_again(
    small: SRResNet, photographs: Pairs, two: Cluster, tmp_path: Path
) -> None:
    how = {"payoff": slowly, "replicates": 16, "layers": LAYERS[:1]}
    victim = next(iter(two.client.run(os.getpid).values()))
    killing = when(lambda: stored(tmp_path) >= 3, lambda: os.kill(victim, signal.SIGKILL))
    found = values_of(small, photographs, executor=two.executor, store=tmp_path, **how)
    assert not killing.is_alive() and victim not in two.client.run(os.getpid).values()
    assert stored(tmp_path) == 16 and found.equals(values_of(small, photographs, **how))


def test_a_late_worker_has_all_it_needs(small: SRResNet, photographs: Pairs, threads: Opened) -> None:
    local = threads(1)
    with connected(local.scheduler_address) as cluster, cluster.executor(small, photographs) as executor:
        first = list(cluster.client.nthreads())
        local.scale(2)
        cluster.client.wait_for_workers(2, timeout=60)
        cluster.client.retire_workers(first)
        filters, everybody = filters_of(small, LAYERS[:1]), torch.ones(2, 8, dtype=torch.bool)
        expected = RestorationGame(small, filters, photographs)(everybody)
        assert torch.equal(executor.game(filters)(everybody), expected)


def test_a_cluster_that_shrinks_goes_on(
    small: SRResNet, photographs: Pairs, threads: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "LOOK", 0.001)
    local, how = threads(3), {"payoff": slowly, "replicates": 16, "layers": LAYERS[:1]}
    when(lambda: stored(tmp_path) >= 3, lambda: local.scale(1))
    with connected(local.scheduler_address) as cluster:
        found = values_of(small, photographs, executor=cluster.executor, store=tmp_path, **how)
        assert len(cluster.client.nthreads()) == 1
    assert found.equals(values_of(small, photographs, **how))


def test_ctrl_c_keeps_what_came_and_one_process_goes_on(
    small: SRResNet, photographs: Pairs, threads: Opened, tmp_path: Path
) -> None:
    how = {"payoff": slowly, "replicates": 20, "store": tmp_path}
    with hearing_ctrl_c(), connected(threads(2).scheduler_address) as cluster:
        when(lambda: stored(tmp_path) >= 3 and stored(tmp_path, 1) >= 1, lambda: os.kill(os.getpid(), signal.SIGINT))
        some = values_of(small, photographs, executor=cluster.executor, **how)
        assert set(some["ended"]) == {"interrupted"} and set(some["layer"]) == set(LAYERS)
        assert not cluster.client.futures
    assert 3 <= stored(tmp_path) < 20
    more = values_of(small, photographs, **how)
    assert more.equals(values_of(small, photographs, **how | {"store": None}))


def test_ctrl_c_before_the_replicates_of_a_layer_names_it(
    small: SRResNet, photographs: Pairs, threads: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(audit, "additive_shapley", interrupted)
    with connected(threads(2).scheduler_address) as cluster:
        layers = ["body.0.conv1", "conv_hr"]
        some = values_of(small, photographs, executor=cluster.executor, layers=layers)
    assert set(some["layer"]) == {"body.0.conv1"} and set(some["ended"]) == {"evaluations"}
    assert audit.interrupted(some) and some.attrs["missing"] == ["conv_hr"]


def test_a_run_whose_workers_are_gone_says_so_and_loses_nothing(
    small: SRResNet, photographs: Pairs, threads: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "PATIENCE", 0.1)
    monkeypatch.setattr(clusters, "ANSWER", 1.0)
    local = threads(1)
    when(lambda: stored(tmp_path) >= 2, lambda: local.scale(0))
    with (
        connected(local.scheduler_address) as cluster,
        pytest.raises(InputError, match="no worker for 0 seconds; stored replicates"),
    ):
        values_of(small, photographs, executor=cluster.executor, store=tmp_path, payoff=slowly, replicates=200)
    assert stored(tmp_path) >= 2
    with connected(local.scheduler_address) as cluster, pytest.raises(InputError, match="no worker for 0 seconds"):
        values_of(small, photographs, executor=cluster.executor)


def test_a_scheduler_that_goes_is_a_sentence(
    small: SRResNet, photographs: Pairs, threads: Opened, tmp_path: Path
) -> None:
    local = threads(1)
    when(lambda: stored(tmp_path) >= 2, local.close)
    with (
        connected(local.scheduler_address) as cluster,
        pytest.raises(InputError, match=r"the cluster of 'tcp://.*' is lost \(.*\); stored replicates"),
    ):
        values_of(small, photographs, executor=cluster.executor, store=tmp_path, payoff=slowly, replicates=400)
    assert stored(tmp_path) >= 2


def test_what_workers_say_arrives(small: SRResNet, photographs: Pairs, threads: Opened) -> None:
    class Random(SRResNet):
        def forward(self, lr: Tensor) -> Tensor:
            return super().forward(lr + 0.01 * torch.rand(1))

    foreign = Random(4, features=8, blocks=2).eval()
    foreign.load_state_dict(small.state_dict())
    with connected(threads(1).scheduler_address) as cluster:
        with pytest.warns(UserWarning, match="differ from run to run"):
            values_of(foreign, photographs, 2, executor=cluster.executor, layers=LAYERS[:1])
        with pytest.raises(InputError, match="unknown payoff 'beauty'"):
            values_of(small, photographs, 2, executor=cluster.executor, payoff="beauty")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--scheduler", "tcp://127.0.0.1:1"], "no dask scheduler answers at 'tcp://127.0.0.1:1'"),
        (["--scheduler", "nonsense://there"], "no dask scheduler answers at 'nonsense://there'"),
        (["--scheduler", "tcp://127.0.0.1:1", "--workers", "2"], "scheduler"),
        (["--workers", "0"], "workers must be at least 1, not 0"),
    ],
)
def test_a_cluster_that_cannot_be_is_a_sentence(
    flags: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(clusters, "ANSWER", 0.5)
    monkeypatch.setattr(sys, "argv", ["srgame", "shapley", "--output", str(tmp_path), *flags])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_without_dask_the_rest_works_and_a_cluster_says_what_to_install(tmp_path: Path) -> None:
    code = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] in ("srgame", "distributed")]: del sys.modules[name]
sys.modules["distributed"] = None
import srgame.shapley.audit, srgame.cli.verbs
try: import srgame.shapley.cluster
except srgame.InputError as error: print(error)
"""
    (tmp_path / "without_dask.py").write_text(code)
    assert "pip install 'srgame[cluster]'" in run_file(tmp_path / "without_dask.py").stdout
