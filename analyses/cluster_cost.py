"""What would an audit of all filters of RRDBNet cost on 1, 8 and 64 GPUs, and where does scaling end? A projection.

No GPU was available. Overheads are measured on a CPU, the FLOP of a layer's resumed run are counted, and the speed of a
GPU and of the network are assumed (both are flags); from these the hours are projected. Each row says which it is.

A replicate of a game of n players evaluates 2(n − 1) coalitions on all images. With W the FLOP of all replicates, S
those that build the games, U those of the largest replicate and its game, F the FLOP/s of a GPU, B the bytes that each
worker gets once, b the bytes per second that a scheduler sends, and time in seconds, G GPUs take

    T(1) = (W + S of each game once) / F
    T(G) = max((W + S for each replicate) / (G F), replicates × overhead) + U / F + G B / b

This is an upper bound: it assumes that workers build the game for each replicate, and wait for the largest one.
"""

import pickle
from dataclasses import dataclass
from functools import partial
from time import process_time
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from srgame.data.pairs import Pairs, load_pairs
from srgame.filters import CONVS, Filters, erased, filters_of, resume
from srgame.networks import NETWORKS, load_network
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREY, ORANGE, styled
from srgame.shapley.audit import uninterrupted
from srgame.shapley.cluster import Cluster, connected
from srgame.shapley.permutations import sampled_shapley
from srgame.shapley.restoration import RestorationGame
from srgame.shapley.until import SCHEDULE, Until

MEASURED, COUNTED, ASSUMED, PROJECTED = "measured", "counted", "assumed", "projected"
SIDE = 16  # side, in LR pixels, of the image on which FLOP are counted: they are proportional to its pixels
WHOLE_RUNS = 9  # to build a game: two whole runs of three coalitions and a resumed run, which are compared
CURVE = tuple(2**k for k in range(15))

SMOKE = {
    "network": "srresnet", "dataset": "photographs", "images": 1, "crop": 32, "timed": 2, "timed_image": 0,
    "sampled": "small-x4-original-0", "sampled_layers": ("conv_hr",), "sampled_replicates": 2, "sampled_crop": 32,
    "tasks": 20,
}  # fmt: skip


def measure(
    network: str = "rrdbnet",
    dataset: str = "Set14",
    images: int | None = None,
    crop: int | None = None,
    timed: int = 6,
    timed_image: int = 8,
    sampled: str = "srresnet-x4-bicubic",
    sampled_layers: tuple[str, ...] = (
        "conv_first",
        "body.0.conv1",
        "body.2.conv1",
        "body.8.conv2",
        "body.14.conv1",
        "body.15.conv2",
        "conv_hr",
    ),
    sampled_replicates: int = 8,
    sampled_crop: int = 64,
    tolerance: float = 0.02,
    tasks: int = 1000,
    gpus: tuple[int, ...] = (1, 8, 64),
    flops_per_second: float = 20e12,
    bytes_per_second: float = 1.25e9,
) -> pd.DataFrame:
    """One row per number: kind (measured, counted, assumed, projected), quantity, value, unit, layer, depth, gpus.

    Seconds are CPU time on one thread; those per coalition are for one image. The replicates are those that `sampled`
    needs for `tolerance` on crops of the four photographs, interpolated geometrically between its layers. The error is
    proportional to 1 / √(replicates × images), so more images need fewer replicates. `flops_per_second` of a GPU and
    `bytes_per_second` of a scheduler are assumptions.
    """
    torch.set_num_threads(1)
    net = NETWORKS[network](scale=4).eval()
    pairs = load_pairs(dataset, images=images, crop=crop)
    per_pixel = flop_per_pixel(net)
    rows = _times(net, per_pixel, pairs.lr[timed_image][None], timed)
    rows += _replicates_needed(sampled, sampled_layers, sampled_replicates, sampled_crop, tolerance)
    rows += _overheads(net, pairs, tasks)
    rows += [
        _row(ASSUMED, "GPU sustains", flops_per_second, "FLOP/s"),
        _row(ASSUMED, "scheduler sends", bytes_per_second, "B/s"),
    ]
    known = pd.DataFrame(rows)
    plan = planned(net, per_pixel, pairs, known)
    rows += _totals(plan)
    for count in sorted({*gpus, *CURVE}):
        rows += [
            _row(PROJECTED, "hours", plan.hours(count), "h", gpus=count),
            _row(PROJECTED, "efficiency", plan.hours(1) / count / plan.hours(count), "1", gpus=count),
        ]
    return pd.DataFrame(rows)


def _row(
    kind: str, quantity: str, value: float, unit: str, layer: str = "", depth: float = np.nan, gpus: float = np.nan
) -> dict[str, Any]:
    return {
        "kind": kind, "quantity": quantity, "value": value, "unit": unit, "layer": layer, "depth": depth, "gpus": gpus
    }  # fmt: skip


