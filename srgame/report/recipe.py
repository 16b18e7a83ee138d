"""The command line of every analysis: measure, or reuse what was measured with the same settings, and draw."""

import inspect
import json
import sys
from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd
import tyro
from matplotlib.figure import Figure

from srgame.errors import InputError
from srgame.networks import zoo
from srgame.provenance import provenance, save_frame
from srgame.report.style import save_figure, styled

STORE = "store"  # a parameter of `measure` that is no setting: where to keep what is measured does not change it


def run(file: str, measure: Callable[..., pd.DataFrame], draw: Callable[[pd.DataFrame], Figure]) -> None:
    """Writes the csv, json, png and pdf of the analysis `file` into figures/, or figures/draft/ if a flag was changed.

    The parameters of `measure` are the flags, and --again measures even where the json shows the same settings. Drawing
    reads the csv alone. What the picture is headed with, what was found, is printed.
    """
    settings, again, kept = _flags(measure)
    try:
        stem = stem_of(Path(file), draft=settings != defaults(measure))
        figure = made(stem, partial(measure, **kept), draw, settings, again)
    except InputError as error:
        print(f"{Path(file).name}: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        goes_on = ": the same command continues" if kept.get(STORE) else ""
        print(f"{Path(file).name}: interrupted{goes_on}", file=sys.stderr)
        sys.exit(130)
    if figure.get_suptitle():
        print(figure.get_suptitle())
    print(*(stem.with_suffix(suffix).as_posix() for suffix in (".csv", ".json", ".png", ".pdf")), sep="\n")


def made(
    stem: Path,
    measure: Callable[..., pd.DataFrame],
    draw: Callable[[pd.DataFrame], Figure],
    settings: dict[str, Any],
    again: bool = False,
) -> Figure:
    """The picture of what was measured with `settings`, saved with its numbers under `stem`.

    It is measured if the json there does not tell of these settings and of the weights that the zoo has, or if `again`.
    Raises InputError as `measure` does, and where nothing can be written.
    """
    if again or not measured_with(settings, stem):
        start = monotonic()
        frame = measure(**settings)
        seconds = round(monotonic() - start, 1)
        save_frame(stem, frame, provenance(settings, weights=_weights(settings), seconds=seconds))
    with styled():
        figure = draw(pd.read_csv(stem.with_suffix(".csv")))
        save_figure(stem, figure)
    return figure


def _flags(measure: Callable[..., pd.DataFrame]) -> tuple[dict[str, Any], bool, dict[str, Path | None]]:
    """The settings, whether to measure again, and where to keep what is measured, if `measure` asks."""

    @wraps(measure.func if isinstance(measure, partial) else measure)  # of which a partial's own words tell nothing
    def collected(**settings: Any) -> dict[str, Any]:
        return settings

    signature = inspect.signature(measure)
    again = inspect.Parameter("again", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
    vars(collected)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), again])
    settings = tyro.cli(collected)
    return settings, settings.pop("again"), {STORE: settings.pop(STORE)} if STORE in settings else {}


def defaults(measure: Callable[..., pd.DataFrame]) -> dict[str, Any]:
    """The settings with which the picture in figures/ is made."""
    parameters = inspect.signature(measure).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name != STORE}


def stem_of(file: Path, draft: bool) -> Path:
    """Where the analysis `file` writes: figures/NAME, or figures/draft/NAME."""
    figures = file.resolve().parents[1] / "figures"
    return (figures / "draft" if draft else figures) / file.stem


def measured_with(settings: dict[str, Any], stem: Path) -> bool:
    """Whether csv and json are there, and the json tells of these settings and of the weights that the zoo has."""
    source = stem.with_suffix(".json")
    if not (source.exists() and stem.with_suffix(".csv").exists()):
        return False
    told = json.loads(source.read_text(encoding="utf-8"))
    return bool(told["settings"] == json.loads(json.dumps(settings)) and told.get("weights", {}) == _weights(settings))


def _weights(settings: dict[str, Any]) -> dict[str, str]:
    """The sha256 of the weights of each network of the zoo that a setting names."""
    values = [
        value for setting in settings.values() for value in (setting if isinstance(setting, tuple) else [setting])
    ]
    return {name: row["sha256"] for name, row in zoo().items() if name in values}
