"""Networks × sets × settings: the same numbers as `evaluate`, also if a run was interrupted, tiled or extended."""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from commands import started, write_at_once
from small_networks import small
from torch import nn

from srgame.cli.verbs import main
from srgame.data.degradations.testing import SETTINGS
from srgame.data.pairs import load_pairs
from srgame.errors import InputError
from srgame.evaluation import benchmark as benchmarks
from srgame.evaluation.benchmark import benchmark
from srgame.evaluation.evaluate import bicubic, evaluate
from srgame.networks import load_network
from srgame.report.tables import score_table

FEW = {"images": 2, "crop": 48}


@pytest.fixture
def network() -> nn.Module:
    return small("srresnet-x4")


def test_rows_are_those_of_evaluate(network: nn.Module) -> None:
    scores = benchmark({"small": network}, ["photographs"], ["all"], **FEW).scores
    assert len(scores) == 2 * 8 * 2 and scores["degradation"].unique().tolist() == list(SETTINGS)
    for name, restore in {"small": network, "bicubic": bicubic(4)}.items():
        for setting in ("clean", "b+n+j"):
            rows = scores[(scores["checkpoint"] == name) & (scores["degradation"] == setting)]
            direct = evaluate(restore, load_pairs("photographs", setting, 4, **FEW))
            for score in ("psnr_rgb", "psnr_y", "ssim_y"):
                assert rows[score].tolist() == pytest.approx(direct[score].tolist())


def test_noise_depends_neither_on_the_networks_nor_on_the_order(network: nn.Module) -> None:
    alone = benchmark({}, ["photographs"], ["noise"], **FEW).scores
    other = small("srresnet-x4")
    together = benchmark({"a": network, "b": other}, ["photographs"], ["jpeg", "noise"], **FEW).scores
    baseline = together[(together["checkpoint"] == "bicubic") & (together["degradation"] == "noise")]
    pd.testing.assert_frame_equal(alone, baseline.reset_index(drop=True))
    seeded = benchmark({}, ["photographs"], ["noise"], seed=1, **FEW).scores
    assert (seeded["psnr_rgb"] != alone["psnr_rgb"]).all()


def test_tiles_change_nothing(network: nn.Module) -> None:
    whole, tiled = (
        benchmark({"n": network}, ["photographs"], ["clean"], images=1, crop=400, tile=tile).scores
        for tile in (None, 48)
    )
    pd.testing.assert_frame_equal(whole, tiled, rtol=1e-5)


def test_a_missing_set_is_reported_with_its_reason(tmp_path: Path) -> None:
    measured = benchmark({}, ["photographs", "Manga109"], ["clean"], folder=tmp_path, **FEW)
    assert "no images at 'Manga109'" in measured.missing["Manga109"]
    assert measured.missing == json.loads((tmp_path / "benchmark.json").read_text())["missing"]
    printed = score_table(measured.scores, measured.missing)
    assert "photographs: 2 images" in printed and "Manga109: not measured, no images at 'Manga109'" in printed
    assert f"{measured.scores['psnr_rgb'].mean():.2f}" in printed


def test_an_interrupted_run_continues(network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(folder: str, networks: dict[str, nn.Module]) -> pd.DataFrame:
        return benchmark(networks, ["photographs"], ["noise", "jpeg"], folder=tmp_path / folder, **FEW).scores

    class Stopping(nn.Module):
        calls = 0

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, lr: torch.Tensor) -> torch.Tensor:
            self.calls += lr.shape[-1] == 12  # the run that measures the scale does not count
            if self.calls == 2:
                raise KeyboardInterrupt
            sr: torch.Tensor = self.network(lr)
            return sr

    whole = run("whole", {"n": network})
    monkeypatch.setattr(benchmarks, "fingerprint", lambda _: "same")
    with pytest.raises(KeyboardInterrupt):
        run("cut", {"n": Stopping()})
    kept = pd.read_csv(tmp_path / "cut" / "benchmark.csv")
    assert 0 < len(kept) < len(whole)
    rest = Stopping()
    rest.calls = 10
    continued = run("cut", {"n": rest})
    assert rest.calls == 10 + 4 - 1
    pd.testing.assert_frame_equal(continued.drop(columns="weights"), whole.drop(columns="weights"), check_exact=True)
    again = Stopping()
    pd.testing.assert_frame_equal(run("cut", {"n": again}), continued, check_exact=True)
    assert again.calls == 0


