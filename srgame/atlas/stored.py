"""The results of earlier runs, which the atlas shows instead of measuring them again.

A result belongs to a network if the json beside its csv has the same sha256 of the weights, whatever the checkpoint was
called, and the same behaviour, if that json says it. It is used for the layer and the degradation that it was measured
with, on the images of that run.
"""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from srgame.errors import InputError
from srgame.evaluation.benchmark import REAL
from srgame.networks import behaviour_of, fingerprint
from srgame.networks.behaviour import BEHAVIOUR, is_same

COLUMNS = {  # by the name of the csv, the columns that the atlas shows
    "shapley": {"filter", "shapley", "stderr", "low", "high", "flag", "rank", "empty", "grand"},
    "responses": {"filter", "mean", "mean_abs", "active", "sparsity"},
    "cosine": {"filter", "partner", "cosine"},
    "salience": {"filter", "salience", "share"},
    "interactions": {"filter", "partner", "interaction", "low", "high"},
    "benchmark": {"checkpoint", "weights", "dataset", "degradation", "image", "psnr_rgb"},
}
# The game that the atlas shows; results of another one are left out.
GAME = {"payoff": "psnr", "target": "hr", "ablation": "zero", "at": "output", "game": "each layer", "index": "shapley"}
AS_GIVEN = "as given"  # the setting of LR images that nothing was done to


@dataclass(frozen=True)
class Result:
    """Rows of one kind, and where they come from."""

    rows: pd.DataFrame
    source: str


@dataclass(frozen=True)
class _Table:
    """A csv with its settings; `weights` and `behaviours` by the label of a checkpoint."""

    path: Path
    kind: str
    rows: pd.DataFrame
    settings: dict[str, Any]
    weights: dict[str, str]
    behaviours: dict[str, str]
    images: int

    def without(self, labels: Sequence[str]) -> "_Table":
        """The table without the rows of some checkpoints."""
        weights = {label: own for label, own in self.weights.items() if label not in labels}
        return replace(self, rows=self.rows[~self.rows["checkpoint"].isin(labels)], weights=weights)

    @property
    def degradation(self) -> str:
        return REAL if self.settings.get("lr") else self.settings.get("degradation") or AS_GIVEN

    @property
    def source(self) -> str:
        crop = self.settings.get("crop")
        cut = f", middle {crop} pixels" if crop else ""
        images = self.settings.get("hr") or self.settings.get("dataset")
        return f"{self.path.parent.name}/{self.path.name}, {self.images} images of {images}{cut}"


