"""PSNR and SSIM of several networks on image sets under the test settings, stored image by image.

A row depends only on its weights, set, setting and image. So an interrupted run resumes, a finished run can be
extended, and nothing is measured twice.
"""

import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from time import monotonic
from typing import Any

import pandas as pd
from torch import nn
from tqdm.auto import tqdm

from srgame.data.degradations.testing import SETTINGS
from srgame.data.images import image_paths
from srgame.data.pairs import Pairs, load_pairs, matched, read_pair
from srgame.errors import InputError, check_counts, chosen
from srgame.evaluation.evaluate import Restore, bicubic, scores
from srgame.evaluation.tiling import Tiled
from srgame.files import differences, lock
from srgame.networks import behaviour_of, fingerprint, scale_of
from srgame.networks.behaviour import BEHAVIOUR, is_same
from srgame.provenance import as_csv, as_json, provenance, save_files

BASELINE = "bicubic"
KEY = ["checkpoint", "dataset", "degradation", "image"]
SCORES = ["psnr_rgb", "psnr_y", "ssim_y"]
COLUMNS = [KEY[0], "weights", *KEY[1:], *SCORES]
SECONDS_BETWEEN_WRITES = 1.0

REAL = "real"  # the setting of real pairs

Row = dict[str, Any]
Key = tuple[str, ...]


@dataclass(frozen=True)
class _Image:
    """An image of a set under a setting: an HR file, and the LR file if the pair is real."""

    dataset: str
    setting: str
    hr: Path
    lr: Path | None = None

    @property
    def name(self) -> str:
        return self.hr.name

    def pair(self, scale: int, crop: int | None, seed: int) -> Pairs:
        if self.lr:
            return read_pair(self.lr, self.hr, scale, crop)
        return load_pairs(str(self.hr), self.setting, scale, None, crop, seed)

    def fingerprint(self) -> str:
        """The sha256 of its files."""
        files = (self.hr, self.lr) if self.lr else (self.hr,)
        try:
            return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
        except OSError as error:
            raise InputError(f"'{error.filename}' cannot be read ({error.strerror}): replace or remove it") from error


@dataclass(frozen=True)
class Benchmark:
    """One row per image: checkpoint, weights (their sha256), dataset, degradation, image, psnr_rgb, psnr_y, ssim_y.

    `missing` has the reason for each set that could not be measured.
    """

    scores: pd.DataFrame
    missing: dict[str, str]

    def __repr__(self) -> str:
        names, sets, settings, images = (self.scores[column].nunique() for column in KEY)
        return f"<Scores of {names} checkpoints on {images} images of {sets} sets in {settings} settings>"

    def _repr_html_(self) -> str:
        means = self.scores.pivot_table(SCORES, KEY[:2], KEY[2], sort=False, observed=True)
        missing = "".join(f"<p>{html.escape(f'{name}: {reason}')}</p>" for name, reason in self.missing.items())
        return f"<p>Mean scores</p>{means.to_html(float_format='{:.4g}'.format)}{missing}"


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
    subfolders: bool = False,
    real: tuple[str, str] | None = None,
) -> Benchmark:
    """The scores of the networks and of bicubic upsampling on the first `images` images of each set (default: all).

    With `real`, the LR and HR sets of real pairs (`paired`), these are measured too: as a set with the name of the HR
    set, in the setting "real", where bicubic upsamples the real LR images. A score is NaN for an image that is too
    small for it once the border is cut.

    `folder` stores benchmark.csv and benchmark.json; both are written about every second and when the run ends, even by
    an error. All networks see the same LR images: noise depends only on seed, set, image and setting. Images too large
    for memory are restored in tiles (`Tiled`).

    Raises InputError if no set is found, if networks have different scales, and if `folder` is in use or stores results
    that are damaged or of other weights, images or settings, or of the same weights in changed code. A stored network
    that is given another name is renamed.

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> measured = benchmark({"mine": network}, ["photographs"], ["clean", "noise"], images=1, crop=32)
    >>> measured.scores[["checkpoint", "degradation"]].drop_duplicates().to_numpy().tolist()
    [['bicubic', 'clean'], ['mine', 'clean'], ['bicubic', 'noise'], ['mine', 'noise']]
    """
    check_counts(images=images, crop=crop)
    scale = common_scale(networks, scale)
    degradations = _settings(degradations)
    each, missing = _images(sets, degradations, images, subfolders, real)
    weights = {BASELINE: ""} | {name: fingerprint(network) for name, network in networks.items()}
    restore: dict[str, Restore] = {BASELINE: bicubic(scale)}
    restore |= {name: Tiled(network, tile, overlap) for name, network in networks.items()}
    identity = {"scale": scale, "crop": crop, "overlap": overlap, "seed": seed}
    with lock(folder):
        behaviours = {name: behaviour_of(network) for name, network in networks.items()} if folder else {}
        store = _Store(folder, identity, weights, behaviours, _fingerprints(each) if folder else {})
        try:
            keys = _measure(store, restore, each, identity, progress)
        finally:
            store.write(missing)
    return Benchmark(pd.DataFrame([store.rows[key] for key in keys], columns=COLUMNS), missing)


