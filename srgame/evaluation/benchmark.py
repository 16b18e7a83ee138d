"""PSNR and SSIM of several networks on image sets under the test settings, kept image by image.

A row belongs to its weights, set, setting and image alone, so an interrupted run continues and a finished one extends:
what is missing is measured, and nothing twice.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd
from torch import nn
from tqdm import tqdm

from srgame.data.degradations.testing import SETTINGS
from srgame.data.images import image_paths
from srgame.data.pairs import load_pairs
from srgame.errors import InputError, check_counts, chosen
from srgame.evaluation.evaluate import Restore, bicubic, evaluate
from srgame.evaluation.tiling import Tiled
from srgame.files import differences, lock
from srgame.networks import fingerprint, scale_of
from srgame.provenance import as_csv, as_json, provenance, save_files

BASELINE = "bicubic"
KEY = ["checkpoint", "dataset", "degradation", "image"]
SCORES = ["psnr_rgb", "psnr_y", "ssim_y"]
COLUMNS = [KEY[0], "weights", *KEY[1:], *SCORES]
SECONDS_BETWEEN_WRITES = 1.0

Row = dict[str, Any]
Key = tuple[str, ...]


@dataclass(frozen=True)
class Benchmark:
    """One row per image: checkpoint, weights (their sha256), dataset, degradation, image, psnr_rgb, psnr_y, ssim_y.

    `missing` says why a set could not be measured.
    """

    scores: pd.DataFrame
    missing: dict[str, str]


def benchmark(
    networks: Mapping[str, nn.Module],
    sets: Sequence[str],
    degradations: Sequence[str] = ("all",),
    scale: int | None = None,
    folder: Path | None = None,
    *,
    images: int | None = None,
    crop: int | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Benchmark:
    """The networks by name, and bicubic upsampling, on the first `images` images of each set (default: all).

    `folder` keeps benchmark.csv and benchmark.json, written at least every second and when the run ends, however that
    happens. All networks see the same LR images: noise depends on seed, set, image and setting only. Images that memory
    does not hold are tiled (`Tiled`).

    Raises InputError where no set is there, where networks enlarge differently, and where `folder` keeps results of
    other weights, images or settings, damaged ones, or those of a run that goes on.
    """
    check_counts(images=images, crop=crop)
    scale = _common_scale(networks, scale)
    degradations = _settings(degradations)
    paths, missing = _found(sets, images)
    weights = {BASELINE: ""} | {name: fingerprint(network) for name, network in networks.items()}
    restore: dict[str, Restore] = {BASELINE: bicubic(scale)}
    restore |= {name: Tiled(network, tile, overlap) for name, network in networks.items()}
    identity = {"scale": scale, "crop": crop, "overlap": overlap, "seed": seed}
    pairs = [(path, dataset, setting) for dataset in paths for path in paths[dataset] for setting in degradations]
    with lock(folder):
        kept = _Kept(folder, identity, weights, _fingerprints(paths) if folder else {})
        try:
            asked = _measured(kept, restore, pairs, identity, progress)
        finally:
            kept.write(missing)
    return Benchmark(pd.DataFrame([kept.by_key[key] for key in asked], columns=COLUMNS), missing)


def _measured(
    kept: "_Kept",
    restore: Mapping[str, Restore],
    pairs: Sequence[tuple[Path, str, str]],
    identity: Mapping[str, Any],
    progress: bool,
) -> list[Key]:
    """All keys that are asked for, after measuring what is not kept yet."""
    asked: list[Key] = [(name, dataset, setting, path.name) for path, dataset, setting in pairs for name in restore]
    done = sum(key in kept.by_key for key in asked)
    with tqdm(total=len(asked), initial=done, disable=not progress, unit="image") as bar:
        for path, dataset, setting in pairs:
            todo = [key for name in restore if (key := (name, dataset, setting, path.name)) not in kept.by_key]
            if todo:
                pair = load_pairs(str(path), setting, identity["scale"], None, identity["crop"], identity["seed"])
            for key in todo:
                kept.add(key, evaluate(restore[key[0]], pair)[SCORES].iloc[0].to_dict())
                bar.update()
    return asked


def _common_scale(networks: Mapping[str, nn.Module], scale: int | None) -> int:
    if BASELINE in networks:
        raise InputError(f"'{BASELINE}' is bicubic upsampling, which is always measured: name the network otherwise")
    scales = {name: scale_of(network) for name, network in networks.items()} or {BASELINE: scale or 4}
    if len(set(scales.values()) | {scale or next(iter(scales.values()))}) > 1:
        each = ", ".join(f"'{name}' {own} times" for name, own in scales.items())
        raise InputError(f"networks of one scale are compared, but {each}: measure each scale in a folder of its own")
    return next(iter(scales.values()))


def _settings(degradations: Sequence[str]) -> tuple[str, ...]:
    """The settings named; "all" are all eight."""
    named = [name for each in degradations for name in (SETTINGS if each == "all" else (each,))]
    for name in named:
        chosen("degradation", name, SETTINGS)
    return tuple(dict.fromkeys(named))


def _found(sets: Sequence[str], images: int | None) -> tuple[dict[str, list[Path]], dict[str, str]]:
    """The image files of each set that is there, and why the others are not."""
    paths, missing = dict[str, list[Path]](), dict[str, str]()
    for dataset in sets:
        try:
            paths[dataset] = image_paths(dataset)[:images]
        except InputError as error:
            missing[dataset] = str(error)
    if not paths:
        raise InputError("; ".join(missing.values()) or "no set of images is named: name at least one")
    return paths, missing


def _fingerprints(paths: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """The sha256 of each image file, by set and name."""
    try:
        return {
            f"{dataset}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
            for dataset, of_set in paths.items()
            for path in of_set
        }
    except OSError as error:
        raise InputError(f"'{error.filename}' cannot be read ({error.strerror}): replace or remove it") from error


class _Kept:
    """The rows of a benchmark by KEY, in memory and, if there is a folder, on disk."""

    def __init__(
        self, folder: Path | None, identity: dict[str, Any], weights: dict[str, str], images: dict[str, str]
    ) -> None:
        self.stem = folder / "benchmark" if folder else None
        self.identity, self.weights, self.images = identity, weights, images
        self.by_key: dict[Key, Row] = {}
        self.digest = ""
        self.written = monotonic()
        if self.stem and self.stem.with_suffix(".csv").exists():
            self._read(self.stem.with_suffix(".csv"))
        self.source = provenance(identity) if self.stem else {}
        self.write({})

    def _read(self, path: Path) -> None:
        """Takes the rows in `path`; refuses those of other settings or weights."""
        try:
            told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            settings, images = told["settings"], dict(told.get("images", {}))
            digests, content = list(told["csv_sha256"]), path.read_bytes()
            frame = pd.read_csv(BytesIO(content), dtype=str, keep_default_na=False)
            frame[SCORES] = frame[SCORES].map(lambda score: float(score or "nan"))  # to the last digit
            rows = {tuple(row[name] for name in KEY): row for row in frame[COLUMNS].to_dict("records")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"'{path}' and its .json are no results of a benchmark: choose another folder") from error
        self.digest = hashlib.sha256(content).hexdigest()
        if self.digest not in digests:
            raise InputError(
                f"'{path}' is damaged or was changed (its sha256 is not in its .json): remove both to measure again"
            )
        wrong = list(differences(settings, self.identity).values()) if rows else []
        wrong += [
            f"weights {there[:8]}… of '{name}', not {self.weights[name][:8]}…"
            for name, there in frame[["checkpoint", "weights"]].drop_duplicates().itertuples(index=False)
            if self.weights.get(name, there) != there
        ]
        wrong += [
            f"another image '{name}'"
            for name, there in images.items()
            if rows and self.images.get(name, there) != there
        ]
        if wrong:
            raise InputError(f"'{path}' keeps results of {'; '.join(wrong)}: choose another folder")
        self.images = images | self.images
        self.by_key = {key: {str(name): value for name, value in row.items()} for key, row in rows.items()}

    def add(self, key: Key, scores: dict[Any, float]) -> None:
        row = dict(zip(KEY, key, strict=True)) | {"weights": self.weights[key[0]]} | scores
        self.by_key[key] = row
        if monotonic() - self.written > SECONDS_BETWEEN_WRITES:
            self.write({})

    def write(self, missing: dict[str, str]) -> None:
        if self.stem:
            weights = {row["checkpoint"]: row["weights"] for row in self.by_key.values()}
            table = as_csv(pd.DataFrame(list(self.by_key.values()), columns=COLUMNS))
            digest = hashlib.sha256(table).hexdigest()
            # of the csv before and of this one: whoever is stopped between the two files leaves one of them
            digests = {"csv_sha256": [self.digest, digest]}
            source = self.source | {"weights": weights, "images": self.images, "missing": missing} | digests
            save_files(self.stem, {".json": as_json(source), ".csv": table})
            self.digest, self.written = digest, monotonic()
