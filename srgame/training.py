"""The training loop.

A step depends on weights, optimiser, seed and its own number only, so a run that was stopped resumes exactly.
"""

import math
import os
import signal
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file
from torch import nn
from tqdm import tqdm

from srgame.errors import InputError
from srgame.evaluation import evaluate
from srgame.pairs import Pairs
from srgame.patches import Batches
from srgame.strategies import Strategy

STATES = ("state.pt", "state.before.pt")  # the last one, and the one before in case it is damaged


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: Adam (0.9, 0.999), the learning rate annealed to 0 along a cosine."""

    steps: int
    learning_rate: float = 2e-4
    save_every: int = 500
    bfloat16: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1 or self.save_every < 1 or not self.learning_rate > 0:
            raise InputError(f"nothing is learned in {self.steps} steps at a rate of {self.learning_rate}: give more")

    def rate(self, step: int) -> float:
        return self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2


def fit(
    strategy: Strategy,
    batches: Batches,
    schedule: Schedule,
    folder: Path,
    seed: int = 0,
    validation: Pairs | None = None,
    settings: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """The log of the training of `strategy.network` (in place): step, the losses by name, PSNR on `validation` (dB).

    `folder` receives log.csv, weights.safetensors and state.pt, from which a stopped run resumes by itself, every
    `save_every` steps and when SIGTERM or Ctrl-C asks to stop. A run is the same if strategy, size, schedule, seed and
    `settings`, whatever else describes it, are.

    Raises InputError where the loss is not finite, where `folder` cannot be written to, and where the state in it is
    unreadable or of another run.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "log.csv").touch()
    except OSError as error:
        raise InputError(f"nothing can be written to '{folder}' ({error.strerror}): choose another") from error
    network = strategy.network.train()
    for weights in network.parameters():
        if weights.ndim == 4:  # HAN has a weight of five dimensions too
            weights.data = weights.data.contiguous(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), lr=schedule.learning_rate)
    size = sum(weights.numel() for weights in network.parameters())
    run = {"strategy": type(strategy).__name__, "weights": size, **asdict(schedule), "seed": seed, **(settings or {})}
    log = _resumed(folder, run, network, optimiser)
    start = int(log[-1]["step"]) if log else 0
    losses: list[dict[str, float]] = []
    with _StopAsked() as stop, tqdm(range(start, schedule.steps), initial=start, total=schedule.steps) as steps:
        for step in steps:
            optimiser.param_groups[0]["lr"] = schedule.rate(step)
            lr, hr = (images.contiguous(memory_format=torch.channels_last) for images in batches(step))
            with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bfloat16):
                parts = strategy(lr, hr, np.random.default_rng([seed, step, 1]))
            optimiser.zero_grad()
            torch.stack([loss for loss in parts.values() if loss.requires_grad]).sum().backward()
            losses.append({name: part.item() for name, part in parts.items()})
            if not np.isfinite(list(losses[-1].values())).all():
                raise InputError(f"the loss of step {step + 1} is not finite; '{folder}' keeps the last good state")
            optimiser.step()
            if stop.asked or (step + 1) % schedule.save_every == 0 or step + 1 == schedule.steps:
                measured: dict[str, Any] = {
                    str(name): float(value) for name, value in pd.DataFrame(losses).mean().items()
                }
                losses = []
                if validation and not stop.asked:
                    scores = evaluate(network.eval(), validation)
                    measured |= {name: float(scores[name].mean()) for name in ("psnr_rgb", "psnr_y")}
                    network.train()
                log.append({"step": step + 1, **measured})
                _save(folder, run, network, optimiser, log)
            if stop.asked:
                break
    return pd.DataFrame(log)


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """What `build` returns, its initial weights drawn with `seed`; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _save(
    folder: Path, run: dict[str, Any], network: nn.Module, optimiser: torch.optim.Optimizer, log: list[dict[str, Any]]
) -> None:
    """Writes the log, the weights and the state, each whole or not at all."""
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    state = {"run": run, "network": weights, "optimiser": optimiser.state_dict(), "log": log}
    _write(folder / "log.csv", lambda path: pd.DataFrame(log).to_csv(path, index=False))
    _write(folder / "weights.safetensors", lambda path: save_file(weights, path))
    if (folder / STATES[0]).exists():
        os.replace(folder / STATES[0], folder / STATES[1])  # noqa: PTH105
    _write(folder / STATES[0], lambda path: torch.save(state, path))


def _write(path: Path, write: Callable[[Path], None]) -> None:
    partial = path.with_name(path.name + ".partial")
    write(partial)
    os.replace(partial, path)  # noqa: PTH105


def _resumed(
    folder: Path, run: dict[str, Any], network: nn.Module, optimiser: torch.optim.Optimizer
) -> list[dict[str, Any]]:
    """The log of the same run so far, whose last good state network and optimiser are brought to."""
    paths = [folder / name for name in STATES if (folder / name).exists()]
    states = ((path, _state(path)) for path in paths)
    path, state = next(((path, state) for path, state in states if state), (folder, None))
    if state is None and paths:
        raise InputError(f"'{paths[0]}' cannot be read: remove it to train from the start, or train elsewhere")
    if state is None:
        return []
    if (there := state["run"]) != run:
        differ = [
            f"{name} {there.get(name)}, not {run.get(name)}" for name in there | run if there.get(name) != run.get(name)
        ]
        raise InputError(f"'{path}' is the state of another run ({'; '.join(differ)}): train elsewhere")
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    log: list[dict[str, Any]] = state["log"]
    return log


def _state(path: Path) -> dict[str, Any] | None:
    """What a state file holds, or, with a warning, None where it is damaged or foreign."""
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
        return {"run": dict(state["run"])} | {name: state[name] for name in ("network", "optimiser", "log")}
    except Exception:  # damaged bytes raise anything
        warnings.warn(f"'{path}' is damaged or no state of a training: it is not used", stacklevel=2)
        return None


class _StopAsked:
    """While open, SIGTERM and Ctrl-C set `asked` instead of ending the program."""

    def __enter__(self) -> "_StopAsked":
        self.asked = False
        self.previous = {s: signal.signal(s, self._ask) for s in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)