def _measure(
    store: "_Store",
    restore: Mapping[str, Restore],
    images: Sequence[_Image],
    identity: Mapping[str, Any],
    progress: bool,
) -> list[Key]:
    """Measures the rows that are not stored yet; returns the keys of all rows, in their order."""
    keys_of = {image: [(name, image.dataset, image.setting, image.name) for name in restore] for image in images}
    keys: list[Key] = [key for keys in keys_of.values() for key in keys]
    done = sum(key in store.rows for key in keys)
    with tqdm(total=len(keys), initial=done, disable=not progress, unit="image") as bar:
        for image in images:
            todo = [key for key in keys_of[image] if key not in store.rows]
            if todo:
                pair = image.pair(identity["scale"], identity["crop"], identity["seed"])
            for key in todo:
                store.add(key, scores(restore[key[0]], pair)[SCORES].iloc[0].to_dict())
                bar.update()
    return keys


def common_scale(networks: Mapping[str, nn.Module], scale: int | None) -> int:
    """The scale of all networks; `scale`, or else 4, if there are none. Raises InputError if scales differ."""
    if BASELINE in networks:
        raise InputError(f"'{BASELINE}' is bicubic upsampling, which is always measured: give the network another name")
    scales = {name: scale_of(network) for name, network in networks.items()} or {BASELINE: scale or 4}
    if len(set(scales.values()) | {scale or next(iter(scales.values()))}) > 1:
        each = ", ".join(f"'{name}' {own} times" for name, own in scales.items())
        raise InputError(
            f"the networks enlarge by different factors ({each}): measure each scale in a folder of its own"
        )
    return next(iter(scales.values()))


def _settings(degradations: Sequence[str]) -> tuple[str, ...]:
    """The settings by name; "all" stands for all eight."""
    named = [name for each in degradations for name in (SETTINGS if each == "all" else (each,))]
    for name in named:
        chosen("degradation", name, SETTINGS)
    return tuple(dict.fromkeys(named))


def _images(
    sets: Sequence[str], settings: Sequence[str], count: int | None, subfolders: bool, real: tuple[str, str] | None
) -> tuple[list[_Image], dict[str, str]]:
    """The images of each set under each setting, and for each set that is missing the reason."""
    images, missing = list[_Image](), dict[str, str]()
    for dataset in sets:
        try:
            paths = image_paths(dataset, subfolders)[:count]
        except InputError as error:
            missing[dataset] = str(error)
        else:
            images += [_Image(dataset, setting, path) for path in paths for setting in settings]
    if real:
        images += [_Image(real[1], REAL, hr, lr) for lr, hr in matched(*real, subfolders)[:count]]
    if not images:
        raise InputError("; ".join(missing.values()) or "no set of images is named: name at least one")
    return images, missing


def _fingerprints(images: Sequence[_Image]) -> dict[str, str]:
    """The sha256 of each image, by set and name."""
    named = {_in_store(image): image for image in images}
    return {name: image.fingerprint() for name, image in named.items()}


def _in_store(image: _Image) -> str:
    """The name of an image in the json; a real pair is another image than its HR file alone."""
    return f"{image.dataset}/{image.name}" + (f" ({REAL})" if image.lr else "")


