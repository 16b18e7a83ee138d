"""The command, run in this process."""

import sys
from collections.abc import Callable

import pytest

from srgame.cli.verbs import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def srgame(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process: exit status, standard output, standard error."""

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["srgame", *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, *capsys.readouterr()

    return run