@torch.inference_mode()
def _times(net: nn.Module, per_pixel: dict[str, float], lr: Tensor, count: int) -> list[dict[str, Any]]:
    """Seconds and FLOP of a coalition on one image, resumed behind the layer, for layers at all depths."""
    everything, rows = filters_of(net), []
    for place in np.unique(np.linspace(0, len(everything.layers) - 1, count).round().astype(int)):
        layer, depth = everything.layers[place], place / (len(everything.layers) - 1)
        filters = Filters((layer,), (everything.widths[place],))
        cut = resume(net, [layer])
        live = cut.head(lr)
        start = process_time()
        with erased(cut.tail, filters, torch.ones(1, len(filters), dtype=torch.bool)):
            cut.tail(*live)
        rows += [
            _row(MEASURED, "coalition", process_time() - start, "s", layer, depth),
            _row(COUNTED, "coalition", per_pixel[layer] * lr[0, 0].numel(), "FLOP", layer, depth),
        ]
    return rows


def flop_per_pixel(net: nn.Module) -> dict[str, float]:
    """The FLOP per LR pixel of a run resumed behind each conv layer, those of the conv layers in its tail."""
    of_conv = flop_of_convs(net)
    return {layer: sum(of_conv[conv] for conv in _convs_behind(net, layer)) for layer in of_conv}


def _convs_behind(net: nn.Module, layer: str) -> list[str]:
    """The conv layers that run again when filters of `layer` are erased."""
    tail = resume(net, [layer]).tail  # here the layer itself is the identity
    return [name for name, module in tail.named_modules() if isinstance(module, CONVS)]