class _Store:
    """The rows of a benchmark by KEY, in memory and, if there is a folder, on disk."""

    def __init__(
        self,
        folder: Path | None,
        identity: dict[str, Any],
        weights: dict[str, str],
        behaviours: dict[str, str],
        images: dict[str, str],
    ) -> None:
        self.stem = folder / "benchmark" if folder else None
        self.identity, self.weights, self.behaviours, self.images = identity, weights, behaviours, images
        self.rows: dict[Key, Row] = {}
        self.digest = ""
        self.written = monotonic()
        if self.stem and any(self.stem.with_suffix(suffix).exists() for suffix in (".csv", ".json")):
            self._read(self.stem.with_suffix(".csv"))
        self.source = provenance(identity) if self.stem else {}
        self.write({})

    def _read(self, path: Path) -> None:
        """Reads the rows in `path`; raises InputError if they are damaged or of other settings, weights or images."""
        try:
            source = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
            settings, images = source["settings"], dict(source.get("images", {}))
            behaviours = dict(source.get(BEHAVIOUR, {}))
            digests = list(source["csv_sha256"])
            if not path.exists():  # a run was killed in its first write
                return
            content = path.read_bytes()
            frame = pd.read_csv(BytesIO(content), dtype=str, keep_default_na=False)[COLUMNS]
            frame[SCORES] = frame[SCORES].map(lambda score: float(score or "nan"))  # to the last digit
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"'{path}' and its .json are no results of a benchmark: choose another folder") from error
        self.digest = hashlib.sha256(content).hexdigest()
        if self.digest not in digests:
            raise InputError(
                f"'{path}' is damaged or was changed (its sha256 is not in its .json): remove both to measure again"
            )
        stored_weights, behaviours = self._rename(frame, behaviours)
        wrong = list(differences(settings, self.identity).values()) if len(frame) else []
        wrong += [
            f"weights {stored[:8]}… of '{name}', not {self.weights[name][:8]}…"
            for name, stored in stored_weights.items()
            if self.weights.get(name, stored) != stored
        ]
        wrong += [
            f"other code of '{name}', which restored another image with the same weights"
            for name, stored in stored_weights.items()
            if self.weights.get(name) == stored and not self._behaves(name, behaviours.get(name))
        ]
        wrong += [
            f"another image '{name}'"
            for name, stored in images.items()
            if len(frame) and self.images.get(name, stored) != stored
        ]
        if wrong:
            raise InputError(f"'{path}' holds results of {'; '.join(wrong)}: choose another folder")
        self.images, self.behaviours = images | self.images, self.behaviours | behaviours
        rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
        self.rows = {tuple(row[name] for name in KEY): row for row in rows}

    def _rename(self, frame: pd.DataFrame, behaviours: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Gives stored networks the names that they have in this run; returns the weights and behaviours of all.

        Networks are known by their weights and behaviour, since names depend on what else is measured: on the command
        line, `a/net.pth` is called "net", and "a/net" beside `b/net.pth`.
        """
        stored: dict[str, str] = dict(zip(frame["checkpoint"], frame["weights"], strict=True))
        new = {weights: name for name, weights in self.weights.items() if stored.get(name) != weights}
        names = {
            old: new[own]
            for old, own in stored.items()
            if self.weights.get(old) != own and own in new and self._behaves(new[own], behaviours.get(old))
        }
        frame["checkpoint"] = frame["checkpoint"].replace(names)
        weights, behaviours = ({names.get(old, old): own for old, own in each.items()} for each in (stored, behaviours))
        return weights, behaviours

    def _behaves(self, name: str, stored: str | None) -> bool:
        """Whether a network of this run restores the image that is stored."""
        return name == BASELINE or is_same(stored, self.behaviours[name])

    def add(self, key: Key, scores: dict[Any, float]) -> None:
        """Adds a row, and writes all rows if the last write is long enough ago."""
        row = dict(zip(KEY, key, strict=True)) | {"weights": self.weights[key[0]]} | scores
        self.rows[key] = row
        if monotonic() - self.written > SECONDS_BETWEEN_WRITES:
            self.write({})

    def write(self, missing: dict[str, str]) -> None:
        """Writes all rows to disk."""
        if self.stem:
            weights = {row["checkpoint"]: row["weights"] for row in self.rows.values()}
            table = as_csv(pd.DataFrame(list(self.rows.values()), columns=COLUMNS))
            digest = hashlib.sha256(table).hexdigest()
            # both the old csv and this one are valid: a run may be stopped between the two files
            digests = {"csv_sha256": [self.digest, digest]}
            behaviours = {name: values for name, values in self.behaviours.items() if name in weights}
            source = self.source | {"weights": weights, BEHAVIOUR: behaviours, "images": self.images}
            source |= {"missing": missing} | digests
            save_files(self.stem, {".json": as_json(source), ".csv": table})
            self.digest, self.written = digest, monotonic()
