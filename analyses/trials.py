"""`srgame` commands in forks of this process: they are killed, or run out of disk space or memory, and are judged.

This process imports everything and computes nothing, so that a command spends all its time on its own work, and a
random moment falls into that work. A command does what `srgame` does with the same words and ends with the same status.
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
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from srgame.__main__ import main
from srgame.cli.verbs import app
from srgame.errors import InputError
from srgame.networks import SRResNet
from srgame.networks.weights import save_weights
from srgame.training.loop import seeded

OUTCOMES = ("harmless", "refused", "noted", "traceback", "wrong")
PATIENCE = 120.0  # seconds for a command that takes one
USED = (  # modules that commands import when they run
    "data.degradations.folder", "evaluation.benchmark", "probes.responses", "probes.scores", "report.figures",
    "report.probe_figures", "report.tables", "shapley.audit", "shapley.interactions", "training.loop",
    "training.strategies",
)  # fmt: skip
Contents = dict[str, bytes]
Prepare = Callable[[], None]


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit status (negative: the signal that killed it), its output, and its seconds."""

    status: int
    output: str
    seconds: float

    @property
    def sentence(self) -> bool:
        """Whether the command was refused in one sentence."""
        sentences = [line for line in self.output.splitlines() if line.startswith("srgame: ") and "note: " not in line]
        return self.status == 2 and len(sentences) == 1 and "Traceback" not in self.output


@dataclass
class Running:
    """A running command; it is killed after PATIENCE seconds."""

    pid: int
    began: float
    output: io.BufferedReader

    def end(self, kill_after: float | None = None) -> Ended:
        """Waits for its end; SIGKILL ends it `kill_after` seconds after its start."""
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
        with self.output:
            return Ended(status, self.output.read().decode(errors="replace"), seconds)


def warm() -> None:
    """Imports what commands import when they run."""
    torch.set_num_threads(1)
    for module in USED:
        import_module(f"srgame.{module}")
    with contextlib.suppress(ImportError):
        import_module("torch.utils.tensorboard")
    with torch.device("meta"):
        SRResNet(features=1, blocks=1)  # torch imports what initialises weights
    figure = Figure()
    figure.subplots().set_title("fonts")
    figure.savefig(io.BytesIO())
    for verb in ("train", "shapley", "evaluate", "interactions"):  # tyro remembers what it has read in docstrings
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(StringIO()):
            app.cli(prog="srgame", args=[verb, "--help"])
    gc.freeze()  # forks then copy nothing that they do not change


def both(*prepares: Prepare) -> Prepare:
    """Both preparations, one after the other."""

    def prepare() -> None:
        for each in prepares:
            each()

    return prepare


def start(words: list[str], prepare: Prepare = lambda: None) -> Running:
    """`srgame` with these words, after `prepare`, in a fork."""
    output, writing = os.pipe()  # a limit on the size of files does not apply to it
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 2**20)  # nobody reads it before the command ends
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.dup2(writing, 1)
            os.dup2(writing, 2)
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
    os.close(writing)
    return Running(pid, began, os.fdopen(output, "rb"))


def command(words: list[str], prepare: Prepare = lambda: None) -> Ended:
    """How `srgame` with these words ended, after `prepare`."""
    return start(words, prepare).end()


def judged(ended: Ended, found: Contents | None, expected: Contents, note: str = "carries no checksum") -> str:
    """The outcome, one of OUTCOMES, of a command that wrote `found`; `note` is part of what explains another result."""
    if ended.status == 0 and "Traceback" not in ended.output:
        if found == expected:
            return "harmless"
        return "noted" if note in ended.output else "wrong"
    return "refused" if ended.sentence else "traceback"


def outcome(ended: Ended, found: Contents | None, expected: Contents, note: str = "carries no checksum") -> str:
    """What `judged` returns; the output of a command with an outcome that must not be is shown."""
    result = judged(ended, found, expected, note)
    if result in ("traceback", "wrong"):
        print(result, ended.status, ended.output, file=sys.stderr, flush=True)
    return result


def close(one: bytes, other: bytes) -> bool:
    """Whether two files are equal, or are tables that differ by rounding only.

    Variance reductions are left out: they divide by variances that may be rounding alone.
    """
    if one == other:
        return True
    try:
        tables = [pd.read_csv(StringIO(content.decode())) for content in (one, other)]
        left, right = (table.drop(columns=table.filter(like="_reduction").columns) for table in tables)
        pd.testing.assert_frame_equal(left, right, atol=1e-6)
    except (AssertionError, ValueError):
        return False
    return True


