"""The trainings that answer which reading of EATS gives the paper's tables: their names, and each one's control.

A reading is a set of choices that the paper's text leaves open. Its networks are named FAMILY-KIND-SEED, such as
readings-x4-w0.1-0. A control is trained alike but erases nothing.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from zoo_names import READINGS

from srgame.networks import zoo
from srgame.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY

ORIGINAL = "original"


@dataclass(frozen=True)
class Reading:
    """A reading in words, the weight of its second loss, whether it erases filters, and the kind of its control.

    The control is "" for controls, Dropout and DIL, and for readings that teach some weights only: theirs would teach
    the same weights (--eats-erase none), and was not trained.
    """

    words: str
    weight: float
    erases: bool = False
    control: str = ""


WEIGHTS = ("0.03", "0.1", "0.2", "0.3", "0.6", "1")
KINDS: dict[str, Reading] = {
    **{
        f"w{weight}": Reading(f"λ = {weight}", float(weight), erases=True, control=f"pull-w{weight}")
        for weight in WEIGHTS
    },
    "each-layer-w0.1": Reading("λ = 0.1, a filter in every layer", 0.1, erases=True, control="pull-w0.1"),
    "each-layer": Reading("λ = 1, a filter in every layer", 1.0, erases=True, control="pull-w1"),
    "layer": Reading("λ = 1, teaches the layer", 1.0, erases=True),
    "disruptor": Reading("λ = 1, teaches the disruptor", 1.0, erases=True),
    "clean": Reading("λ = 1, clean bicubic", 1.0, erases=True, control="pull-clean"),
    **{f"pull-w{weight}": Reading(f"λ = {weight}, nothing erased", float(weight)) for weight in WEIGHTS},
    "pull-clean": Reading("λ = 1, clean bicubic, nothing erased", 1.0),
    "dropout": Reading("Dropout", 0.0),
    "dil": Reading("DIL", 0.0),
}


_OTHERS = ("clean", "disruptor", "layer", "each-layer", "each-layer-w0.1", "dropout", "dil")
_DARKER = colormaps["viridis_r"](np.linspace(0.1, 1, len(WEIGHTS)))  # the larger λ is
COLOURS: dict[str, Any] = {f"λ = {weight}": colour for weight, colour in zip(WEIGHTS, _DARKER, strict=True)}
COLOURS |= dict(
    zip((KINDS[kind].words for kind in _OTHERS), (RED, PURPLE, SKY, GREEN, GREY, ORANGE, BLUE), strict=True)
)


def without_control(kind: str) -> str:
    """A reading in words, as in COLOURS; a control bears the words of the reading that erases."""
    return KINDS[kind].words.removesuffix(", nothing erased")


def kind_of(name: str) -> tuple[str, int] | None:
    """The kind, or "original", and the seed in which a name ends, as in readings-x4-w0.1-0; None for any other name."""
    kinds = "|".join(re.escape(kind) for kind in (*KINDS, ORIGINAL))
    parts = re.fullmatch(rf"(?:.*?-)??({kinds})-(\d+)", name)
    return (parts[1], int(parts[2])) if parts else None


def shipped_readings(seed: int | None = None) -> tuple[str, ...]:
    """The networks of the family in the zoo, of one seed or of all."""
    own = {name: kind_of(name) for name in zoo() if name.startswith(f"{READINGS}-")}
    return tuple(name for name, known in own.items() if known and seed in (None, known[1]))
