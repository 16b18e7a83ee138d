"""The training loop: what it logs, saves and resumes, and when it stops."""

import csv
import json
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from trainings import batches, tiny

from srgame.data.pairs import load_pairs
from srgame.errors import InputError
from srgame.networks import NETWORKS, load_network
from srgame.networks.weights import save_weights
from srgame.training.loop import Schedule, fit
from srgame.training.strategies import EATS, STRATEGIES, Original


def test_training_lowers_the_loss_and_logs_it(tmp_path: Path) -> None:
    pairs, batch = load_pairs(images=1, crop=32), batches()(0)
    schedule = Schedule(90, 5e-3, save_every=30)
    log = fit(Original(tiny()), lambda _: batch, schedule, tmp_path, validation={"clean": pairs})
    assert log["step"].tolist() == [30, 60, 90] and log["original"].iloc[-1] < 0.93 * log["original"].iloc[0]
    with (tmp_path / "log.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["30", "60", "90"]
    assert log["psnr_y_clean"].between(10, 60).all()
    assert load_network(tmp_path / "weights.safetensors", "srresnet").scale == 4


@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_a_stopped_run_resumes_bit_for_bit(tmp_path: Path, strategy: type[Original]) -> None:
    whole, stopped = tiny(), tiny()
    fit(strategy(whole), batches(), Schedule(9, save_every=4), tmp_path / "whole")

    def stopping(step: int) -> tuple[Tensor, Tensor]:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return batches()(step)

    log = fit(strategy(stopped), stopping, Schedule(9, save_every=4), tmp_path / "stopped")
    assert log["step"].tolist() == [4, 6]
    resumed = tiny(seed=99)
    log = fit(strategy(resumed), batches(), Schedule(9, save_every=4), tmp_path / "stopped")
    assert log["step"].tolist() == [4, 6, 8, 9]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    def poisoned(step: int) -> tuple[Tensor, Tensor]:
        lr, hr = batches()(step)
        return lr, hr * (float("nan") if step == 5 else 1)

    with pytest.raises(InputError, match="loss of step 6 is not finite"):
        fit(Original(tiny()), poisoned, Schedule(9, save_every=4), tmp_path)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["log"][-1]["step"] == 4
    assert all(value.isfinite().all() for value in state["network"].values())


def test_a_damaged_state_and_the_state_of_another_run_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(Original(tiny()), batches(), Schedule(2), tmp_path)
    with pytest.raises(InputError, match=r"state.pt' is the state of another run \(strategy Original, not EATS"):
        fit(EATS(tiny()), batches(), Schedule(2), tmp_path)
    with pytest.raises(InputError, match=r"another run \(steps 2, not 1\)"):
        fit(Original(tiny()), batches(), Schedule(1), tmp_path)
    with pytest.raises(InputError, match=r"another run \(steps 2, not 3; data None, not Set5\)"):
        fit(Original(tiny()), batches(), Schedule(3), tmp_path, settings={"data": "Set5"})
    with monkeypatch.context() as patched, pytest.raises(InputError, match=r"another run \(processes 1, not 2\)"):
        patched.setattr("srgame.training.loop.processes.count", lambda: 2)
        fit(Original(tiny()), batches(), Schedule(2), tmp_path)
    (tmp_path / "state.pt").write_bytes((tmp_path / "state.pt").read_bytes()[:500])
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(InputError, match=r"state.pt' cannot be read"):
        fit(Original(tiny()), batches(), Schedule(2), tmp_path)


def test_a_foreign_state_is_refused(tmp_path: Path) -> None:
    torch.save({"run": "another program's", "network": {}, "optimiser": {}, "log": []}, tmp_path / "state.pt")
    with pytest.warns(UserWarning, match="damaged or no state"), pytest.raises(InputError, match="cannot be read"):
        fit(Original(tiny()), batches(), Schedule(2), tmp_path)


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:999], lambda content: b"text"])
def test_a_damaged_state_falls_back_to_the_one_before(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    whole = tiny()
    fit(Original(whole), batches(), Schedule(6, save_every=2), tmp_path)
    state = tmp_path / "state.pt"
    state.write_bytes(damage(state.read_bytes()))
    resumed = tiny(seed=99)
    with pytest.warns(UserWarning, match=r"state.pt' is damaged"):
        log = fit(Original(resumed), batches(), Schedule(6, save_every=2), tmp_path)
    assert log["step"].tolist() == [2, 4, 6]
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_network_trains_with_every_strategy(tmp_path: Path, name: str, strategy: str) -> None:
    depth = {"srresnet": {"blocks": 1}, "rrdbnet": {"blocks": 1, "growth": 4}}.get(name, {"groups": 2, "blocks": 1})
    network = NETWORKS[name](features=16, **depth)
    log = fit(STRATEGIES[strategy](network), batches(), Schedule(2), tmp_path)
    assert np.isfinite(log.to_numpy()).all() and load_network(tmp_path / "weights.safetensors").scale == 4


def test_the_moving_average_of_the_weights_is_saved_too(tmp_path: Path) -> None:
    network, seen = tiny(), [tiny().state_dict()]

    def watched(step: int) -> tuple[Tensor, Tensor]:
        if step:
            seen.append({name: value.clone() for name, value in network.state_dict().items()})
        return batches()(step)

    fit(Original(network), watched, Schedule(5, 1e-2, ema=0.8), tmp_path)
    weights, average = (load_file(tmp_path / f"weights{kind}.safetensors") for kind in ("", ".ema"))
    expected = seen[0]["conv_hr.weight"]
    for state in [*seen[1:], weights]:
        expected = 0.8 * expected + 0.2 * state["conv_hr.weight"]
    torch.testing.assert_close(average["conv_hr.weight"], expected)
    assert not torch.equal(average["conv_hr.weight"], weights["conv_hr.weight"])
    with pytest.raises(InputError, match=r"ema.* not 1\.0"):
        Schedule(5, ema=1.0)


def test_the_moving_average_of_a_network_with_batch_norm_counts_its_batches(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.BatchNorm2d(48), nn.PixelShuffle(4))
    network.scale = 4  # type: ignore[assignment]
    fit(Original(network), batches(), Schedule(5, 1e-2, ema=0.8), tmp_path)
    weights, average = (load_file(tmp_path / f"weights{kind}.safetensors") for kind in ("", ".ema"))
    assert average["1.num_batches_tracked"] == weights["1.num_batches_tracked"] == 5
    assert not torch.equal(average["1.running_mean"], weights["1.running_mean"])


def test_a_finished_run_is_extended_and_an_unfinished_one_is_not(tmp_path: Path) -> None:
    fit(Original(tiny()), batches(), Schedule(4, save_every=2), tmp_path)
    before = load_file(tmp_path / "weights.safetensors")
    with pytest.warns(UserWarning, match=r"of 4 steps is extended to 6"):
        log = fit(Original(tiny(seed=9)), batches(), Schedule(6, save_every=2), tmp_path)
    assert log["step"].tolist() == [2, 4, 6]
    after = load_file(tmp_path / "weights.safetensors")
    assert any(not torch.equal(before[name], after[name]) for name in before)
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["steps"], run["step"], run["extended"]) == (6, 6, [4])
    stopped = Schedule(9, save_every=2)

    def stopping(step: int) -> tuple[Tensor, Tensor]:
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return batches()(step)

    with pytest.warns(UserWarning, match="extended to 9"):
        fit(Original(tiny()), stopping, stopped, tmp_path)
    with pytest.raises(InputError, match=r"another run \(steps 9, not 12\)"):
        fit(Original(tiny()), batches(), Schedule(12, save_every=2), tmp_path)
    log = fit(Original(tiny()), batches(), stopped, tmp_path)
    assert log["step"].tolist() == [2, 4, 6, 8, 9]
    assert json.loads((tmp_path / "run.json").read_text())["extended"] == [4, 6]


