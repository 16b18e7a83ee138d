"""The content of an atlas: a cell for each layer of each network under each degradation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from srgame.atlas.maps import Maps
from srgame.probes.equity import effective_players, gini

DEAD = 0.5 / 255  # the largest change of a pixel: an 8-bit image would not show it
SHAPLEY = ["shapley", "stderr", "low", "high", "flag", "rank"]
RESPONSES = ["mean", "mean_abs", "active", "sparsity"]
SALIENCE = ["salience", "share"]
ERASED = ["leave_one_out", "change"]
NEAREST = {"partner": "nearest", "cosine": "cosine"}  # columns of pairs, and their names in a table of filters
STRONGEST = {"partner": "partner", "interaction": "interaction", "low": "interaction_low", "high": "interaction_high"}
COLUMNS = [*SHAPLEY, *RESPONSES, *SALIENCE, *ERASED, *NEAREST.values(), *STRONGEST.values()]


@dataclass
class Cell:
    """A layer of a network under a degradation.

    filters: one row per filter, with the columns of `Atlas.frame`.
    maps: by image, the maps named feature, salience and change; `drops`: by image, the PSNR lost without each filter.
    sources: by kind of result, the earlier run that it was read from.
    """

    checkpoint: str
    degradation: str
    layer: str
    filters: pd.DataFrame
    empty: float = np.nan
    grand: float = np.nan
    cosine: pd.DataFrame | None = None
    interactions: pd.DataFrame | None = None
    maps: dict[str, dict[str, Maps]] = field(default_factory=dict)
    drops: dict[str, list[float]] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)

    def add(self, rows: pd.DataFrame, columns: Sequence[str]) -> None:
        """Adds columns to the filters, by their number."""
        self.filters = self.filters.drop(columns=columns, errors="ignore").merge(
            rows[["filter", *columns]], on="filter", how="left"
        )

    def summary(self) -> dict[str, float]:
        """The layer in numbers: NaN for what was not measured.

        worth: PSNR with all filters minus PSNR with none. gini and effective (players): of φ. dead: share of filters
        whose erasure alone would not show in an 8-bit image. harmful: share whose interval of φ lies below 0.
        """
        phi, changes = self.filters["shapley"], self.filters["change"]
        known = phi.notna().all()
        sizes = self.cosine["cosine"].abs() if self.cosine is not None else pd.Series(dtype=float)
        return {
            "worth": self.grand - self.empty,
            "gini": gini(phi) if known else np.nan,
            "effective": effective_players(phi) if known else np.nan,
            "dead": float((changes < DEAD).mean()) if changes.notna().all() else np.nan,
            "harmful": float((self.filters["high"] < 0).mean()) if np.isfinite(self.filters["high"]).all() else np.nan,
            "alike": float(sizes.mean()),
        }


@dataclass
class Atlas:
    """All that the page shows.

    restored: by degradation and image, the pictures named lr, hr, bicubic and by checkpoint, and their PSNR.
    matching: the frames of channel_matching between the first network and each other one, with a column `second`.
    missing: what was not measured: the time was over, evaluations were too few, or Ctrl-C ended the measurement.
    """

    checkpoints: list[str]
    weights: dict[str, str]
    scale: int
    degradations: list[str]
    cells: list[Cell] = field(default_factory=list)
    scores: pd.DataFrame | None = None
    scores_source: str = ""
    restored: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    matching: pd.DataFrame | None = None
    missing: list[str] = field(default_factory=list)
    interrupted: bool = False

    def frame(self) -> pd.DataFrame:
        """One row per checkpoint, degradation, layer and filter.

        shapley, stderr, low, high, flag, rank: φ of PSNR (network_values). mean, mean_abs, active, sparsity: responses
        (channel_responses). salience, share: channel_salience. leave_one_out: PSNR lost without the filter; change: the
        largest change of a pixel without it. nearest, cosine: the filter with the largest |cosine|. partner,
        interaction, interaction_low, interaction_high: the strongest interaction. NaN for what was not measured.
        """
        frames = []
        for cell in self.cells:
            frame = cell.filters[["filter", *COLUMNS]].copy()
            for name in ("layer", "degradation", "checkpoint"):
                frame.insert(0, name, getattr(cell, name))
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)
