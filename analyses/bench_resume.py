"""How much time does resuming a network behind a layer save, per coalition of the layer's filters?"""

from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from srgame.filters import Filters, erased, filters_of, resume
from srgame.networks import NETWORKS
from srgame.report.recipe import run
from srgame.report.style import BLUE, GREY, styled

SMOKE = {"networks": ("srresnet",), "layers": 3, "lr_size": 8, "repeats": 1, "threads": 1}


def measure(
    networks: tuple[str, ...] = ("srresnet", "rrdbnet", "han-lite"),
    layers: int = 13,
    lr_size: int = 24,
    coalitions: int = 2,
    repeats: int = 7,
    threads: int = 2,
) -> pd.DataFrame:
    """One row per network and layer: network, layer, depth, resumed_ms, whole_ms, ratio (medians, per coalition).

    Depth is the share of the network's conv layers before the layer. Both runs are timed in turns, in one process, on a
    batch of `coalitions` random coalitions and an LR image of `lr_size` × `lr_size` pixels.
    """
    torch.set_num_threads(threads)
    return pd.concat([_network(name, layers, lr_size, coalitions, repeats) for name in networks], ignore_index=True)


def _network(name: str, layers: int, lr_size: int, coalitions: int, repeats: int) -> pd.DataFrame:
    network = NETWORKS[name](scale=4).eval()
    everything = filters_of(network)
    places = np.unique(np.linspace(0, len(everything.layers) - 1, layers).round().astype(int))
    lr = torch.rand(coalitions, 3, lr_size, lr_size, generator=torch.Generator().manual_seed(0))
    rows = []
    for place in places:
        filters = Filters((everything.layers[place],), (everything.widths[place],))
        resumed, whole = _times(network, filters, lr, repeats)
        rows.append(
            {
                "network": name,
                "layer": filters.layers[0],
                "depth": place / (len(everything.layers) - 1),
                "resumed_ms": 1e3 * resumed / coalitions,
                "whole_ms": 1e3 * whole / coalitions,
                "ratio": resumed / whole,
            }
        )
    return pd.DataFrame(rows)


@torch.inference_mode()
def _times(network: torch.nn.Module, filters: Filters, lr: torch.Tensor, repeats: int) -> tuple[float, float]:
    """Seconds for the batch, resumed behind the layer and run whole."""
    present = torch.rand(len(lr), len(filters), generator=torch.Generator().manual_seed(1)) < 0.5
    cut = resume(network, filters.layers)
    live = [value.expand(len(lr), *value.shape[1:]) for value in cut.head(lr[:1])]
    timed: dict[str, list[float]] = {"resumed": [], "whole": []}
    for _ in range(repeats + 1):
        for kind, part, inputs in (("resumed", cut.tail, live), ("whole", network, [lr])):
            start = perf_counter()
            with erased(part, filters, present):
                part(*inputs)
            timed[kind].append(perf_counter() - start)
    return median(timed["resumed"][1:]), median(timed["whole"][1:])


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence: the share of a whole run's time that resuming saves, by network."""
    parts = []
    for name, rows in frame.assign(saved=1 - frame["ratio"]).groupby("network", sort=False):
        low, high = (f"{rows['saved'].agg(end):.0%}".replace("-", "−") for end in ("min", "max"))
        parts.append(f"{name} {rows['saved'].mean():.0%} ({low} to {high} over {len(rows)} layers)")
    return f"Share of a whole run's time that resuming saves per coalition, mean over layers: {', '.join(parts)}."


def draw(frame: pd.DataFrame) -> Figure:
    """A panel per network: milliseconds per coalition against the layer's depth, whole runs beside resumed ones."""
    names = list(dict.fromkeys(frame["network"]))
    with styled():
        figure = Figure(figsize=(2.4 * len(names), 2.3))
        for panel, name in zip(figure.subplots(1, len(names), squeeze=False).flat, names, strict=True):
            rows = frame[frame["network"] == name]
            panel.plot(rows["depth"], rows["whole_ms"], color=GREY, marker="s", markersize=3, label="whole run")
            panel.plot(rows["depth"], rows["resumed_ms"], color=BLUE, marker="o", markersize=3, label="resumed")
            panel.set_title(name)
            panel.set_xlim(-0.02, 1.02)
            panel.set_ylim(bottom=0)
            panel.set_xlabel("depth of the erased layer")
        figure.axes[0].set_ylabel("ms per coalition")
        figure.axes[0].legend(loc="lower left")
    return figure


if __name__ == "__main__":
    run(__file__, measure, draw, found)
