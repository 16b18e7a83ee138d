"""The training loop.

A step depends on weights, optimiser, seed and its own number only, so a run that was stopped resumes exactly.
"""

import math
import signal
from collections.abc import Callable, Iterator, Mapping
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
from tqdm import tqdm

from srgame.data.pairs import Pairs
from srgame.devices import device_of
from srgame.errors import InputError
from srgame.evaluation.evaluate import evaluate
from srgame.files import ensure_writable, lock
from srgame.filters import filters_of
from srgame.networks.weights import save_weights
from srgame.training import processes
from srgame.training.patches import Batches
from srgame.training.state import last_good, save
from srgame.training.strategies import Strategy

CHECKED = 20  # steps between looks at the losses: a look waits for the GPU
Row = dict[str, int | float]

PRESETS: dict[str, dict[str, int]] = {
    "paper": {"steps": 500_000, "batch": 16, "patch": 128, "crop": 400},
    "laptop": {"steps": 20_000, "batch": 8, "patch": 96, "crop": 192},
}


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: Adam (0.9, 0.999), the learning rate annealed to 0 along a cosine.

    With `ema` the exponential moving average of the weights is kept too, decayed by that factor at each step.
    """

    steps: int
    learning_rate: float = 2e-4
    save_every: int = 500
    bfloat16: bool = False
    ema: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1 or self.save_every < 1 or not self.learning_rate > 0:
            raise InputError(f"nothing is learned in {self.steps} steps at a rate of {self.learning_rate}: give more")
        if not 0 <= self.ema < 1:
            raise InputError(f"a moving average decays by a factor from 0 to below 1, not {self.ema}")

    def rate(self, step: int) -> float:
        return self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2

    def whole(self, step: int) -> bool:
        """Whether an interval, or the run, ends with this step."""
        return step % self.save_every == 0 or step == self.steps


def fit(
    strategy: Strategy,
    batches: Batches,
    schedule: Schedule,
    folder: Path,
    seed: int = 0,
    validation: Mapping[str, Pairs] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> pd.DataFrame:
    """The log of the training of `strategy.network` (in place), a row at each state that was saved.

    Its columns: step, the losses by name (means since the row before), steps_per_second, waiting (the share of time in
    which the network waited for patches), and by name of `validation` psnr_rgb_NAME and psnr_y_NAME (dB).

    `folder` receives log.csv, weights.safetensors (and weights.ema.safetensors), the state, from which a stopped run
    resumes by itself, and what TensorBoard reads where that is installed; all of it every `save_every` steps and when
    SIGTERM or Ctrl-C asks to stop. A run is the same if strategy, size, schedule, seed, the number of processes and
    `settings`, whatever else describes it, are. Where torchrun has started several processes, gradients and losses are
    means over all of them.

    Raises InputError where a loss is not finite, where `folder` cannot be written to or another run goes on there, and
    where the state in it is unreadable or of another run.
    """
    ensure_writable(folder)
    network = strategy.network.train()
    size = sum(weights.numel() for weights in network.parameters())
    run = {"strategy": type(strategy).__name__, "weights": size, **asdict(schedule), "seed": seed}
    run |= {"processes": processes.count(), **(settings or {})}  # which share a batch differently, by their number
    trainee = _Trainee(strategy, schedule)
    first = processes.rank() == 0
    with lock(folder if first else None):
        log = trainee.resumed(last_good(folder, run))
        show = _board(folder) if first else None
        for row in _rows(trainee, batches, schedule, folder, seed, start=int(log[-1]["step"]) if log else 0):
            log.append(row)
            if show:
                log[-1] |= _validated(network, validation or {}) if schedule.whole(int(row["step"])) else {}
                trainee.save(folder, run, log)
                show(log[-1])
    return pd.DataFrame(log)


def _rows(
    trainee: "_Trainee", batches: Batches, schedule: Schedule, folder: Path, seed: int, start: int
) -> Iterator[Row]:
    """Trains from step `start` on; a row of the log whenever the state is to be saved."""
    together = processes.synchronised(trainee.strategy)
    meter = _Meter(start)
    steps = tqdm(
        range(start, schedule.steps), "training", initial=start, total=schedule.steps, disable=processes.rank() > 0
    )
    rounds = schedule.bfloat16 and _gives_bfloat16(trainee.network)
    with _StopAsked() as stop, steps, _whole_images(trainee.network) if rounds else nullcontext():
        for step in steps:
            lr, hr = meter.waited_for(partial(batches, step))
            with torch.autocast(lr.device.type, torch.bfloat16, enabled=schedule.bfloat16):
                losses = together(_channels_last(lr), _channels_last(hr), np.random.default_rng([seed, step, 1]))
            trainee.descend(losses, schedule.rate(step))
            meter.add(losses)
            stopping = stop.asked_anywhere()
            saving = stopping or schedule.whole(step + 1)
            if saving or (step + 1) % CHECKED == 0:
                meter.check(folder)
            if saving:
                yield {"step": step + 1} | meter.row()
                meter = _Meter(step + 1)
            if stopping:
                break


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """What `build` returns, its initial weights drawn with `seed`; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


