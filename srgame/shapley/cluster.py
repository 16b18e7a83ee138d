"""Replicates computed by the workers of a dask.distributed cluster; the values are those of a single process.

A replicate is a pure function of its number, so any worker can compute it: all run the same code on the same weights
and images with the same number of threads. The client stores the replicates and reads them in the order of their
numbers. If a worker dies, another computes its replicates. Other hardware or other versions of libraries may round
convolutions differently.

The processes of dask send each other pickles, which can execute code: anybody who can reach a scheduler can run
anything on its workers and clients, with your rights. Trust a scheduler as you trust your own shell. A cluster of local
worker processes listens on loopback only.
"""

import pickle
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count, islice
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Lock
from time import monotonic
from typing import Any, cast
from uuid import uuid4

import torch
from torch import Tensor, nn

from srgame.data.pairs import Pairs
from srgame.devices import available
from srgame.errors import MAIN_GUARD, InputError, check_counts, check_main_guard
from srgame.filters import Filters
from srgame.shapley.additive import AdditiveGame, affordable_tail
from srgame.shapley.game import Coalitions, Differentiable, Game, Worth
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.sampling import Make
from srgame.shapley.until import Until, check_time
from srgame.shapley.values import Quantities

try:
    import cloudpickle
    from distributed import Client, KilledWorker, LocalCluster, WorkerPlugin, get_worker
    from distributed import Future as DaskFuture
except ImportError as error:
    raise InputError("a cluster takes dask, which is not installed: pip install 'srgame[cluster]'") from error

Future = DaskFuture[Any]

ABREAST = 8  # games at a time, at least: no worker waits for the last replicates of a game
AHEAD = 2  # replicates sent to each worker: one that it computes, and one that waits
CACHED = 2  # games in a worker's cache; building one again costs as much as a few runs of the network
ANSWER = 10.0  # seconds to wait for a scheduler, or for the result of a worker
PATIENCE = 60.0  # seconds to wait for a first worker
LOOK = 0.5  # seconds between two counts of the workers
ALONE = Lock()  # in its process: torch.fx changes all modules while it traces, and erasing hooks the network
ONWARD = "stored replicates are intact, and the same command resumes the run"


@contextmanager
def connected(scheduler: str | None = None, workers: int | None = None, device: str = "cpu") -> Iterator["Cluster"]:
    """The cluster of this scheduler, given by its address or scheduler file; or of `workers` local processes.

    Its workers compute on their `device`. Raises InputError if no scheduler answers.
    """
    check_counts(workers=workers)
    if (scheduler is None) == (workers is None):
        raise InputError(
            "a cluster takes either the address of its scheduler or a number of local workers: give one of them"
        )
    if scheduler is not None:
        with _client(scheduler) as client:
            yield Cluster(client, f"the cluster of '{scheduler}'", device)
        return
    with _local(workers) as local, Client(local) as client:
        yield Cluster(client, f"the cluster of {workers} processes here", device)


def _local(workers: int | None) -> LocalCluster:
    """A cluster of local processes with one thread each, reachable through loopback only."""
    check_main_guard()
    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "memory_limit": 0, "silence_logs": 40}
    try:
        return LocalCluster(n_workers=workers, host="127.0.0.1", **options)
    except RuntimeError as error:
        raise InputError(f"{workers} worker processes cannot be started ({error}): {MAIN_GUARD}") from error


def _client(scheduler: str) -> Client:
    try:
        if Path(scheduler).is_file():
            return Client(scheduler_file=scheduler, timeout=ANSWER)
        return Client(scheduler, timeout=ANSWER)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"no dask scheduler answers at '{scheduler}' ({type(error).__name__}): start one with `dask scheduler` and "
            "give its address, such as tcp://host:8786, or its scheduler file"
        ) from error


@dataclass(frozen=True)
class Cluster:
    """The workers of a dask cluster, reached by its client."""

    client: Client
    name: str
    device: str = "cpu"

    @contextmanager
    def executor(self, network: nn.Module, pairs: Pairs) -> Iterator["WorkerPool"]:
        """A pool of the workers, including later ones; the network and its pairs are sent to each worker once.

        Raises InputError if there is no worker, or if one cannot load the network.
        """
        plugin = _NetworkPlugin(network, pairs, self.device)
        worker_pool = WorkerPool(self, plugin.name, len(pairs))
        worker_pool.wait_for_somebody()
        try:
            self._register(plugin)
            yield worker_pool
        finally:
            worker_pool.stopped.set()
            if self.client.status == "running":  # else the scheduler is gone
                with suppress(OSError, CancelledError, ValueError):
                    self.client.unregister_worker_plugin(plugin.name)

    def _register(self, plugin: "_NetworkPlugin") -> None:
        try:
            self.client.register_plugin(plugin, plugin.name)
        except Exception as error:  # whatever fails on a worker that has other code
            raise InputError(
                f"{self.name}: a worker cannot take the network ({type(error).__name__}: {error}); "
                "install the same srgame, and the network's own code, on all of them"
            ) from error


