"""`srgame` commands in forks of this process, which are killed, starved of disk or memory, and then judged.

This process has everything imported and computes nothing itself, so that a command takes its own time only, and a
random moment of it is one of its work. What it does, it does as `srgame` would: same words, same exit status.
"""

import contextlib
import fcntl
import gc
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from srgame.__main__ import main
from srgame.networks import SRResNet
from srgame.networks.weights import save_weights
from srgame.training.loop import seeded

OUTCOMES = ("harmless", "refused", "noted", "traceback", "wrong")
PATIENCE = 120.0  # seconds for a command that takes one
USED = (  # modules that commands import only once they run
    "data.degradations.folder", "evaluation.benchmark", "probes.responses", "probes.scores", "report.figures",
    "report.probe_figures", "report.tables", "shapley.audit", "shapley.interactions", "training.loop",
    "training.strategies",
)  # fmt: skip
Contents = dict[str, bytes]
Prepare = Callable[[], None]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status, minus the signal that killed it; what it said; how long it took."""

    status: int
    said: str
    seconds: float

    @property
    def sentence(self) -> bool:
        """Whether it refused in one sentence."""
        sentences = [line for line in self.said.splitlines() if line.startswith("srgame: ") and "note: " not in line]
        return self.status == 2 and len(sentences) == 1 and "Traceback" not in self.said


@dataclass
class Running:
    """A command that runs; one that hangs for PATIENCE seconds is killed."""

    pid: int
    began: float
    said: io.BufferedReader

    def end(self, kill_after: float | None = None) -> Ended:
        """Waits for its end, which `kill_after` seconds after its start is SIGKILL."""
        last = self.began + (PATIENCE if kill_after is None else kill_after)
        while (ended := os.waitpid(self.pid, os.WNOHANG)) == (0, 0):
            left = last - time.monotonic()
            if left <= 0:
                os.kill(self.pid, signal.SIGKILL)
                ended = os.waitpid(self.pid, 0)
                break
            time.sleep(min(left, 0.005))
        status = os.waitstatus_to_exitcode(ended[1])
        seconds = time.monotonic() - self.began
        with self.said:
            return Ended(status, self.said.read().decode(errors="replace"), seconds)


def warm() -> None:
    """Imports what commands import when they run."""
    torch.set_num_threads(1)
    for module in USED:
        import_module(f"srgame.{module}")
    with contextlib.suppress(ImportError):
        import_module("torch.utils.tensorboard")
    with torch.device("meta"):
        SRResNet(features=1, blocks=1)  # which makes torch import what it initialises such weights with
    figure = Figure()
    figure.subplots().set_title("fonts")
    figure.savefig(io.BytesIO())
    gc.freeze()  # so that forks need not copy what they never change


def both(*prepares: Prepare) -> Prepare:
    """One after the other."""

    def prepare() -> None:
        for each in prepares:
            each()

    return prepare


def start(words: list[str], prepare: Prepare = lambda: None) -> Running:
    """`srgame` with these words, after `prepare`, in a fork."""
    said, saying = os.pipe()  # which no limit on files holds for
    fcntl.fcntl(saying, fcntl.F_SETPIPE_SZ, 2**20)  # so that nobody has to listen before the end
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.dup2(saying, 1)
            os.dup2(saying, 2)
            sys.argv = ["srgame", *words]
            prepare()
            main()
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
    os.close(saying)
    return Running(pid, began, os.fdopen(said, "rb"))


def command(words: list[str], prepare: Prepare = lambda: None) -> Ended:
    """`srgame` with these words, at its end."""
    return start(words, prepare).end()


def judged(ended: Ended, found: Contents | None, expected: Contents) -> str:
    """Which of OUTCOMES it is, by how a command ended and what it wrote."""
    if ended.status == 0 and "Traceback" not in ended.said:
        if found == expected:
            return "harmless"
        return "noted" if "carries no checksum" in ended.said else "wrong"
    return "refused" if ended.sentence else "traceback"


# ---------------------------------------------------------------------------------------------------- small problems


@dataclass(frozen=True)
class Problem:
    """Images and a network so small that a command on them takes about a second."""

    folder: Path

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "small.safetensors"

    def words(self, verb: str, output: Path, checkpoint: Path | None = None) -> list[str]:
        """The command, which writes below `output`."""
        network = ["--network", "srresnet"]
        images, weights = str(self.images), str(checkpoint or self.checkpoint)
        size = "--features 4 --blocks 1 --batch 1 --patch 16 --crop 0 --pool 2 --steps 12 --save-every 2 --ema 0.9"
        ended = "--evaluations 250 --tolerance None --seconds None --store"
        words = {
            "train": [images, *size.split(), "--strategy", "eats", "--validation", images],
            "shapley": [weights, *network, "--dataset", images, "--layers", "conv_first", "conv_hr", "--crop", "16"],
            "evaluate": [
                weights,
                *network,
                "--sets",
                images,
                "--degradations",
                "clean",
                "noise",
                "b+j",
                "--crop",
                "32",
            ],
            "interactions": [weights, *network, "--dataset", images, "--evaluations", "200", "--crop", "16"],
            "probe": ["responses", weights, *network, "--dataset", images, "--layers", "conv_hr", "--crop", "16"],
            "degrade": [images],
        }
        kept = [*ended.split(), str(output / "kept")] if verb == "shapley" else []
        return [verb, *words[verb], *kept, "--output", str(output)]


def problem(folder: Path) -> Problem:
    """The problem, its files written into `folder`."""
    import cv2

    made = Problem(folder)
    made.images.mkdir()
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        pixels = cv2.GaussianBlur(rng.integers(0, 256, (48, 56, 3), dtype=np.uint8), (0, 0), 2)
        cv2.imwrite(str(made.images / f"{name}.png"), pixels)
    save_weights(seeded(lambda: SRResNet(features=8, blocks=1), 0).state_dict(), made.checkpoint)
    return made


def written(verb: str, output: Path) -> Contents:
    """The numbers that the command wrote, without those that tell the time; files that are not there are empty."""
    verbs = {
        "train": ("weights.safetensors", "weights.ema.safetensors", "log.csv"),
        "shapley": ("shapley.csv",),
        "evaluate": ("benchmark.csv",),
    }
    found = {name: (output / name).read_bytes() if (output / name).exists() else b"" for name in verbs[verb]}
    if found.get("log.csv"):
        log = pd.read_csv(output / "log.csv").drop(columns=["steps_per_second", "waiting"])
        found["log.csv"] = log.to_csv(index=False).encode()
    return found


def always_writing() -> None:
    """Lets `evaluate` write after each image, not once a second, so that a kill may hit a write."""
    vars(import_module("srgame.evaluation.benchmark"))["SECONDS_BETWEEN_WRITES"] = 0.0


def undrawn() -> None:
    """Leaves out pictures, which take most of a small command's time."""
    always_writing()
    vars(import_module("srgame.report.style"))["save_figure"] = lambda *_: []


