"""SR images written as PNG files, and real pairs on the command line."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from small_networks import small

from srgame.cli.verbs import main
from srgame.data.images import read_rgb, to_bytes
from srgame.data.lazy import lr_images
from srgame.data.pairs import load_pairs
from srgame.errors import InputError
from srgame.evaluation.benchmark import benchmark
from srgame.evaluation.evaluate import bicubic, evaluate
from srgame.evaluation.restore import restore_images
from srgame.report.tables import score_table


@pytest.fixture
def lr_folder(tmp_path: Path) -> Path:
    """Two LR images, of 12×14 and 13×11 pixels."""
    (tmp_path / "lr").mkdir()
    rng = np.random.default_rng(0)
    for name, shape in (("b.png", (14, 12, 3)), ("a.b.bmp", (11, 13, 3))):
        cv2.imwrite(str(tmp_path / "lr" / name), rng.integers(0, 256, shape, dtype=np.uint8))
    return tmp_path / "lr"


def test_restored_images_are_the_networks_rounded_and_keep_their_names(lr_folder: Path, tmp_path: Path) -> None:
    network, out = small("srresnet-x4"), tmp_path / "out"
    written = restore_images(network, lr_images(str(lr_folder)), out, tile=8, overlap=0)
    assert [path.name for path in written] == ["a.b.png", "b.png"] and (out / "restored.json").exists()
    whole = restore_images(network, lr_images(str(lr_folder)), tmp_path / "whole")
    for path, lr in zip(whole, lr_images(str(lr_folder)), strict=True):
        with torch.no_grad():
            assert np.array_equal(read_rgb(path), to_bytes(network(lr[None])[0]))


def test_a_stopped_restoration_resumes_and_another_network_is_refused(lr_folder: Path, tmp_path: Path) -> None:
    network, out = small("srresnet-x4"), tmp_path / "out"
    first, second = restore_images(network, lr_images(str(lr_folder)), out)
    before, age = second.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    restore_images(network, lr_images(str(lr_folder)), out)
    assert second.read_bytes() == before and first.stat().st_mtime_ns == age
    torch.nn.init.zeros_(network.conv_last.weight)
    with pytest.raises(InputError, match=f"{out}.*weights"):
        restore_images(network, lr_images(str(lr_folder)), out)
    with pytest.raises(InputError, match=f"'{lr_folder}'"):
        restore_images(network, lr_images(str(lr_folder)), lr_folder)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "b.png").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"'b\.png'"):
        restore_images(network, lr_images(str(lr_folder)), tmp_path / "other")
    assert (tmp_path / "other" / "b.png").read_bytes() == b"mine"


def test_sr_images_of_changed_code_with_the_same_weights_are_refused(lr_folder: Path, tmp_path: Path) -> None:
    network, out = small("srresnet-x4"), tmp_path / "out"
    restore_images(network, lr_images(str(lr_folder)), out)
    network.lrelu.negative_slope = 0.9
    with pytest.raises(InputError, match=f"'{out}' holds results of another network .*code was changed"):
        restore_images(network, lr_images(str(lr_folder)), out)
    network.lrelu.negative_slope = 0.1
    restore_images(network, lr_images(str(lr_folder)), out)


def test_sr_images_of_other_lr_images_are_not_taken_for_their_own(lr_folder: Path, tmp_path: Path) -> None:
    network, out = small("srresnet-x4"), tmp_path / "out"
    restore_images(network, lr_images(str(lr_folder), images=1), out)
    second = restore_images(network, lr_images(str(lr_folder)), out)[1]
    assert [entry["image"] for entry in json.loads((out / "restored.json").read_text())["images"]] == [
        "a.b.bmp",
        "b.png",
    ]
    (lr_folder / "a.b.bmp").rename(lr_folder / "b.bmp")
    (lr_folder / "b.png").unlink()
    before = second.read_bytes()
    with pytest.raises(InputError, match=r"'b\.png'"):
        restore_images(network, lr_images(str(lr_folder)), out)
    cv2.imwrite(str(lr_folder / "b.png"), np.zeros((12, 12, 3), np.uint8))
    (lr_folder / "b.bmp").unlink()
    with pytest.raises(InputError, match=r"'b\.png'"):
        restore_images(network, lr_images(str(lr_folder)), out)
    assert second.read_bytes() == before


def test_an_sr_image_that_is_not_finite_is_never_written(lr_folder: Path, tmp_path: Path) -> None:
    network = small("srresnet-x4")
    torch.nn.init.constant_(network.conv_last.bias, torch.nan)
    with pytest.raises(InputError, match=r"a\.b\.bmp.*not finite"):
        restore_images(network, lr_images(str(lr_folder)), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["restored.json"]


def as_folders(folder: Path) -> list[str]:
    """--lr and --hr with the first two photographs' crops."""
    pairs = load_pairs(images=2, crop=64)
    for name, lr, hr in zip(pairs.names, pairs.lr, pairs.hr, strict=True):
        for kind, image, tag in (("l", lr, "_LR4"), ("h", hr, "_HR")):
            (folder / kind).mkdir(exist_ok=True)
            cv2.imwrite(str(folder / kind / f"{name}{tag}.png"), to_bytes(image)[:, :, ::-1])
    return ["--lr", str(folder / "l"), "--hr", str(folder / "h")]


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["srgame", *map(str, words)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_evaluate_measures_real_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(small("srresnet-x4").state_dict(), tmp_path / "small.pth")
    words = ["evaluate", tmp_path / "small.pth", *as_folders(tmp_path), "--output", tmp_path / "out"]
    assert run(monkeypatch, *words) == 0
    scores = pd.read_csv(tmp_path / "out" / "benchmark.csv")
    assert scores["dataset"].unique().tolist() == [str(tmp_path / "h")]
    assert scores["degradation"].unique().tolist() == ["real"]
    for name, restore in (("bicubic", bicubic(4)), ("small", small("srresnet-x4"))):
        expected = evaluate(restore, load_pairs(images=2, crop=64))
        rows = scores[scores["checkpoint"] == name]
        assert rows["psnr_y"].tolist() == pytest.approx(expected["psnr_y"].tolist(), abs=1e-6)
    assert run(monkeypatch, *words, "--sets", "Set5") == run(monkeypatch, *words, "--degradations", "clean") == 2
    assert run(monkeypatch, *words[:4], "--output", tmp_path / "out") == 2


def test_shapley_plays_on_real_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(small("srresnet-x4").state_dict(), tmp_path / "small.pth")
    small_run = ["--evaluations", 60, "--crop", 16]
    real, made = tmp_path / "real", tmp_path / "made"
    assert run(monkeypatch, "shapley", tmp_path / "small.pth", *as_folders(tmp_path), *small_run, "--output", real) == 0
    note = json.loads((real / "shapley.json").read_text())
    assert note["images"] == ["astronaut_HR", "chelsea_HR"] and note["settings"]["hr"] == str(tmp_path / "h")
    assert run(monkeypatch, "shapley", tmp_path / "small.pth", "--images", 2, *small_run, "--output", made) == 0
    both = [pd.read_csv(folder / "shapley.csv")["grand"][0] for folder in (real, made)]
    assert both[0] == pytest.approx(both[1], abs=1)  # crops of the same place, degraded before or after the cut


def test_means_say_which_images_are_too_small_for_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, side in {"a": 8, "b": 12, "c": 16, "d": 40}.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    scores = benchmark({}, [str(tmp_path)], ["clean"]).scores
    with pytest.warns(UserWarning, match="a, b, c too small"):
        alone = evaluate(bicubic(4), load_pairs(str(tmp_path)))
    pd.testing.assert_frame_equal(alone[["psnr_y", "ssim_y"]], scores[["psnr_y", "ssim_y"]])
    assert scores["psnr_y"].notna().tolist() == [False, True, True, True]
    assert scores["ssim_y"].notna().tolist() == [False, False, False, True]
    assert "4 images (PSNR of 3, SSIM of 1;" in score_table(scores, {})
    assert "1 images\n" in score_table(scores.tail(1), {})
