"""The atlas as one HTML file: the template with its style and script, and the numbers and images as JSON.

The file opens from disk without a network. Names are written into the JSON only, and the script shows them as text, so
that nothing in a name is read as HTML.
"""

import html
import json
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from srgame.atlas.cells import Atlas, Cell
from srgame.atlas.maps import SIDES, column, photograph, significant
from srgame.errors import InputError
from srgame.files import write_atomic
from srgame.report.style import GREY, colours

START, END = '<script type="application/json" id="atlas">', "</script>"
MEGABYTE = 1_000_000


def page_of(atlas: Atlas, source: Mapping[str, Any], megabytes: float = 15.0) -> str:
    """The page, with maps as large as the size in MB allows.

    source: how the atlas was made, as `provenance` writes it.

    Raises InputError if not even the smallest maps fit.
    """
    data = _data(atlas, source)
    for side in SIDES:
        for cell, maps in zip(data["cells"], (cell.maps for cell in atlas.cells), strict=True):
            cell["maps"] = {
                image: {kind: each.sheet(side) for kind, each in kinds.items()} for image, kinds in maps.items()
            }
        page = _inlined(data)
        if len(page.encode()) <= megabytes * MEGABYTE:
            return page
    raise InputError(
        f"the page takes {len(page.encode()) / MEGABYTE:.1f} MB even with maps of {side} pixels: name fewer layers, "
        f"degradations or images, or allow more than {megabytes:g} MB"
    )


def data_in(page: str) -> dict[str, Any]:
    """The numbers and images in a page."""
    data: dict[str, Any] = json.loads(page.partition(START)[2].partition(END)[0])
    return data


def restyled(page: str) -> str:
    """The same numbers and images in the template of this version."""
    return _inlined(data_in(page))


def _inlined(data: Mapping[str, Any]) -> str:
    """The template, with its style, its script and the data."""
    folder = files("srgame.atlas")
    parts = {name: (folder / f"page.{name}").read_text(encoding="utf-8") for name in ("html", "css", "js")}
    island = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":  # so that no text can end the script
        island = island.replace(character, f"\\u{ord(character):04x}")
    title = html.escape("Atlas of " + " and ".join(data["checkpoints"]))
    contents = {"title": title, "style": parts["css"], "script": parts["js"], "data": island}
    return re.sub(r"\{\{ (\w+) \}\}", lambda mark: contents[mark[1]], parts["html"])


def _data(atlas: Atlas, source: Mapping[str, Any]) -> dict[str, Any]:
    """Everything but the maps, as the script reads it."""
    palette = colours(atlas.checkpoints)
    return {
        "checkpoints": atlas.checkpoints,
        "weights": atlas.weights,
        "colours": [palette[name] for name in atlas.checkpoints],
        "bicubic": GREY,
        "scale": atlas.scale,
        "degradations": atlas.degradations,
        "images": list(dict.fromkeys(image for each in atlas.restored.values() for image in each)),
        "restored": {
            degradation: {image: _restored(each) for image, each in images.items()}
            for degradation, images in atlas.restored.items()
        },
        "scores": _scores(atlas.scores),
        "scoresSource": atlas.scores_source,
        "cells": [_cell(cell) for cell in atlas.cells],
        "matching": _matching(atlas),
        "missing": atlas.missing,
        "made": json.loads(json.dumps(source, default=str)),
    }


def _restored(each: Mapping[str, Any]) -> dict[str, Any]:
    pictures = {name: photograph(picture) for name, picture in each["pictures"].items()}
    height, width = each["pictures"]["hr"].shape[1:]
    scores = {name: significant(value) for name, value in each["psnr"].items()}
    return {"pictures": pictures, "psnr": scores, "width": width, "height": height}


def _scores(scores: pd.DataFrame | None) -> list[dict[str, Any]]:
    """Mean PSNR by data set, degradation and checkpoint."""
    if scores is None:
        return []
    by = ["dataset", "degradation", "checkpoint"]
    means = scores.groupby(by, sort=False)["psnr_rgb"].agg(["mean", "count"]).reset_index()
    return [
        {name: row[name] for name in by} | {"psnr": significant(row["mean"]), "images": int(row["count"])}
        for row in means.to_dict("records")
    ]


def _cell(cell: Cell) -> dict[str, Any]:
    filters = {
        name: cell.filters[name].fillna("").tolist() if name == "flag" else column(cell.filters[name])
        for name in cell.filters
        if name != "filter"
    }
    return {
        "checkpoint": cell.checkpoint,
        "degradation": cell.degradation,
        "layer": cell.layer,
        "width": len(cell.filters),
        "empty": significant(cell.empty),
        "grand": significant(cell.grand),
        "summary": {name: significant(value) for name, value in cell.summary().items()},
        "filters": filters,
        "cosine": _pairs(cell.cosine, ["cosine"], 4),
        "interactions": _pairs(cell.interactions, ["interaction", "low", "high"], 5),
        "drops": {image: column(drops) for image, drops in cell.drops.items()},
        "sources": cell.sources,
    }


def _pairs(pairs: pd.DataFrame | None, values: Sequence[str], digits: int) -> dict[str, Any] | None:
    if pairs is None:
        return None
    numbers = {name: pairs[name].astype(int).tolist() for name in ("filter", "partner")}
    return numbers | {name: [significant(v, digits) for v in pairs[name].astype(float)] for name in values}


def _matching(atlas: Atlas) -> list[dict[str, Any]]:
    if atlas.matching is None:
        return []
    by = ["second", "degradation", "layer"]
    return [
        dict(zip(by, keys, strict=True))
        | {
            "filter": rows["filter"].tolist(),
            "partner": rows["partner"].tolist(),
            "correlation": [significant(v, 4) for v in rows["correlation"]],
            "mean": significant(float(np.mean(rows["correlation"])), 4),
            "chance": significant(rows["chance"].iloc[0], 4),
        }
        for keys, rows in atlas.matching.groupby(by, sort=False)
    ]


def _restyle(path: str) -> None:
    """Puts the numbers and images of a page on disk into the template of this version."""
    write_atomic(Path(path), restyled(Path(path).read_text(encoding="utf-8")).encode())


if __name__ == "__main__":
    _restyle(sys.argv[1])
