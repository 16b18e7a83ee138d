"""How long is a training step, how much faster does the loop make it, and how long does it wait for patches?

The steps of Original are timed in turns, in one process: the plain eager loop in float32, in channels-last memory, in
bfloat16, and in both. Then each preset trains as `srgame train --bfloat16` does, once on a single batch and once on
patches degraded during training; the difference is the cost of degradation.
"""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from printed import number
from torch import Tensor, nn

from srgame.data.images import image_paths, read_rgb
from srgame.devices import faster_in_bfloat16
from srgame.networks import NETWORKS
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREY, ORANGE, styled
from srgame.training.loop import PRESETS, Schedule, fit
from srgame.training.patches import Batches, Patches, mixed, prefetched
from srgame.training.strategies import Original, Strategy

SMOKE = {"presets": ("laptop",), "repeats": 1, "steps": 8, "pool": 2}

ON_ONE_BATCH, ON_PATCHES = "the loop on one batch", "the loop on degraded patches"
VARIANTS = {
    "float32": (torch.contiguous_format, False),
    "float32, channels last": (torch.channels_last, False),
    "bfloat16": (torch.contiguous_format, True),
    "bfloat16, channels last": (torch.channels_last, True),
}


def measure(
    network: str = "srresnet",
    presets: tuple[str, ...] = ("paper", "laptop"),
    repeats: int = 3,
    steps: int = 24,
    pool: int = 8,
    data: str = "photographs",
    device: str = "auto",
) -> pd.DataFrame:
    """One row per preset and way: preset, way, seconds (per step), waiting (share of the time), device, threads.

    The first four ways are medians of `repeats` steps on one batch; the last two are means of `steps` of the loop.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    rows: list[dict[str, object]] = []
    for preset in presets:
        amount = PRESETS[preset]
        patches = Patches(
            [read_rgb(path) for path in image_paths(data)],
            "second-order",
            patch=amount["patch"],
            batch=amount["batch"],
            crop=amount["crop"],
            sharpen=True,
            device=device,
        )
        batch = patches(0)
        times = _eager(network, batch, repeats, device)
        rows += [{"preset": preset, "way": way, "seconds": seconds} for way, seconds in times.items()]
        ways: dict[str, AbstractContextManager[Batches]] = {
            ON_ONE_BATCH: nullcontext(lambda _, batch=batch: batch),  # type: ignore[misc]
            ON_PATCHES: prefetched(mixed(patches, pool), ahead=pool),
        }
        for way, source in ways.items():
            with source as batches:
                rows.append({"preset": preset, "way": way, **_looped(network, batches, steps, device)})
    threads = torch.get_num_threads()
    return pd.DataFrame(rows).assign(device=_name(device), threads=threads)


def _eager(network: str, batch: tuple[Tensor, Tensor], repeats: int, device: str) -> dict[str, float]:
    """Median seconds of a step of each variant, timed in turns."""
    trained = {}
    variants = {
        n: v for n, v in VARIANTS.items() if not v[1] or faster_in_bfloat16(device)
    }  # bfloat16 is slower if it is emulated
    for name, (layout, _) in variants.items():
        model = NETWORKS[network](scale=4).to(device)
        model.to(memory_format=layout)  # type: ignore[call-overload]
        trained[name] = (Original(model), torch.optim.Adam(model.parameters()))
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats + 1):
        for name, (layout, bfloat16) in variants.items():
            lr, hr = (images.contiguous(memory_format=layout) for images in batch)
            start = _now(device)
            _step(*trained[name], lr, hr, bfloat16)
            times[name].append(_now(device) - start)
    return {name: median(seconds[1:]) for name, seconds in times.items()}


def _step(strategy: Strategy, optimiser: torch.optim.Optimizer, lr: Tensor, hr: Tensor, bfloat16: bool) -> None:
    with torch.autocast(lr.device.type, torch.bfloat16, enabled=bfloat16):
        loss = strategy(lr, hr, np.random.default_rng(0)).minimised["original"]
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


def _looped(network: str, batches: Batches, steps: int, device: str) -> dict[str, float]:
    """Seconds per step of `fit`, and the share of them spent waiting for patches; the first steps are left out."""
    model: nn.Module = NETWORKS[network](scale=4).to(device)
    with TemporaryDirectory() as folder:
        schedule = Schedule(steps, save_every=steps // 3, bfloat16=faster_in_bfloat16(device))
        log = fit(Original(model), batches, schedule, Path(folder))
    counted = log.iloc[1:]
    return {
        "seconds": float((1 / counted["steps_per_second"]).mean()),
        "waiting": float(counted["waiting"].mean()),
    }


def _now(device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    return perf_counter()


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if device != "cpu" else "cpu"


def found(frame: pd.DataFrame) -> str:
    """The answer in sentences: by preset the seconds of a step, eager and in the loop, and the share spent waiting."""
    parts = []
    for preset, rows in frame.groupby("preset", sort=False):
        ways = rows.set_index("way")
        plain, batch, degraded = (number(ways["seconds"][way]) for way in ("float32", ON_ONE_BATCH, ON_PATCHES))
        parts.append(
            f"{preset}: {plain:.2f} s per step in the eager float32 loop, {batch:.2f} s in srgame's loop on one batch "
            f"({plain / batch:.1f} times faster), {degraded:.2f} s on patches degraded during training "
            f"({plain / degraded:.1f} times; {ways['waiting'][ON_PATCHES]:.2%} of it waiting for them)"
        )
    return f"On {frame['device'].iloc[0]}, {frame['threads'].iloc[0]} threads. {'; '.join(parts)}."


def draw(frame: pd.DataFrame) -> Figure:
    """A panel per preset: a bar per way, labelled with its speed relative to the plain eager loop."""
    presets = list(dict.fromkeys(frame["preset"]))
    with styled():
        figure = Figure(figsize=(3.4 * len(presets) + 1.2, 2.4))
        for panel, preset in zip(
            figure.subplots(1, len(presets), squeeze=False, sharey=True).flat, presets, strict=True
        ):
            rows = frame[frame["preset"] == preset].iloc[::-1]
            colours = [GREY if way == "float32" else ORANGE if "loop" in way else BLUE for way in rows["way"]]
            panel.barh(rows["way"], rows["seconds"], color=colours)
            plain = rows.loc[rows["way"] == "float32", "seconds"].item()
            for place, (seconds, waiting) in enumerate(zip(rows["seconds"], rows["waiting"], strict=True)):
                share = "" if np.isnan(waiting) else f", {waiting:.1%} waiting"
                panel.annotate(
                    f"{plain / seconds:.2f}×{share}", (seconds, place), (3, 0), textcoords="offset points", va="center"
                )
            panel.set_xlim(0, 1.45 * rows["seconds"].max())
            amount = PRESETS[preset]
            panel.set_title(f"{preset}: batch {amount['batch']}, HR patch {amount['patch']}")
            panel.set_xlabel("seconds per step")
            panel.grid(False, axis="y")
            panel.grid(axis="x")
        where = f"{frame['device'].iloc[0]}, {frame['threads'].iloc[0]} threads"
        figure.suptitle(f"{where}; beside bars: how many times faster than float32, share of time waiting", fontsize=8)
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw, found)
