"""Replicates on disk: resumed, extended, damaged, foreign."""

import copy
import json
import signal
import sys
import time
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from commands import started
from games import Counting, FormulaGame, cubic, humped
from hypothesis import given, settings
from hypothesis import strategies as st

from srgame.cli.verbs import main
from srgame.data.pairs import Pairs
from srgame.errors import InputError
from srgame.filters import filters_of
from srgame.metrics import psnr
from srgame.networks import SRResNet
from srgame.networks.weights import save_weights
from srgame.shapley.audit import network_values
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.sampling import Make
from srgame.shapley.store import Store, open_store
from srgame.shapley.until import Until
from srgame.shapley.values import Quantities, ShapleyValues

REPLICATE = 2 * (16 - 1)


def values_of(game: FormulaGame, replicates: int, store: Store | None = None) -> ShapleyValues:
    return sampled_shapley(game, until=Until(evaluations=2 + replicates * REPLICATE), store=store)


@pytest.mark.parametrize("game", [cubic(16, 0), humped(16, 0, 0.5)], ids=["cubic", "humped"])
def test_a_run_that_goes_on_is_the_same_to_the_last_bit_and_plays_only_what_is_missing(
    tmp_path: Path, game: FormulaGame
) -> None:
    store = open_store(tmp_path, {"game": "this"})
    values_of(game, 5, store)
    asked = Counting(game)
    extended = values_of(asked, 30, open_store(tmp_path, {"game": "this"}))
    whole = values_of(game, 30)
    assert sum(map(len, asked.asked)) == 2 + 25 * REPLICATE
    assert np.array_equal(extended.value, whole.value) and np.array_equal(extended.stderr, whole.stderr)
    again = Counting(game)
    assert np.array_equal(values_of(again, 30, store).value, whole.value) and sum(map(len, again.asked)) == 2


