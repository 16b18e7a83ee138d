"""How every picture looks."""

from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
}

# Okabe and Ito's palette: told apart by colour-blind readers too.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F"

STRATEGIES = {"original": BLUE, "dropout": ORANGE, "bicubic-pull": RED, "eats": GREEN}


def styled() -> AbstractContextManager[None]:
    """Figures made and saved in here look alike."""
    return mpl.rc_context(STYLE)  # type: ignore[arg-type]
