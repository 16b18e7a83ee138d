"""The networks that a figure compares: of one family of the zoo, one per strategy. What is not there stays visible."""

import re
from collections.abc import Callable, Iterable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from psnr_tables import NOT_THERE, family_named, shipped, strategy_of
from torch import nn

from srgame.errors import InputError
from srgame.networks import load_network
from srgame.report.style import STRATEGIES

PAPERS = "srresnet-x4"  # the paper's SRResNet ×4, of one seed
SMALL = "small-x4"  # half as wide and half as deep, of several seeds
KNOWN = {
    SMALL: ("small SRResNet ×4 (32 features, 8 blocks)", 8),
    PAPERS: ("SRResNet ×4", 16),
    "rrdbnet-x4": ("RRDBNet ×4", 23),
}


def first_of_each(family: str, networks: Sequence[str] | None = None) -> tuple[str, ...]:
    """Of each strategy of `family` the network with the lowest seed, of `networks` or of the zoo."""
    by_strategy: dict[str, tuple[int, str]] = {}
    for name in shipped(family) if networks is None else networks:
        strategy, seed = strategy_of(name, family) or ("", 0)
        by_strategy[strategy] = min((seed, name), by_strategy.get(strategy, (seed, name)))
    return tuple(by_strategy[strategy][1] for strategy in STRATEGIES if strategy in by_strategy)


def by_strategy(networks: Iterable[str], family: str) -> dict[str, str]:
    """The networks' names by strategy; raises InputError for another family's and for two of one strategy."""
    found: dict[str, str] = {}
    for name in networks:
        strategy, _ = strategy_of(name, family) or ("", 0)
        if not strategy:
            raise InputError(f"'{name}' is no {family}-STRATEGY or {family}-STRATEGY-SEED: name that family's networks")
        if strategy in found:
            raise InputError(f"'{found[strategy]}' and '{name}' are of one strategy: name one of each")
        found[strategy] = name
    return found


def loaded(networks: Iterable[str], family: str) -> dict[str, nn.Module]:
    """The networks by strategy, in the order of every picture."""
    names = by_strategy(networks, family)
    scale = int(family.rsplit("-x", 1)[1])
    return {strategy: load_network(names[strategy], scale=scale) for strategy in STRATEGIES if strategy in names}


def probed(networks: Sequence[str], family: str, probe: Callable[[nn.Module], pd.DataFrame]) -> pd.DataFrame:
    """What `probe` finds in each network, with the columns strategy, network and reason.

    A strategy without a network has one row, whose reason says so.
    """
    names, found = by_strategy(networks, family), loaded(networks, family)
    frames = [
        probe(found[strategy]).assign(strategy=strategy, network=names[strategy], reason="")
        if strategy in found
        else pd.DataFrame([{"strategy": strategy, "reason": f"{NOT_THERE}{family}-{strategy}"}])
        for strategy in STRATEGIES
    ]
    whole = pd.concat(frames, ignore_index=True)
    if not found:
        whole["network"] = ""
    return whole[
        ["strategy", "network", *whole.columns.difference(["strategy", "network", "reason"], sort=False), "reason"]
    ]


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that hold a measurement."""
    return frame[frame["reason"].isna() | (frame["reason"] == "")]


def reason_of(frame: pd.DataFrame, strategy: str) -> str:
    """Why there is nothing of a strategy; "" where there is something."""
    reasons = frame.loc[frame["strategy"] == strategy, "reason"].dropna()
    return str(reasons.iloc[0]) if len(reasons) else ""


def empty(panel: Axes, reason: str) -> None:
    """A panel in which nothing is drawn but the reason."""
    panel.clear()
    panel.grid(False)
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set_visible(True)
        spine.set_color("0.8")
    text = reason.replace(": ", ":\n").replace(", ", ",\n")
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center", color="0.4", fontsize=6)


def family_of(frame: pd.DataFrame) -> str:
    """The family whose networks a frame tells of, or of whose absence."""
    names = [*measured(frame)["network"].dropna(), *(r.removeprefix(NOT_THERE) for r in frame["reason"].dropna())]
    name = next((str(name) for name in names if name), "")
    return family_named(name)


def family_title(family: str) -> str:
    """A family in words."""
    return KNOWN[family][0] if family in KNOWN else family


def sample_title(dataset: str, images: int, crop: int | None) -> str:
    """What was measured on: "20 images of unseen109, middle 96×96 pixels"."""
    return f"{images} image{'s' * (images > 1)} of {dataset}" + (f", middle {crop}×{crop} pixels" if crop else "")


def layer_title(layer: str, family: str) -> str:
    """A layer's place: "block 7 of 8", or "output (conv_hr)"."""
    block = re.fullmatch(r"body\.(\d+)", layer)
    if block is None:
        return f"output ({layer})" if layer == "conv_hr" else layer
    return f"block {int(block[1]) + 1}" + (f" of {KNOWN[family][1]}" if family in KNOWN else "")
