"""The training loop: it descends on the losses of any strategy, logs them, saves its state and resumes from it.

A step depends only on the weights, the optimiser, the seed and its own number, so a stopped run resumes exactly.
"""

import math
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from srgame.data.pairs import Pairs
from srgame.devices import device_of
from srgame.errors import InputError
from srgame.evaluation.evaluate import scores
from srgame.files import ensure_writable, lock
from srgame.filters import evaluating, filters_of
from srgame.networks.weights import save_weights
from srgame.provenance import as_json
from srgame.training import processes
from srgame.training.patches import Batches
from srgame.training.state import AVERAGE, LOG, SETTINGS, WEIGHTS, read_state, write_state
from srgame.training.strategies import Losses, Strategy

RUN = "srgame.run"  # in the metadata of the weights: what run.json holds
STEPS_BETWEEN_CHECKS = 20  # a check that losses are finite waits for the GPU
Row = dict[str, int | float]

PRESETS: dict[str, dict[str, int]] = {
    "paper": {"steps": 500_000, "batch": 16, "patch": 128, "crop": 400},
    "laptop": {"steps": 20_000, "batch": 8, "patch": 96, "crop": 192},
}


@dataclass(frozen=True)
class Schedule:
    """The number of steps, and the learning rate of Adam (0.9, 0.999), which a cosine anneals to 0.

    The run saves its state every `save_every` steps. With `ema`, it also saves the exponential moving average of the
    weights, decayed by this factor at each step; 0 is off.

    Raises InputError for values out of range.

    >>> Schedule(steps=20_000, learning_rate=1e-4).save_every
    500
    """

    steps: int
    learning_rate: float = 2e-4
    save_every: int = 500
    bfloat16: bool = False
    ema: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.save_every < 1 or not self.learning_rate > 0:
            raise InputError(
                "steps and save_every must be at least 1 and the learning rate above 0, "
                f"not {self.steps}, {self.save_every} and {self.learning_rate}"
            )
        if not 0 <= self.ema < 1:
            raise InputError(f"the decay of the moving average (ema) must be in [0, 1), not {self.ema}")

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2

    def saves_after(self, step: int) -> bool:
        """Whether an interval between saved states, or the run, ends with this step."""
        return step % self.save_every == 0 or step == self.steps


