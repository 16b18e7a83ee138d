"""Results and the command line of analyses."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from commands import fill_output, run_file, unread
from matplotlib.figure import Figure

from srgame.errors import InputError
from srgame.provenance import provenance, save_frame
from srgame.report.recipe import FILES, HELP, INPUTS, make, measured_with

Run = Callable[..., subprocess.CompletedProcess[str]]
RECIPE = '''
from pathlib import Path
import pandas as pd
from matplotlib.figure import Figure
from srgame.errors import InputError
from srgame.report.recipe import run

def measure(rows: int = 3, name: str = "a", store: Path | None = None) -> pd.DataFrame:
    """Rows."""
    if rows < 0:
        raise InputError(f"{rows} rows are too few: ask for more")
    if not rows:
        raise KeyboardInterrupt
    print("measured, stored in", store)
    return pd.DataFrame({"name": [name] * rows, "value": range(rows)})

def draw(frame: pd.DataFrame) -> Figure:
    figure = Figure()
    figure.subplots().plot(frame["value"])
    return figure

if __name__ == "__main__":
    run(__file__, measure, draw)
'''


@pytest.fixture
def analysis(tmp_path: Path) -> Path:
    (tmp_path / "analyses").mkdir()
    file = tmp_path / "analyses" / "fig0.py"
    file.write_text(RECIPE)
    return file


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a recipe as a command, but in this process."""

    def run(analysis: Path, *words: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.setattr(sys, "argv", [str(analysis), *words])
        status = 0
        try:
            runpy.run_path(str(analysis), run_name="__main__")
        except SystemExit as ended:
            status = int(ended.code or 0)
        return subprocess.CompletedProcess(words, status, *capsys.readouterr())

    return run


def test_further_files_of_a_measurement_are_saved_beside_it(tmp_path: Path) -> None:
    def measure() -> pd.DataFrame:
        frame = pd.DataFrame({"value": [1]})
        frame.attrs[FILES] = {".html": b"page"}
        return frame

    make(tmp_path / "fig0", measure, lambda frame: Figure(), {})
    assert (tmp_path / "fig0.html").read_bytes() == b"page" and (tmp_path / "fig0.png").exists()


def test_new_weights_under_the_name_of_old_ones_are_measured_anew(tmp_path: Path) -> None:
    settings, stem = {"networks": ("srresnet-x4-bicubic",), "seed": 0}, tmp_path / "fig0"

    def measure(networks: tuple[str, ...], seed: int) -> pd.DataFrame:
        return pd.DataFrame({"value": [seed]})

    make(stem, measure, lambda frame: Figure(), settings)
    assert measured_with(settings, stem) and not measured_with(settings | {"seed": 1}, stem)
    source = json.loads(stem.with_suffix(".json").read_text())
    assert list(source["weights"]) == ["srresnet-x4-bicubic"]
    stem.with_suffix(".json").write_text(json.dumps(source | {"weights": {"srresnet-x4-bicubic": "of old"}}))
    assert not measured_with(settings, stem)


NAMED = {  # settings, and the file that is changed
    "a folder in networks": ({"networks": ("run", "small-x4-eats-0")}, "run/weights.safetensors"),
    "a file in networks": ({"networks": ("mine.pth",)}, "mine.pth"),
    "a checkpoint": ({"checkpoint": "mine.pth"}, "mine.pth"),
    "a sampled network": ({"sampled": "run"}, "run/weights.safetensors"),
    "code": ({"network": "my nets.py:build"}, "my nets.py"),
    "code of a convention": ({"networks": ("mine.pth",), "network": ("nets.py:build range=-1..1",)}, "nets.py"),
    "a module": ({"network": "pack.nets:build scale=2"}, "pack/nets.py"),
    "images": ({"dataset": "images"}, "images/below/a.png"),
    "an image": ({"image": "images/below/a.png"}, "images/below/a.png"),
}


@pytest.mark.parametrize(("settings", "changed"), NAMED.values(), ids=NAMED)
def test_files_that_the_settings_name_are_measured_anew_once_they_change(
    settings: dict[str, object], changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"mine.pth", "nets.py", "my nets.py", "pack/nets.py", "run/weights.safetensors", "images/below/a.png"}
    for name in files:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"first")
    measured = list[int]()

    def measure(**_: object) -> pd.DataFrame:
        measured.append(len(measured))
        return pd.DataFrame({"value": measured})

    def run() -> int:
        make(tmp_path / "figures" / "fig0", measure, lambda frame: Figure(), settings)
        return len(measured)

    assert run() == run() == 1
    for name in files - {changed}:
        if not any(str(value).startswith((name, f"('{name}")) for value in settings.values()):
            Path(name).write_bytes(b"second")
    (tmp_path / "run" / ".in-use").write_bytes(b"process 1")
    assert run() == 1
    Path(changed).write_bytes(b"trained again")
    assert run() == run() == 2
    Path(changed).unlink()
    assert run() == 3


