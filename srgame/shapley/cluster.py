"""Replicates made by the workers of a dask.distributed cluster, for the values that one process alone would find.

Replicates are pure functions of their number, so who makes them changes nothing: workers run the same code on the same
weights and images with as many threads, the client keeps what comes, and reduces it in the permutation of the numbers. What
a worker that died had in hand goes to another. On machines of other kinds, or with other versions of libraries,
convolutions may be rounded otherwise, as they are anywhere.

dask's processes send each other pickles, which are code: whoever reaches a scheduler can run anything on its workers
and clients, as you. Trust one as you trust your own shell; one of `workers` processes here listens on loopback only.
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
from srgame.errors import InputError, check_counts
from srgame.filters import Filters
from srgame.shapley.game import Coalitions, Differentiable, Game, RestorationGame, Worth
from srgame.shapley.sampling import Make, Quantities

try:
    import cloudpickle
    from distributed import Client, KilledWorker, LocalCluster, WorkerPlugin, get_worker
    from distributed import Future as DaskFuture
except ImportError as error:
    raise InputError("a cluster takes dask, which is not installed: pip install 'srgame[cluster]'") from error

Future = DaskFuture[Any]

ABREAST = 8  # games that are played at a time, or as many as workers: none waits for the last replicates of one game
AHEAD = 2  # replicates on their way for each worker: one in its hands, one beside it
AT_HAND = 2  # games that a worker holds ready; to build one again costs about as much as some whole runs
ANSWER = 10.0  # seconds to wait for a scheduler, or for what a worker has ready
PATIENCE = 60.0  # seconds to wait for a worker where there is none
LOOK = 0.5  # seconds between looks at whether anybody is still there
ALONE = Lock()  # in its process: torch.fx changes all modules while it traces, and erasing hooks the network
ONWARD = "replicates that were kept are still there, and the same command goes on"


@contextmanager
def connected(scheduler: str | None = None, workers: int | None = None, device: str = "cpu") -> Iterator["Cluster"]:
    """The cluster whose scheduler is at this address, or in this scheduler file; or one of `workers` processes here.

    Its workers compute on their `device`. Raises InputError where no scheduler answers.
    """
    check_counts(workers=workers)
    if (scheduler is None) == (workers is None):
        raise InputError(
            "a cluster is one that is there (its scheduler's address) or a number of workers here: say which"
        )
    if scheduler is not None:
        with _client(scheduler) as client:
            yield Cluster(client, f"the cluster of '{scheduler}'", device)
        return
    with _local(workers) as local, Client(local) as client:
        yield Cluster(client, f"the cluster of {workers} processes here", device)


def _local(workers: int | None) -> LocalCluster:
    """So many processes of one thread, reached through loopback only."""
    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0", "memory_limit": 0, "silence_logs": 40}
    try:
        return LocalCluster(n_workers=workers, host="127.0.0.1", **options)
    except RuntimeError as error:
        raise InputError(
            f"{workers} worker processes cannot be started ({error}): each runs the script that started them, so a "
            "script of your own begins with: if __name__ == '__main__'"
        ) from error


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
        """The workers, also those that come later, with the network and its pairs, which are sent to each of them once.

        Raises InputError where no worker comes, or one cannot take what it is sent.
        """
        held = _Held(network, pairs, self.device)
        worker_pool = WorkerPool(self, held.name, len(pairs))
        worker_pool.wait_for_somebody()
        try:
            self._give(held)
            yield worker_pool
        finally:
            worker_pool.stopped.set()
            if self.client.status == "running":  # else the scheduler is gone
                with suppress(OSError, CancelledError, ValueError):
                    self.client.unregister_worker_plugin(held.name)

    def _give(self, held: "_Held") -> None:
        try:
            self.client.register_plugin(held, held.name)
        except Exception as error:  # whatever fails on a worker that has other code
            raise InputError(
                f"{self.name}: a worker cannot take the network ({type(error).__name__}: {error}); "
                "install the same srgame, and the network's own code, on all of them"
            ) from error


class WorkerPool:
    """The workers that hold one network and its pairs: they play its games."""

    def __init__(self, cluster: Cluster, held: str, images: int) -> None:
        self.client, self.cluster, self.held, self.images = cluster.client, cluster.name, held, images
        self.stopped = Event()
        self._numbers = count()
        self._size, self._looked, self._last_seen = 0, 0.0, monotonic()

    def game(self, filters: Filters, **restoration: Any) -> Game:
        """RestorationGame(network, filters, pairs, …), built only where it is played: on the workers."""
        return _Remote(self, _Recipe(self.held, next(self._numbers), filters, restoration))

    def replicates(self, make: Make, numbers: Iterator[int]) -> Generator[tuple[int, Quantities], None, None]:
        """The replicates of these numbers, as they come; lower numbers go first."""
        task, done = cloudpickle.dumps(make), SimpleQueue[Future]()
        sent: dict[Future, int] = {}
        try:
            while True:
                more = AHEAD * max(1, self._size) - len(sent)  # fewer than none where workers have gone
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
        """What `function` returns for these values, on a worker."""
        done = SimpleQueue[Future]()
        sent = self._send(done, 1, cloudpickle.dumps(partial(function, *values)))
        self._first(done)
        return self._result(sent)

    def each(self, play: Callable[..., Any], games: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """What `play` returns for each game, in their permutation; after Ctrl-C of those that have something."""
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
        """Returns when there is a worker; raises InputError where none comes."""
        self._look()
        while not self._size:
            self.stopped.wait(LOOK)
            self._look()

    def _send(self, done: "SimpleQueue[Future]", priority: int, task: bytes, *values: int) -> Future:
        future = self.client.submit(_done_by_worker, self.held, task, *values, pure=False, priority=priority)
        future.add_done_callback(done.put)
        return future

    def _first(self, done: "SimpleQueue[Future]") -> Future:
        """The first that is done, well or not."""
        while not self.stopped.is_set():
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
        """What the task returned; if it lay on a worker that has gone since, it is made again."""
        while not self.stopped.is_set():
            try:
                return future.result(timeout=ANSWER)
            except TimeoutError:
                if future.status == "error":  # the task's own
                    raise
                self._look()
        raise KeyboardInterrupt

    def _look(self) -> None:
        """Counts the workers. Raises InputError where there has been none for a while, or nobody to ask."""
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
    """A game, in so few words that it travels with each replicate: what is large lies on the worker already."""

    held: str
    number: int
    filters: Filters
    restoration: dict[str, Any]

    def game(self) -> RestorationGame:
        """The game, on a worker."""
        held = cast(_Held, get_worker().plugins[self.held])
        return held.game(self)


class _Remote:
    """A restoration game, or one image's part of it, that is played on the workers; arrived on one, it is that game."""

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


