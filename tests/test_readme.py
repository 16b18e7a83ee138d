"""README stays short, and its code runs; its doctest is run by pytest itself."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
SMALL = {
    '"train293"': '"photographs"',
    'patches = srgame.Patches(images, "second-order", sharpen=True)': (
        'patches = srgame.Patches(images[:1], "second-order", patch=16, batch=2, sharpen=True)'
    ),
    "srgame.SRResNet": "lambda: srgame.SRResNet(features=8, blocks=2)",
    "20_000": "2",
    '"unseen109"': '"photographs", images=1, crop=16',
}


def test_readme_has_at_most_120_lines() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120


def test_eats_and_original_are_trained_and_compared_in_six_lines_of_public_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (code,) = re.findall(r"```python\n([^>].*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    imports, study = code.split("\n\n")
    assert imports.split("\n") == ["from pathlib import Path", "import srgame"]
    assert len(study.splitlines()) == 6
    for shown, small in SMALL.items():
        assert shown in code
        code = code.replace(shown, small)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, str(README), "exec"), {})
    assert {path.parent.name for path in tmp_path.glob("run/*/weights.safetensors")} == {"Original", "EATS"}
    printed = capsys.readouterr().out
    assert printed.count("inhibited") == printed.count("sparsity") == 2
