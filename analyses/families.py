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
from matplotlib.figure import Figure
from torch import nn
from zoo_names import CONTROL, DIL, KNOWN, NOT_THERE, PAPERS, READING, family_named, first_of_each, strategy_of

from srgame.cli import loading
from srgame.cli.comparison import labels
from srgame.errors import InputError
from srgame.evaluation.benchmark import common_scale
from srgame.networks import zoo
from srgame.report.style import PURPLE, SKY, STRATEGIES, colours, styled

Checkpoints = Annotated[
    tuple[str, ...],
    tyro.conf.arg(help="networks to compare: names in the zoo, or files of torch or safetensors"),
]
Architectures = Annotated[
    tuple[str, ...],
    tyro.conf.arg(
        help="architecture of files, or module:function or file.py:function that builds it; behind it what differs "
        "from RGB images in [0, 1], by the flags of srgame, as in 'nets.py:build range=255 channels=bgr' or 'auto "
        "upsampled-input scale=2'; one text for all files, or one for each"
    ),
]
READ_COLOURS = {READING: SKY, CONTROL: PURPLE, DIL: PURPLE}
AUTO = ("auto",)  # the architecture is read from the weights


def by_strategy(networks: Iterable[str], family: str) -> dict[str, str]:
    """The networks' names by strategy; raises InputError for another family's and for two of one strategy."""
    names: dict[str, str] = {}
    for name in networks:
        strategy, _ = strategy_of(name, family) or ("", 0)
        if not strategy:
            raise InputError(f"'{name}' is no {family}-STRATEGY or {family}-STRATEGY-SEED: name that family's networks")
        if strategy in names:
            raise InputError(f"'{names[strategy]}' and '{name}' are of one strategy: name one of each")
        names[strategy] = name
    return names


def named(networks: Sequence[str], family: str) -> dict[str, str]:
    """The checkpoints by strategy; by file name if one is not of `family`, or if two are of one strategy.

    They are in the order of strategies in every picture. Raises InputError if all are of one other family.
    """
    if not networks:
        return {}
    families = {family_named(name) for name in networks}
    if len(families) == 1 and not families & {family, *networks}:
        other = families.pop()
        raise InputError(f"'{networks[0]}' is not of the family {family}: give --family {other}, or other networks")
    strategies = [(strategy_of(name, family) or ("", 0))[0] for name in networks]
    if "" not in strategies and len(set(strategies)) == len(strategies):
        names = by_strategy(networks, family)
    else:
        names = dict(zip(labels(networks), networks, strict=True))
    return {name: names[name] for name in in_order(names)}


def identified(
    networks: Sequence[str], family: str, strategies: Iterable[str] = STRATEGIES
) -> dict[str, dict[str, Any]]:
    """The columns checkpoint, strategy, seed and (training) steps of each checkpoint, by its name.

    If one is not of `family` and of one of the `strategies`, the file names stand for strategies, and all seeds are 0.
    The steps of a file are NaN.
    """
    names = labels(networks) if networks else []  # refuses a checkpoint that is given twice
    known = [each for name in networks if (each := strategy_of(name, family, strategies))]
    trained = known if len(known) == len(names) else [(name, 0) for name in names]
    return {
        checkpoint: {"checkpoint": checkpoint, "strategy": strategy, "seed": seed, "steps": _steps(checkpoint)}
        for checkpoint, (strategy, seed) in zip(networks, trained, strict=True)
    }


def _steps(checkpoint: str) -> float:
    rows = zoo()
    return int(rows[checkpoint]["steps"]) if checkpoint in rows else float("nan")


def missing_strategies(networks: Sequence[str], there: Iterable[str], default: Sequence[str]) -> list[str]:
    """The strategies without a network, if `networks` are the recipe's `default` ones; else none.

    Raises InputError if no networks are named and the default ones are not none.
    """
    if tuple(networks) != tuple(default):
        if not networks:
            raise InputError("--networks is empty: name at least one network of the zoo, or a file")
        return []
    found = set(there)
    if DIL in found:  # it stands beside Original alone
        return []
    known = {*found, "bicubic-pull"} if CONTROL in found else found  # a control of another weight
    return [strategy for strategy in STRATEGIES if strategy not in known]


def loaded(
    networks: Sequence[str], family: str, architectures: Sequence[str] = AUTO
) -> tuple[dict[str, nn.Module], int]:
    """The networks by the names of `named`, and their scale; without networks that of `family`.

    `architectures` are as the flag --network says. Raises InputError for networks of different scales.
    """
    models = load_each(networks, architectures)
    by_name = {name: models[checkpoint] for name, checkpoint in named(networks, family).items()}
    return by_name, common_scale(models, None if models else scale_named(family))


def load_each(networks: Sequence[str], architectures: Sequence[str] = AUTO) -> dict[str, nn.Module]:
    """The networks by their checkpoints."""
    return {name: opened(name, text) for name, text in architecture_of_each(networks, architectures).items()}


def opened(checkpoint: str, architecture: str) -> nn.Module:
    """The network of a checkpoint; `architecture` as the flag --network says."""
    network, scale, convention = loading.specified(architecture)
    return loading.loaded(checkpoint, network, scale, True, convention)