def test_weights_say_how_they_were_trained_and_keep_their_checksum(tmp_path: Path) -> None:
    network, before = tiny(), os.umask(0o022)
    try:
        fit(
            EATS(network, weight=0.25, layers=["conv_hr"]),
            batches(),
            Schedule(2, 1e-3, ema=0.5),
            tmp_path,
            seed=7,
            settings={"data": "Set5", "eats_ratio": 0.5},
        )
    finally:
        os.umask(before)
    said = {"strategy": "EATS", "seed": 7, "data": "Set5", "eats_ratio": 0.5, "steps": 2, "step": 2, "ema": 0.5}
    assert (run := json.loads((tmp_path / "run.json").read_text())) | said == run
    options = {"layers": ["conv_hr"], "ratio": 1.0, "count": 1, "weight": 0.25}
    assert run["options"] == options | {"target": "bicubic", "teaches": "all", "erase": "one"}
    with pytest.raises(InputError, match=r"another run \(options .*0\.25.*, not .*0\.5"):
        fit(EATS(tiny(), weight=0.5, layers=["conv_hr"]), batches(), Schedule(2, 1e-3, ema=0.5), tmp_path, seed=7)
    for name in ("weights.safetensors", "weights.ema.safetensors"):
        path = tmp_path / name
        with safe_open(path, "pt") as file:
            assert json.loads(file.metadata()["srgame.run"]) == run
        assert path.stat().st_mode & 0o777 == 0o644
        content = path.read_bytes()
        assert all(written(path, tmp_path / "again") == content for _ in range(8))
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a file without checksum would be warned of
            loaded = load_network(path)
    assert loaded.scale == 4
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(str(path))):
        load_network(path)


