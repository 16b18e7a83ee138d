"""Several networks measured alike, their rows in one table, and what that needs: networks, their LR images, results."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn
from tqdm import tqdm

from srgame.cli.flags import Compared
from srgame.data.degradations.testing import SETTINGS
from srgame.data.images import Image, image_paths
from srgame.data.lazy import LRPatches, lr_images
from srgame.data.pairs import Pairs, load_pairs
from srgame.devices import available
from srgame.errors import InputError, check_counts
from srgame.files import ensure_writable
from srgame.networks import fingerprint, load_network, scale_of
from srgame.provenance import provenance, save_frame
from srgame.report.style import save_figure, with_literal_text

Measure = Callable[[nn.Module], pd.DataFrame]


class Comparison:
    """Networks side by side: each frame that it returns begins with a column `checkpoint`.

    `settings` are the flags of one verb alone, for the json.

    Raises InputError where nothing can be written to the output folder, before anything is measured.
    """

    def __init__(self, what: Compared, **settings: Any) -> None:
        self.compared = what
        self.settings = settings
        self.labels = labels(what.checkpoints)
        self.architectures = _one_for_each(what.network, len(self.labels))
        self.weights: dict[str, str] = {}
        ensure_writable(what.output)

    def frame(self, measure: Measure, read: Callable[[Path], pd.DataFrame] | None = None) -> pd.DataFrame:
        """What `measure` makes of each network; with `read`, what that makes of a csv in a checkpoint's place."""
        frames = []
        for label, checkpoint, architecture in zip(
            self.labels, self.compared.checkpoints, self.architectures, strict=True
        ):
            if read is not None and checkpoint.endswith(".csv"):
                rows = read(Path(checkpoint))
            else:
                network = load_network(checkpoint, architecture).to(available(self.compared.device))
                self.weights[label] = fingerprint(network)
                rows = measure(network)
            frames.append(_labelled(rows, label))
        return pd.concat(frames, ignore_index=True)

    def save(self, name: str, frame: pd.DataFrame, summary: pd.DataFrame, figure: Any, **more: pd.DataFrame) -> None:
        """Prints the summary; writes `name`.csv, .json (with the summary), .png, .pdf, and csv and json of `more`."""
        flags = asdict(self.compared) | {"output": str(self.compared.output)} | self.settings
        images = [path.stem for path in image_paths(self.compared.dataset)[: self.compared.images]]
        facts = {"weights": self.weights, "images": images, "summary": json.loads(summary.to_json(orient="records"))}
        written = []
        for stem, table in {name: frame, **more}.items():
            written += save_frame(self.compared.output / stem, table, provenance(flags, **facts))
        written += save_figure(self.compared.output / name, with_literal_text(figure))
        print(summary.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
        print("written:", *written)

    def lr(self, network: nn.Module, degradation: str | None, crop: int | None) -> Iterable[Image]:
        """The LR images for a network, with a progress bar: the dataset's as they are, or degraded."""
        images = lr_images(self.compared.dataset, degradation, scale_of(network), self.compared.images, crop)
        return tqdm(images, desc="images", disable=None, leave=False)

    def pairs(self, network: nn.Module, degradation: str, crop: int | None) -> Pairs:
        """LR images and their HR images for a network."""
        return load_pairs(self.compared.dataset, degradation, scale_of(network), self.compared.images, crop)

    def patches(self, network: nn.Module, sets: Sequence[str], side: int, count: int) -> dict[str, Iterable[Image]]:
        """By name of a test setting, patches of the dataset so degraded; by name of an image set, of that as it is."""
        check_counts(side=side, count=count)
        found: dict[str, Iterable[Image]] = {}
        for name in sets:
            dataset, degradation = (self.compared.dataset, name) if name in SETTINGS else (name, None)
            images = lr_images(dataset, degradation, scale_of(network), self.compared.images)
            found[name] = tqdm(LRPatches(images, side, count), desc=name, total=count, disable=None, leave=False)
        return found


def labels(checkpoints: Sequence[str]) -> list[str]:
    """Short names that tell the checkpoints apart: a file's name, with as many folders before it as that takes.

    The name `weights`, which all trained networks' files have, is left out in favour of the folder's.
    """
    if len(set(checkpoints)) < len(checkpoints) or not checkpoints:
        raise InputError("give at least one checkpoint, and none twice")
    paths = [Path(name) if Path(name).suffix == "" else Path(name).with_suffix("") for name in checkpoints]
    parts = [path.parent.parts if path.name == "weights" and path.parent.name else path.parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        short = ["/".join(part[-depth:]) for part in parts]
        if len(set(short)) == len(short):
            return short
    return list(checkpoints)


def _one_for_each(networks: Sequence[str], count: int) -> list[str | None]:
    if len(networks) not in (1, count):
        raise InputError(f"{len(networks)} networks for {count} checkpoints: name one, or one for each")
    each = networks if len(networks) == count else [*networks] * count
    return [None if name == "auto" else name for name in each]


def _labelled(rows: pd.DataFrame, label: str) -> pd.DataFrame:
    within = rows["checkpoint"].map(lambda own: f"{label}: {own}") if "checkpoint" in rows else label
    return pd.concat(
        [pd.DataFrame({"checkpoint": within}, index=rows.index), rows.drop(columns="checkpoint", errors="ignore")],
        axis=1,
    )
