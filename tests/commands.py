"""Commands in a process of their own, and limits on this one."""

import multiprocessing
import os
import re
import resource
import runpy
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from subprocess import CompletedProcess

USED = (
    *("cli.verbs", "evaluation.benchmark", "report.recipe", "report.tables", "shapley.cluster", "training.loop"),
    "training.strategies",
)


@cache
def forking() -> ForkServerContext:
    """Starts processes as forks of one that has imported srgame and computed nothing: an import takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"srgame.{module}" for module in USED])
    forkserver.ensure_running()
    return context


def started(
    words: list[object],
    shown: Path,
    environment: Mapping[str, str] | None = None,
    prepare: Callable[[], None] | None = None,
) -> BaseProcess:
    """`srgame` with these words in a process of its own, which hears Ctrl-C; `shown` receives what it prints."""
    process = forking().Process(target=_run, args=([*map(str, words)], shown, dict(environment or {}), prepare))
    process.start()
    return process


def run_file(file: Path, *words: str, prepare: Callable[[], None] | None = None) -> CompletedProcess[str]:
    """Runs a file of Python as a command, in a process of its own."""
    shown = file.with_suffix(".out"), file.with_suffix(".err")
    process = forking().Process(target=_run_file, args=(file, words, shown, prepare))
    process.start()
    process.join()
    return CompletedProcess(words, process.exitcode, *(path.read_text() for path in shown))


def train_together(words: list[object], shown: Path, processes: int = 2) -> None:
    """Runs `srgame` in processes that train one network, with the variables that torchrun sets for each of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    sizes = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    running = [
        started(words, shown.with_suffix(f".{rank}"), address | sizes | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(processes)
    ]
    for rank, process in enumerate(running):
        process.join()
        assert process.exitcode == 0, shown.with_suffix(f".{rank}").read_text()


def launched(words: list[str], shown: Path) -> BaseProcess:
    """Starts `srgame` in two processes by torchrun's launcher, which restarts them; they say "started RANK PID"."""
    process = forking().Process(target=_launch, args=(words, shown))
    process.start()
    return process


def fill_output() -> None:
    """Sends standard output to a full disk."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def unread() -> None:
    """Sends what is printed into a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    for stream in (1, 2):
        os.dup2(writing, stream)


def write_at_once() -> None:
    """Makes `evaluate` write after each image instead of once a second, so that it is stopped in the middle."""
    import_module("srgame.evaluation.benchmark").SECONDS_BETWEEN_WRITES = 0.0


def _run(words: list[str], shown: Path, environment: Mapping[str, str], prepare: Callable[[], None] | None) -> None:
    from srgame.__main__ import main

    signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell starts in the background ignores Ctrl-C
    os.environ.update(environment)
    _show(shown, shown)
    if prepare:
        prepare()
    sys.argv = ["srgame", *words]
    main()


def _launch(words: list[str], shown: Path) -> None:
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    _show(shown, shown)
    together = {"min_nodes": 1, "max_nodes": 1, "nproc_per_node": 2, "max_restarts": 2, "monitor_interval": 0.1}
    rendezvous = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "run_id": "test"}
    elastic_launch(LaunchConfig(**together, **rendezvous, start_method="fork"), _run_launched)(words)


def _run_launched(words: list[str]) -> None:
    from srgame.__main__ import main

    print("started", os.environ["RANK"], os.getpid(), flush=True)
    sys.argv = ["srgame", *words]
    main()


def _run_file(file: Path, words: Sequence[str], shown: tuple[Path, Path], prepare: Callable[[], None] | None) -> None:
    _show(*shown)
    if prepare:
        prepare()
    sys.argv = [str(file), *words]
    runpy.run_path(str(file), run_name="__main__")


def _show(output: Path, error: Path) -> None:
    """Sends what this process prints to files."""
    for stream, path in ((1, output), (2, error)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND), stream)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """While open, no file may grow beyond `size` bytes: writing fails as it does on a full disk."""
    with _limited(resource.RLIMIT_FSIZE, size):
        yield


@contextmanager
def memory_for(size: int) -> Iterator[None]:
    """While open, this process may have only so many bytes of memory more than it has."""
    has = int(re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
    with _limited(resource.RLIMIT_AS, has + size):
        yield


@contextmanager
def _limited(what: int, size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))