def test_a_finished_run_is_extended(network: nn.Module, tmp_path: Path) -> None:
    first = benchmark({"n": network}, ["photographs"], ["clean"], folder=tmp_path, images=1, crop=48).scores
    more = benchmark({"m": network}, ["photographs"], ["clean", "blur"], folder=tmp_path, images=2, crop=48).scores
    assert len(more) == 2 * 2 * 2
    kept = pd.read_csv(tmp_path / "benchmark.csv", dtype={"weights": str}, keep_default_na=False)
    assert len(kept) == 2 * 2 * 2
    pd.testing.assert_frame_equal(kept.head(2), first.replace({"n": "m"}))


def test_a_stored_network_takes_the_name_that_it_is_given_and_is_not_measured_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "a").mkdir()
    (folder / "small.pth").rename(folder / "a" / "net.pth")
    torch.save({k: v * 0.9 for k, v in small("srresnet-x4").state_dict().items()}, folder / "net.pth")
    sets, out = [str(folder / "images")], folder / "out"
    before = benchmark({"/some/net.pth": small("srresnet-x4")}, sets, ["clean"], folder=out, images=2).scores
    measured: list[str] = []
    monkeypatch.setattr(
        benchmarks, "scores", lambda restore, pairs: measured.append(pairs.names[0]) or evaluate(restore, pairs)
    )

    def run(*checkpoints: Path) -> list[str]:
        words = [*checkpoints, "--sets", *sets, "--degradations", "clean", "--images", 2, "--output", out]
        monkeypatch.setattr(sys, "argv", ["srgame", "evaluate", *map(str, words)])
        main()
        scores = pd.read_csv(out / "benchmark.csv").set_index("checkpoint")
        assert scores.loc[scores["weights"] == before["weights"].iloc[-1], "psnr_y"].tolist() == pytest.approx(
            before.loc[before["checkpoint"] != "bicubic", "psnr_y"].tolist()
        )
        return sorted(set(scores.index))

    assert run(folder / "a" / "net.pth") == ["bicubic", "net"] and not measured
    assert run(folder / "a" / "net.pth", folder / "net.pth") == sorted(["bicubic", "a/net", f"{folder.name}/net"])
    assert measured == ["0", "1"]


