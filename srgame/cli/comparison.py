"""Several networks measured in the same way, side by side in one table and one picture: what all probes share."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn
from tqdm.auto import tqdm

from srgame.cli.flags import Dataset, Images, LRImages, Networks, Output, flat, stop
from srgame.cli.loading import architectures_of, conventions_of, judge, loaded
from srgame.data.degradations.testing import SETTINGS
from srgame.data.images import Image, image_paths
from srgame.data.lazy import LRPatches, lr_images
from srgame.data.pairs import Pairs, load_pairs, matched, paired
from srgame.devices import available
from srgame.errors import InputError, check_counts
from srgame.files import ensure_writable
from srgame.filters import last_feature_layer
from srgame.networks import identity_of, scale_of
from srgame.networks.advice import FEW
from srgame.networks.behaviour import BEHAVIOUR
from srgame.networks.checkpoints import SUFFIXES
from srgame.provenance import provenance

DEFAULTS = {
    "dataset": "photographs",
    "degradation": "clean",
    "sets": ("photographs",),
    "degradations": ("all",),
    "seed": 0,
}
FILES = (*SUFFIXES, ".csv")  # a folder may be called eats-0.1
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
    """Measures each network; writes `name`.csv, .json (with the summary), .png and .pdf; prints the summary.

    Each frame begins with a column `checkpoint`. Several `measures`, the first of them `name`, each get a csv and a
    json; `draw` takes all their frames. With `read`, a csv may stand in a checkpoint's place, and `read` returns its
    rows. `flags` are the verb's own, for the json. After Ctrl-C, the results of the checkpoints measured so far are
    written.

    Raises InputError if nothing can be written to the output folder, before anything is measured.
    """
    measures = measures if isinstance(measures, Mapping) else {name: measures}
    measured = measure_each(measures, networks, images, output, read)
    summary = summarise(measured.frames[name])
    text = summary.to_string(index=False, float_format=lambda value: f"{value:.4g}")
    save_measured(measured, summary, text, draw(*measured.frames.values()), networks, images, output, **flags)


@dataclass(frozen=True)
class Measured:
    """What was measured: frames by name, whose first column is `checkpoint`, and the networks' identities by label.

    `left` is the number of checkpoints that Ctrl-C left out.
    """

    frames: dict[str, pd.DataFrame]
    identities: dict[str, dict[str, str]]
    left: int


def measure_each(
    measures: Mapping[str, Measure],
    networks: Networks,
    images: Dataset,
    output: Output,
    read: Callable[[Path], pd.DataFrame] | None = None,
) -> Measured:
    """Each network measured in all ways; with `read`, a csv may stand in a checkpoint's place."""
    names = labels(networks.checkpoints)
    architectures = architectures_of(networks.network, len(names))
    conventions = conventions_of(networks.convention, networks.conventions, len(names))
    ensure_writable(output.output)
    measured: list[dict[str, pd.DataFrame]] = []
    identities: dict[str, dict[str, str]] = {}
    try:
        each = zip(names, networks.checkpoints, architectures, conventions, strict=True)
        for label, checkpoint, architecture, convention in each:
            if read is not None and checkpoint.endswith(".csv"):
                measured.append({name: _labelled(read(Path(checkpoint)), label) for name in measures})
                continue
            network = loaded(checkpoint, architecture, networks.scale, networks.strict, convention)
            network = network.to(available(output.device))
            if isinstance(images, Images) and images.are_own:
                judge(checkpoint, network, pairs_of(replace(images, images=min(images.images or FEW, FEW)), network))
            measured.append({stem: _labelled(measure(network), label) for stem, measure in measures.items()})
            identities[label] = identity_of(network)
    except KeyboardInterrupt:
        if not measured:
            raise
    frames = {stem: pd.concat([rows[stem] for rows in measured], ignore_index=True) for stem in measures}
    return Measured(frames, identities, left=len(names) - len(measured))