def written(weights: Path, path: Path) -> bytes:
    """What is written into `path` for the weights and metadata of a file."""
    with safe_open(weights, "pt") as file:
        save_weights(load_file(weights), path, {"srgame.run": file.metadata()["srgame.run"]})
    return path.read_bytes()


def test_tensorboard_receives_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, float, int]] = []
    board = SimpleNamespace(add_scalar=lambda *scalar: shown.append(scalar), flush=lambda: None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=lambda _: board))
    log = fit(Original(tiny()), batches(), Schedule(4, save_every=2), tmp_path)
    assert [(value, step) for name, value, step in shown if name == "original"] == list(
        zip(log["original"], log["step"], strict=True)
    )
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert len(fit(Original(tiny()), batches(), Schedule(4, save_every=2), tmp_path / "without")) == 2


def test_the_share_of_waiting_is_measured(tmp_path: Path) -> None:
    def slow(step: int) -> tuple[Tensor, Tensor]:
        time.sleep(0.2)
        return batches()(step)

    log = fit(Original(tiny()), slow, Schedule(3), tmp_path)
    assert 0.5 < log["waiting"].item() < 1 and log["steps_per_second"].item() < 5


def test_the_learning_rate_follows_a_cosine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []

    def stepped(optimiser: torch.optim.Adam) -> None:
        rates.append(optimiser.param_groups[0]["lr"])

    monkeypatch.setattr(torch.optim.Adam, "step", stepped)
    fit(Original(tiny()), batches(), Schedule(4, 2e-4), tmp_path)
    assert rates == pytest.approx([2e-4, (2 + 2**0.5) / 2 * 1e-4, 1e-4, (2 - 2**0.5) / 2 * 1e-4])


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_in_bfloat16_an_image_has_more_than_256_values(tmp_path: Path, strategy: str) -> None:
    network = NETWORKS["rrdbnet"](features=8, blocks=1, growth=4)
    with torch.no_grad():
        network.conv_last.bias.fill_(0.7)
    images: list[Tensor] = []
    network.conv_last.register_forward_hook(lambda layer, inputs, image: images.append(image.detach().clone()))
    fit(STRATEGIES[strategy](network), batches(), Schedule(2, bfloat16=True), tmp_path)
    bright = torch.cat([image for image in images[1:] if image.min() > 0.5])  # the first run only tests the output type
    assert bright.dtype == torch.float32 and (bright * 256 - (bright * 256).round()).abs().mean() > 0.1
    assert not torch.is_autocast_enabled("cpu") and len(network.conv_last._forward_pre_hooks) == 0


def test_validation_leaves_modes_and_warnings_as_they_were(tmp_path: Path) -> None:
    network, modes = tiny(), []
    network.body[0].register_forward_hook(lambda *_: modes.append((network.training, network.body[1].training)))

    def frozen(step: int) -> tuple[Tensor, Tensor]:
        network.body[1].eval()
        return batches()(step)

    filters, pairs = warnings.filters.copy(), load_pairs(images=1, crop=32)
    fit(Original(network), frozen, Schedule(2, save_every=1), tmp_path, validation={"clean": pairs})
    assert modes == [(True, False), (False, False)] * 2
    assert network.training and network.body[0].training and not network.body[1].training
    assert warnings.filters == filters


def test_initial_weights_depend_on_the_seed_only() -> None:
    state = torch.random.get_rng_state()
    first, again, other = tiny(1), tiny(1), tiny(2)
    assert torch.equal(first.conv_hr.weight, again.conv_hr.weight)
    assert not torch.equal(first.conv_hr.weight, other.conv_hr.weight)
    assert torch.equal(torch.random.get_rng_state(), state)