def test_foreign_results_are_refused(network: nn.Module, tmp_path: Path) -> None:
    def run(**changed: object) -> None:
        settings = {"networks": {"n": network}, "seed": 0, "crop": 48} | changed
        benchmark(settings.pop("networks"), ["photographs"], ["clean"], folder=tmp_path, images=1, **settings)

    run()
    with pytest.raises(InputError, match="holds results of crop 48, not 32; seed 0, not 1: choose another folder"):
        run(crop=32, seed=1)
    other = small("srresnet-x4")
    nn.init.zeros_(other.conv_last.weight)
    with pytest.raises(InputError, match=r"holds results of weights \w{8}… of 'n', not \w{8}…: choose another"):
        run(networks={"n": other})
    measured = (tmp_path / "benchmark.csv").read_text()
    (tmp_path / "benchmark.csv").write_text(measured.replace("1", "7", 1))
    with pytest.raises(InputError, match=r"benchmark\.csv' is damaged or was changed .*: remove both to measure again"):
        run()
    (tmp_path / "benchmark.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"benchmark\.csv' and its \.json are no results of a benchmark"):
        run()
    (tmp_path / "benchmark.csv").unlink()
    run()  # as after a run that was killed in its first write
    (tmp_path / "benchmark.csv").unlink()
    (tmp_path / "benchmark.json").write_text('{"precious": 1}')
    with pytest.raises(InputError, match=r"benchmark\.csv' and its \.json are no results of a benchmark"):
        run()
    assert (tmp_path / "benchmark.json").read_text() == '{"precious": 1}'


def test_scores_of_changed_code_with_the_same_weights_are_refused(tmp_path: Path) -> None:
    def run(folder: Path | None = tmp_path, **networks: nn.Module) -> pd.DataFrame:
        scores = benchmark(networks, ["photographs"], ["clean"], folder=folder, images=1, crop=48).scores
        return scores.set_index("checkpoint")["psnr_rgb"]

    network, changed = load_network("small-x4-eats-0"), load_network("small-x4-eats-0")
    changed.lrelu.negative_slope = 0.12
    first, fresh = run(n=network), run(None, n=changed)
    assert abs(first["n"] - fresh["n"]) > 0.01
    with pytest.raises(InputError, match=r"holds results of other code of 'n', .* the same weights: choose another"):
        run(n=changed)
    both = run(n=network, changed=changed)  # a network of its own
    assert both["n"] == first["n"] and both["changed"] == pytest.approx(fresh["n"])
    assert run(changed=changed, n=network).to_dict() == both.to_dict()
    source = json.loads((tmp_path / "benchmark.json").read_text())
    assert set(source["behaviour"]) == {"n", "changed"}
    (tmp_path / "benchmark.json").write_text(json.dumps(source | {"behaviour": {}}))  # of an earlier version
    assert run(n=network)["n"] == first["n"]
    with pytest.raises(InputError, match="other code of 'n'"):
        run(n=changed)


def test_results_on_other_images_of_the_same_name_are_refused(network: nn.Module, folder: Path) -> None:
    def run(images: int) -> pd.DataFrame:
        result = benchmark({"n": network}, [str(folder / "images")], ["clean"], folder=folder / "out", images=images)
        return result.scores

    first = run(3)
    shutil.copy(folder / "images" / "7.png", folder / "images" / "3.png")
    assert run(4).head(6).equals(first)  # image 3 was not measured before
    shutil.copy(folder / "images" / "7.png", folder / "images" / "1.png")
    with pytest.raises(InputError, match=r"holds results of another image '.*images/1\.png': choose another folder"):
        run(1 + 1)
    assert len(run(1)) == 2


def test_networks_of_two_scales_are_refused(network: nn.Module) -> None:
    with pytest.raises(InputError, match="'a' 4 times, 'b' 2 times"):
        benchmark({"a": network, "b": small("srresnet-x2")}, ["photographs"])
    with pytest.raises(InputError, match="'bicubic' is bicubic upsampling"):
        benchmark({"bicubic": network}, ["photographs"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight images and a small network, for a run of 128 rows, each written immediately."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(8):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), rng.integers(0, 256, (96, 100, 3), dtype=np.uint8))
    torch.save(small("srresnet-x4").state_dict(), tmp_path / "small.pth")
    return tmp_path


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_a_command_stopped_from_outside_continues(
    folder: Path, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["evaluate", folder / "small.pth", "--sets", folder / "images", "--output", folder / "out"]
    kept = folder / "out" / "benchmark.csv"
    running = started(words, folder / "shown", prepare=write_at_once)
    while running.is_alive() and not (kept.exists() and kept.stat().st_size > 1000):
        time.sleep(0.02)
    os.kill(running.pid, how)
    running.join()
    shown = (folder / "shown").read_text()
    before = pd.read_csv(kept)
    assert 0 < len(before) < 8 * 8 * 2, shown
    if how is signal.SIGINT:
        assert running.exitcode == 130 and "interrupted" in shown
    monkeypatch.setattr(sys, "argv", ["srgame", *map(str, words)])
    main()
    after = pd.read_csv(kept)
    assert len(after) == 8 * 8 * 2
    pd.testing.assert_frame_equal(after.head(len(before)), before)


def test_the_command_compares_checkpoints(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(folder / "small.pth", folder / "twin.pth")
    words = [folder / "small.pth", folder / "twin.pth", "--sets", "photographs", "Manga109", "--degradations", "b+j"]
    options = ["--images", 1, "--crop", 64, "--output", folder / "out"]
    monkeypatch.setattr(sys, "argv", ["srgame", "evaluate", *map(str, [*words, *options])])
    main()
    printed = capsys.readouterr().out
    scores = pd.read_csv(folder / "out" / "benchmark.csv").set_index("checkpoint")
    assert scores.loc["small", "psnr_y"] == scores.loc["twin", "psnr_y"]
    assert "bicubic" in printed and "twin" in printed and "Manga109: not measured" in printed


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "no setting": (lambda: benchmark({}, ["photographs"], ["fog"]), "unknown degradation 'fog'"),
    "no images": (lambda: benchmark({}, ["photographs"], images=0), "images must be at least 1, not 0"),
    "no set": (lambda: benchmark({}, []), "no set of images is named"),
    "no such set": (lambda: benchmark({}, ["Set6", "Set7"]), "no images at 'Set6'.*no images at 'Set7'"),
}


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_a_mistake_is_one_sentence(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
