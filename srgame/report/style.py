"""How every picture looks, and how it is saved."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import figure as mpl_figure
from matplotlib.text import Text

from srgame.provenance import save_files

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
    "legend.facecolor": "white",  # without a line around it, but no grid line passes through its text
    "legend.edgecolor": "none",
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.constrained_layout.use": True,
}

# Okabe and Ito's palette, which colour-blind readers can distinguish too.
BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#7F7F7F"
SKY, PURPLE = "#56B4E9", "#CC79A7"

STRATEGIES = {"original": BLUE, "dropout": ORANGE, "bicubic-pull": RED, "eats": GREEN}


class Figure(mpl_figure.Figure):
    """A matplotlib figure that a notebook shows, without pyplot."""

    def _repr_png_(self) -> bytes:
        return as_png(self)


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour per name: that of the strategy in the name, if no earlier name has it; otherwise an unused colour."""
    taken: dict[str, str] = {}
    for name in names:
        strategy = next((colour for word, colour in STRATEGIES.items() if word in name.lower()), None)
        if strategy and strategy not in taken.values():
            taken[name] = strategy
    rest = [c for c in (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY) if c not in taken.values()]
    others = [name for name in dict.fromkeys(names) if name not in taken]
    return taken | {name: rest[place % len(rest)] for place, name in enumerate(others)}


def styled() -> AbstractContextManager[None]:
    """A context in which figures are drawn and saved in srgame's style."""
    return mpl.rc_context(STYLE)  # type: ignore[arg-type]


def with_literal_text(figure: mpl_figure.Figure) -> mpl_figure.Figure:
    """The same figure, after its texts were set to appear literally: dollar signs in a name do not make a formula."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


def save_figure(stem: Path, figure: mpl_figure.Figure) -> list[Path]:
    """Writes `stem`.png and `stem`.pdf and returns their paths; without a date, so that equal pictures are equal files.

    Raises InputError if they cannot be written.
    """
    png, pdf, layout = as_png(figure), BytesIO(), figure.get_layout_engine()
    figure.set_layout_engine("none")  # everything has its place now: finding it again takes a third of the time
    try:
        with styled():
            figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
    finally:
        figure.set_layout_engine(layout)
    return save_files(stem, {".png": png, ".pdf": pdf.getvalue()})


def as_png(figure: mpl_figure.Figure) -> bytes:
    """The bytes of the figure as a PNG."""
    png = BytesIO()
    with styled():
        figure.savefig(png, format="png")
    return png.getvalue()