def test_files_that_a_recipe_names_are_measured_anew_once_they_change(tmp_path: Path) -> None:
    here = tmp_path / "checkout"
    for name in ("analyses/reported/table1.csv", "analyses/logs/a-0.csv", "analyses/logs/b-0.csv", "analyses/zoo/x"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text("1")

    def measure() -> pd.DataFrame:
        frame = pd.DataFrame({"value": [1]})
        frame.attrs[INPUTS] = [here / "analyses" / name for name in ("reported/table1.csv", "logs/a-*.csv", "zoo")]
        return frame

    def is_current(checkout: Path = here) -> bool:
        return measured_with({}, checkout / "figures" / "fig0")

    def redone() -> None:
        assert not is_current()
        make(here / "figures" / "fig0", measure, lambda frame: Figure(), {})
        assert is_current()

    redone()
    (here / "analyses/logs/b-0.csv").write_text("2")  # is not read
    assert is_current() and is_current(here.rename(tmp_path / "moved")) and (tmp_path / "moved").rename(here)
    for name in ("reported/table1.csv", "logs/a-0.csv", "logs/a-1.csv", "zoo/x", "zoo/below"):
        (here / "analyses" / name).write_text("2")
        redone()
    (here / "analyses/logs/a-1.csv").rename(here / "analyses/logs/a-2.csv")
    redone()
    (here / "analyses/reported/table1.csv").unlink()
    assert not is_current()


def test_an_input_that_cannot_be_read_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.pth").write_bytes(b"1")

    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=r"mine\.pth' cannot be read \(Permission denied\)"):
        make(tmp_path / "fig0", pd.DataFrame, lambda frame: Figure(), {"checkpoint": str(tmp_path / "mine.pth")})


def test_a_recipe_measures_once_and_then_redraws(run: Run, analysis: Path, tmp_path: Path) -> None:
    first = run(analysis)
    assert first.returncode == 0 and "measured" in first.stdout
    stem = tmp_path / "figures" / "fig0"
    for suffix in (".csv", ".json", ".png", ".pdf"):
        assert stem.with_suffix(suffix).stat().st_size > 0 and f"figures/fig0{suffix}" in first.stdout
    assert json.loads(stem.with_suffix(".json").read_text())["settings"] == {"rows": 3, "name": "a"}
    stem.with_suffix(".png").unlink()
    second = run(analysis)
    assert "stored in" not in second.stdout and stem.with_suffix(".png").exists()
    assert "redrawn from figures/fig0.csv; --again measures anew" in second.stdout
    assert "measured" in run(analysis, "--again").stdout


def test_a_recipe_prints_its_answer_and_explains_its_flags(analysis: Path) -> None:
    """In a process of its own: the type checks of these tests would hide the help of its flags."""
    analysis.write_text(RECIPE.replace("measure, draw)", "measure, draw, lambda frame: f'{len(frame)} rows.')"))
    assert run_file(analysis, "--rows", "4").stdout.splitlines()[1] == "4 rows."
    shown = " ".join(run_file(analysis, "--help").stdout.replace("│", " ").split())
    assert HELP["store"] in shown and HELP["again"] in shown