@dataclass(frozen=True)
class Stored:
    """The tables in some folders."""

    tables: Sequence[_Table] = ()
    used: set[Path] = field(default_factory=set)

    @classmethod
    def read(cls, folders: Iterable[Path]) -> "Stored":
        """All results in the folders that the atlas can show.

        Raises InputError for a folder without any, and for a csv that is damaged or has no json beside it.
        """
        tables: list[_Table] = []
        for folder in folders:
            found = {kind: sorted(folder.glob(f"{kind}*.csv")) for kind in COLUMNS}
            of_kind = [(kind, path) for kind, paths in found.items() for path in paths if _is_of(kind, path)]
            if not of_kind:
                raise InputError(
                    f"'{folder}' holds no results: give a folder that `srgame shapley`, `interactions`, `evaluate` or "
                    "`probe` wrote"
                )
            tables += [_read(kind, path) for kind, path in of_kind]
        return cls([table for table in tables if _is_shown(table)])

    def of_same_code(self, networks: Mapping[str, nn.Module]) -> "Stored":
        """The tables without the rows of networks whose code was changed since; warns of these."""
        now = [(fingerprint(network), behaviour_of(network)) for network in networks.values()] if self.tables else []
        tables = []
        for table in self.tables:
            changed = [
                label
                for label, weights in table.weights.items()
                if any(own == weights and not is_same(table.behaviours.get(label), behaviour) for own, behaviour in now)
            ]
            if changed:
                warnings.warn(
                    f"'{table.path}': the rows of {', '.join(changed)} are left out, since with the same weights the "
                    "network restored another image then: its code was changed",
                    stacklevel=2,
                )
                self.used.add(table.path)  # this note is enough
            tables.append(table.without(changed))
        return replace(self, tables=tables)

    def find(self, kind: str, weights: str, layer: str, degradation: str) -> Result | None:
        """The first result of this kind for a layer of the network, under a degradation."""
        for table in self.tables:
            if table.kind == kind and table.degradation == degradation and weights in table.weights.values():
                rows = table.rows[(table.rows["layer"] == layer) & (table.rows["checkpoint"].map(_own(table, weights)))]
                if len(rows):
                    self.used.add(table.path)
                    return Result(rows.drop(columns=["checkpoint", "layer"]).reset_index(drop=True), table.source)
        return None

    def scores(self, labels: dict[str, str]) -> pd.DataFrame | None:
        """The rows of the first benchmark of all networks; `labels` are their names in the atlas, by weights."""
        for table in self.tables:
            if table.kind == "benchmark" and set(labels) <= set(table.rows["weights"]):
                self.used.add(table.path)
                known = table.rows[table.rows["weights"].isin(labels) | (table.rows["weights"] == "")]
                return known.assign(checkpoint=known["weights"].map(labels).fillna("bicubic"))
        return None

    def degradations(self, weights: Iterable[str], layers: Iterable[str]) -> list[str]:
        """The degradations of the results of these networks and layers."""
        ours, named = set(weights), set(layers)
        return list(
            dict.fromkeys(
                table.degradation
                for table in self.tables
                if table.kind != "benchmark" and ours & set(table.weights.values()) and named & set(table.rows["layer"])
            )
        )

    def warn_of_unused(self) -> None:
        """Warns of results that nothing was taken from."""
        if unused := [table.path for table in self.tables if table.path not in self.used]:
            names = ", ".join(f"'{path}'" for path in unused)
            warnings.warn(f"left out, as of other networks or layers, or there twice: {names}", stacklevel=2)


def _is_of(kind: str, path: Path) -> bool:
    """Whether the file is NAME.csv or NAME-1.csv, as save_results names it, of this kind."""
    number = path.stem.removeprefix(kind)
    return not number or (number[0] == "-" and number[1:].isdigit())


def _own(table: _Table, weights: str) -> dict[str, bool]:
    return {label: own == weights for label, own in table.weights.items()}


def _read(kind: str, path: Path) -> _Table:
    try:
        rows = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype={"checkpoint": str, "weights": str})
        source = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        settings, weights, images = dict(source["settings"]), source["weights"], source["images"]
        missing = COLUMNS[kind] - set(rows)
        if missing:
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        behaviours = source.get(BEHAVIOUR, {})
        if isinstance(weights, str):  # of one network
            weights = dict.fromkeys(rows["checkpoint"].unique(), weights)
        if isinstance(behaviours, str):
            behaviours = dict.fromkeys(weights, behaviours)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"'{path}' and its .json are no results of srgame ({error}): remove the file, or give another folder"
        ) from error
    if kind == "benchmark":
        rows["weights"] = rows["weights"].fillna("")
    return _Table(path, kind, rows, settings, dict(weights), dict(behaviours), len(images))


def _is_shown(table: _Table) -> bool:
    """Whether it is of the game that the atlas shows; warns if it is not."""
    wrong = [f"{name} {table.settings[name]}" for name, own in GAME.items() if table.settings.get(name, own) != own]
    if wrong:
        warnings.warn(
            f"'{table.path}' is left out, since it has {', '.join(wrong)}: the atlas shows PSNR against the HR image, "
            "erased filters as zeros, and a game per layer",
            stacklevel=2,
        )
    return not wrong
