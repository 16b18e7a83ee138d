"""The command `srgame atlas`."""

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pandas as pd
import pytest

from srgame.atlas import measure
from srgame.atlas.page import data_in

Run = Callable[..., tuple[int, str, str]]
SMALL = ("--images", 1, "--crop", 24, "--layers", "conv_hr")


@pytest.mark.usefixtures("without_pictures")
def test_a_page_its_numbers_and_its_settings_are_written(srgame: Run, checkpoints: list[Path], tmp_path: Path) -> None:
    words = ("--images", 1, "--crop", 24, "--layers", "conv_hr", "--degradation", "blur", "--output", tmp_path / "run")
    assert srgame("shapley", checkpoints[0], *words)[0] == 0
    out = tmp_path / "out"
    status, printed, error = srgame(
        "atlas", *checkpoints, *SMALL, "--degradations", "clean", "blur", "--from", tmp_path / "run", "--output", out
    )
    assert status == 0, error
    assert {path.name for path in out.iterdir()} == {
        "atlas.html",
        "atlas.csv",
        "atlas.json",
    } and "atlas.html" in printed
    data, source = data_in((out / "atlas.html").read_text("utf-8")), json.loads((out / "atlas.json").read_text("utf-8"))
    assert data["checkpoints"] == ["first", "second"] and data["degradations"] == ["clean", "blur"]
    assert source["weights"].keys() == {"first", "second"} and source["settings"]["from"] == [str(tmp_path / "run")]
    assert [cell["sources"].keys() for cell in data["cells"]] == [set(), {"shapley"}, set(), set()]
    frame = pd.read_csv(out / "atlas.csv")
    assert len(frame) == 4 * 6 and frame["shapley"].notna().all()


def test_the_page_of_another_run_is_kept(srgame: Run, checkpoints: list[Path], tmp_path: Path) -> None:
    for checkpoint in checkpoints:
        status, _, error = srgame("atlas", checkpoint, *SMALL, "--output", tmp_path / "out")
        assert status == 0
    assert "atlas-1." in error
    pages = [data_in((tmp_path / "out" / f"atlas{n}.html").read_text("utf-8")) for n in ("-1", "")]
    assert [page["checkpoints"] for page in pages] == [["first"], ["second"]]


@pytest.mark.usefixtures("without_pictures")
def test_more_time_is_advised_unless_ctrl_c_ended_the_atlas(
    srgame: Run, checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    words = ("atlas", checkpoints[0], *SMALL, "--output", tmp_path / "out")
    ticks = count()
    with monkeypatch.context() as clock:
        clock.setattr(measure.time, "monotonic", lambda: float(next(ticks)))
        status, printed, _ = srgame(*words, "--seconds", 3)
    assert status == 0 and "allow more --seconds" in printed
    monkeypatch.setattr(measure, "network_values", interrupted)
    status, printed, _ = srgame(*words)
    assert status == 130 and "not measured (2)" in printed and "--seconds" not in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "nowhere"), "'nowhere'"),
        (("--layers", "conv_x"), "'conv_x'"),
        (("--layers", "conv_hr/2"), "'conv_hr'"),
        (("--degradations", "rain"), "'rain'"),
        (("--seconds", "0"), "0 seconds"),
        (("--megabytes", "0.01"), "0.01 MB"),
        (("--lr", "somewhere"), "--hr"),
        (("--interacting", "0"), "interacting"),
    ],
)
def test_a_mistake_is_one_sentence(
    srgame: Run, checkpoints: list[Path], tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    status, _, error = srgame("atlas", checkpoints[0], *SMALL, "--output", tmp_path / "out", *words)
    last = error.strip().splitlines()[-1]
    assert status == 2 and last.startswith("srgame: ") and said in last and "Traceback" not in error
    assert not list((tmp_path / "out").glob("*.html"))