def test_what_cannot_be_printed_costs_a_recipe_nothing(analysis: Path, tmp_path: Path) -> None:
    assert run_file(analysis, prepare=unread).returncode == 0
    saved = tmp_path / "figures" / "fig0.csv"
    assert len(pd.read_csv(saved)) == 3
    saved.unlink()
    full = run_file(analysis, "--again", prepare=fill_output)
    assert full.returncode == 2 and "fig0.py: No space left on device; what was measured is saved" in full.stderr
    assert "Traceback" not in full.stderr and len(pd.read_csv(saved)) == 3


def test_a_changed_flag_never_overwrites_a_result(run: Run, analysis: Path, tmp_path: Path) -> None:
    run(analysis)
    before = (tmp_path / "figures" / "fig0.csv").read_bytes()
    assert "measured" in run(analysis, "--rows", "5").stdout
    assert (tmp_path / "figures" / "fig0.csv").read_bytes() == before
    assert len(pd.read_csv(tmp_path / "figures" / "draft" / "fig0.csv")) == 5
    assert "measured" in run(analysis, "--rows", "6").stdout


def test_where_a_recipe_keeps_what_it_measures_is_no_setting(analysis: Path, tmp_path: Path) -> None:
    first = run_file(analysis, "--store", "store")
    assert "measured, stored in store" in first.stdout and "draft" not in first.stdout
    assert json.loads((tmp_path / "figures" / "fig0.json").read_text())["settings"] == {"rows": 3, "name": "a"}
    assert "stored in" not in run_file(analysis).stdout


def test_an_interrupted_recipe_says_whether_it_goes_on(analysis: Path) -> None:
    for store, message in ((), "interrupted"), (("--store", "store"), "interrupted: the same command continues"):
        ended = run_file(analysis, "--rows", "0", *store)
        assert (ended.returncode, ended.stderr.strip()) == (130, f"fig0.py: {message}")


def test_a_recipe_of_another_ones_measure_has_its_words_and_other_defaults(run: Run, analysis: Path) -> None:
    own = RECIPE.replace(
        "run(__file__, measure", "from functools import partial; run(__file__, partial(measure, rows=7)"
    )
    analysis.write_text(own)
    page = run(analysis, "--help").stdout
    assert "Rows." in page and "default: 7" in page and "partial" not in page
    assert run(analysis).returncode == 0
    assert len(pd.read_csv(analysis.parents[1] / "figures" / "fig0.csv")) == 7


def test_a_mistake_in_a_recipes_flags_is_one_sentence(run: Run, analysis: Path, tmp_path: Path) -> None:
    ended = run(analysis, "--rows", "-1")
    assert ended.returncode == 2 and ended.stderr.strip() == "fig0.py: -1 rows are too few: ask for more"
    assert not (tmp_path / "figures").exists()


def test_drawing_again_in_another_process_gives_the_same_files(run: Run, analysis: Path, tmp_path: Path) -> None:
    run(analysis)
    pictures = [tmp_path / "figures" / f"fig0.{kind}" for kind in ("png", "pdf")]
    before = [picture.read_bytes() for picture in pictures]
    run_file(analysis)
    assert [picture.read_bytes() for picture in pictures] == before


def test_a_frame_keeps_its_numbers_and_its_origin(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": [0.1 + 0.2, 1e-17]})
    save_frame(tmp_path / "sub" / "stem", frame, provenance({"seed": 1}, weights="abc"))
    assert pd.read_csv(tmp_path / "sub" / "stem.csv")["x"].tolist() == pytest.approx([0.1 + 0.2, 1e-17], rel=1e-15)
    note = json.loads((tmp_path / "sub" / "stem.json").read_text())
    assert note["settings"] == {"seed": 1} and note["weights"] == "abc"
    assert {"python", "torch", "numpy"} <= note["versions"].keys() and note["commit"] and note["date"]
    assert sorted(path.name for path in (tmp_path / "sub").iterdir()) == ["stem.csv", "stem.json"]