def save_measured(
    measured: Measured,
    summary: pd.DataFrame,
    text: str,
    figure: Any,
    networks: Networks,
    images: Dataset,
    output: Output,
    **flags: Any,
) -> None:
    """Writes a csv and a json for each frame and the pictures under the first name, then prints `text`."""
    from srgame.report.results import save_results  # here, since `evaluate` imports this module and draws nothing
    from srgame.report.style import with_literal_text

    facts = {
        **{key: {label: own[key] for label, own in measured.identities.items()} for key in ("weights", BEHAVIOUR)},
        "images": names_of(images),
        "summary": json.loads(summary.to_json(orient="records")),
    }
    source = provenance(flat(networks, images, output, **flags), **facts)
    written = save_results(output.output, measured.frames, source, with_literal_text(figure))
    print(text)
    print("written:", *written)
    if measured.left:
        count = len(networks.checkpoints)
        stop(f"{count - measured.left} of {count} checkpoints were measured and saved")


def lr_of(images: LRImages, network: nn.Module) -> Iterable[Image]:
    """The LR images for a network, with a progress bar."""
    lr = lr_images(images.dataset, images.degradation, scale_of(network), images.images, images.crop, images.subfolders)
    return tqdm(lr, desc="images", disable=None, leave=False)


def pairs_of(images: Images, network: nn.Module) -> Pairs:
    """The LR and HR images for a network.

    Raises InputError if only one half of the real pairs is named, or a dataset or degradation too.
    """
    scale = scale_of(network)
    if real := real_pairs(images.lr, images.hr, dataset=images.dataset, degradation=images.degradation):
        return paired(*real, scale, images.images, images.crop, images.subfolders)
    return load_pairs(
        images.dataset, images.degradation, scale, images.images, images.crop, subfolders=images.subfolders
    )


def real_pairs(lr: str | None, hr: str | None, **instead: object) -> tuple[str, str] | None:
    """What --lr and --hr name; None without them. Raises InputError unless all other flags have their defaults."""
    if lr is None and hr is None:
        return None
    if lr is None or hr is None:
        raise InputError(
            f"--{'hr' if lr is None else 'lr'} '{lr or hr}' is one half of the real pairs: give both --lr and --hr"
        )
    for name, value in instead.items():
        if value != DEFAULTS[name]:
            raise InputError(f"--{name} does not apply to real pairs (--lr, --hr): leave out one or the other")
    return lr, hr


def names_of(images: Dataset) -> list[str]:
    """The names of the images, for the json."""
    if isinstance(images, Images) and images.lr and images.hr:
        return [hr.stem for _, hr in matched(images.lr, images.hr, images.subfolders)[: images.images]]
    return [path.stem for path in image_paths(images.dataset, images.subfolders)[: images.images]]


def last_layer(network: nn.Module, pairs: Pairs) -> tuple[str]:
    """The default of --layers: the network's last feature layer."""
    return (last_feature_layer(network, pairs.lr[0]),)


def patches_of(
    images: Dataset, network: nn.Module, sets: Sequence[str], side: int, count: int
) -> dict[str, Iterable[Image]]:
    """LR patches for a network by the name of a set: a test setting of the dataset, or an image set of LR images."""
    check_counts(side=side, count=count)
    patches: dict[str, Iterable[Image]] = {}
    for name in sets:
        dataset, degradation = (images.dataset, name) if name in SETTINGS else (name, None)
        lr = lr_images(dataset, degradation, scale_of(network), images.images, subfolders=images.subfolders)
        patches[name] = tqdm(LRPatches(lr, side, count), desc=name, total=count, disable=None, leave=False)
    return patches


def labels(checkpoints: Sequence[str]) -> list[str]:
    """Short names that tell the checkpoints apart: the file's name, after as many folders as needed.

    The name `weights`, which all trained networks' files have, is left out in favour of the folder's.
    """
    if len(set(checkpoints)) < len(checkpoints) or not checkpoints:
        raise InputError(f"give at least one checkpoint, and none twice, not: {' '.join(checkpoints) or 'none'}")
    paths = [Path(name).with_suffix("") if Path(name).suffix in FILES else Path(name) for name in checkpoints]
    parts = [path.parent.parts if path.name == "weights" and path.parent.name else path.parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        short = ["/".join(part[-depth:]) for part in parts]
        if len(set(short)) == len(short):
            return short
    return list(checkpoints)


def _labelled(rows: pd.DataFrame, label: str) -> pd.DataFrame:
    checkpoint = rows["checkpoint"].map(lambda own: f"{label}: {own}") if "checkpoint" in rows else label
    rows = rows.drop(columns="checkpoint", errors="ignore")
    rows.insert(0, "checkpoint", checkpoint)
    return rows
