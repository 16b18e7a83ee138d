"""What the audits share: their networks, the strategies that are missing, and the head of a picture."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd
from families import identified, in_order, measured, measured_in_each, missing_strategies
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from psnr_tables import SET_COLOURS
from torch import nn
from zoo_names import SMALL, family_named, shipped

FAMILY = SMALL
NETWORKS = shipped(FAMILY)


def family_in(networks: Sequence[str]) -> str:
    """The family of the first of the networks; FAMILY if its name has none."""
    return next((family_named(name) for name in networks[:1] if family_named(name) != name), FAMILY)


def per_network(
    networks: Sequence[str],
    architectures: Sequence[str],
    probe: Callable[[nn.Module], pd.DataFrame],
    settings: str,
) -> pd.DataFrame:
    """The rows that `probe` measures in each network, with the columns of `identified`, reason and settings.

    If `networks` are all that the zoo has of a family, a strategy that none of them is trained with has one row, whose
    reason says so. `architectures` are as the flag --network says.
    """
    family = family_in(networks)
    about = identified(networks, family)
    there = [str(columns["strategy"]) for columns in about.values()]
    missing = missing_strategies(networks, there, shipped(family))
    return measured_in_each(about, family, probe, missing, architectures).assign(settings=settings)


def strategies_in(frame: pd.DataFrame) -> list[str]:
    """The strategies, or the labels of checkpoints, that were measured, in the order of every picture."""
    return in_order(measured(frame)["strategy"])


def headed(figure: Figure, title: str, frame: pd.DataFrame) -> Figure:
    """`figure`, headed by a title and, in a second line, the settings."""
    figure.suptitle(f"{title}\n{frame['settings'].iloc[0]}", fontsize=8)
    return figure


def legend(figure: Figure, panel: Axes, more: Iterable[str] = ()) -> None:
    """One legend for all panels, below them."""
    handles, labels = panel.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=len(unique))


def gain_against_bicubic(panel: Axes, rows: pd.DataFrame) -> None:
    """EATS − Original (gain, low, high) against bicubic − Original (below), a colour per set, with the line y = x."""
    if len(rows):
        panel.axline((0, 0), slope=1, color="black", linewidth=0.6)
    for dataset, each in rows.groupby("dataset", sort=False):
        error = [each["gain"] - each["low"], each["high"] - each["gain"]]
        style: dict[str, Any] = {"markersize": 3, "elinewidth": 0.5, "color": SET_COLOURS.get(str(dataset), "black")}
        panel.errorbar(each["below"], each["gain"], error, fmt="o", label=str(dataset), **style)
    panel.set(xlabel="bicubic − Original (dB)", ylabel="EATS − Original (dB)")
