"""Files that are whole or not there."""

from pathlib import Path

import pytest

from srgame.errors import InputError
from srgame.files import differences, replaced, writable


def test_what_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    path = replaced(tmp_path / "a", b"first")
    assert replaced(path, b"second").read_bytes() == b"second"
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        replaced(tmp_path / "taken", b"third")
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a", "taken"]


def test_differences_are_named_on_both_sides() -> None:
    found = differences({"seed": 0, "crop": 8, "old": 1}, {"seed": 0, "crop": 9, "new": 2})
    assert list(found.values()) == ["crop 8, not 9", "old 1, not None", "new None, not 2"]


def test_a_folder_that_takes_no_file_is_refused(tmp_path: Path) -> None:
    assert writable(tmp_path / "a" / "b").is_dir() and not list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"nothing can be written to '.*file' \("):
        writable(tmp_path / "file")
