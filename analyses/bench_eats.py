"""How long is a training step of EATS, relative to one of Original, for each erased layer, and what is the limit?

The second pass repeats, forward and backward, what lies behind the erased layer. So, by Algorithm 1, the ratio is 1 +
the share of multiplications behind the layer, or a little less, because Adam runs once; with two whole passes it is 2.
"""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import nn

from srgame.filters import CONVS, filters_of, resume
from srgame.networks import NETWORKS
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREY, ORANGE, styled
from srgame.training.strategies import EATS, Original, Strategy

SMOKE = {"networks": ("srresnet",), "layers": 2, "batch": 1, "patch": 32, "repeats": 1}


def measure(
    networks: tuple[str, ...] = ("srresnet", "rrdbnet"),
    layers: int = 13,
    batch: int = 4,
    patch: int = 64,
    repeats: int = 5,
    bfloat16: bool = True,
    threads: int = 1,
    device: str = "cpu",
) -> pd.DataFrame:
    """One row per network and layer: network, layer, depth, eats_s, original_s, ratio (medians), limit.

    Both steps (forward, backward, Adam) are timed in turn, in one process. Depth is the share of conv layers before the
    layer; limit is 1 + the share of multiplications behind it.
    """
    torch.set_num_threads(threads)
    rows = []
    for name in networks:
        network = NETWORKS[name](scale=4).to(device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        everything = filters_of(network).layers
        for place in np.unique(np.linspace(0, len(everything) - 1, layers).round().astype(int)):
            layer = everything[place]
            eats, original = _steps(network, layer, batch, patch, repeats, bfloat16, device)
            rows.append(
                {
                    "network": name,
                    "layer": layer,
                    "depth": place / (len(everything) - 1),
                    "eats_s": eats,
                    "original_s": original,
                    "ratio": eats / original,
                    "limit": 1 + _share_behind(network, layer),
                }
            )
    return pd.DataFrame(rows)


def _steps(
    network: nn.Module, layer: str, batch: int, patch: int, repeats: int, bfloat16: bool, device: str
) -> tuple[float, float]:
    """Seconds for a step of EATS that erases in `layer`, and for one of Original."""
    strategies: list[Strategy] = [EATS(network, layers=[layer]), Original(network)]
    optimiser = torch.optim.Adam(network.parameters())
    hr = torch.rand(batch, 3, patch, patch, device=device).contiguous(memory_format=torch.channels_last)
    lr = hr[..., ::4, ::4].contiguous(memory_format=torch.channels_last)
    timed: list[list[float]] = [[], []]
    for step in range(repeats + 1):
        for strategy, times in zip(strategies, timed, strict=True):
            times.append(_seconds(partial(_step, strategy, lr, hr, step, optimiser, bfloat16), device))
    eats, original = (median(times[1:]) for times in timed)
    return eats, original


def _step(
    strategy: Strategy, lr: torch.Tensor, hr: torch.Tensor, step: int, optimiser: torch.optim.Optimizer, bfloat16: bool
) -> None:
    with torch.autocast(lr.device.type, torch.bfloat16, enabled=bfloat16):
        losses = strategy(lr, hr, np.random.default_rng(step))
    optimiser.zero_grad()
    losses.total().backward()
    optimiser.step()


def _seconds(work: Callable[[], None], device: str) -> float:
    start = perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return perf_counter() - start


def _share_behind(network: nn.Module, layer: str) -> float:
    """The share of the network's multiplications in conv layers that depend on the layer's response."""
    counts: dict[int, int] = {}

    def count(conv: nn.Conv2d, inputs: tuple[torch.Tensor, ...], response: torch.Tensor) -> None:
        counts[id(conv)] = response.numel() * conv.weight[0].numel()

    convs = [module for module in network.modules() if isinstance(module, CONVS)]
    hooks = [conv.register_forward_hook(count) for conv in convs]
    with torch.inference_mode():
        network(next(network.parameters()).new_zeros(1, 3, 16, 16))
    for hook in hooks:
        hook.remove()
    behind = [module for module in resume(network, [layer]).tail.modules() if isinstance(module, CONVS)]
    return sum(counts[id(conv)] for conv in behind) / sum(counts.values())


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence: for each network the mean ratio, its limit, and its range over layers."""
    parts = [
        f"{name} {rows['ratio'].mean():.2f} (limit {rows['limit'].mean():.2f}; {_at(rows, 'idxmin')} to "
        f"{_at(rows, 'idxmax')})"
        for name, rows in frame.groupby("network", sort=False)
    ]
    return f"A step of EATS takes, relative to Original, mean over erased layers: {'; '.join(parts)}."


def _at(rows: pd.DataFrame, end: str) -> str:
    row = rows.loc[getattr(rows["ratio"], end)()]
    return f"{row['ratio']:.2f} at {row['layer']}"


def draw(frame: pd.DataFrame) -> Figure:
    """A panel per network: the ratio of step times against depth, its limit, and two whole passes."""
    names = list(dict.fromkeys(frame["network"]))
    with styled():
        figure = Figure(figsize=(2.9 * len(names), 2.7))
        for panel, name in zip(figure.subplots(1, len(names), squeeze=False, sharey=True).flat, names, strict=True):
            rows = frame[frame["network"] == name]
            panel.axhline(2, color=GREY, linewidth=0.8, label="two whole passes")
            panel.axhline(1.4, color=ORANGE, linewidth=0.8, linestyle=":", label="reported in the paper")
            panel.plot(rows["depth"], rows["ratio"], color=BLUE, marker="o", markersize=3, label="measured")
            panel.plot(
                rows["depth"], rows["limit"], color="black", linestyle="--", linewidth=0.8, label="arithmetic limit"
            )
            mean, limit = rows["ratio"].mean(), rows["limit"].mean()
            panel.set_title(f"{name}: mean {mean:.2f}, limit {limit:.2f}")
            panel.set_xlabel("depth of the erased layer (0: first, 1: last)")
            panel.set_ylim(0.9, 2.2)
        figure.axes[0].set_ylabel("step time, EATS / Original")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw, found)
