"""Figure 5: what do the SR images of each strategy look like beside bicubic upsampling, on Urban100?

The crop is rather difficult: it is at the 75th percentile of bicubic upsampling's error over the image (crops.py).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from crops import BICUBIC, COMPARED, HR, bare, beside_bicubic, crop_frame, crop_of, crop_title, restorers, score, shown
from families import (
    AUTO,
    Architectures,
    Checkpoints,
    architecture_of_each,
    colours_in,
    empty,
    family_of,
    reason_of,
)
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rasters import picture_of
from zoo_names import NOT_THERE, PAPERS, READING, RRDBNET, family_named, family_title, first_of_each, strategy_title

from srgame.errors import InputError
from srgame.report.recipe import run
from srgame.report.style import styled

PULLED = f"{RRDBNET}-{READING}-0"  # hardly to be told from its control, which is shown
DEFAULT = (*first_of_each(PAPERS), *(name for name in first_of_each(RRDBNET) if name != PULLED))
FILES = "files"  # the family of checkpoints outside the zoo
GAIN = 4

SMOKE = {"image": "photographs", "size": 32}


def measure(
    families: tuple[str, ...] = (PAPERS, RRDBNET),
    networks: Checkpoints = DEFAULT,
    network: Architectures = AUTO,
    image: str = "Urban100/img_012.webp",
    degradation: str = "clean",
    size: int = 96,
) -> pd.DataFrame:
    """The frames of `crops.crop_frame`, one per family, with the column family.

    By default these are `families`, also one without networks. Otherwise they are the families of `networks`; all files
    are one family.
    """
    built = architecture_of_each(networks, network)
    frames = []
    for family, own in _grouped(networks, families).items():
        architectures = [built[name] for name in own] or AUTO
        frame = crop_frame(family, own, architectures, image, [degradation], size)
        frames.append(frame.assign(family=family_of(frame)))
    return pd.concat(frames, ignore_index=True)


def _grouped(networks: Sequence[str], families: Sequence[str]) -> dict[str, list[str]]:
    """The networks by family."""
    if not networks:
        raise InputError("--networks is empty: name at least one network of the zoo, or a file")
    if tuple(networks) == DEFAULT:
        return {family: [name for name in networks if family_named(name) == family] for family in families}
    groups: dict[str, list[str]] = {}
    for name in networks:
        groups.setdefault(FILES if family_named(name) == name else family_named(name), []).append(name)
    return groups


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence: how far each strategy's crop lies above bicubic upsampling's PSNR, and from it."""
    parts = [
        f"{family_title(str(family))}, {numbers}"
        for family, rows in frame.groupby("family", sort=False)
        if (numbers := beside_bicubic(rows))
    ]
    return f"{COMPARED}: {'. '.join(parts)}." if parts else ""


def draw(frame: pd.DataFrame) -> Figure:
    """Two rows per family: the crops; and their differences from bicubic upsampling, amplified.

    A family without a network in the zoo is named below them.
    """
    families = [family for family, rows in frame.groupby("family", sort=False) if rows["checkpoint"].fillna("").any()]
    lacking = [family for family in frame["family"].unique() if family not in families]
    columns = {str(name): [HR, BICUBIC, *restorers(frame[frame["family"] == name])] for name in families or lacking[:1]}
    colours = colours_in(frame) | dict.fromkeys((HR, BICUBIC), "black")
    with styled():
        figure = Figure(figsize=(7.2, 0.5 + 2.75 * len(columns)), layout="compressed")
        panels = figure.subplots(2 * len(columns), max(map(len, columns.values())), squeeze=False)
        for place, (family, names) in enumerate(columns.items()):
            above, below = panels[2 * place : 2 * place + 2]
            _family(above, below, frame[frame["family"] == family], names, colours)
            above[0].set_ylabel(family_title(family).replace(" (", "\n("), fontsize=7)
            below[0].set_ylabel(f"{GAIN}×(image − bicubic)\n+ grey", fontsize=7)
        figure.suptitle(f"{crop_title(frame)}. PSNR of the crop (RGB), to HR and to bicubic", fontsize=8)
        missing = ", ".join(f"{family_title(family)} ({family}-…)" for family in lacking)
        figure.supxlabel(f"{NOT_THERE}{missing}" if missing else "", fontsize=7, color="0.4")
    return figure


def _family(
    above: "np.ndarray[tuple[int], np.dtype[np.object_]]",
    below: "np.ndarray[tuple[int], np.dtype[np.object_]]",
    frame: pd.DataFrame,
    names: Sequence[str],
    colours: Mapping[str, str],
) -> None:
    """The crops of one family above, and their differences from bicubic upsampling below."""
    bicubic = picture_of(crop_of(frame, strategy=BICUBIC))
    for place, (upper, lower) in enumerate(zip(above, below, strict=True)):
        if place >= len(names):
            upper.axis("off")
            lower.axis("off")
            continue
        upper.set_title(strategy_title(names[place]), color=colours[names[place]], fontsize=7)
        _pair(upper, lower, frame, names[place], bicubic)


def _pair(above: Axes, below: Axes, frame: pd.DataFrame, strategy: str, bicubic: Float[np.ndarray, "h w 3"]) -> None:
    rows = crop_of(frame, strategy=strategy)
    if rows.empty:
        empty(above, reason_of(frame, strategy).replace("-x4-", "-x4-\n"))
        above.set_box_aspect(1)
        below.axis("off")
        return
    pixels = shown(above, rows)
    bare(below)
    below.imshow((0.5 + GAIN * (pixels - bicubic)).clip(0, 1), interpolation="nearest")
    above.set_xlabel("\n" if strategy == HR else score(rows), fontsize=6)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
