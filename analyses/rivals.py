"""The estimators of shapiq, in an environment of their own: its newest release needs a newer Python than srgame.

shapiq_peer.py runs them there; the game is served to it over a pipe.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64

from srgame.errors import InputError
from srgame.shapley.game import Game

RELEASE = "1.8.0"
PACKAGES = (f"shapiq=={RELEASE}", "lightgbm")
PYTHON = "python3.12"
ENVIRONMENT = Path(__file__).with_name(f".shapiq-{RELEASE}")
PEER = Path(__file__).with_name("shapiq_peer.py")
NAMES = ("permutations", "KernelSHAP", "LeverageSHAP", "OddSHAP", "PolySHAP", "RegressionMSR", "ProxySHAP")


@dataclass(frozen=True)
class Rivals:
    """The running peer."""

    process: subprocess.Popen[str]

    def estimate(
        self, name: str, game: Game, evaluations: int, seed: int
    ) -> tuple[Float64[np.ndarray, " player"], int, float]:
        """The values of an estimator, the coalitions that it evaluated, and its own CPU seconds.

        Raises InputError if the peer ends.
        """
        message = self._asked([name, game.players, evaluations, seed])
        while "coalitions" in message:
            packed = np.frombuffer(bytes.fromhex("".join(message["coalitions"])), np.uint8)
            rows = np.unpackbits(packed.reshape(len(message["coalitions"]), -1), axis=1, count=game.players)
            message = self._asked(game(torch.from_numpy(rows.astype(bool))).tolist())
        return np.array(message["values"]), int(message["evaluations"]), float(message["seconds"])

    def _asked(self, question: object) -> dict[str, Any]:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin and stdout  # opened as pipes
        stdin.write(json.dumps(question) + "\n")
        stdin.flush()
        if not (line := stdout.readline()):
            raise InputError("the estimators of shapiq ended; their error stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def rivals(python: Path) -> Iterator[Rivals]:
    """The estimators of shapiq, run by this Python."""
    command = [str(python), "-W", "ignore", str(PEER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Rivals(process)
        finally:
            process.kill()


def python_of_rivals() -> Path | None:
    """The Python of the environment, which is made if it is missing; None, with the reason printed, if it cannot be."""
    python = ENVIRONMENT / "bin" / "python"
    if python.exists():
        return python
    if not (base := shutil.which(PYTHON)):
        print(f"without shapiq {RELEASE}: it needs {PYTHON}, which is not on the PATH", file=sys.stderr)
        return None
    try:
        subprocess.run([base, "-m", "venv", str(ENVIRONMENT)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    except subprocess.CalledProcessError as error:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        print(f"without shapiq {RELEASE}: {error}", file=sys.stderr)
        return None
    return python