class Whimsical:
    """Workers that hold up to `ahead` replicates, deliver them in any sequence, and stop after `patience` of them."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.ahead, self.patience = rng, int(rng.integers(1, 9)), int(rng.integers(1, 12))

    def __call__(self, make: Make, numbers: Iterator[int]) -> Generator[tuple[int, Quantities], None, None]:
        in_hand: list[int] = []
        while in_hand := in_hand + list(islice(numbers, self.ahead - len(in_hand))):
            if not self.patience:
                raise KeyboardInterrupt
            self.patience -= 1
            number = in_hand.pop(self.rng.integers(len(in_hand)))
            yield number, make(number)


@pytest.mark.parametrize("until", [{"evaluations": 2 + 20 * REPLICATE}, {"tolerance": 0.5}], ids=str)
@pytest.mark.parametrize("game", [cubic(16, 0), humped(16, 0, 0.5)], ids=["cubic", "humped"])
@given(seed=st.integers(0, 10**6))
@settings(max_examples=4)
def test_neither_workers_nor_their_sequence_nor_interruptions_change_a_bit(
    game: FormulaGame, until: dict[str, Any], seed: int
) -> None:
    rng, ended = np.random.default_rng(seed), ""
    with TemporaryDirectory() as folder:
        while ended not in until:
            store = open_store(Path(folder), {})
            try:
                found = sampled_shapley(game, until=Until(**until), store=store, workers=Whimsical(rng))
                ended = found.ended
            except KeyboardInterrupt:  # before there was anything
                continue
    whole = sampled_shapley(game, until=Until(**until))
    assert np.array_equal(found.value, whole.value) and np.array_equal(found.stderr, whole.stderr)
    assert (found.replicates, found.evaluations, found.used) == (whole.replicates, whole.evaluations, whole.used)


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b[:40], lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_a_damaged_replicate_is_computed_again(tmp_path: Path, damage) -> None:
    game, store = cubic(16, 0), open_store(tmp_path, {})
    whole = values_of(game, 4, store)
    path = sorted(tmp_path.glob("*.replicate"))[2]
    good = path.read_bytes()
    path.write_bytes(damage(good))
    with pytest.warns(UserWarning, match=r"0000002.replicate' is damaged: its replicate is computed again"):
        assert np.array_equal(values_of(game, 4, store).value, whole.value)
    assert path.read_bytes() == good


def test_replicates_of_another_game_are_refused(tmp_path: Path) -> None:
    open_store(tmp_path, {"weights": "a", "seed": 0})
    assert open_store(tmp_path, {"weights": "a", "seed": 0}) == Store(tmp_path)
    with pytest.raises(InputError, match=r"holds the replicates of another game \(other seed, images\)"):
        open_store(tmp_path, {"weights": "a", "seed": 1, "images": "b"})
    (tmp_path / "game.json").write_text("[1]")
    with pytest.raises(InputError, match=r"game\.json"):
        open_store(tmp_path, {"weights": "a"})


def test_replicates_of_an_unknown_game_are_refused(tmp_path: Path) -> None:
    open_store(tmp_path, {"seed": 0}).put(0, np.arange(3.0))
    (tmp_path / "game.json").unlink()
    with pytest.raises(InputError, match=f"'{tmp_path}' holds replicates, but no game\\.json"):
        open_store(tmp_path, {"seed": 0})
    assert [path.name for path in tmp_path.iterdir()] == ["0000000.replicate"]


def test_a_replicate_that_cannot_be_written_loses_none_before(tmp_path: Path) -> None:
    store = open_store(tmp_path, {})
    store.put(0, np.arange(3.0))
    (tmp_path / "0000001.replicate").mkdir()
    with pytest.raises(InputError, match=r"0000001\.replicate"):
        store.put(1, np.arange(3.0))
    assert np.array_equal(store.get(0), np.arange(3.0)) and not list(tmp_path.glob("*.partial"))
    with pytest.raises(InputError, match="cannot be written"):
        open_store(tmp_path / "0000000.replicate" / "below", {})


def test_a_networks_run_goes_on_and_refuses_other_images(small: SRResNet, photographs: Pairs, tmp_path: Path) -> None:
    filters = filters_of(small, ["body.0.conv1", "body.1.conv2"])
    first = network_values(small, filters, photographs, until=Until(evaluations=50), store=tmp_path)
    more = network_values(small, filters, photographs, until=Until(evaluations=90), store=tmp_path)
    whole = network_values(small, filters, photographs, until=Until(evaluations=90))
    assert (more["replicates"] > first["replicates"]).all() and more.equals(whole)
    other = Pairs(photographs.names, photographs.lr, tuple(1 - hr for hr in photographs.hr))
    with pytest.raises(InputError, match=r"replicates of another game \(other images\)"):
        network_values(small, filters, other, until=Until(evaluations=50), store=tmp_path)


def halved(sr: torch.Tensor, hr: torch.Tensor) -> torch.Tensor:
    return psnr(sr, hr) / 2


def test_replicates_of_a_payoff_function_are_known_by_its_name(
    small: SRResNet, photographs: Pairs, tmp_path: Path
) -> None:
    how = {"filters": filters_of(small, ["conv_hr"]), "pairs": photographs, "until": Until(evaluations=50)}
    first = network_values(small, payoff=halved, store=tmp_path, **how)
    store = json.loads((tmp_path / "game0" / "game.json").read_text())
    assert store["payoff"] == f"{__name__}.halved" and store["network"] == "SRResNet"
    assert first.equals(network_values(small, payoff=halved, store=tmp_path, **how))
    with pytest.raises(InputError, match=r"other payoff"):
        network_values(small, payoff="psnr", store=tmp_path, **how)
    with pytest.raises(InputError, match="has no name by which a later run could know it"):
        network_values(small, payoff=lambda sr, hr: psnr(sr, hr), store=tmp_path / "other", **how)


class Dimmed(SRResNet):
    def forward(self, lr: torch.Tensor) -> torch.Tensor:
        return 0.5 * super().forward(lr)


def test_replicates_of_another_architecture_with_the_same_weights_are_refused(
    small: SRResNet, photographs: Pairs, tmp_path: Path
) -> None:
    other = Dimmed(features=8, blocks=2).eval()
    other.load_state_dict(small.state_dict())
    how = {"filters": filters_of(small, ["conv_hr"]), "pairs": photographs, "until": Until(evaluations=50)}
    network_values(small, store=tmp_path, **how)
    with pytest.raises(InputError, match=r"other network"):
        network_values(other, store=tmp_path, **how)


def test_replicates_of_changed_code_with_the_same_weights_are_refused(
    small: SRResNet, photographs: Pairs, tmp_path: Path
) -> None:
    changed = copy.deepcopy(small)
    changed.lrelu.negative_slope = 0.9
    how = {"filters": filters_of(small, ["body.0.conv1"]), "pairs": photographs, "until": Until(evaluations=50)}
    first = network_values(small, store=tmp_path, **how)
    with pytest.raises(InputError, match=f"'{tmp_path}/game0' holds results of another network .*code was changed"):
        network_values(changed, store=tmp_path, **how)
    assert first.equals(network_values(small, store=tmp_path, **how))
    game = tmp_path / "game0" / "game.json"
    stored = json.loads(game.read_text())
    kind, value, *values = stored["behaviour"].split()
    game.write_text(json.dumps(stored | {"behaviour": " ".join([kind, f"{float(value) + 1e-6:.6g}", *values])}))
    assert first.equals(network_values(small, store=tmp_path, **how))  # stored on another device
    game.write_text(json.dumps({name: value for name, value in stored.items() if name != "behaviour"}))
    assert first.equals(network_values(small, store=tmp_path, **how))  # stored by an earlier version


@pytest.mark.usefixtures("without_pictures")
def test_a_run_killed_at_a_random_moment_goes_on_from_the_command_line(
    small: SRResNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_weights(small.state_dict(), tmp_path / "small.safetensors")
    sampling = ["--evaluations", "400", "--tolerance", "None", "--layers", "body.0.conv1", "--crop", "32"]
    words = ["shapley", str(tmp_path / "small.safetensors"), "--network", "srresnet", "--images", "2", *sampling]
    store = ["--store", str(tmp_path / "store")]
    killed = started([*words, *store, "--output", tmp_path / "killed"], tmp_path / "shown")
    while len(list(tmp_path.glob("store/game0/*.replicate"))) < 3 and killed.is_alive():
        time.sleep(0.005)
    killed.kill()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    before = len(list(tmp_path.glob("store/game0/*.replicate")))
    for run, options in (("resumed", store), ("whole", [])):
        monkeypatch.setattr(sys, "argv", ["srgame", *words, *options, "--output", str(tmp_path / run)])
        main()
    resumed, whole = ((tmp_path / run / "shapley.csv").read_bytes() for run in ("resumed", "whole"))
    assert resumed == whole and 3 <= before < len(list(tmp_path.glob("store/game0/*.replicate")))