class WorkerPool:
    """The workers that have received one network and its pairs; they evaluate its games."""

    def __init__(self, cluster: Cluster, plugin: str, images: int) -> None:
        self.client, self.cluster, self.plugin, self.images = cluster.client, cluster.name, plugin, images
        self.stopped = Event()
        self._numbers = count()
        self._size, self._looked, self._last_seen = 0, 0.0, monotonic()

    def game(self, filters: Filters, **restoration: Any) -> Game:
        """RestorationGame(network, filters, pairs, …), built on the workers only."""
        return _Remote(self, _Recipe(self.plugin, next(self._numbers), filters, restoration))

    def additive(self, game: Game, until: Until) -> AdditiveGame | None:
        """The additive tail of one of its games, found on a worker."""
        sums: AdditiveGame | None = self.ask(affordable_tail, game, until)
        return sums

    def replicates(self, make: Make, numbers: Iterator[int]) -> Generator[tuple[int, Quantities], None, None]:
        """The replicates of these numbers, as they are ready; lower numbers are sent first."""
        task, done = cloudpickle.dumps(make), SimpleQueue[Future]()
        sent: dict[Future, int] = {}
        try:
            while True:
                more = AHEAD * max(1, self._size) - len(sent)  # negative after workers have left
                for number in islice(numbers, max(0, more)):
                    sent[self._send(done, -number, task, number)] = number
                if not sent:
                    return
                future = self._first(done)
                yield sent.pop(future), self._result(future)
        finally:
            for future in sent:
                future.release()

    def ask(self, function: Callable[..., Any], *values: Any) -> Any:
        """The result of `function` for these values, computed on a worker."""
        done = SimpleQueue[Future]()
        sent = self._send(done, 1, cloudpickle.dumps(partial(function, *values)))
        self._first(done)
        return self._result(sent)

    def each(self, play: Callable[..., Any], games: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """The result of `play` for each game, in order; after Ctrl-C for the games that have replicates."""
        some = False
        with ThreadPoolExecutor(max(ABREAST, self._size)) as pool:
            playing = deque(pool.submit(play, *game) for game in games)
            try:
                while playing:
                    try:
                        found = playing[0].result()
                    except KeyboardInterrupt:
                        if self.stopped.is_set():  # this game has nothing yet
                            playing.popleft()
                        self.stopped.set()
                        continue
                    playing.popleft()
                    some = True
                    yield found
            finally:
                self.stopped.set()
        if not some:
            raise KeyboardInterrupt

    def wait_for_somebody(self) -> None:
        """Waits until there is a worker; raises InputError if none appears."""
        self._look()
        while not self._size:
            self.stopped.wait(LOOK)
            self._look()

    def _send(self, done: "SimpleQueue[Future]", priority: int, task: bytes, *values: int) -> Future:
        future = self.client.submit(_done_by_worker, self.plugin, task, *values, pure=False, priority=priority)
        future.add_done_callback(done.put)
        return future

    def _first(self, done: "SimpleQueue[Future]") -> Future:
        """The first that is done, well or not."""
        while not self.stopped.is_set():
            check_time()
            if monotonic() - self._looked > LOOK:
                self._look()
            with suppress(Empty):
                return done.get(timeout=LOOK)
        raise KeyboardInterrupt

    def _result(self, future: Future) -> Any:
        try:
            found, warned = self._fetched(future)
            for message, category in warned:
                warnings.warn(message, category, stacklevel=2)
            return found
        except KilledWorker as error:
            raise InputError(
                f"{self.cluster}: worker after worker died of the same replicate, perhaps of memory; {ONWARD}"
            ) from error
        except (CancelledError, OSError) as error:
            raise self._lost(error) from error
        finally:
            future.release()

    def _fetched(self, future: Future) -> Any:
        """The result of the task; if the worker that has it is gone, the task is computed again."""
        while not self.stopped.is_set():
            try:
                return future.result(timeout=ANSWER)
            except TimeoutError:
                if future.status == "error":  # the task's own
                    raise
                self._look()
        raise KeyboardInterrupt

    def _look(self) -> None:
        """Counts the workers. Raises InputError if there has been none for PATIENCE seconds, or no scheduler."""
        try:
            self._size = len(self.client.nthreads())
        except (CancelledError, OSError, RuntimeError) as error:
            raise self._lost(error) from error
        self._looked = monotonic()
        if self._size:
            self._last_seen = self._looked
        elif self._looked - self._last_seen > PATIENCE:
            raise InputError(f"{self.cluster}: no worker for {PATIENCE:.0f} seconds; {ONWARD}")

    def _lost(self, error: BaseException) -> InputError:
        return InputError(f"{self.cluster} is lost ({type(error).__name__}); {ONWARD}")


@dataclass(frozen=True)
class _Recipe:
    """The arguments of a game, small enough to be sent with each replicate; workers have the network and the pairs."""

    plugin: str  # its name on the workers
    number: int
    filters: Filters
    restoration: dict[str, Any]

    def game(self) -> RestorationGame:
        """The game, on a worker."""
        plugin = cast(_NetworkPlugin, get_worker().plugins[self.plugin])
        return plugin.game(self)


class _Remote:
    """A restoration game, or its part for one image, evaluated on the workers; a worker unpickles that game."""

    def __init__(
        self, worker_pool: WorkerPool, recipe: _Recipe, image: int | None = None, is_low_precision: bool = False
    ) -> None:
        self.worker_pool, self.recipe, self.image, self.is_low_precision = worker_pool, recipe, image, is_low_precision

    @property
    def players(self) -> int:
        return len(self.recipe.filters)

    def __call__(self, coalitions: Coalitions) -> Worth:
        worth: Worth = self.worker_pool.ask(_worth, self, coalitions)
        return worth

    def gradient(self, presences: Tensor) -> Tensor:
        """Of a part."""
        gradient: Tensor = self.worker_pool.ask(_gradient, self, presences)
        return gradient

    @cached_property
    def dummies(self) -> Tensor:
        dummies: Tensor = self.worker_pool.ask(_dummies, self)
        return dummies

    @cached_property
    def rounding(self) -> float:
        rounding: float = self.worker_pool.ask(_rounding, self)
        return rounding

    @property
    def parts(self) -> list[Game]:
        return [_Remote(self.worker_pool, self.recipe, image) for image in range(self.worker_pool.images)]

    @property
    def low_precision(self) -> Game | None:
        asked = self.recipe.restoration.get("bfloat16") and not self.is_low_precision
        return _Remote(self.worker_pool, self.recipe, self.image, is_low_precision=True) if asked else None

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrived, (self.recipe, self.image, self.is_low_precision)


def _arrived(recipe: _Recipe, image: int | None, is_low_precision: bool) -> Any:
    game: Any = recipe.game()
    game = game if image is None else game.parts[image]
    return game.low_precision if is_low_precision else game


def _dummies(game: RestorationGame) -> Tensor:
    return game.dummies


def _rounding(game: RestorationGame) -> float:
    return game.rounding


def _gradient(game: Differentiable, presences: Tensor) -> Tensor:
    return game.gradient(presences)


def _worth(game: Game, coalitions: Coalitions) -> Worth:
    return game(coalitions)


def _done_by_worker(plugin: str, task: bytes, *values: int) -> tuple[Any, list[tuple[str, type[Warning]]]]:
    """The result of a task and its warnings; it runs alone, with the client's number of threads."""
    mine = cast(_NetworkPlugin, get_worker().plugins[plugin])
    with ALONE, warnings.catch_warnings(record=True) as caught:
        torch.set_num_threads(mine.threads)
        return pickle.loads(task)(*values), [(str(each.message), each.category) for each in caught]


class _NetworkPlugin(WorkerPlugin):
    """What each worker has: the network, the pairs, and a cache of the games that it evaluated last."""

    def __init__(self, network: nn.Module, pairs: Pairs, device: str) -> None:
        self.name = f"srgame-{uuid4().hex}"
        self.network, self.pairs, self.device = deepcopy(network).cpu(), pairs, device
        self.threads = torch.get_num_threads()
        self.games: dict[int, RestorationGame] = {}

    def game(self, recipe: _Recipe) -> RestorationGame:
        """The game, built if it is not in the cache."""
        game = self.games.pop(recipe.number, None) or self._built(recipe)
        self.games[recipe.number] = game  # now the last
        while len(self.games) > CACHED:
            del self.games[next(iter(self.games))]
        return game

    def _built(self, recipe: _Recipe) -> RestorationGame:
        network = self.network.to(available(self.device))
        return RestorationGame(network, recipe.filters, self.pairs, **recipe.restoration)
