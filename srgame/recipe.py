"""The command line of every analysis: measure, or reuse what was measured with the same settings, and draw."""

import inspect
import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd
import tyro
from matplotlib.figure import Figure

from srgame.errors import InputError
from srgame.results import provenance, save_figure, save_frame
from srgame.style import styled


def run(file: str, measure: Callable[..., pd.DataFrame], draw: Callable[[pd.DataFrame], Figure]) -> None:
    """Writes the csv, json, png and pdf of the analysis `file` into figures/, or figures/draft/ if a flag was changed.

    The parameters of `measure` are the flags, and --again measures even where the json shows the same settings. Drawing
    reads the csv alone.
    """
    try:
        settings, again = _flags(measure)
        stem = _stem(Path(file), settings == _defaults(measure))
        if again or not _measured_with(settings, stem):
            start = monotonic()
            frame = measure(**settings)
            save_frame(stem, frame, provenance(settings, seconds=round(monotonic() - start, 1)))
        with styled():
            paths = save_figure(stem, draw(pd.read_csv(stem.with_suffix(".csv"))))
    except InputError as error:
        print(f"{Path(file).name}: {error}", file=sys.stderr)
        sys.exit(2)
    print(*(path.as_posix() for path in (stem.with_suffix(".csv"), stem.with_suffix(".json"), *paths)), sep="\n")


def _flags(measure: Callable[..., pd.DataFrame]) -> tuple[dict[str, Any], bool]:
    @wraps(measure)
    def collected(**settings: Any) -> dict[str, Any]:
        return settings

    signature = inspect.signature(measure)
    again = inspect.Parameter("again", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=bool)
    vars(collected)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), again])
    settings = tyro.cli(collected)
    return settings, settings.pop("again")


def _defaults(measure: Callable[..., pd.DataFrame]) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in inspect.signature(measure).parameters.items()}


def _stem(file: Path, default: bool) -> Path:
    figures = file.resolve().parents[1] / "figures"
    return (figures if default else figures / "draft") / file.stem


def _measured_with(settings: dict[str, Any], stem: Path) -> bool:
    """Whether csv and json are there, and the json tells of these settings."""
    source = stem.with_suffix(".json")
    if not (source.exists() and stem.with_suffix(".csv").exists()):
        return False
    return bool(json.loads(source.read_text(encoding="utf-8"))["settings"] == json.loads(json.dumps(settings)))