def fit(
    strategy: Strategy,
    batches: Batches,
    schedule: Schedule,
    folder: Path,
    seed: int = 0,
    validation: Mapping[str, Iterable[Pairs]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """Trains `strategy.network` in place, resuming the run in `folder` if there is one; returns the log of the run.

    The log has a row for each saved state. Its columns are step; the losses by name, minimised and watched (means since
    the row before); steps_per_second; waiting, the share of time in which the network waited for patches; and, for each
    name in `validation`, psnr_rgb_NAME and psnr_y_NAME (dB), measured pair by pair.

    Every `save_every` steps, and when SIGTERM or Ctrl-C asks it to stop, the run writes into `folder`: log.csv,
    weights.safetensors, weights.ema.safetensors (with `ema`), run.json, the state from which it resumes, and the log
    for TensorBoard if that is installed. run.json, and the metadata of the weights, hold the settings and the step.

    A run resumes only a run with the same strategy and options (`strategy.settings`), size, schedule, seed, number of
    processes and `settings`; put there whatever else determines the result. A finished run of fewer steps is extended:
    it goes on with the learning rates of the longer schedule, so its result is not that of a single long run. If
    torchrun has started several processes, gradients and losses are means over all of them. The network is in training
    mode afterwards.

    Raises InputError if a loss is not finite, if `folder` is not writable or in use by another run, if the state in it
    is unreadable or of another run, and if it holds weights, a log or a run.json without a state.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> images = [srgame.read_rgb(path) for path in srgame.image_paths("photographs")]
    >>> patches = srgame.Patches(images, patch=32, batch=2)
    >>> with TemporaryDirectory() as folder:
    ...     log = fit(srgame.Original(network), patches, Schedule(steps=2), Path(folder))
    ...     sorted(path.name for path in Path(folder).glob("*.safetensors"))
    ['weights.safetensors']
    """
    ensure_writable(folder)
    network = strategy.network.train()
    size = sum(weights.numel() for weights in network.parameters())
    run = {"strategy": type(strategy).__name__, "weights": size, **asdict(schedule), "seed": seed}
    run |= {"processes": processes.count()}  # their number determines how they share a batch
    run |= {"options": dict(getattr(strategy, "settings", {})), **(settings or {})}
    trainee = _Trainee(strategy, schedule)
    first = processes.rank() == 0
    with lock(folder if first else None):
        state = read_state(folder, run)
        run["extended"] = state["run"].get("extended", []) if state else []
        if state and state["run"]["steps"] < schedule.steps:
            run["extended"] = [*run["extended"], state["run"]["steps"]]
            warnings.warn(
                f"the run in '{folder}' of {state['run']['steps']:,} steps is extended to {schedule.steps:,}",
                stacklevel=2,
            )
        log = trainee.restore(state)
        show = _tensorboard(folder) if first else None
        for row in _rows(trainee, batches, schedule, folder, seed, start=int(log[-1]["step"]) if log else 0):
            log.append(row)
            if show:
                log[-1] |= _validation(network, validation or {}) if schedule.saves_after(int(row["step"])) else {}
                trainee.save(folder, run, log)
                show(log[-1])
    return pd.DataFrame(log)


def _rows(
    trainee: "_Trainee", batches: Batches, schedule: Schedule, folder: Path, seed: int, start: int
) -> Iterator[Row]:
    """Trains from step `start` on; yields a row of the log whenever the state should be saved."""
    losses_of = processes.synchronised(trainee.strategy)
    meter = _Meter(start)
    steps = tqdm(
        range(start, schedule.steps), "training", initial=start, total=schedule.steps, disable=processes.rank() > 0
    )
    rounds = schedule.bfloat16 and _restores_in_bfloat16(trainee.network)
    with _StopRequests() as stop, steps, _last_layer_in_float32(trainee.network) if rounds else nullcontext():
        for step in steps:
            lr, hr = meter.fetch(partial(batches, step))
            with torch.autocast(lr.device.type, torch.bfloat16, enabled=schedule.bfloat16):
                losses = losses_of(_channels_last(lr), _channels_last(hr), np.random.default_rng([seed, step, 1]))
            trainee.descend(losses, schedule.rate(step))
            meter.add(losses)
            stopping = stop.requested_anywhere()
            saving = stopping or schedule.saves_after(step + 1)
            if saving or (step + 1) % STEPS_BETWEEN_CHECKS == 0:
                meter.check_finite(folder)
            if saving:
                yield {"step": step + 1} | meter.row()
                meter = _Meter(step + 1)
            if stopping:
                break


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The network that `build` returns, with initial weights drawn with `seed`; the global random state is restored.

    >>> import torch
    >>> first, second = (seeded(lambda: torch.nn.Linear(2, 2), seed=3) for _ in range(2))
    >>> torch.equal(first.weight, second.weight)
    True
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


class _Trainee:
    """The network, its optimisers and its moving average: all that a step changes and a state stores."""

    def __init__(self, strategy: Strategy, schedule: Schedule) -> None:
        self.strategy = strategy
        self.network = network = strategy.network
        for weights in network.parameters():
            if weights.ndim == 4:  # HAN has a weight of five dimensions too
                weights.data = _channels_last(weights.data)
        self.ema = schedule.ema
        self.average = {name: value.clone() for name, value in network.state_dict().items()} if schedule.ema else {}
        self.optimiser = torch.optim.Adam(network.parameters(), lr=schedule.learning_rate)
        self.inner: torch.optim.Optimizer | None = getattr(strategy, "inner_optimiser", None)

    def descend(self, losses: Losses, rate: float) -> None:
        """Takes one step of Adam on the sum of the minimised losses."""
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.zero_grad()
        losses.total().backward()
        self.optimiser.step()
        for name, value in self.network.state_dict().items() if self.average else ():
            average = self.average[name]
            average.lerp_(value, 1 - self.ema) if value.is_floating_point() else average.copy_(value)

    def restore(self, state: dict[str, Any] | None) -> list[Row]:
        """Takes up a stored state and returns the log in it; without a state the log is empty."""
        if state is None:
            return []
        try:
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            if self.inner:
                self.inner.load_state_dict(state["inner"])
            self.average = {name: value.to(self.average[name].device) for name, value in state["average"].items()}
            log: list[Row] = state["log"]
        except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"the state in the folder does not fit its run ({error}): train in another folder"
            ) from error
        return log

    def save(self, folder: Path, run: Mapping[str, Any], log: list[Row]) -> None:
        """Writes the weights, the log and the state into `folder`."""
        weights = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        average = {name: value.contiguous() for name, value in self.average.items()}
        about = as_json(dict(run) | {"step": log[-1]["step"]})
        metadata = {RUN: about.decode()}
        beside: dict[str, Callable[[Path], object]] = {
            LOG: lambda path: pd.DataFrame(log).to_csv(path, index=False),
            SETTINGS: lambda path: path.write_bytes(about),
            WEIGHTS: lambda path: save_weights(weights, path, metadata),
        }
        if average:
            beside[AVERAGE] = lambda path: save_weights(average, path, metadata)
        optimiser = self.optimiser.state_dict()
        state = {"run": run, "network": weights, "optimiser": optimiser, "average": average, "log": log}
        state |= {"inner": self.inner.state_dict()} if self.inner else {}
        write_state(folder, state, beside)


class _Meter:
    """The losses and times of the steps since `start`; losses stay on their device until `check_finite` or `row`."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.began = perf_counter()
        self.waiting = 0.0
        self.losses: list[Tensor] = []

    def fetch(self, batch: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """The patches that `batch` returns; the time until then counts as waiting."""
        start = perf_counter()
        patches = batch()
        self.waiting += perf_counter() - start
        return patches

    def add(self, losses: Losses) -> None:
        """Records the losses of a step."""
        logged = losses.logged()
        self.names = list(logged)
        self.losses.append(torch.stack([loss.double() for loss in logged.values()]))

    def check_finite(self, folder: Path) -> None:
        """Raises InputError, with the step, if a loss is not finite."""
        finite = processes.mean_of_all(torch.stack(self.losses)).isfinite().all(1).tolist()
        if not all(finite):
            step = self.start + finite.index(False) + 1
            raise InputError(
                f"the loss of step {step} is not finite: train with a smaller learning rate or without bfloat16 "
                f"('{folder}' still holds the last good state)"
            )

    def row(self) -> Row:
        """The mean losses and the speed, for the log."""
        means = processes.mean_of_all(torch.stack(self.losses)).mean(0).tolist()
        seconds = perf_counter() - self.began
        speed = {"steps_per_second": len(self.losses) / seconds, "waiting": self.waiting / seconds}
        return dict(zip(self.names, means, strict=True)) | speed


def _restores_in_bfloat16(network: nn.Module) -> bool:
    """Whether autocast rounds the SR image itself, as it does if a network ends with a conv, such as RRDBNet."""
    device = device_of(network)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16), evaluating(network):
        sr = network(torch.zeros(1, 3, 16, 16, device=device))
    return bool(sr.dtype == torch.bfloat16)


@contextmanager
def _last_layer_in_float32(network: nn.Module) -> Iterator[None]:
    """While open, autocast skips the last layer: in bfloat16, values of an image above 0.5 are 1/256 apart."""
    layer, device = network.get_submodule(filters_of(network).layers[-1]), device_of(network).type
    before: list[bool] = []

    def disable_autocast(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        before.append(torch.is_autocast_enabled(device))
        torch.set_autocast_enabled(device, False)
        return tuple(each.float() for each in inputs)

    def restore_autocast(*_: object) -> None:
        torch.set_autocast_enabled(device, before.pop())

    hooks = (
        layer.register_forward_pre_hook(disable_autocast),
        layer.register_forward_hook(restore_autocast, always_call=True),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _validation(network: nn.Module, validation: Mapping[str, Iterable[Pairs]]) -> Row:
    """The mean PSNR on each set of pairs, for the log."""
    with evaluating(network):
        measured = {name: pd.concat([scores(network, pair) for pair in pairs]) for name, pairs in validation.items()}
    return {f"{p}_{name}": float(rows[p].mean()) for name, rows in measured.items() for p in ("psnr_rgb", "psnr_y")}


def _tensorboard(folder: Path) -> Callable[[Row], None]:
    """A function that writes a row of the log for TensorBoard; it does nothing if TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return lambda row: None
    writer = SummaryWriter(str(folder))

    def show(row: Row) -> None:
        for name in set(row) - {"step"}:
            writer.add_scalar(name, row[name], int(row["step"]))
        writer.flush()

    return show


class _StopRequests:
    """While open, the first SIGTERM or Ctrl-C sets `requested` instead of ending the program; the second ends it."""

    def __enter__(self) -> "_StopRequests":
        self.requested = False
        self.previous = {s: signal.signal(s, self._request) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def requested_anywhere(self) -> bool:
        """Whether any process was asked to stop, so that all stop after the same step."""
        return bool(processes.mean_of_all(torch.tensor(float(self.requested))) > 0)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
