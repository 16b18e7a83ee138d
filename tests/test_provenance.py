"""The commit that results record: that of all code which makes them."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from srgame import provenance


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    return subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with files of srgame, analyses and figures, in place of srgame's own."""
    for name in ("srgame/provenance.py", "analyses/tab1.py", "figures/tab1.csv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    return tmp_path


def commit() -> str:
    fixed: Any = provenance._commit  # the tests' own cache of it
    return str(fixed.__wrapped__())


@pytest.mark.parametrize("name", ["srgame/provenance.py", "analyses/tab1.py", "srgame/new.py", "analyses/new.py"])
def test_a_change_of_the_package_or_of_a_recipe_is_recorded(root: Path, name: str) -> None:
    head = git(root, "rev-parse", "HEAD").strip()
    assert commit() == head
    (root / name).write_text("2\n")
    assert commit() == f"{head} and changes"
    git(root, "add", ".")
    assert commit() == f"{head} and changes"


def test_a_change_of_results_is_no_change_of_the_code(root: Path) -> None:
    (root / "figures/tab1.csv").write_text("2\n")
    assert commit() == git(root, "rev-parse", "HEAD").strip()


def test_an_installed_package_has_no_commit_even_within_another_repository(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = root / ".venv" / "site-packages"
    (packages / "srgame").mkdir(parents=True)
    monkeypatch.setattr(provenance, "ROOT", packages)
    assert commit() == "unknown"
