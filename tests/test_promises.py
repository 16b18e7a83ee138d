"""Numbers keep their promise: the same command gives the same csv, and nothing but the seed changes a number.

What rounding changes was measured on SRResNet, RRDBNet and HAN with PSNR: φ in float32 is within 1.4e-7 dB of φ in
float64, and within 7e-8 dB whatever the batch or the number of threads. TOLERANCE is what we promise.
"""

import copy
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from commands import run_file
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import saved
from small_networks import small as small_network
from torch import nn

from srgame.cli.verbs import main
from srgame.data.pairs import Pairs, load_pairs
from srgame.evaluation.benchmark import benchmark
from srgame.filters import filters_of
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import Until
from srgame.shapley.values import ShapleyValues

TOLERANCE = 1e-6  # dB
few = settings(max_examples=4, derandomize=True, deadline=None)
networks = st.sampled_from(["srresnet-x4", "rrdbnet-x4", "han-x4", "srresnet-x2"])
places = st.floats(0, 1)  # of the layer among the network's
seeds = st.integers(0, 2**31)


def live(name: str) -> nn.Module:
    """A network of small_networks whose weights are large enough for each filter to matter."""
    network = small_network(name)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for weights in network.parameters():
            weights.add_(torch.randn_like(weights), alpha=0.05)
    return network


def pairs_for(name: str) -> Pairs:
    return load_pairs("photographs", "b+n", int(name[-1]), images=2, crop=16)


def values(network: nn.Module, pairs: Pairs, place: float, seed: int, batch: int | None = None) -> ShapleyValues:
    """φ of one layer's filters from a few replicates; the same seed gives the same replicates."""
    layers = filters_of(network).layers
    filters = filters_of(network, [layers[round(place * (len(layers) - 1))]])
    game = RestorationGame(network, filters, pairs, batch=batch)
    return sampled_shapley(game, until=Until(evaluations=2 + 3 * 2 * (len(filters) - 1)), seed=seed)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@given(name=networks, place=places, seed=seeds)
@few
def test_float32_is_as_good_as_float64(name: str, place: float, seed: int) -> None:
    network, pairs = live(name), pairs_for(name)
    exact = replace(pairs, lr=tuple(lr.double() for lr in pairs.lr), hr=tuple(hr.double() for hr in pairs.hr))
    single, double = values(network, pairs, place, seed), values(copy.deepcopy(network).double(), exact, place, seed)
    assert np.abs(single.value - double.value).max() < TOLERANCE
    assert abs(single.grand - double.grand) < TOLERANCE and abs(single.empty - double.empty) < TOLERANCE


@given(name=networks, place=places, seed=seeds)
@few
def test_the_size_of_batches_changes_no_value(name: str, place: float, seed: int) -> None:
    network, pairs = live(name), pairs_for(name)
    one, three, eight = (values(network, pairs, place, seed, batch) for batch in (1, 3, 8))
    for other in (three, eight):
        assert other.replicates == one.replicates and np.abs(other.value - one.value).max() < TOLERANCE


@pytest.mark.parametrize("name", ["srresnet-x2", "han-x2"])
def test_the_number_of_threads_changes_no_value(name: str) -> None:
    network, pairs = live(name), pairs_for(name)
    one = values(network, pairs, 0.5, seed=0, batch=3)
    with threads(2):
        two = values(network, pairs, 0.5, seed=0, batch=3)
    assert two.replicates == one.replicates and np.abs(two.value - one.value).max() < TOLERANCE


@given(place=places, seed=seeds)
@few
def test_a_seed_is_all_that_draws(place: float, seed: int) -> None:
    network, pairs = live("srresnet-x4"), pairs_for("srresnet-x4")
    one, same, other = (values(network, pairs, place, s) for s in (seed, seed, seed + 1))
    assert np.array_equal(one.value, same.value) and np.array_equal(one.stderr, same.stderr)
    if one.replicates:  # otherwise the game was enumerated
        assert not np.array_equal(one.value, other.value) and (one.empty, one.grand) == (other.empty, other.grand)


@given(seed=st.integers(0, 2**31 - 1))
@few
def test_a_seed_draws_the_noise_of_an_evaluation_and_nothing_else(seed: int) -> None:
    one, same, other = (
        benchmark({}, ["photographs"], ["clean", "noise"], images=1, crop=32, seed=s).scores
        for s in (seed, seed, seed + 1)
    )
    assert one.equals(same)
    assert one[one["degradation"] == "clean"].equals(other[other["degradation"] == "clean"])
    assert (one["psnr_rgb"] != other["psnr_rgb"]).tolist() == [False, True]


COMMANDS: dict[str, tuple[str, str]] = {
    "shapley": ("--layers conv_hr body.0.conv1 --crop 24 --images 2 --evaluations 200 --tolerance None", "shapley"),
    "interactions": ("--crop 24 --images 1 --evaluations 160", "interactions"),
    "evaluate": ("--sets photographs --degradations b+n+j clean --crop 32 --images 2", "benchmark"),
    "probe responses": ("--crop 16 --images 2 --layers conv_hr", "responses"),
    "probe cosine": ("--crop 16 --images 2 --layers conv_hr", "cosine"),
}


@pytest.mark.usefixtures("without_pictures")
def test_the_same_command_gives_the_same_csv_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(live("srresnet-x4").state_dict(), tmp_path / "small.pth")

    def words(verb: str, folder: str) -> list[str]:
        flags = [*COMMANDS[verb][0].split(), "--network", "srresnet", "--output", str(tmp_path / folder)]
        return [*verb.split(), str(tmp_path / "small.pth"), *flags]

    for verb in COMMANDS:
        monkeypatch.setattr(sys, "argv", ["srgame", *words(verb, "here")])
        main()
    code = "import sys, torch; from srgame.cli.verbs import main; torch.set_num_threads(1)\n"
    code += "from srgame.report import results; results.save_figure = lambda *_: []\n"
    code += "\n".join(f"sys.argv = {['srgame', *words(verb, 'there')]!r}; main()" for verb in COMMANDS)
    code += "\nprint(hash('srgame'))"
    (tmp_path / "there.py").write_text(code)
    other = run_file(tmp_path / "there.py")
    assert other.returncode == 0, other.stderr
    assert "PYTHONHASHSEED" in os.environ or int(other.stdout.split()[-1]) != hash("srgame")  # sets have another order
    for _, name in COMMANDS.values():
        here, there = (tmp_path / folder / f"{name}.csv" for folder in ("here", "there"))
        assert here.read_bytes() == there.read_bytes() and len(pd.read_csv(here)) > 3