def _gradient(game: Differentiable, presences: Tensor) -> Tensor:
    return game.gradient(presences)


def _worth(game: Game, coalitions: Coalitions) -> Worth:
    return game(coalitions)


def _done_by_worker(held: str, task: bytes, *values: int) -> tuple[Any, list[tuple[str, type[Warning]]]]:
    """What a task returns, run as in the client's own process: alone, with as many threads; and its warnings."""
    mine = cast(_Held, get_worker().plugins[held])
    with ALONE, warnings.catch_warnings(record=True) as caught:
        torch.set_num_threads(mine.threads)
        return pickle.loads(task)(*values), [(str(each.message), each.category) for each in caught]


class _Held(WorkerPlugin):
    """What lies on each worker: the network, the pairs, and the games that were played last."""

    def __init__(self, network: nn.Module, pairs: Pairs, device: str) -> None:
        self.name = f"srgame-{uuid4().hex}"
        self.network, self.pairs, self.device = deepcopy(network).cpu(), pairs, device
        self.threads = torch.get_num_threads()
        self.games: dict[int, RestorationGame] = {}

    def game(self, recipe: _Recipe) -> RestorationGame:
        """The game, built where it is not at hand."""
        game = self.games.pop(recipe.number, None) or self._built(recipe)
        self.games[recipe.number] = game  # now the last
        while len(self.games) > AT_HAND:
            del self.games[next(iter(self.games))]
        return game

    def _built(self, recipe: _Recipe) -> RestorationGame:
        network = self.network.to(available(self.device))
        return RestorationGame(network, recipe.filters, self.pairs, **recipe.restoration)
