"""Does EATS gain over Original because of its erasures, or because of the images that its losses are trained towards?

The paper trains the erased network f′ towards bicubic upsampling, and f towards HR images, sharpened as in Reflash
Dropout. Here f′ is trained towards HR images as well, with the same erasures; and both are trained with HR images that
are not sharpened. The last panel shows the luck of a seed: Original of the other seeds against the first.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from audited import FAMILY, gain_against_bicubic, headed
from families import AUTO, Architectures, Checkpoints, empty, load_each, measured, reason_of
from intervals import correlated, in_words, paired_interval
from matplotlib.figure import Figure
from printed import CELL, judged, signed
from psnr_tables import SETS, decided, of_each_seed
from zoo_names import NOT_THERE

from srgame.cli.comparison import labels
from srgame.errors import InputError
from srgame.evaluation.benchmark import BASELINE, benchmark
from srgame.networks import zoo
from srgame.report.recipe import run
from srgame.report.style import styled

TO_HR = "sharpened HR; f′ to it too"
LUCK = "no EATS, Original of other seeds"
VARIANTS = {  # the targets of f and f′: the networks of EATS, and those that differ from them in strategy alone
    "sharpened HR; f′ to bicubic": ("eats", "original"),
    TO_HR: ("eats-hr", "original"),
    "HR not sharpened; f′ to bicubic": ("eats-unsharpened", "original-unsharpened"),
    LUCK: ("original", "original"),
}
SMOKE = {"sets": ("photographs",), "degradations": ("clean", "blur", "b+n", "jpeg"), "images": 2, "crop": 32}


def kind_of(name: str) -> tuple[str, int] | None:
    """What VARIANTS call a network, and its seed: of small-x4-eats-hr-0 ("eats-hr", 0); None for other names."""
    kinds = sorted({kind for pair in VARIANTS.values() for kind in pair}, key=len, reverse=True)
    parts = re.fullmatch(rf"(?:.*-)?({'|'.join(kinds)})(?:-(\d+))?", name)
    return (parts[1], int(parts[2] or 0)) if parts else None


def default_networks() -> tuple[str, ...]:
    """The networks of FAMILY in the zoo that any variant needs."""
    return tuple(name for name in zoo() if name.startswith(f"{FAMILY}-") and kind_of(name))


NETWORKS = default_networks()


def measure(
    networks: Checkpoints = NETWORKS,
    network: Architectures = AUTO,
    sets: tuple[str, ...] = SETS,
    degradations: tuple[str, ...] = ("all",),
    images: int = 5,
    crop: int = 128,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per variant, set and degradation, in dB of RGB: variant, dataset, degradation, gain, below, seeds.

    gain is EATS − Original over the seeds that both have (in the last variant, Original of the other seeds − Original
    of the first), with low and high, the ends of a 95% interval (`paired_interval`: over seeds if there are several,
    otherwise over images), and by_seed the means of the seeds; below is bicubic − Original. A variant without networks
    has one row, whose reason says so.

    The differences of the last variant share the first seed's network, so they are not independent, and their interval
    is too narrow.

    The name of a network, or of a file, ends in its kind and seed, as eats-hr-0 or eats-hr; raises InputError if not.
    """
    trained = _by_kind(networks)
    scores = benchmark(load_each(networks, network), sets, degradations, images=images, crop=crop, seed=seed).scores
    missing = NOT_THERE if networks == default_networks() else "not measured: "
    rows = [row for variant in VARIANTS for row in _cells(variant, scores, trained, missing)]
    settings = f"{_family_or_number(networks)}: first {images} images of each set, crops of {crop} px; 8-bit RGB."
    return pd.DataFrame(rows).assign(settings=settings)


def _family_or_number(networks: Sequence[str]) -> str:
    """FAMILY, if all networks are of it; else their number."""
    return FAMILY if all(name.startswith(f"{FAMILY}-") for name in networks) else f"{len(networks)} networks"