def reading(same: Callable[[], bool]) -> str:
    """The outcome of reading a file; `same` reads it and returns whether the content is that of the undamaged file."""
    with warnings.catch_warnings(record=True) as notes:
        warnings.simplefilter("always")
        try:
            if same():
                return "harmless"
        except InputError:
            return "refused"
        except Exception as error:
            print(repr(error), file=sys.stderr, flush=True)
            return "traceback"
    return "noted" if any("carries no checksum" in str(note.message) for note in notes) else "wrong"


# ---------------------------------------------------------------------------------------------------- small problems


@dataclass(frozen=True)
class Problem:
    """Images and a network so small that a command on them takes about a second."""

    folder: Path
    network: str = "srresnet"
    layers: tuple[str, ...] = ("conv_first", "conv_hr")
    crop: int = 16

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def checkpoint(self) -> Path:
        return self.folder / "small.safetensors"

    def words(self, verb: str, output: Path) -> list[str]:
        """The words of a command that writes into `output`."""
        network, crop = ["--network", self.network], ["--crop", str(self.crop)]
        images, weights = str(self.images), str(self.checkpoint)
        last = ["--layers", self.layers[-1]]
        size = "--features 4 --blocks 1 --batch 1 --patch 16 --crop 0 --pool 2 --steps 12 --save-every 2 --ema 0.9"
        ended = "--evaluations 250 --tolerance None --seconds None --store"
        words = {
            "train": [images, *size.split(), "--strategy", "eats", "--validation", images],
            "shapley": [weights, *network, "--dataset", images, "--layers", *self.layers, *crop],
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
            "interactions": [
                weights,
                *network,
                "--dataset",
                images,
                "--evaluations",
                "200",
                "--layers",
                self.layers[-1],
                *crop,
            ],
            "probe": ["responses", weights, *network, "--dataset", images, *last, *crop],
            "degrade": [images],
            "restore": [weights, *network, "--dataset", images],
        }
        store = [*ended.split(), str(output / "store")] if verb == "shapley" else []
        return [verb, *words[verb], *store, "--output", str(output)]


def problem(
    folder: Path, network: str = "srresnet", layers: tuple[str, ...] = ("conv_first", "conv_hr"), crop: int = 16
) -> Problem:
    """A small problem, whose files this function writes into `folder`."""
    import cv2

    made = Problem(folder, network, layers, crop)
    made.images.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        pixels = cv2.GaussianBlur(rng.integers(0, 256, (48, 56, 3), dtype=np.uint8), (0, 0), 2)
        cv2.imwrite(str(made.images / f"{name}.png"), pixels)
    save_weights(seeded(lambda: SRResNet(features=8, blocks=1), 0).state_dict(), made.checkpoint)
    return made


def written(verb: str, output: Path) -> Contents:
    """The results that the command wrote, without times; missing files count as empty."""
    verbs = {
        "train": ("weights.safetensors", "weights.ema.safetensors", "log.csv"),
        "shapley": ("shapley.csv",),
        "evaluate": ("benchmark.csv",),
        "interactions": ("interactions.csv",),
        "probe": ("responses.csv",),
        "degrade": ("one.png", "two.png"),
        "restore": ("one.png", "two.png"),
    }
    found = {name: (output / name).read_bytes() if (output / name).exists() else b"" for name in verbs[verb]}
    if found.get("log.csv"):
        log = pd.read_csv(output / "log.csv").drop(columns=["steps_per_second", "waiting"])
        found["log.csv"] = log.to_csv(index=False).encode()
    return found


def always_writing() -> None:
    """Makes `evaluate` write after each image instead of once a second, so that a kill can hit a write."""
    vars(import_module("srgame.evaluation.benchmark"))["SECONDS_BETWEEN_WRITES"] = 0.0


def undrawn() -> None:
    """Saves no pictures, which take most of a small command's time."""
    always_writing()
    vars(import_module("srgame.report.style"))["save_figure"] = lambda *_: []


# ------------------------------------------------------------------------------------------- full disks, short memory


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[tuple[str, Prepare, Callable[[], None]]]:
    """`folder` with room for `size` bytes: by what means, what a command prepares for it, and how to make room."""
    folder.mkdir()
    try:
        _mount("-o", f"size={max(4096, size)}", "-t", "tmpfs", "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError):  # only root may mount
        most = size // 16  # the limit holds for each file, and a command writes many
        yield "files of limited size", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)), lambda: None
        return
    try:
        yield "a small tmpfs", lambda: None, lambda: _mount("-o", "remount,size=64m", str(folder))
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[str]:
    """`folder`, into which nothing can be written: by what means."""
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
    """Limits the address space of a command to `size` bytes more than it has at its start."""

    def prepare() -> None:
        always_writing()
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + size, now + size))

    return prepare


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with 1 to 8 bits flipped, a stretch set to zero, the end cut off, or nothing left."""
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
    """A folder that does not exist yet; it is removed afterwards."""
    place = folder / "trial"
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