def flop_of_convs(net: nn.Module) -> dict[str, float]:
    """The FLOP per LR pixel of each conv layer in a whole run."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, SIDE, SIDE))
    counts = {name: sum(flop.values()) for name, flop in counter.get_flop_counts().items()}
    return {layer: counts[f"{type(net).__name__}.{layer}"] / SIDE**2 for layer in filters_of(net).layers}


def _replicates_needed(
    sampled: str, layers: tuple[str, ...], replicates: int, crop: int, tolerance: float
) -> list[dict[str, Any]]:
    """The replicates × images of permutations that layers need for `tolerance`, from the error of `replicates`."""
    net, pairs = load_network(sampled), load_pairs("photographs", images=4, crop=crop)
    everything, rows = filters_of(net).layers, []
    for layer in layers:
        game = RestorationGame(net, filters_of(net, [layer]), pairs)
        active = int((~game.dummies).sum())
        until = Until(evaluations=2 + replicates * 2 * (active - 1))
        values = uninterrupted(sampled_shapley(game, until=until, regression=False))
        needed = values.replicates * len(pairs) * (values.relative_stderr / tolerance) ** 2
        depth = everything.index(layer) / (len(everything) - 1)
        rows.append(_row(MEASURED, f"replicates × images for {tolerance:.0%}", needed, "1", layer, depth))
    return rows


def _overheads(net: nn.Module, pairs: Pairs, tasks: int) -> list[dict[str, Any]]:
    """The overhead of a cluster of two processes, and the bytes that it sends.

    Seconds are CPU time of this process, in which both client and scheduler run.
    """
    shape = (len(pairs) + 3, max(filters_of(net).widths))
    with connected(workers=2) as cluster:
        bare = _bare(cluster, tasks)
        with cluster.executor(net, pairs) as executor:
            start = process_time()
            done = sum(1 for _ in executor.replicates(partial(np.full, shape), iter(range(tasks))))
            seconds = process_time() - start
    return [
        _row(MEASURED, "client and scheduler per replicate", seconds / done, "s"),
        _row(MEASURED, "scheduler per task", bare / tasks, "s"),
        _row(MEASURED, "bytes once per worker", len(pickle.dumps((net, pairs))), "B"),
        _row(COUNTED, "bytes back per replicate", np.empty(shape).nbytes, "B"),
    ]


def _bare(cluster: Cluster, tasks: int) -> float:
    """Seconds for tasks without work, all sent at once."""
    cluster.client.gather(cluster.client.map(abs, range(-8, 0)))
    start = process_time()
    cluster.client.gather(cluster.client.map(abs, range(tasks), pure=False))
    return process_time() - start


@dataclass(frozen=True)
class Plan:
    """The cost of a whole audit: for each layer its replicates, the FLOP of one, and the FLOP to build its game."""

    replicates: np.ndarray
    replicate: np.ndarray
    building: np.ndarray
    sustained: float  # FLOP/s
    overhead: float  # s per replicate
    handing: float  # s per worker

    def hours(self, gpus: int) -> float:
        """Hours by the formula at the top of this file."""
        if gpus == 1:
            return float((self.replicates * self.replicate + self.building).sum() / self.sustained / 3600)
        shared = (self.replicates * (self.replicate + self.building)).sum() / self.sustained / gpus
        last = (self.replicate + self.building).max() / self.sustained
        return float((max(shared, self.replicates.sum() * self.overhead) + last + gpus * self.handing) / 3600)


def planned(net: nn.Module, per_pixel: dict[str, float], pairs: Pairs, known: pd.DataFrame) -> Plan:
    """The audit of all layers on these pairs, one game per layer, with the constants in `known`."""
    everything, of_conv = filters_of(net), flop_of_convs(net)
    pixels = np.array([lr[0].numel() for lr in pairs.lr])
    tail = np.array([per_pixel[layer] for layer in everything.layers])
    whole = sum(of_conv.values())
    needed = known[known["quantity"].str.startswith("replicates × images")].sort_values("depth")
    depth = np.linspace(0, 1, len(tail))
    between = np.exp(np.interp(depth, needed["depth"], np.log(needed["value"])))  # values span orders of magnitude
    replicates = np.ceil(between / len(pairs)).clip(min(SCHEDULE))
    only = known.groupby("quantity")["value"].first()
    return Plan(
        replicates,
        2 * (np.array(everything.widths) - 1) * tail * pixels.sum(),
        WHOLE_RUNS * whole * pixels[0] + (whole - tail) * pixels.sum(),
        only["GPU sustains"],
        only["client and scheduler per replicate"],
        only["bytes once per worker"] / only["scheduler sends"],
    )


def _totals(plan: Plan) -> list[dict[str, Any]]:
    """The totals of the plan, and the end of its scaling."""
    shortest = (plan.replicate + plan.building).min() / plan.sustained
    efficient = [count for count in range(1, CURVE[-1] + 1) if plan.hours(1) / count / plan.hours(count) >= 0.5]
    return [
        _row(COUNTED, "layers", len(plan.replicates), "1"),
        _row(PROJECTED, "replicates of all layers", plan.replicates.sum(), "1"),
        _row(PROJECTED, "work", (plan.replicates * plan.replicate).sum(), "FLOP"),
        _row(PROJECTED, "shortest replicate", shortest, "s"),
        _row(PROJECTED, "longest replicate", (plan.replicate + plan.building).max() / plan.sustained, "s"),
        _row(
            PROJECTED, "workers that one client keeps busy with the shortest replicates", shortest / plan.overhead, "1"
        ),
        _row(PROJECTED, "most GPUs at half efficiency", max(efficient), "1"),
    ]


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    hours = frame[frame["quantity"] == "hours"].set_index("gpus")["value"]
    only = frame[frame["gpus"].isna() & frame["layer"].isna()].set_index("quantity")["value"]
    three = ", ".join(f"{hours[count]:.3g} h on {count}" for count in (1, 8, 64) if count in hours)
    return (
        f"Projected, not measured: an audit of all filters takes {three} GPUs, assuming "
        f"{only['GPU sustains'] / 1e12:.3g} TFLOP/s each; efficiency falls below one half "
        f"above {only['most GPUs at half efficiency']:,.0f} GPUs."
    )


def draw(frame: pd.DataFrame) -> Figure:
    """Seconds per coalition by depth, beside its FLOP; and the projected hours on GPUs."""
    with styled():
        figure = Figure(figsize=(6.4, 2.9))
        left, right = figure.subplots(1, 2)
        _draw_times(left, frame[frame["quantity"] == "coalition"])
        _draw_hours(right, frame)
        figure.suptitle("Cost of an audit of all filters: time measured on a CPU, hours on GPUs projected", fontsize=8)
    return figure


def _draw_times(panel: Axes, rows: pd.DataFrame) -> None:
    seconds, flop = (rows[rows["unit"] == unit].set_index("depth")["value"] for unit in ("s", "FLOP"))
    rate = float((flop * seconds).sum() / (seconds**2).sum())
    panel.plot(seconds.index, seconds, "o", color=BLUE, label="measured")
    panel.plot(flop.index, flop / rate, color=GREY, label=f"FLOP counted, at {rate / 1e9:.0f} GFLOP/s")
    panel.set(xlabel="depth of the erased layer", ylabel="s per coalition and image", ylim=(0, None))
    panel.set_title("measured, on one CPU thread")
    panel.legend(loc="lower left", fontsize=6)


def _draw_hours(panel: Axes, frame: pd.DataFrame) -> None:
    hours = frame[frame["quantity"] == "hours"].sort_values("gpus")
    marked = hours[hours["gpus"].isin((1, 8, 64))]
    panel.loglog(
        hours["gpus"], hours["value"].iloc[0] / hours["gpus"], color=GREY, linestyle="--", label="linear scaling"
    )
    panel.loglog(hours["gpus"], hours["value"], color=ORANGE, label="projected")
    panel.loglog(marked["gpus"], marked["value"], "o", color=ORANGE)
    for row in marked.itertuples():
        panel.annotate(f"{row.value:.3g} h", (row.gpus, row.value), (4, 4), textcoords="offset points", fontsize=7)
    end = frame.loc[frame["quantity"] == "most GPUs at half efficiency", "value"].iloc[0]
    panel.axvline(end, color=GREY, linewidth=0.8, linestyle=":", label="efficiency of one half")
    panel.set(xlabel="GPUs", ylabel="hours for all filters", title="projected, not measured")
    panel.legend(loc="lower left", fontsize=6)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
