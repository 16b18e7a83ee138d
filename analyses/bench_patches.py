"""What does a training step of EATS and of its controls cost, and how much do stored patches save?

The small SRResNet of the zoo trains with its recipe in the loop of `srgame train`, in turns: on a single batch, on
stored patches, and on patches degraded during training. All strategies read the same stored patches, which are made
once. `bench_training` times implementations and presets of one strategy instead.
"""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import pandas as pd
import torch
from matplotlib.figure import Figure

from srgame.data.images import image_paths, read_rgb
from srgame.devices import faster_in_bfloat16
from srgame.networks import NETWORKS
from srgame.report.recipe import run
from srgame.report.style import STRATEGIES as COLOURS
from srgame.report.style import styled
from srgame.training.loop import Schedule, fit, seeded
from srgame.training.patch_store import StoredPatches, write_patches
from srgame.training.patches import Batches, Patches, mixed, moved, prefetched
from srgame.training.strategies import STRATEGIES

SMOKE = {"steps": 2, "rounds": 1, "features": 4, "blocks": 1, "patch": 32, "crop": 48, "batch": 2, "pool": 2}
DEGRADED = "degraded on the way"
STORED = "from a store"
ONE = "one batch"
ORIGINAL = "original"


def measure(
    strategies: tuple[str, ...] = ("original", "dropout", "bicubic-pull", "eats"),
    features: int = 32,
    blocks: int = 8,
    batch: int = 8,
    patch: int = 96,
    crop: int = 128,
    pool: int = 8,
    steps: int = 10,
    rounds: int = 3,
    data: str = "photographs",
    device: str = "cpu",
) -> pd.DataFrame:
    """One row per strategy, source of patches and round: strategy, patches, round, seconds (per step), making.

    making is the time in seconds that one thread took to make and store the patches of a step.
    """
    images = [read_rgb(path) for path in image_paths(data)]
    made = Patches(images, "second-order", patch=patch, batch=batch, crop=crop, sharpen=True)
    rows = []
    with TemporaryDirectory() as folder, ExitStack() as prefetching:
        start = perf_counter()
        write_patches(made, batch * steps, Path(folder) / "store")
        making = (perf_counter() - start) / steps
        store, one = StoredPatches(Path(folder) / "store", batch), made(0)
        sources: dict[str, Batches] = {
            ONE: lambda _: one,
            STORED: prefetching.enter_context(prefetched(store)),
            DEGRADED: prefetching.enter_context(prefetched(mixed(made, pool), ahead=pool)),
        }
        for turn in range(rounds):
            for strategy in strategies:
                for name, batches in sources.items():
                    network = seeded(lambda: NETWORKS["srresnet"](scale=4, features=features, blocks=blocks), 0)
                    schedule = Schedule(2 * steps, save_every=steps, bfloat16=faster_in_bfloat16(device))
                    run_folder = Path(folder) / f"{turn} {strategy} {name}"
                    trained = STRATEGIES[strategy](network.to(device))
                    log = fit(trained, moved(batches, device), schedule, run_folder)
                    seconds = 1 / log["steps_per_second"].iloc[-1]  # the first half warms up
                    rows.append({"strategy": strategy, "patches": name, "round": turn, "seconds": seconds})
    return pd.DataFrame(rows).assign(making=making, device=device, threads=torch.get_num_threads())


def _medians(frame: pd.DataFrame) -> pd.DataFrame:
    """Seconds per step, a row per strategy and a column per source of patches."""
    return frame.pivot_table(index="strategy", columns="patches", values="seconds", aggfunc="median", sort=False)


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence: medians of the rounds, with the least and the most of them."""
    of_rounds = frame.pivot_table(index=["strategy", "round"], columns="patches", values="seconds", sort=False)
    faster = _by_strategy(of_rounds[DEGRADED] / of_rounds[STORED], "×")
    sentence = f"Stored patches make a step this many times faster: {faster}."
    stored = of_rounds[STORED]
    if ORIGINAL not in stored.index:
        return sentence
    cost = _by_strategy(stored.drop(ORIGINAL).div(stored[ORIGINAL], level="round"))
    return (
        f"With stored patches, a step takes this many times as long as one of {ORIGINAL} "
        f"({frame['round'].nunique()} rounds, in brackets the least and the most): {cost}. {sentence}"
    )


def _by_strategy(ratios: "pd.Series[float]", unit: str = "") -> str:
    """Each strategy's median ratio over the rounds, and its range."""
    groups = ratios.groupby(level="strategy", sort=False)
    return ", ".join(f"{name} {own.median():.2f}{unit} ({own.min():.2f} to {own.max():.2f})" for name, own in groups)


def draw(frame: pd.DataFrame) -> Figure:
    """Seconds per step of each strategy, a bar per source of patches."""
    medians = _medians(frame)
    with styled():
        figure = Figure(figsize=(7.2, 2.4))
        panels = figure.subplots(1, len(medians), sharex=True, sharey=True, squeeze=False)[0]
        for panel, (strategy, row) in zip(panels, medians.iterrows(), strict=True):
            panel.barh(list(row.index)[::-1], row.to_numpy()[::-1], color=COLOURS[str(strategy)])
            panel.set_title(str(strategy))
            panel.grid(False, axis="y")
            panel.grid(axis="x")
        figure.supxlabel("seconds per step (median of the rounds)", fontsize=8)
        where = f"{frame['device'].iloc[0]}, {frame['threads'].iloc[0]} threads"
        figure.suptitle(f"Time of a training step by strategy and by where its patches come from; {where}", fontsize=8)
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw, found)