def _by_kind(networks: Sequence[str]) -> dict[str, dict[int, str]]:
    """The checkpoints by kind and seed."""
    trained: dict[str, dict[int, str]] = {kind: {} for pair in VARIANTS.values() for kind in pair}
    for label, name in zip(labels(networks), networks, strict=True):
        kind, seed = kind_of(label) or ("", 0)
        if not kind:
            raise InputError(f"'{label}' ends in none of {', '.join(trained)}, with or without a seed: rename the file")
        if seed in trained[kind]:
            raise InputError(f"'{trained[kind][seed]}' and '{name}' are both seed {seed} of {kind}: name one of them")
        trained[kind][seed] = name
    return trained


def _cells(
    variant: str, scores: pd.DataFrame, trained: Mapping[str, Mapping[int, str]], missing: str
) -> Iterator[dict[str, object]]:
    there = [trained[kind] for kind in VARIANTS[variant]]
    both = sorted(there[0].keys() & there[1].keys())
    seeds = [(seed, both[0]) for seed in both[1:]] if variant == LUCK else [(seed, seed) for seed in both]
    if not seeds:
        lacks = [f"{FAMILY}-{kind}" for kind, of in zip(VARIANTS[variant], there, strict=True) if not of]
        yield {"variant": variant, "reason": missing + ", ".join(lacks) if lacks else "no two trainings to compare"}
        return
    for cell, rows in scores.groupby(CELL, sort=False):
        by_network = rows.pivot(index="checkpoint", columns="image", values="psnr_rgb")
        eats, original = (
            by_network.loc[[of[seed] for seed in pair]].to_numpy()
            for of, pair in zip(there, zip(*seeds, strict=True), strict=True)
        )
        gain, low, high = paired_interval(eats - original)
        below = by_network.loc[BASELINE].mean() - original.mean()
        by_seed = "" if variant == LUCK else of_each_seed(eats - original)
        numbers = {"gain": gain, "low": low, "high": high, "by_seed": by_seed, "below": below, "seeds": len(seeds)}
        yield {"variant": variant, **dict(zip(CELL, cell, strict=True)), **numbers, "reason": ""}


def found(frame: pd.DataFrame) -> str:
    """The answer in a sentence."""
    parts = []
    for variant, rows in measured(frame).groupby("variant", sort=False):
        r = in_words(correlated(rows["below"].to_numpy(), rows["gain"].to_numpy()))
        parts.append(f"{variant}: {signed(rows['gain'].mean())} dB ({decided(rows)}; r with bicubic − Original {r})")
    if not parts:
        return "No variant of EATS was measured with its Original: nothing to compare."
    cells = f"{len(rows)} cells, each a set under a setting"
    return f"EATS minus Original, mean over {cells}, by targets: {'; '.join(parts)}."


def verdict(frame: pd.DataFrame) -> str:
    """Whether erasures help without bicubic upsampling: whether EATS trained towards HR images is clearly ahead."""
    rows = measured(frame)
    return judged(rows.loc[rows["variant"] == TO_HR, "low"] > 0)


def draw(frame: pd.DataFrame) -> Figure:
    """A panel per variant: EATS − Original against bicubic − Original; if EATS were bicubic, they would be equal."""
    with styled():
        figure = Figure(figsize=(7.2, 3.9))
        panels = figure.subplots(1, len(VARIANTS))
        shared = []
        for (variant, rows), panel in zip(frame.groupby("variant", sort=False), panels, strict=True):
            if reason := reason_of(frame.assign(strategy=frame["variant"]), str(variant)):
                empty(panel, reason)
            else:
                gain_against_bicubic(panel, rows)
                shared.append(panel)
            panel.set_title(re.sub("[;,] ", ",\n", str(variant)), fontsize=8)
        for panel in shared[1:]:
            panel.sharex(shared[0])
            panel.sharey(shared[0])
        panels[0].autoscale()
        for panel in panels[1:]:
            panel.set_ylabel("")
        panels[-1].set_ylabel("other seeds − first (dB)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=max(1, len(labels)))
    return headed(figure, "EATS − Original, by what the networks are trained towards", frame)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
