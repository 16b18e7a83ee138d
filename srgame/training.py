"""The training loop.

A step depends on weights, optimiser, seed and its own number only, so a run that was stopped resumes exactly.
"""

import math
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, UInt8
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from srgame.errors import InputError
from srgame.evaluation import evaluate
from srgame.images import resize
from srgame.metrics import quantized
from srgame.pairs import Pairs
from srgame.strategies import Strategy

Batch = tuple[Float[Tensor, "b 3 h w"], Float[Tensor, "b 3 H W"]]


@dataclass(frozen=True)
class BicubicPatches:
    """Batches of random HR patches and their bicubic LR, flipped at random: a pure function of (seed, step)."""

    images: Sequence[UInt8[np.ndarray, "h w 3"]]
    scale: int = 4
    patch: int = 128
    batch: int = 16
    seed: int = 0

    def __post_init__(self) -> None:
        if self.patch % self.scale:
            raise InputError(f"a patch of {self.patch} pixels is no multiple of the scale {self.scale}: choose another")
        small = [shape for shape in (image.shape for image in self.images) if min(shape[:2]) < self.patch]
        if small:
            raise InputError(
                f"{len(small)} of {len(self.images)} images are smaller than the patch of {self.patch} pixels "
                f"(the first: {small[0][1]}×{small[0][0]}): choose a smaller patch or leave them out"
            )

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        patches = np.stack([self._patch(rng) for _ in range(self.batch)])
        hr = torch.from_numpy(patches).permute(0, 3, 1, 2).float() / 255
        return quantized(resize(hr, self.patch // self.scale, self.patch // self.scale)), hr

    def _patch(self, rng: np.random.Generator) -> UInt8[np.ndarray, "p p 3"]:
        image = self.images[int(rng.integers(len(self.images)))]
        top, left = (rng.integers(side - self.patch + 1) for side in image.shape[:2])
        patch = image[top : top + self.patch, left : left + self.patch]
        flipped = patch[:, ::-1] if rng.random() < 0.5 else patch
        return flipped.transpose(1, 0, 2) if rng.random() < 0.5 else flipped


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: Adam (0.9, 0.999), the learning rate annealed to 0 along a cosine."""

    steps: int
    learning_rate: float = 2e-4
    save_every: int = 500
    bfloat16: bool = False

    def rate(self, step: int) -> float:
        return self.learning_rate * (1 + math.cos(math.pi * step / self.steps)) / 2


def fit(
    strategy: Strategy,
    batches: Callable[[int], Batch],
    schedule: Schedule,
    folder: Path,
    seed: int = 0,
    validation: Pairs | None = None,
) -> pd.DataFrame:
    """The log of the training of `strategy.network` (in place): step, the losses by name, PSNR on `validation` (dB).

    `folder` receives log.csv, weights.safetensors and state.pt, from which a stopped run resumes by itself, every
    `save_every` steps and when SIGTERM or Ctrl-C asks to stop.
    """
    network = strategy.network.train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), lr=schedule.learning_rate)
    log = _resumed(folder, network, optimiser)
    start = int(log[-1]["step"]) if log else 0
    losses: list[dict[str, float]] = []
    with _StopAsked() as stop, tqdm(range(start, schedule.steps), initial=start, total=schedule.steps) as steps:
        for step in steps:
            optimiser.param_groups[0]["lr"] = schedule.rate(step)
            lr, hr = (images.contiguous(memory_format=torch.channels_last) for images in batches(step))
            with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bfloat16):
                parts = strategy(lr, hr, np.random.default_rng([seed, step, 1]))
            optimiser.zero_grad()
            torch.stack(list(parts.values())).sum().backward()
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
                _save(folder, network, optimiser, log)
            if stop.asked:
                break
    return pd.DataFrame(log)


def seeded(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    """What `build` returns, its initial weights drawn with `seed`; the global random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def _save(folder: Path, network: nn.Module, optimiser: torch.optim.Optimizer, log: list[dict[str, Any]]) -> None:
    """Writes the log, the weights and the state, each whole or not at all."""
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    state = {"network": weights, "optimiser": optimiser.state_dict(), "log": log}
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "log.csv", lambda path: pd.DataFrame(log).to_csv(path, index=False))
    _write(folder / "weights.safetensors", lambda path: save_file(weights, path))
    _write(folder / "state.pt", lambda path: torch.save(state, path))


def _write(path: Path, write: Callable[[Path], None]) -> None:
    partial = path.with_name(path.name + ".partial")
    write(partial)
    os.replace(partial, path)  # noqa: PTH105


def _resumed(folder: Path, network: nn.Module, optimiser: torch.optim.Optimizer) -> list[dict[str, Any]]:
    if not (folder / "state.pt").exists():
        return []
    state = torch.load(folder / "state.pt", weights_only=True)
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    log: list[dict[str, Any]] = state["log"]
    return log


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
