"""The estimators of shapiq run in another process, to which the game is served."""

import sys
from pathlib import Path

import numpy as np
import pytest
import rivals
from games import FormulaGame, additive

from srgame.errors import InputError

SHAPIQ = """
import numpy as np

class approximator:
    class PermutationSamplingSV:  # asks for the worth of everybody, nobody and each player alone
        def __init__(self, n, random_state):
            self.n = n

        def approximate(self, budget, game):
            everybody, nobody, *alone = game(np.vstack([np.ones(self.n), np.zeros(self.n), np.eye(self.n)]))
            assert everybody == sum(alone) and game(np.ones(self.n)) == everybody
            return {(player,): alone[player] - nobody for player in range(self.n)}
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of shapiq's name, with one estimator."""
    (tmp_path / "shapiq.py").write_text(SHAPIQ)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.mark.usefixtures("stand_in")
def test_the_game_is_served_to_the_other_process() -> None:
    weights = [1.0, -2.0, 0.5, 4.0, 0.25, 3.0, 7.0, -1.0, 2.0]
    with rivals.rivals(Path(sys.executable)) as peer:
        for _ in range(2):  # one process serves several runs
            values, evaluations, seconds = peer.estimate("permutations", additive(weights), 100, 0)
            np.testing.assert_array_equal(values, weights)
            assert evaluations == 2 + len(weights) + 1 and seconds >= 0


@pytest.mark.usefixtures("stand_in")
def test_an_estimator_that_fails_ends_with_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with rivals.rivals(Path(sys.executable)) as peer, pytest.raises(InputError, match="estimators of shapiq ended"):
        peer.estimate("permutations", FormulaGame(2, lambda presences: presences.prod(1)), 100, 0)
    assert "AssertionError" in capfd.readouterr().err


def test_without_the_newer_python_the_reason_is_printed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rivals, "ENVIRONMENT", tmp_path / "none")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert rivals.python_of_rivals() is None
    assert "needs python3.12" in capsys.readouterr().err
