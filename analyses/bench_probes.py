"""What do probes cost, in time beside bare forward passes and in memory against the number of images?"""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import pandas as pd
import torch
from matplotlib.figure import Figure
from printed import signed
from torch import nn

from srgame.data.images import Image
from srgame.data.lazy import LRImages, lr_images
from srgame.networks import load_network
from srgame.probes.cosine import channel_cosine
from srgame.probes.responses import channel_responses
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREY, ORANGE, styled

Probe = Callable[[nn.Module, list[Image] | LRImages, tuple[str, ...]], object]


def bare(network: nn.Module, images: list[Image] | LRImages, _: tuple[str, ...]) -> None:
    """The forward pass alone."""
    with torch.inference_mode():
        for image in images:
            network(image[None])


PROBES: dict[str, Probe] = {"bare": bare, "responses": channel_responses, "cosine": channel_cosine}
LABELS = {"bare": "bare passes"}
COLOURS = {"bare": GREY, "responses": BLUE, "cosine": ORANGE}
SMOKE = {"dataset": "photographs", "images": 2, "crop": 32, "chunk": 1, "counts": (2,)}


def measure(
    checkpoint: str = "srresnet-x4-bicubic",
    layers: tuple[str, ...] = ("body.1", "conv_hr"),
    dataset: str = "unseen109",
    images: int = 100,
    crop: int = 64,
    chunk: int = 10,
    counts: tuple[int, ...] = (5, 20, 100),
    threads: int = 1,
) -> pd.DataFrame:
    """One row per probe and number of images: probe, images, seconds, ratio (to bare passes), peak_mib.

    Seconds are measured for all images only, with the probes in turns on `chunk` images, so that other work slows them
    equally. Peak memory is that of a separate process for each row, which reads the images from their files.
    """
    torch.set_num_threads(threads)
    seconds = _seconds(load_network(checkpoint), list(lr_images(dataset, images=images, crop=crop)), layers, chunk)
    rows = []
    for probe in PROBES:
        for count in counts:
            peak = _peak(probe, checkpoint, layers, dataset, count, crop)
            row = {"probe": probe, "images": count, "seconds": None, "ratio": None, "peak_mib": peak}
            if count == images:
                row |= {"seconds": round(seconds[probe], 2), "ratio": seconds[probe] / seconds["bare"]}
            rows.append(row)
    return pd.DataFrame(rows)


def _seconds(network: nn.Module, images: list[Image], layers: tuple[str, ...], chunk: int) -> dict[str, float]:
    bare(network, images[:2], layers)  # costs of the first run only
    total = dict.fromkeys(PROBES, 0.0)
    for start in range(0, len(images), chunk):
        for name, probe in PROBES.items():
            begun = perf_counter()
            probe(network, images[start : start + chunk], layers)
            total[name] += perf_counter() - begun
    return total


def _peak(probe: str, checkpoint: str, layers: tuple[str, ...], dataset: str, count: int, crop: int) -> float:
    """Peak memory, in MiB, of a process that probes `count` images."""
    order = json.dumps([probe, checkpoint, layers, dataset, count, crop])
    command = [sys.executable, str(Path(__file__).resolve()), "--peak", order]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def _print_peak(order: str) -> None:
    probe, checkpoint, layers, dataset, count, crop = json.loads(order)
    torch.set_num_threads(1)
    PROBES[probe](load_network(checkpoint), lr_images(dataset, images=count, crop=crop), tuple(layers))
    status = Path("/proc/self/status").read_text()  # Linux; getrusage would include the parent's memory
    print(int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024)  # type: ignore[index]


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence: time relative to bare passes, and how far peak memory grows with the images."""
    timed = frame.dropna(subset=["seconds"]).set_index("probe")
    times = ", ".join(f"{probe} {ratio:.2f}" for probe, ratio in timed["ratio"].items() if probe != "bare")
    grown = [
        f"{LABELS.get(str(probe), probe)} {signed(rows['peak_mib'].iloc[-1] - rows['peak_mib'].iloc[0], 0)}"
        for probe, rows in frame.sort_values("images").groupby("probe", sort=False)
    ]
    first, last, most = frame["images"].min(), frame["images"].max(), frame["peak_mib"].max()
    return (
        f"Time on {timed['images'].iloc[0]} images relative to bare forward passes: {times}. Growth of peak memory "
        f"from {first} to {last} images, in MiB: {', '.join(grown)}; at most {most:.0f} MiB are used."
    )


def draw(frame: pd.DataFrame) -> Figure:
    """Seconds for all images, with the bound of 1.2 bare passes; peak memory against the number of images."""
    with styled():
        figure = Figure(figsize=(6, 2.4))
        time, memory = figure.subplots(1, 2)
        timed = frame.dropna(subset=["seconds"])
        bars = time.bar(timed["probe"], timed["seconds"], 0.6, color=[COLOURS[probe] for probe in timed["probe"]])
        time.bar_label(bars, [f"×{ratio:.2f}" for ratio in timed["ratio"]])
        time.set_xticks(range(len(timed)), [LABELS.get(probe, probe) for probe in timed["probe"]])
        bound = 1.2 * timed["seconds"].iloc[0]
        time.axhline(bound, color="black", linestyle="--", linewidth=0.8)
        time.text(2.4, bound, "bound: ×1.2", ha="right", va="bottom")
        time.set_ylim(0, bound * 1.15)
        time.set_ylabel(f"seconds for {timed['images'].iloc[0]} images")
        for probe, rows in frame.groupby("probe", sort=False):
            memory.plot(
                rows["images"],
                rows["peak_mib"],
                "o-",
                markersize=3,
                color=COLOURS[str(probe)],
                label=LABELS.get(str(probe), str(probe)),
            )
        memory.set_ylim(0, 1.15 * frame["peak_mib"].max())
        memory.set_xlabel("images")
        memory.set_ylabel("peak memory (MiB)")
        memory.legend(loc="lower right")
    return figure


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peak"]:
        _print_peak(sys.argv[2])
    else:
        run(__file__, measure, draw, found)
