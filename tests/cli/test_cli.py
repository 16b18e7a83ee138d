"""The command line as a user meets it."""

import errno
import json
import os
import re
import signal
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from commands import started
from safetensors.torch import load_file

from srgame.cli.comparison import labels
from srgame.cli.flags import FIRST_CHECKPOINT, Images, Network, Output, TrainingDegradation, Worth, flat
from srgame.cli.shapley import LIMITS, shapley
from srgame.data.degradations.steps import degraded
from srgame.data.degradations.testing import SETTINGS
from srgame.data.degradations.training import DEGRADATIONS, DISTORTIONS
from srgame.data.images import read_image
from srgame.data.pairs import load_pairs
from srgame.files import lock
from srgame.networks import SRResNet, fingerprint, load_network, untrained
from srgame.networks.weights import save_weights
from srgame.shapley.until import OutOfTimeError
from srgame.training.loop import seeded
from srgame.training.patch_store import StoredPatches
from srgame.training.patches import joined
from srgame.training.state import STATES

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "small.pth"
    torch.save(seeded(lambda: SRResNet(features=6, blocks=2), 0).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four small images: the middles of the photographs."""
    folder = tmp_path_factory.mktemp("scenes")
    pairs = load_pairs("photographs", crop=64)
    for name, hr in zip(pairs.names, pairs.hr, strict=True):
        cv2.imwrite(str(folder / f"{name}.png"), (hr * 255).round().byte().permute(1, 2, 0).numpy()[..., ::-1])
    return folder


def test_shapley_prints_a_table_and_writes_csv_json_and_pictures(srgame: Run, checkpoint: Path, tmp_path: Path) -> None:
    words = ["--layers", "conv_hr", "conv_first", "--crop", 32, "--images", 2, "--evaluations", 300, "--seed", 3]
    status, printed, _ = srgame("shapley", checkpoint, *words, "--output", tmp_path / "out")
    assert status == 0
    values = pd.read_csv(tmp_path / "out" / "shapley.csv")
    assert values["layer"].unique().tolist() == ["conv_first", "conv_hr"] and len(values) == 12
    for _, of_layer in values.groupby("layer"):
        assert of_layer["shapley"].sum() == pytest.approx(
            of_layer["grand"].iloc[0] - of_layer["empty"].iloc[0], abs=1e-9
        )
        assert sorted(of_layer["rank"]) == [1, 2, 3, 4, 5, 6]
        assert (of_layer["low"] <= of_layer["shapley"]).all() and (of_layer["shapley"] <= of_layer["high"]).all()
    note = json.loads((tmp_path / "out" / "shapley.json").read_text())
    assert note["settings"]["seed"] == 3 and note["images"] == ["astronaut", "chelsea"] and len(note["weights"]) == 64
    picture = cv2.imread(str(tmp_path / "out" / "shapley.png"))
    assert picture.std() > 5 and (tmp_path / "out" / "shapley.pdf").stat().st_size > 1000
    for word in ("conv_hr", "rank", "filter", "φ (", "evaluations", "largest standard error", "shapley.csv", "prune"):
        assert word in printed


@pytest.mark.usefixtures("without_pictures")
def test_the_same_command_gives_the_same_csv(srgame: Run, checkpoint: Path, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        srgame("shapley", checkpoint, "--crop", 32, "--evaluations", 100, "--output", tmp_path / folder)
    assert (tmp_path / "one" / "shapley.csv").read_bytes() == (tmp_path / "two" / "shapley.csv").read_bytes()


@pytest.mark.usefixtures("without_pictures")
def test_all_layers_stand_in_one_table(srgame: Run, checkpoint: Path, tmp_path: Path) -> None:
    options = ["--layers", "all", "--crop", 16, "--images", 1, "--evaluations", 60, "--payoff", "-mse"]
    options += ["--ablation", "mean", "--target", "bicubic", "--output", tmp_path]
    assert srgame("shapley", checkpoint, *options)[0] == 0
    assert len(pd.read_csv(tmp_path / "shapley.csv")) == 6 * 6 + 24 + 24 + 3


def test_interactions_prints_the_strongest_and_writes_csv_json_and_pictures(
    srgame: Run, checkpoint: Path, tmp_path: Path
) -> None:
    words = ["--layers", "body.1.conv1", "--crop", 16, "--images", 1, "--tolerance", 0.3, "--output", tmp_path]
    status, printed, _ = srgame("interactions", checkpoint, *words)
    assert status == 0
    values = pd.read_csv(tmp_path / "interactions.csv")
    assert len(values) == 15 and values["ended"].unique().tolist() == ["exact"]
    assert json.loads((tmp_path / "interactions.json").read_text())["settings"]["layers"] == ["body.1.conv1"]
    assert cv2.imread(str(tmp_path / "interactions.png")).std() > 5
    assert (tmp_path / "interactions.pdf").stat().st_size > 1000
    for word in ("I (", "of 15 pairs", "interchangeable", "co-adapted", "interactions.csv"):
        assert word in printed


@pytest.mark.usefixtures("without_pictures")
def test_interactions_of_some_filters_take_fewer_evaluations(srgame: Run, checkpoint: Path, tmp_path: Path) -> None:
    words = ["--layers", "upconv1", "--crop", 16, "--images", 1, "--filters", 3, 8, 21, "--output", tmp_path]
    status, _, _ = srgame("interactions", checkpoint, *words, "--evaluations", 60, "--payoff", "-l1")
    values = pd.read_csv(tmp_path / "interactions.csv")
    assert status == 0 and values[["filter", "partner"]].to_numpy().tolist() == [[3, 8], [3, 21], [8, 21]]
    assert values["evaluations"].unique().tolist() == [4 * 2 * (1 + 3 + 3)]


def test_interactions_of_several_layers_stand_in_one_table(srgame: Run, checkpoint: Path, tmp_path: Path) -> None:
    words = ["--layers", "conv_last", "conv_hr", "--crop", 16, "--images", 1, "--target", "bicubic"]
    status, printed, _ = srgame("interactions", checkpoint, *words, "--output", tmp_path)
    values = pd.read_csv(tmp_path / "interactions.csv")
    assert status == 0 and values.columns.tolist()[:5] == ["checkpoint", "layer", "filter", "partner", "interaction"]
    assert values["checkpoint"].unique().tolist() == ["small"]
    assert values["layer"].value_counts().to_dict() == {"conv_hr": 15, "conv_last": 3}
    assert "\nconv_hr\n" in printed and "\nconv_last\n" in printed
    assert cv2.imread(str(tmp_path / "interactions.png")).std() > 5


@pytest.mark.usefixtures("without_pictures")
def test_tables_of_all_verbs_merge_on_checkpoint_layer_and_filter(
    srgame: Run, two_runs: list[Path], tmp_path: Path
) -> None:
    images = ["--crop", 16, "--images", 1, "--layers", "conv_hr", "body.1.conv1"]
    shapley, pairs = [], []
    for path in two_runs:
        assert srgame("shapley", path, *images, "--evaluations", 60, "--output", tmp_path)[0] == 0
        assert srgame("interactions", path, *images, "--output", tmp_path)[0] == 0
        shapley.append(pd.read_csv(tmp_path / "shapley.csv"))
        pairs.append(pd.read_csv(tmp_path / "interactions.csv"))
    assert srgame("probe", "responses", *two_runs, *images, "--output", tmp_path)[0] == 0
    responses = pd.read_csv(tmp_path / "responses.csv")
    key = ["checkpoint", "layer", "filter"]
    for frame in (shapley[0], responses):
        assert frame.columns.tolist()[:3] == key
    # Files named `weights` bear the names of their folders, alone as well as side by side.
    both = pd.concat(shapley).merge(responses, on=key, validate="one_to_one").merge(pd.concat(pairs), on=key)
    assert both["checkpoint"].unique().tolist() == ["original", "eats"]
    assert both.groupby(["checkpoint", "layer"]).size().tolist() == [15] * 4
    assert both[["shapley", "mean_abs", "interaction"]].notna().all(axis=None)


@pytest.mark.parametrize(
    ("verb", "name", "own"),
    [
        ("shapley", "shapley", {"seconds": None, "tolerance": 0.02, "rms_tolerance": None, "workers": None}),
        ("interactions", "interactions", {"seconds": 90.0, "filters": []}),
        ("probe lam", "lam", {"corner": None, "network": ["auto"]}),
        ("probe equity", "equity", {"scores": ["responses", "salience"]}),
    ],
)
@pytest.mark.usefixtures("without_pictures")
def test_the_json_records_every_flag(
    srgame: Run, checkpoint: Path, tmp_path: Path, verb: str, name: str, own: dict[str, object]
) -> None:
    status, page, _ = srgame(*verb.split(), "--help")
    flags = {flag.replace("-", "_") for flag in re.findall(r"^\W+--([a-z][a-z0-9-]*)", page, re.MULTILINE)}
    assert status == 0 and {"output", "device", "dataset", "images", "crop", "degradation", "network"} <= flags
    small = ["--crop", 16, "--images", 1] + (["--evaluations", 100] if name in ("shapley", "interactions") else [])
    assert srgame(*verb.split(), checkpoint, *small, "--output", tmp_path)[0] == 0
    settings = json.loads((tmp_path / f"{name}.json").read_text())["settings"]
    assert settings.keys() - {"checkpoint", "checkpoints"} == flags
    assert settings | own | {"crop": 16, "images": 1, "output": str(tmp_path)} == settings


def test_version_is_printed(srgame: Run) -> None:
    assert srgame("--version") == (0, f"srgame {version('srgame')}\n", "")


def test_layers_are_listed(srgame: Run, checkpoint: Path) -> None:
    status, printed, _ = srgame("layers", checkpoint)
    assert (
        status == 0
        and "body.1.conv2" in printed
        and "9 conv layers, 87 filters; 0 linear layers; last feature layer: conv_hr" in printed
    )


BAD = {
    "no such layer": (
        "shapley {checkpoint} --layers conv_hrr",
        "no conv or linear layer 'conv_hrr'; the nearest are conv_hr",
    ),
    "no such file": ("shapley missing.pth", "'missing.pth' is neither a file nor in the zoo"),
    "no such set": ("shapley {checkpoint} --dataset Set6", "no images at 'Set6'"),
    "wrong scale": ("layers {checkpoint} --scale 2", "wrong scale"),
    "no such degradation": ("shapley {checkpoint} --degradation fog", "unknown degradation 'fog'"),
    "no such device": ("shapley {checkpoint} --device tpu", "there is no device 'tpu'"),
    "no such network": ("layers {checkpoint} --network srrresnet", "unknown network 'srrresnet'"),
    "nothing to reach": ("shapley {checkpoint} --tolerance -1", "limits are positive"),
    "too few evaluations": ("shapley {checkpoint} --evaluations 5", "5 evaluations"),
    "all and more": ("shapley {checkpoint} --layers all conv_hr", "--layers all"),
    "no such filter": ("interactions {checkpoint} --filters 1 9", "(1, 9) is no pair"),
    "no pair": ("interactions {checkpoint} --filters 1", "no pairs, no interactions"),
    "prune too many": ("prune {checkpoint} --count 7 --crop 16", "between 1 and the 6 filters of 'conv_hr', not 7"),
    "prune by one image": ("prune {checkpoint} --count 2 --images 1", "--held-out"),
    "prune no number": ("prune {checkpoint}", "--count"),
    "no image": ("shapley {checkpoint} --images 0", "images must be at least 1, not 0"),
    "no crop": ("shapley {checkpoint} --crop -5", "crop must be at least 1, not -5"),
    "no confidence": ("shapley {checkpoint} --confidence 1", "a confidence lies between 0 and 1"),
    "no seed": ("shapley {checkpoint} --seed -1", "a seed is a whole number"),
    "no image file": ("shapley {checkpoint} --dataset /dev/null", "cannot be read as an image"),
    "no such scale": ("train {images} --output {folder}/run --scale 5 --patch 20", "enlarges 2, 3 or 4 times"),
    "train to nowhere": ("train {images} --output {checkpoint} --patch 32", "nothing can be written"),
    "no images": ("train {folder} --output {folder}/run", "holds no image"),
    "images too small": ("train {images} --output {folder}/run", "smaller than the patch of 128"),
    "train on nothing": ("train --output {folder}/run", "--patches FOLDER"),
    "train on both": ("train {images} --patches {folder} --output {folder}/run", "--patches FOLDER"),
    "train on no patches": ("train --patches {folder} --output {folder}/run", "holds no patches"),
    "weight without eats": ("train {images} --output {folder}/run --eats-weight 0.1", "--eats-weight"),
    "layers without eats": (
        "train {images} --output {folder}/run --strategy bicubic-pull --eats-layers all",
        "--eats-layers",
    ),
    "dropout without dropout": ("train {images} --output {folder}/run --strategy eats --dropout 0.5", "--dropout"),
    "dil on one degradation": (
        "train {images} --output {folder}/run --strategy dil --degradation bicubic",
        "leave out --degradation",
    ),
    "sharpened for tests": ("degrade photographs --output {folder}/lr --degradation b+n --sharpen", "'b+n'"),
    "patches for tests": ("degrade photographs --output {folder}/lr --degradation jpeg --patches 4", "'jpeg'"),
    "no sheet": ("degrade photographs --output {folder}/lr --sheet -1", "0 or more, not -1"),
    "no patches": ("degrade photographs --output {folder}/lr --patches 0", "patches must be at least 1"),
    "patches of LR images": ("degrade {images} --output {folder}/lr --patch 32", "--patch needs --patches"),
    "patches to nowhere": ("degrade photographs --output {checkpoint}/x --patches 4", "nothing can be written"),
    "lr to nowhere": ("degrade photographs --output {checkpoint}/x", "nothing can be written to '{checkpoint}/x'"),
    "probe no such layer": (
        "probe cosine {checkpoint} --layers conv_hrr",
        "no layer 'conv_hrr'; the nearest are conv_hr",
    ),
    "probe no such file": ("probe responses missing.pth", "'missing.pth' is neither a file nor in the zoo"),
    "probe twice": ("probe lam {checkpoint} {checkpoint}", "none twice, not: {checkpoint} {checkpoint}"),
    "probe networks": ("probe lam {checkpoint} --network auto auto", "--network has 2 values for 1 checkpoints"),
    "probe no patches": ("probe ddr {checkpoint} --side 0", "side must be at least 1, not 0"),
    "probe no device": ("probe srga {checkpoint} --device tpu", "there is no device 'tpu'"),
    "probe no such csv": ("probe equity missing.csv", "'missing.csv' cannot be read as a csv"),
    "not a folder": (
        "shapley {checkpoint} --crop 32 --evaluations 100 --output {checkpoint}/x",
        "nothing can be written",
    ),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.usefixtures("without_pictures")
def test_a_users_mistake_is_one_sentence_and_status_2(srgame: Run, checkpoint: Path, tmp_path: Path, name: str) -> None:
    words, sentence = BAD[name]
    (tmp_path / "empty").mkdir()
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "small.png"), np.zeros((40, 40, 3), np.uint8))
    places = {"checkpoint": checkpoint, "folder": tmp_path / "empty", "images": tmp_path / "images"}
    status, _, error = srgame(*words.format(**places).split())
    assert status == 2 and sentence.format(**places) in error and "Traceback" not in error
    assert len([line for line in error.splitlines() if line.startswith("srgame: ") and "note" not in line]) == 1


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), "out of memory: crop the images, take smaller batches, or free memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 1"), "out of memory"),
        (cv2.error("Insufficient memory"), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "nothing can be written any more (No space left on device)"),
    ],
)
def test_a_limit_of_the_machine_is_one_sentence_and_a_bug_is_not(
    srgame: Run, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("srgame.networks.load_network", broken)
    status, _, said = srgame("layers", checkpoint)
    assert status == 2 and said.startswith(f"srgame: {sentence}") and said.count("\n") == 1
    error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError):
        srgame("layers", checkpoint)


@pytest.mark.usefixtures("without_pictures")
def test_a_second_run_in_a_folder_is_refused_by_each_verb_that_goes_on_there(
    srgame: Run, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "one.png"), np.zeros((40, 40, 3), np.uint8))
    small = ["--crop", 32, "--images", 1, "--output", tmp_path / "out"]
    size = ["--features", "4", "--blocks", "1", "--patch", "32", "--crop", "0", "--steps", "1", "--validation"]
    images = tmp_path / "images"
    verbs = {
        "train": [images, *size, images, "--output", tmp_path / "out"],
        "shapley": [checkpoint, *small, "--evaluations", 60, "--store", tmp_path / "out"],
        "evaluate": [checkpoint, *small, "--degradations", "clean"],
    }
    for verb, words in verbs.items():
        with lock(tmp_path / "out"):
            status, _, error = srgame(verb, *words)
        assert status == 2 and f"'{tmp_path / 'out'}' is in use by another run (process" in error
        assert srgame(verb, *words)[0] == 0


@pytest.mark.parametrize("degradation", ["bicubic", "second-order", "bsrgan", "second-order:noise"])
def test_degrade_writes_lr_images_and_a_manifest_that_makes_them_again(
    srgame: Run, scenes: Path, tmp_path: Path, degradation: str
) -> None:
    words = ["degrade", scenes, "--degradation", degradation, "--sheet", 0, "--output"]
    status, printed, _ = srgame(*words, tmp_path / "lr")
    assert status == 0 and "4 LR images" in printed
    manifest = json.loads((tmp_path / "lr" / "manifest.json").read_text())
    assert manifest["settings"] == {"degradation": degradation, "scale": 4, "sharpen": False, "seed": 0}
    pairs = load_pairs(str(scenes))
    assert [entry["lr"] for entry in manifest["images"]] == [f"{name}.png" for name in pairs.names]
    for entry, hr in zip(manifest["images"], pairs.hr, strict=True):
        written = read_image(tmp_path / "lr" / entry["lr"])
        assert written.shape == (3, hr.shape[1] // 4, hr.shape[2] // 4)
        if entry["drawn"]:
            assert torch.equal(degraded(hr[None], [entry["drawn"]])[0], written)
    srgame(*words, tmp_path / "other", "--seed", 1)
    same = (tmp_path / "lr" / "rocket.png").read_bytes() == (tmp_path / "other" / "rocket.png").read_bytes()
    assert same == (degradation == "bicubic")


def test_degrade_writes_the_lr_images_of_the_tests(srgame: Run, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(0).integers(0, 256, (26, 24, 3), dtype=np.uint8))
    status, printed, _ = srgame("degrade", tmp_path, "--output", tmp_path / "lr", "--degradation", "all")
    assert status == 0 and "8 LR images" in printed and "lr-sheet.png" in printed
    for setting in SETTINGS:
        folder = tmp_path / "lr" / setting
        assert torch.equal(read_image(folder / "a.png"), load_pairs(str(tmp_path / "a.png"), setting).lr[0])
        (entry,) = json.loads((folder / "manifest.json").read_text())["images"]
        steps = [step for letter, step in (("b", "blur1"), ("", "bicubic1"), ("n", "noise1"), ("j", "jpeg1"))
                 if letter in SETTINGS[setting]]  # fmt: skip
        assert list(entry["drawn"]) == steps
    sheet = cv2.imread(str(tmp_path / "lr-sheet.png"))
    assert sheet.std() > 5 and sheet.shape[1] > 8 * 200
    assert srgame("degrade", tmp_path / "a.png", "--output", tmp_path / "b", "--sheet", 0)[0] == 0
    assert not (tmp_path / "b-sheet.png").exists()


def test_degrade_never_replaces_images_of_another_run(srgame: Run, tmp_path: Path) -> None:
    (tmp_path / "hr").mkdir()
    for name, seed in (("a", 0), ("b", 1)):
        pixels = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "hr" / f"{name}.png"), pixels)
    words = ["degrade", tmp_path / "hr", "--output", tmp_path / "lr", "--sheet", 0]
    assert srgame(*words)[0] == 0
    files = {path: path.read_bytes() for path in (*(tmp_path / "hr").iterdir(), *(tmp_path / "lr").iterdir())}
    for other, said in (
        (["--seed", 1], "seed 0, not 1"),
        (["--scale", 2], "scale 4, not 2"),
        (["--output", tmp_path / "hr"], "'hr' holds the images".replace("'hr'", f"'{tmp_path / 'hr'}'")),
    ):
        status, _, error = srgame(*words, *other)
        assert status == 2 and said in error
    assert {path: path.read_bytes() for path in files} == files
    assert {path.name for path in tmp_path.rglob("*.*")} == {path.name for path in files}
    (tmp_path / "lr" / "b.png").unlink()
    assert srgame(*words)[0] == 0
    assert {path: path.read_bytes() for path in files} == files
    (tmp_path / "hr" / "a.png").rename(tmp_path / "hr" / "b.png")
    status, _, error = srgame(*words)
    assert status == 2 and "'b.png'" in error
    (tmp_path / "mine").mkdir()
    for name in ("b.png", "lr.npy"):
        (tmp_path / "mine" / name).write_bytes(b"mine")
    for patches in ([], ["--patches", 2, "--patch", 16]):
        status, _, error = srgame(*words[:2], "--output", tmp_path / "mine", *patches)
        assert status == 2 and f"'{tmp_path / 'mine'}'" in error
    assert (tmp_path / "mine" / "b.png").read_bytes() == (tmp_path / "mine" / "lr.npy").read_bytes() == b"mine"


@pytest.mark.parametrize("patches", [[], ["--patches", 2, "--patch", 32]])
def test_ctrl_c_in_degrade_says_that_the_same_command_resumes(
    srgame: Run, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patches: list[object]
) -> None:
    words = ["degrade", scenes, "--output", tmp_path / "lr", "--sheet", 0, *patches]
    assert srgame(*words, "--output", tmp_path / "whole")[0] == 0
    with monkeypatch.context() as during:
        module = "training.patch_store._bytes" if patches else "data.degradations.folder.write_png"
        during.setattr(f"srgame.{module}", stopped_at_second(module))
        status, printed, error = srgame(*words)
    assert (status, printed) == (130, "") and "interrupted" in error and "resumes" in error
    assert srgame(*words)[0] == 0
    for path in (tmp_path / "whole").iterdir():
        assert (tmp_path / "lr" / path.name).read_bytes() == path.read_bytes()


def stopped_at_second(name: str, stop: BaseException | None = None) -> Callable[..., object]:
    """The function of srgame with this name, which raises `stop`, or Ctrl-C, when called a second time."""
    module, _, function = f"srgame.{name}".rpartition(".")
    real, calls = getattr(import_module(module), function), []

    def stopped(*words: object, **named: object) -> object:
        calls.append(words)
        if len(calls) == 2:
            raise stop or KeyboardInterrupt
        return real(*words, **named)

    return stopped


@pytest.fixture
def two_runs(tmp_path: Path) -> list[Path]:
    """Checkpoints of two small networks, where `srgame train` would write them."""
    paths = [tmp_path / run / "weights.safetensors" for run in ("original", "eats")]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        save_weights(seeded(lambda: SRResNet(features=6, blocks=2), seed).state_dict(), path)
    return paths


PROBES = {
    "responses": ("--crop 12 --layers body.1 conv_hr", ["layer", "filter", "mean"], 2 * 6),
    "cosine": (
        "--crop 12 --layers body.0 conv_hr --degradation blur",
        ["layer", "filter", "partner", "cosine"],
        2 * 15,
    ),
    "salience": ("--crop 12 --layers conv_last:input", ["layer", "filter", "salience"], 6),
    "lam": ("--crop 12 --steps 2 --window 8", ["image", "row", "column", "luma", "attribution"], 2 * 144),
    "ddr": ("--sets clean noise --count 6 --side 8 --seeds 0 1", ["space", "set", "image", "x", "y", "chi"], 3 * 12),
    "srga": ("--sets noise --count 6 --side 8", ["set", "patches", "alpha", "beta", "kl", "srga"], 2),
    "equity": (
        "--crop 32 --scores responses salience shapley conductance --seconds 0.1",
        ["score", "layer", "filter", "value"],
        24,
    ),
    "attributions": ("--crop 32 --steps 4", ["method", "layer", "filter", "attribution"], 12),
}


@pytest.mark.parametrize("verb", PROBES)
def test_a_probe_compares_checkpoints_in_one_table_and_picture(
    srgame: Run, two_runs: list[Path], tmp_path: Path, verb: str
) -> None:
    flags, columns, rows = PROBES[verb]
    words = ["probe", verb, *two_runs, "--images", 2, *flags.split(), "--output", tmp_path / "out"]
    status, printed, error = srgame(*words)
    assert status == 0, error
    stem = tmp_path / "out" / verb
    frame = pd.read_csv(stem.with_suffix(".csv"))
    assert frame.columns.tolist()[: len(columns) + 1] == ["checkpoint", *columns]
    assert frame["checkpoint"].tolist() == ["original"] * rows + ["eats"] * rows
    note = json.loads(stem.with_suffix(".json").read_text())
    assert note["weights"].keys() == {"original", "eats"} and len(set(note["weights"].values())) == 2
    assert note["settings"]["images"] == 2 and note["images"] == ["astronaut", "chelsea"]
    assert {row["checkpoint"] for row in note["summary"]} == {"original", "eats"}
    assert cv2.imread(f"{stem}.png").std() > 5 and stem.with_suffix(".pdf").stat().st_size > 1000
    assert "original" in printed and f"{verb}.csv" in printed


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.filterwarnings("ignore:.*on a photograph its PSNR is")
def test_a_probe_compares_the_zoo_with_a_network_of_ones_own(
    srgame: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from torch import nn\ndef build(): return nn.Sequential(nn.Conv2d(3, 48, 3, padding=1), nn.PixelShuffle(4))"
    (tmp_path / "mine.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    nearest = torch.zeros(48, 3, 3, 3)  # each LR pixel becomes 4×4 equal ones
    nearest[torch.arange(48), torch.arange(48) // 16, 1, 1] = 1
    torch.save({"0.weight": nearest, "0.bias": torch.zeros(48)}, tmp_path / "mine.pth")
    words = ["probe", "srga", "srresnet-x4-bicubic", tmp_path / "mine.pth", "--network", "auto", "mine:build"]
    options = ["--images", 1, "--count", 3, "--side", 8, "--sets", "blur", "--output", tmp_path / "out"]
    status, _, error = srgame(*words, *options, "--layer", "conv_hr")
    assert status == 2 and "no layer 'conv_hr'; the nearest are" in error
    words = ["probe", "responses", tmp_path / "mine.pth", "--network", "mine:build", "--layers", "0", "1:input"]
    assert srgame(*words, "--crop", 12, "--output", tmp_path / "out")[0] == 0
    assert len(pd.read_csv(tmp_path / "out" / "responses.csv")) == 96


@pytest.mark.usefixtures("without_pictures")
def test_equity_reads_the_scores_that_shapley_and_probes_wrote(srgame: Run, checkpoint: Path, tmp_path: Path) -> None:
    srgame("shapley", checkpoint, "--crop", 32, "--images", 1, "--evaluations", 100, "--output", tmp_path)
    srgame("probe", "attributions", checkpoint, "--crop", 32, "--images", 1, "--steps", 2, "--output", tmp_path)
    tables = [tmp_path / "shapley.csv", tmp_path / "attributions.csv"]
    status, printed, _ = srgame("probe", "equity", *tables, "--output", tmp_path / "out")
    assert status == 0 and "attributions: small" in printed
    scores = pd.read_csv(tmp_path / "out" / "equity.csv")
    assert scores["score"].unique().tolist() == ["shapley", "integrated-gradients", "conductance"]
    assert scores["value"][:6].tolist() == pytest.approx(pd.read_csv(tables[0])["shapley"].tolist())
    (tmp_path / "none.csv").write_text("a,b\n1,2\n")
    status, _, error = srgame("probe", "equity", tmp_path / "none.csv", "--output", tmp_path / "out")
    assert status == 2 and "holds no score of filters" in error
    values = pd.read_csv(tables[0])
    pd.concat([values, values]).to_csv(tmp_path / "maps.csv")
    status, _, error = srgame("probe", "equity", tmp_path / "maps.csv", "--output", tmp_path / "out")
    assert status == 2 and "has several numbers of one filter" in error


def test_checkpoints_are_told_apart_by_as_much_of_their_paths_as_it_takes() -> None:
    assert labels(["srresnet-x4-bicubic"]) == ["srresnet-x4-bicubic"]
    assert labels(["runs/eats/weights.safetensors", "runs/original/weights.pth"]) == ["eats", "original"]
    assert labels(["a/x/net.pth", "b/x/net.pth"]) == ["a/x/net", "b/x/net"]
    assert labels(["weights.pth", "net-v1.5.pth"]) == ["weights", "net-v1.5"]
    assert labels(["runs/eats-0.1", "readings-x4-w0.1-0"]) == ["eats-0.1", "readings-x4-w0.1-0"]


def test_an_unknown_strategy_is_refused(srgame: Run, tmp_path: Path) -> None:
    status, printed, error = srgame("train", tmp_path, "--output", tmp_path, "--strategy", "dreams")
    assert status == 2 and printed == "" and error.count("\n") == 1
    assert "'dreams'" in error and "original" in error and "srgame train --help" in error


@pytest.mark.parametrize(
    ("strategy", "given", "default"),
    [
        ("dropout", ["--dropout", 0.9], ["--dropout", 0.5]),
        ("bicubic-pull", ["--eats-weight", 0.1], ["--eats-target", "bicubic"]),
        ("eats", ["--eats-erase", "one per layer"], ["--eats-layers", "all", "--eats-weight", 1, "--eats-count", 1]),
    ],
)
def test_a_strategy_reads_its_own_flags(
    srgame: Run, scenes: Path, tmp_path: Path, strategy: str, given: list[object], default: list[object]
) -> None:
    small = ["--features", 4, "--blocks", 1, "--steps", 1, "--batch", 1, "--patch", 32, "--crop", 0, "--pool", 1]
    small += ["--validation-degradations", "--degradation", "bicubic", "--strategy", strategy]
    weights = []
    for flags in ([], default, given):
        output = tmp_path / str(len(weights))
        assert srgame("train", scenes, *small, *flags, "--output", output)[0] == 0
        weights.append((output / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


@pytest.fixture
def patch_store(srgame: Run, scenes: Path, tmp_path: Path) -> Path:
    """Six patches of scale 2."""
    store = tmp_path / "patches"
    words = ["--patches", 6, "--patch", 32, "--crop", 48, "--scale", 2, "--sharpen", "--sheet", 0]
    status, printed, _ = srgame("degrade", scenes, "--output", store, *words)
    assert status == 0 and "6 patches" in printed and str(store / "patches.json") in printed
    return store


def on_patches(store: Path, erase: str, output: Path) -> list[object]:
    """A training of two steps on stored patches."""
    small = ["--features", 4, "--blocks", 1, "--batch", 4, "--steps", 2, "--save-every", 1, "--validation-degradations"]
    eats = ["--strategy", "eats", "--eats-weight", 0.1, "--eats-erase", erase]
    return ["train", "--patches", store, *small, *eats, "--output", output]


@pytest.mark.parametrize("erase", ["one", "one per layer", "none"])
def test_trainings_share_stored_patches(srgame: Run, patch_store: Path, tmp_path: Path, erase: str) -> None:
    assert srgame(*on_patches(patch_store, erase, tmp_path / "run"))[0] == 0
    log = pd.read_csv(tmp_path / "run" / "log.csv")
    losses = {"pull"} if erase == "none" else {"awaken", "erasure"}
    assert log["step"].tolist() == [1, 2] and losses | {"original", "to_bicubic"} <= set(log.columns)
    weights = load_file(tmp_path / "run" / "weights.safetensors")
    assert weights["upconv1.weight"].shape[0] == 4 * 2**2  # of scale 2, as the patches are


def test_a_training_on_patches_resumes_only_with_the_same_flags_on_the_same_patches(
    srgame: Run, patch_store: Path, tmp_path: Path
) -> None:
    assert srgame(*on_patches(patch_store, "one", tmp_path / "run"))[0] == 0
    status, _, error = srgame(*on_patches(patch_store, "none", tmp_path / "run"))
    assert status == 2 and "eats_erase one, not none" in error
    (patch_store / "hr.npy").write_bytes((patch_store / "hr.npy").read_bytes()[:-1] + b"?")
    status, _, error = srgame(*on_patches(patch_store, "one", tmp_path / "run"))
    assert status == 2 and "hr.npy" in error and "damaged" in error


@pytest.fixture
def types(srgame: Run, scenes: Path, tmp_path: Path) -> list[Path]:
    """Six patches of each type of distortion."""
    small = ["--patches", 6, "--patch", 32, "--crop", 48, "--sheet", 0]
    for kind in DISTORTIONS:
        assert srgame("degrade", scenes, "--output", tmp_path / kind, "--degradation", kind, *small)[0] == 0
    return [tmp_path / kind for kind in DISTORTIONS]


def on_types(types: list[Path], output: Path, strategy: str = "dil") -> list[object]:
    """A training of three steps on several stores."""
    small = ["--features", 4, "--blocks", 1, "--steps", 3, "--batch", 2, "--validation-degradations", "clean"]
    return ["train", "--patches", *types, "--strategy", strategy, *small, "--output", output]


def test_dil_trains_on_one_store_for_each_type(srgame: Run, types: list[Path], tmp_path: Path) -> None:
    status, _, error = srgame(*on_types(types, tmp_path / "run"), "--dil-rate", 2e-4)
    assert status == 0, error
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["options"] == {"types": 5, "rate": 2e-4} and run["dil_rate"] == 2e-4
    assert [store["degradation"] for store in run["patches"]] == list(DISTORTIONS)
    log = pd.read_csv(tmp_path / "run" / "log.csv")
    assert {"meta", "original", "to_bicubic", "psnr_y_clean"} <= set(log) and log["step"].tolist() == [3]
    assert len({(folder / "hr.npy").read_bytes() for folder in types}) == 1  # they differ in distortion only
    assert len({(folder / "lr.npy").read_bytes() for folder in types}) == 5
    assert srgame(*on_types(types, tmp_path / "half"), "--steps", 2)[0] == 0
    assert json.loads((tmp_path / "half" / "run.json").read_text())["options"] == {"types": 5, "rate": 1e-4}
    with (tmp_path / "half" / "state.pt").open("rb") as file:
        assert len(torch.load(file, weights_only=True)["inner"]["state"]) > 10


def test_any_strategy_trains_on_a_batch_of_each_store(srgame: Run, types: list[Path], tmp_path: Path) -> None:
    status, _, error = srgame(*on_types(types, tmp_path / "run", "original"), "--steps", 1)
    assert status == 0, error
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [store["degradation"] for store in run["patches"]] == list(DISTORTIONS)
    lr, hr = joined([StoredPatches(folder, 2, 0) for folder in types])(0)
    assert len(lr) == 10
    network = seeded(lambda: untrained("srresnet", features=4, blocks=1), 0)
    with torch.no_grad():
        loss = (network(lr) - hr).abs().mean().item()
    assert pd.read_csv(tmp_path / "run" / "log.csv")["original"].tolist() == pytest.approx([loss])


def test_stores_that_are_not_one_for_each_type_are_refused(
    srgame: Run, scenes: Path, types: list[Path], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    words = ["--patches", 6, "--patch", 32, "--crop", 64, "--degradation", "second-order:blur", "--sheet", 0]
    assert srgame("degrade", scenes, "--output", other, *words)[0] == 0
    for folders, strategy, said in (
        (types[:1], "dil", "second-order:blur"),
        ([types[0], types[0]], "dil", "second-order:blur, second-order:blur"),
        ([types[0], types[0]], "original", "second-order:blur, second-order:blur"),
        ([types[1], other], "dil", f"'{other}' have crop 64, not 48 as in '{types[1]}'"),
    ):
        status, _, error = srgame(*on_types(folders, tmp_path / "run", strategy))
        assert status == 2 and said in error and not (tmp_path / "run" / "state.pt").exists()


def test_dil_on_images_makes_patches_of_each_type(srgame: Run, training: list[object], tmp_path: Path) -> None:
    training[training.index("eats")] = "dil"
    assert srgame(*training)[0] == 0
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["degradation"] == list(DISTORTIONS) and run["options"]["types"] == 5
    assert srgame(*training, "--output", tmp_path / "by-worker", "--workers", 1)[0] == 0
    weights = [(tmp_path / each / "weights.safetensors").read_bytes() for each in ("run", "by-worker")]
    assert weights[0] == weights[1]


def test_the_command_line_offers_every_training_degradation() -> None:
    assert get_args(TrainingDegradation) == tuple(DEGRADATIONS)


@pytest.mark.parametrize(("flag", "value"), {"scale": 4, "patch": 64, "crop": 0, "degradation": "bicubic"}.items())
def test_stored_patches_determine_their_own_settings(
    srgame: Run, patch_store: Path, tmp_path: Path, flag: str, value: object
) -> None:
    status, _, error = srgame(*on_patches(patch_store, "one", tmp_path / "run"), f"--{flag}", value)
    assert status == 2 and f"{flag} " in error and str(patch_store) in error


@pytest.fixture
def training(tmp_path: Path) -> list[object]:
    """A training of two steps on one image, in the folder `run`."""
    images = tmp_path / "images"
    images.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(images / "one.png"), cv2.GaussianBlur(noise, (5, 5), 1))
    small = ["--features", 4, "--blocks", 1, "--steps", 2, "--batch", 1, "--patch", 32, "--crop", 0]
    validation = ["--validation", images, "--validation-degradations", "clean", "b+n"]
    return ["train", images, *small, "--strategy", "eats", *validation, "--output", tmp_path / "run"]


def test_training_writes_weights_and_a_log(srgame: Run, training: list[object], tmp_path: Path) -> None:
    status, printed, _ = srgame(*training)
    assert status == 0 and str(tmp_path / "run" / "weights.safetensors") in printed
    losses = ["original", "awaken", "erasure", "to_bicubic"]
    scores = [f"psnr_{colour}_{name}" for name in ("clean", "b+n") for colour in ("rgb", "y")]
    log = pd.read_csv(tmp_path / "run" / "log.csv")
    assert log.columns.tolist() == ["step", *losses, "steps_per_second", "waiting", *scores]
    assert log["waiting"].between(0, 1).all() and log["psnr_y_clean"][0] > log["psnr_y_b+n"][0]
    assert srgame("layers", tmp_path / "run" / "weights.safetensors")[0] == 0


def test_images_larger_than_the_cache_are_noted_with_the_size_that_holds_them(
    srgame: Run, training: list[object], tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "images" / "0.png"), np.zeros((320, 320, 3), np.uint8))
    for number in range(1, 60):  # 60 images of 307,200 bytes: 0.0172 GiB
        (tmp_path / "images" / f"{number}.png").hardlink_to(tmp_path / "images" / "0.png")
    words = [*training[:-4], "--output", tmp_path / "run", "--validation-degradations"]
    status, _, error = srgame(*words, "--cache", 0.01)
    assert status == 0 and error.count("decoded again") == 1 and "--cache 0.02" in error
    status, _, error = srgame(*words, "--output", tmp_path / "other", "--cache", 0.02)
    assert status == 0 and "decoded" not in error


def test_validation_includes_subfolders_if_the_training_does(
    srgame: Run, training: list[object], tmp_path: Path
) -> None:
    (tmp_path / "images" / "more").mkdir()
    pixels = np.zeros((64, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "images" / "more" / "black.png"), pixels)
    for flags in ([], ["--subfolders"]):
        assert srgame(*training, *flags, "--output", tmp_path / f"run{len(flags)}")[0] == 0
    without, within = (pd.read_csv(tmp_path / f"run{n}" / "log.csv")["psnr_y_clean"].iloc[-1] for n in (0, 1))
    assert abs(without - within) > 1


@pytest.mark.usefixtures("blank_pictures")
def test_files_have_the_mode_that_the_umask_gives(
    srgame: Run, training: list[object], checkpoint: Path, tmp_path: Path
) -> None:
    out, images, few = tmp_path / "out", tmp_path / "images", ["--crop", 16, "--evaluations", 60]
    before = os.umask(0o027)
    try:
        commands = (
            [*training[:-1], out / "train"],
            ["shapley", checkpoint, "--dataset", images, *few, "--store", out / "store", "--output", out],
            ["evaluate", checkpoint, "--sets", images, "--degradations", "clean", "--output", out],
            ["restore", checkpoint, "--dataset", images, "--output", out / "restored"],
            ["degrade", images, "--output", out / "lr"],
            ["degrade", images, "--output", out / "patches", "--patches", 2, "--patch", 16, "--crop", 0, "--sheet", 0],
        )
        for words in commands:
            assert srgame(*words)[0] == 0
    finally:
        os.umask(before)
    files = [path for path in out.rglob("*") if path.is_file()]
    assert {"weights.safetensors", "state.pt", "shapley.png", "game.json", "benchmark.csv", "lr.npy", "one.png"} <= {
        path.name for path in files
    }
    assert {str(path): oct(path.stat().st_mode & 0o777) for path in files} == {str(path): "0o640" for path in files}


def test_a_worker_makes_the_same_patches(srgame: Run, training: list[object], tmp_path: Path) -> None:
    assert srgame(*training)[0] == 0
    assert srgame(*training, "--output", tmp_path / "by-worker", "--workers", 1)[0] == 0
    weights = [(tmp_path / run / "weights.safetensors").read_bytes() for run in ("run", "by-worker")]
    assert weights[0] == weights[1]
    status, _, error = srgame(*training, "--workers", -1)
    assert status == 2 and "--workers" in error and "-1" in error


@pytest.mark.parametrize("state", STATES)
def test_without_resume_a_training_in_the_folder_is_an_error(
    srgame: Run, training: list[object], tmp_path: Path, state: str
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / state).touch()
    status, _, error = srgame(*training, "--no-resume")
    assert status == 2 and f"'{tmp_path / 'run'}'" in error and "--no-resume" in error


@pytest.mark.filterwarnings("always:this processor emulates")
@pytest.mark.parametrize("native", [True, False])
def test_training_in_bfloat16_is_noted_if_the_processor_emulates_it(
    srgame: Run, training: list[object], monkeypatch: pytest.MonkeyPatch, native: bool
) -> None:
    features = {"architecture": "x86_64", "avx512_bf16": native}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features, raising=False)
    status, _, note = srgame(*training, "--bfloat16")
    assert status == 0 and ("emulates bfloat16" in note) == (not native)


def test_ctrl_c_leaves_no_traceback_and_keeps_what_was_measured(checkpoint: Path, tmp_path: Path) -> None:
    words = ["shapley", checkpoint, "--crop", 32, "--tolerance", 1e-9, "--seconds", 600, "--output", tmp_path / "out"]
    shown, deadline = tmp_path / "shown", time.monotonic() + 60
    process = started(words, shown)
    while not (shown.exists() and re.search(r"([4-9]|\d\d) replicates", shown.read_text())):
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    process.join(timeout=60)
    assert process.exitcode == 130, shown.read_text()
    assert "ended by: interrupted" in shown.read_text() and "Traceback" not in shown.read_text()
    assert (pd.read_csv(tmp_path / "out" / "shapley.csv")["replicates"] >= 4).all()


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize(
    ("verb", "where"),
    [("shapley", "shapley.audit.affordable_tail"), ("interactions", "shapley.interactions.pair_interactions")],
)
def test_ctrl_c_saves_the_layers_so_far_and_names_the_others(
    srgame: Run, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, where: str
) -> None:
    words = ["--layers", "body.1.conv2", "conv_hr", "conv_last:input", "--crop", 16, "--images", 1]
    monkeypatch.setattr(f"srgame.{where}", stopped_at_second(where))
    status, printed, error = srgame(verb, checkpoint, *words, "--evaluations", 300, "--output", tmp_path)
    measured = set(pd.read_csv(tmp_path / f"{verb}.csv")["layer"])
    missing = [layer for layer in words[1:4] if layer not in measured]
    assert status == 130 and 1 <= len(missing) <= 2 and f"{verb}.csv" in printed
    assert all(layer in error for layer in missing) and not any(layer in error for layer in measured)
    note = json.loads((tmp_path / f"{verb}.json").read_text())
    assert note["missing"] == missing and note["settings"]["layers"] == words[1:4]


@pytest.mark.filterwarnings("default:the interactions end")
@pytest.mark.usefixtures("without_pictures")
def test_layers_for_which_interactions_have_no_time_are_named_and_the_others_kept(
    srgame: Run, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = "shapley.interactions.pair_interactions"
    monkeypatch.setattr(f"srgame.{where}", stopped_at_second(where, OutOfTimeError("1 second ends")))
    words = ["--layers", "body.1.conv2", "conv_hr", "--crop", 16, "--images", 1, "--evaluations", 300]
    status, printed, note = srgame("interactions", checkpoint, *words, "--output", tmp_path)
    assert status == 0 and "interactions.csv" in printed
    assert "the interactions end with body.1.conv2: 1 second ends" in note
    assert set(pd.read_csv(tmp_path / "interactions.csv")["layer"]) == {"body.1.conv2"}
    assert json.loads((tmp_path / "interactions.json").read_text())["missing"] == ["conv_hr"]


@pytest.mark.parametrize(
    ("verb", "flags"),
    [
        ("compare", ["--layers", "upconv1"]),
        ("prune", ["--layer", "upconv1", "--count", 2]),
        ("probe equity", ["--layers", "upconv1", "--scores", "responses", "shapley"]),
    ],
)
def test_nothing_is_concluded_from_values_that_ctrl_c_cut_short(
    srgame: Run,
    two_runs: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    flags: list[object],
) -> None:
    monkeypatch.setattr("srgame.shapley.sampling._make", stopped_at_second("shapley.sampling._make"))
    networks = two_runs[:1] if verb == "prune" else two_runs
    with pytest.raises(KeyboardInterrupt):
        srgame(*verb.split(), *networks, *flags, "--crop", 16, "--images", 2, "--output", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.usefixtures("without_pictures")
def test_bfloat16_is_reported_and_refused_where_it_is_emulated(
    srgame: Run, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--layers", "conv_hr", "conv_first", "--crop", 16, "--images", 1, "--evaluations", 200, "--bfloat16"]
    for capability, expected in (({"avx512_bf16": True}, 0), ({"avx512_bf16": False}, 2)):
        features = {"architecture": "x86_64"} | capability
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda features=features: features, raising=False)
        status, printed, complaint = srgame("shapley", checkpoint, *words, "--output", tmp_path / "out")
        assert status == expected
        assert ("of the variance of permutations" in printed) == (expected == 0)
        assert ("emulates bfloat16" in complaint) == (expected == 2)
    status, _, complaint = srgame("shapley", checkpoint, *words, "--device", "nowhere", "--output", tmp_path / "out")
    assert status == 2 and "there is no device 'nowhere'" in complaint


def test_the_first_picture_is_what_the_first_command_makes_today() -> None:
    stem = Path(__file__).parents[2] / "figures" / "shapley"
    source = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
    groups = {
        "network": Network(),
        "images": Images(),
        "worth": Worth(),
        "limits": LIMITS,
        "output": Output(output=Path("figures")),
    }
    flags = {name: flag.default for name, flag in signature(shapley).parameters.items() if name not in groups}
    flags["layers"] = ["conv_hr"]  # what the default stands for in this network
    assert source["settings"] == json.loads(json.dumps(flat(*groups.values(), **flags)))
    assert source["weights"] == fingerprint(load_network(FIRST_CHECKPOINT))
    assert "changes" not in source["commit"]
    values = pd.read_csv(stem.with_suffix(".csv"))
    assert values["ended"].unique().tolist() == ["additive tail"]
    assert values.columns[:4].tolist() == ["checkpoint", "layer", "filter", "shapley"]
    assert {"replicates", "relative_stderr", "gradients_reduction"} <= set(values.columns)


def test_compare_puts_networks_side_by_side_with_differences(srgame: Run, two_runs: list[Path], tmp_path: Path) -> None:
    words = ["compare", *two_runs, "--images", 2, "--crop", 24, "--layers", "conv_hr", "body.1.conv1"]
    status, printed, error = srgame(*words, "--evaluations", 100, "--output", tmp_path)
    assert status == 0, error
    filters, layers = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("compare", "compare_layers"))
    assert filters.columns.tolist()[:4] == ["checkpoint", "layer", "filter", "shapley"] and len(filters) == 24
    assert {"low", "high", "mean_abs", "salience", "nearest", "cosine"} <= set(filters)
    assert layers["checkpoint"].unique().tolist() == ["original", "eats"]
    second = layers[layers["checkpoint"] == "eats"]
    assert second["difference"].notna().all() and (second["low"] <= second["high"]).all()
    for word in ("PSNR, Y", "Gini of φ", "mean |cosine|", "difference 2 - 1", "do not correspond by number"):
        assert word in printed
    assert cv2.imread(str(tmp_path / "compare.png")).std() > 5


def test_compare_draws_many_layers(srgame: Run, two_runs: list[Path], tmp_path: Path) -> None:
    words = ["--images", 1, "--crop", 16, "--layers", "all", "--evaluations", 200, "--output", tmp_path]
    assert srgame("compare", two_runs[0], *words)[0] == 0
    layers = pd.read_csv(tmp_path / "compare_layers.csv")
    assert layers["layer"].nunique() == 10 and layers["difference"].isna().all()
    assert cv2.imread(str(tmp_path / "compare.png")).std() > 5


def test_prune_saves_a_network_that_loses_what_it_says(srgame: Run, two_runs: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["prune", two_runs[0], "--layer", "body.1.conv1", "--count", 2, "--by", "norm", "--images", 3]
    status, printed, error = srgame(*words, "--crop", 24, "--evaluations", 60, "--output", out)
    assert status == 0, error
    scores, losses = (pd.read_csv(out / f"{name}.csv").set_index("checkpoint") for name in ("prune", "prune_losses"))
    assert set(scores.index) == set(losses.index) == {"original"}
    assert scores.loc[scores["removed"], "norm"].max() < scores.loc[~scores["removed"], "norm"].min()
    row = losses[losses["removed"] == 2].iloc[0]
    for column, score in (("sum_shapley", "shapley"), ("sum_leave-one-out", "leave-one-out")):
        assert row[column] == pytest.approx(scores.loc[scores["removed"], score].sum())
    before, after = (load_network(path) for path in (two_runs[0], out / "prune.safetensors"))
    pairs = load_pairs(images=3, crop=24)
    psnr = [
        [
            -10 * torch.log10((network(lr[None])[0] - hr).square().mean()).item()
            for lr, hr in zip(pairs.lr, pairs.hr, strict=True)
        ]
        for network in (before, after)
    ]
    loss = np.subtract(*psnr)
    assert row["loss"] == pytest.approx(loss[[0, 2]].mean(), abs=1e-4)
    assert row["held_out_loss"] == pytest.approx(loss[1], abs=1e-4)
    assert "do not predict" in printed and "held-out images (chelsea)" in printed
    removed = scores.loc[scores["removed"], "filter"].tolist()
    assert f"2 of 6 filters of body.1.conv1 removed, lowest norm first: {removed[0]} {removed[1]}" in printed
    assert srgame(*words, "--crop", 16, "--evaluations", 60, "--output", out)[0] == 0
    assert (out / "prune-1.safetensors").exists() and cv2.imread(str(out / "prune.png")).std() > 5
    assert srgame(*words, "--crop", 16, "--held-out", "photographs", "--evaluations", 60, "--output", out)[0] == 0
    note = json.loads((out / "prune.json").read_text())
    assert note["held_out_images"] == note["images"] == ["astronaut", "chelsea", "coffee"]
