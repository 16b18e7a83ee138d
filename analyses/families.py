"""The networks that a figure compares: of one family of the zoo, one per strategy; or checkpoints of your own.

By default, a strategy without a network in the zoo stays visible.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import pandas as pd
import tyro
from matplotlib.axes import Axes
from torch import nn
from zoo_names import KNOWN, NOT_THERE, family_named, first_of_each, strategy_of

from srgame.cli.comparison import architectures_of, labels
from srgame.errors import InputError
from srgame.networks import load_network
from srgame.report.style import STRATEGIES, colours

Checkpoints = Annotated[
    tuple[str, ...],
    tyro.conf.arg(help="networks to compare: names in the zoo, or files of torch or safetensors"),
]
Architectures = Annotated[
    tuple[str, ...],
    tyro.conf.arg(help="for files: name of an architecture, or module:function; one for all or one each"),
]
AUTO = ("auto",)  # the architecture is read from the weights


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


def named(networks: Sequence[str], family: str) -> dict[str, str]:
    """The checkpoints by strategy; by file name if one is not of `family`, or if two are of one strategy.

    Raises InputError if all are of one other family.
    """
    families = {family_named(name) for name in networks}
    if len(families) == 1 and not families & {family, *networks}:
        other = families.pop()
        raise InputError(f"'{networks[0]}' is not of the family {family}: give --family {other}, or other networks")
    strategies = [(strategy_of(name, family) or ("", 0))[0] for name in networks]
    if "" not in strategies and len(set(strategies)) == len(strategies):
        return by_strategy(networks, family)
    return dict(zip(labels(networks), networks, strict=True))


def probed(
    networks: Sequence[str],
    family: str,
    probe: Callable[[nn.Module], pd.DataFrame],
    architectures: Sequence[str] = AUTO,
) -> pd.DataFrame:
    """What `probe` measures in each network, with the columns strategy, network and reason.

    The column strategy holds the names of `named`. If `networks` are the default ones of `family`, a strategy that they
    lack has one row, whose reason says so. `architectures` are as the flag --network of srgame.
    """
    names = named(networks, family)
    label_of = {checkpoint: name for name, checkpoint in names.items()}
    about = {checkpoint: {"strategy": label_of[checkpoint], "network": checkpoint} for checkpoint in networks}
    default = tuple(networks) == first_of_each(family)
    if not (networks or default):
        raise InputError("--networks is empty: name at least one network of the zoo, or a file")
    missing = [strategy for strategy in STRATEGIES if default and strategy not in names]
    whole = measured_in_each(about, family, probe, missing, architectures)
    if not names:
        whole.insert(1, "network", "")
    return whole[[*(column for column in whole if column != "reason"), "reason"]]


def measured_in_each(
    checkpoints: Mapping[str, Mapping[str, Any]],
    family: str,
    probe: Callable[[nn.Module], pd.DataFrame],
    missing: Sequence[str] = (),
    architectures: Sequence[str] = AUTO,
) -> pd.DataFrame:
    """What `probe` measures in each of the checkpoints, behind the columns given for each, with the column reason.

    A `missing` strategy has one row, whose reason names the network that `family` lacks. Rows are in the order of
    strategies in every picture.
    """
    built = architectures_of(architectures, len(checkpoints))
    frames = [
        probe(load_network(name, architecture)).assign(**columns, reason="")
        for (name, columns), architecture in zip(checkpoints.items(), built, strict=True)
    ]
    if missing:
        reasons = [f"{NOT_THERE}{family}-{strategy}" for strategy in missing]
        frames.append(pd.DataFrame({"strategy": missing, "reason": reasons}))
    whole = pd.concat(frames, ignore_index=True)
    whole = whole.iloc[np.argsort(whole["strategy"].map(_place), kind="stable")].reset_index(drop=True)
    first = list(dict.fromkeys(column for columns in checkpoints.values() for column in columns))
    return whole[[*first, *(column for column in whole if column not in first)]]


def _place(name: str) -> int:
    """Where a strategy stands in every picture; other names keep their order, behind."""
    return list(STRATEGIES).index(name) if name in STRATEGIES else len(STRATEGIES)


def colours_in(frame: pd.DataFrame) -> dict[str, str]:
    """What the column strategy names, in its order, with the colour of each."""
    names = list(frame["strategy"].unique())
    by_name = colours([str(name) for name in names])
    return {name: by_name[str(name)] for name in names}


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
    """The family of a frame's networks, or of those it lacks; "2 networks" if they are not of one family."""
    names = [str(name) for name in measured(frame)["network"].dropna().unique() if name]
    names = names or [str(reason).removeprefix(NOT_THERE) for reason in frame["reason"].dropna().unique() if reason]
    families = {family_named(name) for name in names}
    if len(families) == 1 and not families & set(names):
        return families.pop()
    return f"{len(names)} network{'s' * (len(names) != 1)}"


def sample_title(dataset: str, images: int, crop: int | None) -> str:
    """What was measured on: "20 images of unseen109, middle 96×96 pixels"."""
    return f"{images} image{'s' * (images > 1)} of {dataset}" + (f", middle {crop}×{crop} pixels" if crop else "")


def layer_title(layer: str, family: str) -> str:
    """A layer's place: "block 7 of 8", or "output (conv_hr)"."""
    block = re.fullmatch(r"body\.(\d+)", layer)
    if block is None:
        return f"output ({layer})" if layer == "conv_hr" else layer
    return f"block {int(block[1]) + 1}" + (f" of {KNOWN[family][1]}" if family in KNOWN else "")
