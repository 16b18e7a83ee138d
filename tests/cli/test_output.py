"""What a run prints and writes: nothing that was measured is lost, whatever becomes of the output."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from commands import fill_output, started, unread

from srgame.networks import fingerprint, load_network

Run = Callable[..., tuple[int, str, str]]
SMALL = ("--crop", "16", "--images", "1", "--layers", "conv_hr")
SCORES = ("--crop", "16", "--images", "1", "--degradations", "clean")  # `evaluate` draws nothing, so it is quick
VERBS = {
    "shapley": [*SMALL, "--evaluations", 300],
    "interactions": [*SMALL, "--evaluations", 300],
    "probe responses": SMALL,
    "probe salience": (*SMALL[:-1], "conv_last:input"),
}


def shell(*words: object, then: str, **environment: str) -> tuple[int, bytes, bytes]:
    """Runs the command in a shell with `then`, such as a pipe, behind it; its own exit status, stdout, stderr."""
    command = shlex.join(map(str, [sys.executable, "-m", "srgame", *words]))
    ended = subprocess.run(
        ["bash", "-c", f"{command} {then}; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        env=os.environ | environment,
        timeout=120,
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize("verb", ["evaluate", "layers"])
def test_nobody_has_to_read_what_is_printed(checkpoints: list[Path], tmp_path: Path, verb: str) -> None:
    words = [] if verb == "layers" else [*SCORES, "--output", tmp_path / "out"]
    process = started([verb, checkpoints[0], *words], tmp_path / "shown", prepare=unread)
    process.join()
    assert process.exitcode == 0
    assert verb == "layers" or len(pd.read_csv(tmp_path / "out" / "benchmark.csv")) == 2


def test_a_run_is_saved_if_its_streams_were_closed_before_it_began(checkpoints: list[Path], tmp_path: Path) -> None:
    words = ["evaluate", checkpoints[0], *SCORES, "--output", tmp_path / "out"]
    assert shell(*words, then=">&- 2>&-")[0] == 0
    assert len(pd.read_csv(tmp_path / "out" / "benchmark.csv")) == 2


def test_a_reader_may_leave_early(checkpoints: list[Path]) -> None:
    status, first, error = shell("layers", checkpoints[0], then="| head -1")
    assert status == 0 and first and not error


def test_what_an_encoding_lacks_is_replaced_and_the_rest_is_printed(checkpoints: list[Path], tmp_path: Path) -> None:
    words = ["shapley", checkpoints[0], *SMALL, "--evaluations", 300, "--output", tmp_path / "out"]
    status, printed, error = shell(*words, then="", PYTHONIOENCODING="cp1252")
    assert status == 0 and b"Traceback" not in error
    assert "dB)" in printed.decode("cp1252") and "shapley.csv" in printed.decode("cp1252")


def test_help_pages_need_no_unicode_and_no_patient_reader() -> None:
    status, page, error = shell("shapley", "--help", then="", PYTHONIOENCODING="cp1252")
    assert status == 0 and b"usage: srgame" in page and not error
    assert shell("probe", "lam", "--help", then="| true") == (0, b"", b"")


def test_a_full_disk_under_the_output_is_reported_after_the_results_are_saved(
    checkpoints: list[Path], tmp_path: Path
) -> None:
    words = ["evaluate", checkpoints[0], *SCORES, "--output", tmp_path / "out"]
    process = started(words, shown := tmp_path / "shown", prepare=fill_output)
    process.join()
    error = shown.read_text()
    assert process.exitcode == 2 and "No space left" in error and "Traceback" not in error
    assert len(pd.read_csv(tmp_path / "out" / "benchmark.csv")) == 2


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize("verb", VERBS)
def test_results_of_two_checkpoints_stand_side_by_side_in_a_folder(
    srgame: Run, checkpoints: list[Path], tmp_path: Path, verb: str
) -> None:
    out, name = tmp_path / "out", verb.split()[-1]
    for checkpoint in checkpoints:
        files = {path.name: path.read_bytes() for path in out.glob("*")}
        status, _, error = srgame(*verb.split(), checkpoint, *VERBS[verb], "--output", out)
        assert status == 0
    assert f"{name}-1.*" in error and f"{checkpoints[0]}" in error and f"{checkpoints[1]}" in error
    assert pd.read_csv(out / f"{name}.csv")["checkpoint"].unique().tolist() == ["second"]
    for old, content in files.items():
        kept = out / old.replace(".", "-1.")
        assert kept.read_bytes() == content, kept
    assert len(files) == (6 if name == "salience" else 4) and len(list(out.iterdir())) == 2 * len(files)


@pytest.mark.usefixtures("blank_pictures")
@pytest.mark.parametrize("foreign", ["responses.json", "responses.png", "responses.pdf"])
def test_a_foreign_file_of_the_same_name_is_kept(
    srgame: Run, checkpoints: list[Path], tmp_path: Path, foreign: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / foreign).write_text("precious")
    status, _, error = srgame("probe", "responses", checkpoints[0], *SMALL, "--output", out)
    assert status == 0 and "of unknown origin" in error and "'responses-1.*'" in error
    assert (out / foreign.replace(".", "-1.")).read_text() == "precious" and (out / foreign).read_bytes() != b"precious"


@pytest.mark.usefixtures("blank_pictures")
def test_each_setting_has_results_of_its_own_and_the_same_command_replaces_its_own(
    srgame: Run, checkpoints: list[Path], tmp_path: Path
) -> None:
    words = ["probe", "responses", checkpoints[0], *SMALL, "--output", tmp_path / "out"]
    for degradation in ("clean", "clean", "blur", "noise"):
        assert srgame(*words, "--degradation", degradation)[0] == 0
    settings = [
        json.loads((tmp_path / "out" / f"responses{number}.json").read_text())["settings"]["degradation"]
        for number in ("", "-1", "-2")
    ]
    assert settings == ["noise", "clean", "blur"] and len(list((tmp_path / "out").iterdir())) == 3 * 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["shapley", "--evaluation", "5"], ["'--evaluation'", "--evaluations", "`srgame shapley --help`"]),
        (["probe", "cosine", "--degradatio", "blur"], ["--degradation;", "`srgame probe cosine --help`"]),
        (["train", "--output", "x", "--no_resum"], ["'--no_resum'", "--no-resume;", "`srgame train --help`"]),
        (["shapley", "--seed", "many"], ["--seed", "'many'", "`srgame shapley --help`"]),
        (["shapley", "--tolerance=small"], ["--tolerance", "'small'"]),
        (["shapley", "one.pth", "two.pth"], ["'two.pth'"]),
        (["train", "photographs"], ["--output"]),
        (["shaply"], ["'shaply'", "shapley", "`srgame --help`"]),
        (["probe", "cosin"], ["'cosin'", "cosine"]),
        (["probe"], ["responses", "attributions"]),
        ([], ["shapley", "probe"]),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence_with_what_was_meant(
    srgame: Run, words: list[str], said: list[str]
) -> None:
    status, printed, error = srgame(*words)
    assert status == 2 and printed == "" and error.count("\n") == 1 and len(error) < 200
    assert all(each in error for each in said)


@pytest.mark.usefixtures("blank_pictures")
def test_ctrl_c_in_a_probe_keeps_the_checkpoints_that_were_measured(
    srgame: Run, checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from srgame.cli import comparison

    load = comparison.loaded

    def interrupted(checkpoint: str, *rest: object) -> torch.nn.Module:
        if Path(checkpoint) == checkpoints[1]:
            raise KeyboardInterrupt
        return load(checkpoint, *rest)

    monkeypatch.setattr(comparison, "loaded", interrupted)
    status, printed, error = srgame("probe", "responses", *checkpoints, *SMALL, "--output", tmp_path / "out")
    assert status == 130 and "1 of 2" in error and "responses.csv" in printed
    assert pd.read_csv(tmp_path / "out" / "responses.csv")["checkpoint"].unique().tolist() == ["first"]


def test_a_training_starts_from_any_checkpoint_and_can_be_extended(
    srgame: Run, checkpoints: list[Path], tmp_path: Path
) -> None:
    images = tmp_path / "one.png"
    cv2.imwrite(str(images), np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8))
    words = ["train", images, "--output", tmp_path / "run", "--init", checkpoints[1], "--patch", 32, "--crop", 0]
    words += ["--degradation", "bicubic", "--batch", 1, "--pool", 1, "--validation-degradations"]
    words += ["--learning-rate", 1e-9]
    for steps in (1, 2):
        status, printed, error = srgame(*words, "--steps", steps)
        assert status == 0 and "weights.safetensors" in printed
    assert "extended to 2" in error
    trained = load_network(tmp_path / "run" / "weights.safetensors").state_dict()
    for name, weights in torch.load(checkpoints[1]).items():
        torch.testing.assert_close(trained[name], weights, atol=1e-7, rtol=0)
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    said = {"init": str(checkpoints[1]), "data": str(images), "steps": 2, "extended": [1], "strategy": "original"}
    assert run | said == run and run["init_weights"] == fingerprint(load_network(checkpoints[1]))
    status, _, error = srgame(*words[:5], checkpoints[0], *words[6:], "--steps", 2)
    assert status == 2 and "init_weights" in error
    status, _, error = srgame(*words, "--features", 8, "--output", tmp_path / "other")
    assert status == 2 and "--features" in error and str(checkpoints[1]) in error
    status, _, error = srgame(*words, "--scale", 2, "--output", tmp_path / "other")
    assert status == 2 and "scale" in error