def architecture_of_each(networks: Sequence[str], architectures: Sequence[str]) -> dict[str, str]:
    """What the flag --network says of each checkpoint."""
    return dict(zip(networks, loading.one_each("--network", architectures, len(networks)), strict=True))


def scale_named(family: str) -> int:
    """The scale in a family's name, as in srresnet-x4."""
    scale = re.search(r"-x(\d+)$", family)
    if scale is None:
        raise InputError(f"the family '{family}' has no scale in its name: name one such as {PAPERS}")
    return int(scale[1])


def probed(
    networks: Sequence[str],
    family: str,
    probe: Callable[[nn.Module], pd.DataFrame],
    architectures: Sequence[str] = AUTO,
) -> pd.DataFrame:
    """What `probe` measures in each network, with the columns strategy, checkpoint and reason.

    The column strategy holds the names of `named`. If `networks` are the default ones of `family`, a strategy that they
    lack has one row, whose reason says so. `architectures` are as the flag --network says.
    """
    names = named(networks, family)
    label_of = {checkpoint: name for name, checkpoint in names.items()}
    about = {checkpoint: {"strategy": label_of[checkpoint], "checkpoint": checkpoint} for checkpoint in networks}
    missing = missing_strategies(networks, names, first_of_each(family))
    whole = measured_in_each(about, family, probe, missing, architectures)
    if not names:
        whole.insert(1, "checkpoint", "")
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
    built = architecture_of_each(list(checkpoints), architectures)
    frames = [probe(opened(name, built[name])).assign(**columns, reason="") for name, columns in checkpoints.items()]
    if missing:
        reasons = [f"{NOT_THERE}{family}-{strategy}" for strategy in missing]
        frames.append(pd.DataFrame({"strategy": missing, "reason": reasons}))
    whole = pd.concat(frames, ignore_index=True)
    whole = whole.iloc[np.argsort(whole["strategy"].map(_place), kind="stable")].reset_index(drop=True)
    first = list(dict.fromkeys(column for columns in checkpoints.values() for column in columns))
    return whole[[*first, *(column for column in whole if column not in first)]]


def in_order(names: Iterable[str]) -> list[str]:
    """Strategies in the order of every picture; other names behind them, in the given order."""
    return sorted(dict.fromkeys(names), key=_place)


def _place(name: str) -> int:
    """The place of a strategy in every picture; other names come last."""
    return list(STRATEGIES).index(name) if name in STRATEGIES else len(STRATEGIES)


def colours_in(frame: pd.DataFrame) -> dict[str, str]:
    """The names in the column strategy, in its order, with their colours."""
    names = list(frame["strategy"].unique())
    by_name = colours([str(name) for name in names]) | READ_COLOURS
    return {name: by_name[str(name)] for name in names}


def measured(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that hold a measurement."""
    return frame[frame["reason"].isna() | (frame["reason"] == "")]


def reason_of(frame: pd.DataFrame, strategy: str) -> str:
    """Why a strategy has no measurement; "" if it has one."""
    reasons = frame.loc[frame["strategy"] == strategy, "reason"].dropna()
    return str(reasons.iloc[0]) if len(reasons) else ""


def empty(panel: Axes, reason: str) -> None:
    """Turns a panel into one that shows nothing except the reason."""
    panel.clear()
    panel.grid(False)
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set_visible(True)
        spine.set_color("0.8")
    text = reason.replace(": ", ":\n").replace(", ", ",\n")
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center", color="0.4", fontsize=6)


def nothing_measured(title: str) -> Figure:
    """A figure of one line, for a recipe whose networks are all missing; its caption says which."""
    with styled():
        figure = Figure(figsize=(7.2, 0.6))
        figure.suptitle(f"{title}: nothing measured", fontsize=8)
    return figure


def family_of(frame: pd.DataFrame) -> str:
    """The family of a frame's networks, or of those it lacks; "2 networks" if they are not of one family."""
    names = [str(name) for name in measured(frame)["checkpoint"].dropna().unique() if name]
    return group_named(
        names or [str(reason).removeprefix(NOT_THERE) for reason in frame["reason"].dropna().unique() if reason]
    )


def group_named(networks: Sequence[str]) -> str:
    """The family of the networks; "2 networks" if they are not of one family."""
    families = {family_named(name) for name in networks}
    if len(families) == 1 and not families & set(networks):
        return families.pop()
    return f"{len(networks)} network{'s' * (len(networks) != 1)}"


def sample_title(dataset: str, images: int, crop: int | None) -> str:
    """The images that were measured: "20 images of unseen109, middle 96×96 pixels"."""
    return f"{images} image{'s' * (images > 1)} of {dataset}" + (f", middle {crop}×{crop} pixels" if crop else "")


def layer_title(layer: str, family: str) -> str:
    """The place of a layer: "block 7 of 8", or "output (conv_hr)"."""
    block = re.fullmatch(r"body\.(\d+)", layer)
    if block is None:
        return f"output ({layer})" if layer == "conv_hr" else layer
    return f"block {int(block[1]) + 1}" + (f" of {KNOWN[family][1]}" if family in KNOWN else "")
