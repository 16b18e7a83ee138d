"""Files that are written whole or not at all, and folders that one run at a time can use."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import room_for

from srgame.errors import InputError
from srgame.files import LOCK, differences, ensure_writable, lock, write_atomic


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / "a", b"first")
    assert write_atomic(path, b"second").read_bytes() == b"second"
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_atomic(tmp_path / "taken", b"third")
    with room_for(4), pytest.raises(OSError, match="too large"):
        write_atomic(path, b"more than there is room for")
    assert path.read_bytes() == b"second"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "taken"]


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    write_atomic(tmp_path / "link", b"ours")
    assert (tmp_path / "outside").read_bytes() == b"precious" and (tmp_path / "link").read_bytes() == b"ours"


def test_differences_are_named_on_both_sides() -> None:
    phrases = differences({"seed": 0, "crop": 8, "old": 1}, {"seed": 0, "crop": 9, "new": 2})
    assert list(phrases.values()) == ["crop 8, not 9", "old 1, not None", "new None, not 2"]


def test_of_mappings_in_mappings_only_what_differs_is_named() -> None:
    """A training knows its patch stores by mappings: one, or a list of several."""
    first = {"seed": 0, "crc32": {"lr": 1, "hr": 2}}
    second = {"seed": 1, "crc32": {"lr": 1, "hr": 3}}
    said = ["patches seed 0, not 1", "patches crc32 hr 2, not 3"]
    assert list(differences({"patches": first}, {"patches": second}).values()) == said
    assert list(differences({"patches": [first]}, {"patches": second}).values()) == said
    assert list(differences({"patches": [first, second]}, {"patches": first}).values()) == ["2 sets of patches, not 1"]
    both = differences({"patches": [first, first]}, {"patches": [first, second]})
    assert list(both.values()) == ["patches 2 seed 0, not 1", "patches 2 crc32 hr 2, not 3"]
    assert list(differences({"patches": None}, {"patches": {"seed": 0}})) == ["patches"]


def test_a_folder_that_takes_no_file_is_refused(tmp_path: Path) -> None:
    assert ensure_writable(tmp_path / "a" / "b").is_dir() and not list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").touch()
    for nowhere in (tmp_path / "file", Path("/proc/srgame")):
        with pytest.raises(InputError, match=rf"nothing can be written to '{nowhere}' \("):
            ensure_writable(nowhere)
        with pytest.raises(InputError, match=rf"nothing can be written to '{nowhere}' \("), lock(nowhere):
            pass


def test_a_folder_is_locked_for_one_run_which_is_named_and_leaves_no_trace(tmp_path: Path) -> None:
    sentence = rf"'{tmp_path}' is in use by another run \(process {os.getpid()} on .*\): wait for its end, or choose"
    with lock(tmp_path):
        for _ in range(2):
            with pytest.raises(InputError, match=sentence), lock(tmp_path):
                pass
        with lock(tmp_path / "below"), lock(None):
            pass
    assert [file.name for file in tmp_path.iterdir()] == ["below"] and not list((tmp_path / "below").iterdir())
    with pytest.raises(ZeroDivisionError), lock(tmp_path):
        _ = 1 / 0
    with lock(tmp_path):
        pass


def test_a_lock_does_not_outlive_a_killed_process(tmp_path: Path) -> None:
    code = f"with lock(Path({str(tmp_path)!r})): print(1, flush=True), time.sleep(60)"
    code = f"from srgame.files import *; import time\n{code}"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"1\n"
        with pytest.raises(InputError, match=f"process {process.pid} on"), lock(tmp_path):
            pass
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert (tmp_path / LOCK).exists()
    with lock(tmp_path):
        pass
    assert not (tmp_path / LOCK).exists()


def test_a_lock_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"precious")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="nothing can be written"), lock(tmp_path / "run"):
        pass
    assert (tmp_path / "outside").read_bytes() == b"precious"
