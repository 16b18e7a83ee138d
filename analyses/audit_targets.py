"""Is what EATS gains over Original that of its erasures, or of the images that its losses are drawn to?

The paper draws the erased network to bicubic upsampling, and f to HR images, sharpened as in Reflash Dropout. Here EATS
is drawn to HR images as well, the erasures staying what they are; and both train on images that are not sharpened. What
a seed does by luck stands beside them: Original of the other seeds against the first.
"""

import re
from collections.abc import Iterator

import pandas as pd
from audited import FAMILY, correlated, gain_against_bicubic, headed, in_words
from families import empty, measured, reason_of
from matplotlib.figure import Figure
from printed import CELL, judged
from psnr_tables import SETS, paired_bootstrap
from zoo_names import NOT_THERE

from srgame.evaluation.benchmark import BASELINE, benchmark
from srgame.networks import load_network, zoo
from srgame.report.recipe import run
from srgame.report.style import styled

TO_HR = "sharpened HR; f′ to it too"
LUCK = "no EATS, Original of other seeds"
VARIANTS = {  # what f is drawn to, and f′: EATS's networks, and those that differ from them in strategy alone
    "sharpened HR; f′ to bicubic": ("eats", "original"),
    TO_HR: ("eats-hr", "original"),
    "HR not sharpened; f′ to bicubic": ("eats-unsharpened", "original-unsharpened"),
    LUCK: ("original", "original"),
}
SMOKE = {"sets": ("photographs",), "degradations": ("clean", "blur", "b+n", "jpeg"), "images": 2, "crop": 32}


def trained(kind: str) -> dict[int, str]:
    """The networks of the zoo that are of this kind, by seed."""
    found = ((re.fullmatch(rf"{FAMILY}-{kind}-(\d+)", name), name) for name in zoo())
    return {int(seed[1]): name for seed, name in found if seed}


def compared() -> tuple[str, ...]:
    """The networks that any variant needs and that the zoo has."""
    return tuple(
        dict.fromkeys(name for kinds in VARIANTS.values() for kind in kinds for name in trained(kind).values())
    )


def measure(
    networks: tuple[str, ...] = compared(),
    sets: tuple[str, ...] = SETS,
    degradations: tuple[str, ...] = ("all",),
    images: int = 5,
    crop: int = 128,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per variant, set and degradation, in dB of RGB: variant, dataset, degradation, gain, below, seeds.

    gain is EATS − Original over the seeds that both have (of the last variant, Original of the other seeds − of the
    first), with ends low and high by a 95% paired bootstrap over images and seeds; below is bicubic − Original. A
    variant that is not trained has one row, whose reason says so.
    """
    loaded = {name: load_network(name) for name in networks}
    scores = benchmark(loaded, sets, degradations, 4, images=images, crop=crop, seed=seed).scores
    rows = [row for variant in VARIANTS for row in _cells(variant, scores, set(networks))]
    settings = f"{FAMILY}: first {images} images of each set, crops of {crop} px; 8-bit RGB."
    return pd.DataFrame(rows).assign(settings=settings)


def _cells(variant: str, scores: pd.DataFrame, networks: set[str]) -> Iterator[dict[str, object]]:
    there = [{seed: name for seed, name in trained(kind).items() if name in networks} for kind in VARIANTS[variant]]
    both = sorted(there[0].keys() & there[1].keys())
    seeds = [(seed, both[0]) for seed in both[1:]] if variant == LUCK else [(seed, seed) for seed in both]
    if not seeds:
        lacks = [f"{FAMILY}-{kind}" for kind, of in zip(VARIANTS[variant], there, strict=True) if not of]
        yield {"variant": variant, "reason": NOT_THERE + ", ".join(lacks) if lacks else "no two trainings to compare"}
        return
    for cell, rows in scores.groupby(CELL, sort=False):
        by_network = rows.pivot(index="checkpoint", columns="image", values="psnr_rgb")
        eats, original = (
            by_network.loc[[of[seed] for seed in pair]].to_numpy()
            for of, pair in zip(there, zip(*seeds, strict=True), strict=True)
        )
        low, high = paired_bootstrap(eats - original)
        below = by_network.loc[BASELINE].mean() - original.mean()
        numbers = {"gain": (eats - original).mean(), "low": low, "high": high, "below": below, "seeds": len(seeds)}
        yield {"variant": variant, **dict(zip(CELL, cell, strict=True)), **numbers, "reason": ""}


def found(frame: pd.DataFrame) -> str:
    """What was found, in a sentence."""
    parts = []
    for variant, rows in measured(frame).groupby("variant", sort=False):
        r = in_words(correlated(rows["below"].to_numpy(), rows["gain"].to_numpy()))
        gain, seeds = f"{rows['gain'].mean():+.2f} dB".replace("-", "−"), int(rows["seeds"].max())
        signs = f"above 0 in {(rows['low'] > 0).sum()}, below in {(rows['high'] < 0).sum()}"
        trained = f"{seeds} seed{'s' * (seeds > 1)}"
        parts.append(f"{variant}: {gain} ({trained}; {signs}; r with bicubic − Original {r})")
    if not parts:
        return "No variant of EATS has its Original in the zoo: nothing to compare."
    return (
        f"EATS minus Original, mean over {len(rows)} sets and settings, by what is drawn to what: {'; '.join(parts)}."
    )


def verdict(frame: pd.DataFrame) -> str:
    """Whether erasures help without bicubic upsampling: where EATS, drawn to HR images, is clearly ahead."""
    rows = measured(frame)
    return judged(rows.loc[rows["variant"] == TO_HR, "low"] > 0)


def draw(frame: pd.DataFrame) -> Figure:
    """A panel per variant: EATS − Original against bicubic − Original, which it would equal if EATS were bicubic."""
    with styled():
        figure = Figure(figsize=(7.2, 3.9))
        panels = figure.subplots(1, len(VARIANTS))
        alike = []
        for (variant, rows), panel in zip(frame.groupby("variant", sort=False), panels, strict=True):
            if reason := reason_of(frame.assign(strategy=frame["variant"]), str(variant)):
                empty(panel, reason)
            else:
                gain_against_bicubic(panel, rows)
                alike.append(panel)
            panel.set_title(re.sub("[;,] ", ",\n", str(variant)), fontsize=8)
        for panel in alike[1:]:
            panel.sharex(alike[0])
            panel.sharey(alike[0])
        panels[0].autoscale()
        for panel in panels[1:]:
            panel.set_ylabel("")
        panels[-1].set_ylabel("other seeds − first (dB)")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=max(1, len(labels)))
    return headed(figure, found(frame), frame)


if __name__ == "__main__":
    run(__file__, measure, draw, found)