# ---------------------------------------------------------------------------------------------------------- starving


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[tuple[str, Prepare, Callable[[], None]]]:
    """`folder` with room for `size` bytes: how that is done, what a command prepares for it, and how to make room."""
    folder.mkdir()
    try:
        _mount("-o", f"size={max(4096, size)}", "-t", "tmpfs", "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError):  # only root may mount
        most = size // 16  # of one file; a command writes many
        yield "files of limited size", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)), lambda: None
        return
    try:
        yield "a small tmpfs", lambda: None, lambda: _mount("-o", "remount,size=64m", str(folder))
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[str]:
    """`folder`, where nothing can be written: how that is done."""
    folder.mkdir()
    try:
        _mount("-o", "ro", "-t", "tmpfs", "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError):
        folder.chmod(0o555)
        yield "mode 555"
        folder.chmod(0o755)
        return
    try:
        yield "a read-only tmpfs"
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


def little_memory(size: int) -> Prepare:
    """Lets a command have only so many bytes of addresses beyond those that it starts with."""

    def prepare() -> None:
        always_writing()
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + size, now + size))

    return prepare


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with 1 to 8 bits flipped, a stretch zeroed, cut off, or gone."""
    how, bad = rng.random(), bytearray(content)
    if how < 0.02:
        return b""
    if how < 0.2:
        return content[: int(rng.integers(len(content)))]
    if how < 0.4:
        place, length = (int(rng.integers(len(content))), int(rng.integers(1, 64)))
        bad[place : place + length] = bytes(len(bad[place : place + length]))
        return bytes(bad)
    for _ in range(int(rng.integers(1, 9))):
        bad[int(rng.integers(len(bad)))] ^= 1 << int(rng.integers(8))
    return bytes(bad)


@contextmanager
def fresh(folder: Path) -> Iterator[Path]:
    """A folder that is not there yet, and is not there any more afterwards."""
    place = folder / "trial"
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