class _Trainee:
    """The network, its optimiser and its moving average: what a step changes and a state holds."""

    def __init__(self, strategy: Strategy, schedule: Schedule) -> None:
        self.strategy = strategy
        self.network = network = strategy.network
        for weights in network.parameters():
            if weights.ndim == 4:  # HAN has a weight of five dimensions too
                weights.data = _channels_last(weights.data)
        self.ema = schedule.ema
        self.average = {name: value.clone() for name, value in network.state_dict().items()} if schedule.ema else {}
        self.optimiser = torch.optim.Adam(network.parameters(), lr=schedule.learning_rate)

    def descend(self, losses: Mapping[str, Tensor], rate: float) -> None:
        self.optimiser.param_groups[0]["lr"] = rate
        self.optimiser.zero_grad()
        torch.stack([loss for loss in losses.values() if loss.requires_grad]).sum().backward()
        self.optimiser.step()
        for name, value in self.network.state_dict().items() if self.average else ():
            self.average[name].lerp_(value, 1 - self.ema)

    def resumed(self, state: dict[str, Any] | None) -> list[Row]:
        """The log of the run whose state this is, after taking up that state."""
        if state is None:
            return []
        try:
            self.network.load_state_dict(state["network"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.average = {name: value.to(self.average[name].device) for name, value in state["average"].items()}
            log: list[Row] = state["log"]
        except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"the state in the folder does not fit its own run ({error}): train elsewhere") from error
        return log

    def save(self, folder: Path, run: Mapping[str, Any], log: list[Row]) -> None:
        weights = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        average = {name: value.contiguous() for name, value in self.average.items()}
        beside: dict[str, Callable[[Path], None]] = {
            "log.csv": lambda path: pd.DataFrame(log).to_csv(path, index=False),
            "weights.safetensors": lambda path: save_weights(weights, path),
        }
        if average:
            beside["weights.ema.safetensors"] = lambda path: save_weights(average, path)
        optimiser = self.optimiser.state_dict()
        save(folder, {"run": run, "network": weights, "optimiser": optimiser, "average": average, "log": log}, beside)


class _Meter:
    """The losses and times of the steps since `start`; losses stay where they were computed until someone looks."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.began = perf_counter()
        self.waiting = 0.0
        self.losses: list[Tensor] = []

    def waited_for(self, batch: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        asked = perf_counter()
        made = batch()
        self.waiting += perf_counter() - asked
        return made

    def add(self, losses: Mapping[str, Tensor]) -> None:
        self.names = list(losses)
        self.losses.append(torch.stack([loss.detach().double() for loss in losses.values()]))

    def check(self, folder: Path) -> None:
        """Raises InputError where a loss is not finite, and says at which step."""
        finite = processes.mean_of_all(torch.stack(self.losses)).isfinite().all(1).tolist()
        if not all(finite):
            step = self.start + finite.index(False) + 1
            raise InputError(f"the loss of step {step} is not finite; '{folder}' keeps the last good state")

    def row(self) -> Row:
        means = processes.mean_of_all(torch.stack(self.losses)).mean(0).tolist()
        seconds = perf_counter() - self.began
        speed = {"steps_per_second": len(self.losses) / seconds, "waiting": self.waiting / seconds}
        return dict(zip(self.names, means, strict=True)) | speed


def _gives_bfloat16(network: nn.Module) -> bool:
    """Whether autocast rounds the SR image itself, as of networks that end with a convolution, such as RRDBNet."""
    device = device_of(network)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        sr = network.eval()(torch.zeros(1, 3, 16, 16, device=device))
    network.train()
    return bool(sr.dtype == torch.bfloat16)


@contextmanager
def _whole_images(network: nn.Module) -> Iterator[None]:
    """While open, autocast leaves the last layer alone: from 0.5 on, an image in bfloat16 has steps of 1/256."""
    layer, device = network.get_submodule(filters_of(network).layers[-1]), device_of(network).type
    before: list[bool] = []

    def alone(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        before.append(torch.is_autocast_enabled(device))
        torch.set_autocast_enabled(device, False)
        return tuple(each.float() for each in inputs)

    def as_before(*_: object) -> None:
        torch.set_autocast_enabled(device, before.pop())

    hooks = layer.register_forward_pre_hook(alone), layer.register_forward_hook(as_before, always_call=True)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _validated(network: nn.Module, validation: Mapping[str, Pairs]) -> Row:
    scores = {name: evaluate(network.eval(), pairs) for name, pairs in validation.items()}
    network.train()
    return {f"{p}_{name}": float(score[p].mean()) for name, score in scores.items() for p in ("psnr_rgb", "psnr_y")}


def _board(folder: Path) -> Callable[[Row], None]:
    """Shows a row of the log in TensorBoard, where that is installed."""
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


class _StopAsked:
    """While open, SIGTERM and Ctrl-C set `asked` instead of ending the program."""

    def __enter__(self) -> "_StopAsked":
        self.asked = False
        self.previous = {s: signal.signal(s, self._ask) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def asked_anywhere(self) -> bool:
        """Whether any process was asked, so that all stop after the same step."""
        return bool(processes.mean_of_all(torch.tensor(float(self.asked))) > 0)

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
