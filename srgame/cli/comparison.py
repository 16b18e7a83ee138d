"""Several networks measured in the same way, side by side in one table and one picture: what all probes share."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn
from tqdm import tqdm

from srgame.cli.flags import Dataset, Images, LRImages, Networks, Output, flat
from srgame.data.degradations.testing import SETTINGS
from srgame.data.images import Image, image_paths
from srgame.data.lazy import LRPatches, lr_images
from srgame.data.pairs import Pairs, load_pairs
from srgame.devices import available
from srgame.errors import InputError, check_counts
from srgame.files import ensure_writable
from srgame.filters import last_feature_layer
from srgame.networks import fingerprint, load_network, scale_of
from srgame.provenance import provenance, save_frame
from srgame.report.style import save_figure, with_literal_text

Measure = Callable[[nn.Module], pd.DataFrame]


def compare(
    name: str,
    measures: Measure | Mapping[str, Measure],
    summarise: Callable[[pd.DataFrame], pd.DataFrame],
    draw: Callable[..., Any],
    networks: Networks,
    images: Dataset,
    output: Output,
    read: Callable[[Path], pd.DataFrame] | None = None,
    **flags: Any,
) -> None:
    """Measures each network; prints the summary; writes `name`.csv, .json (with the summary), .png and .pdf.

    Each frame begins with a column `checkpoint`. Several `measures`, the first of them `name`, each get a csv and a
    json; `draw` takes all their frames. With `read`, a csv may stand in a checkpoint's place, and `read` returns its
    rows. `flags` are the verb's own, for the json.

    Raises InputError if nothing can be written to the output folder, before anything is measured.
    """
    measures = measures if isinstance(measures, Mapping) else {name: measures}
    names = labels(networks.checkpoints)
    architectures = architectures_of(networks.network, len(names))
    ensure_writable(output.output)
    rows: dict[str, list[pd.DataFrame]] = {stem: [] for stem in measures}
    weights: dict[str, str] = {}
    for label, checkpoint, architecture in zip(names, networks.checkpoints, architectures, strict=True):
        if read is not None and checkpoint.endswith(".csv"):
            rows[name].append(_labelled(read(Path(checkpoint)), label))
            continue
        network = load_network(checkpoint, architecture).to(available(output.device))
        weights[label] = fingerprint(network)
        for stem, measure in measures.items():
            rows[stem].append(_labelled(measure(network), label))
    frames = {stem: pd.concat(each, ignore_index=True) for stem, each in rows.items()}
    summary = summarise(frames[name])
    facts = {
        "weights": weights,
        "images": [path.stem for path in image_paths(images.dataset)[: images.images]],
        "summary": json.loads(summary.to_json(orient="records")),
    }
    written = []
    for stem, frame in frames.items():
        source = provenance(flat(networks, images, output, **flags), **facts)
        written += save_frame(output.output / stem, frame, source)
    written += save_figure(output.output / name, with_literal_text(draw(*frames.values())))
    print(summary.to_string(index=False, float_format=lambda value: f"{value:.4g}"))
    print("written:", *written)


def lr_of(images: LRImages, network: nn.Module) -> Iterable[Image]:
    """The LR images for a network, with a progress bar."""
    lr = lr_images(images.dataset, images.degradation, scale_of(network), images.images, images.crop)
    return tqdm(lr, desc="images", disable=None, leave=False)


def pairs_of(images: Images, network: nn.Module) -> Pairs:
    """The LR and HR images for a network."""
    return load_pairs(images.dataset, images.degradation, scale_of(network), images.images, images.crop)


def last_layer(network: nn.Module, pairs: Pairs) -> tuple[str]:
    """The layer that a verb takes if it is given none: the network's last feature layer."""
    return (last_feature_layer(network, pairs.lr[0]),)


def patches_of(
    images: Dataset, network: nn.Module, sets: Sequence[str], side: int, count: int
) -> dict[str, Iterable[Image]]:
    """LR patches for a network by the name of a set: a test setting of the dataset, or an image set of LR images."""
    check_counts(side=side, count=count)
    patches: dict[str, Iterable[Image]] = {}
    for name in sets:
        dataset, degradation = (images.dataset, name) if name in SETTINGS else (name, None)
        lr = lr_images(dataset, degradation, scale_of(network), images.images)
        patches[name] = tqdm(LRPatches(lr, side, count), desc=name, total=count, disable=None, leave=False)
    return patches


def labels(checkpoints: Sequence[str]) -> list[str]:
    """Short names that tell the checkpoints apart: the file's name, after as many folders as needed.

    The name `weights`, which all trained networks' files have, is left out in favour of the folder's.
    """
    if len(set(checkpoints)) < len(checkpoints) or not checkpoints:
        raise InputError(f"give at least one checkpoint, and none twice, not: {' '.join(checkpoints) or 'none'}")
    paths = [Path(name) if Path(name).suffix == "" else Path(name).with_suffix("") for name in checkpoints]
    parts = [path.parent.parts if path.name == "weights" and path.parent.name else path.parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        short = ["/".join(part[-depth:]) for part in parts]
        if len(set(short)) == len(short):
            return short
    return list(checkpoints)


def architectures_of(networks: Sequence[str], count: int) -> list[str | None]:
    """What --network names for each of `count` checkpoints; None: read from the weights."""
    if len(networks) not in (1, count):
        raise InputError(f"{len(networks)} networks for {count} checkpoints: give --network one name, or one for each")
    each = networks if len(networks) == count else [*networks] * count
    return [None if name == "auto" else name for name in each]


def _labelled(rows: pd.DataFrame, label: str) -> pd.DataFrame:
    checkpoint = rows["checkpoint"].map(lambda own: f"{label}: {own}") if "checkpoint" in rows else label
    rows = rows.drop(columns="checkpoint", errors="ignore")
    rows.insert(0, "checkpoint", checkpoint)
    return rows
