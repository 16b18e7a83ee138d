"""`srgame evaluate`."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import tyro

from srgame.cli.flags import (
    FIRST_CHECKPOINT,
    PHOTOGRAPHS,
    SETTINGS,
    Architectures,
    Convention,
    Conventions,
    Crop,
    ImageCount,
    ImageSets,
    Output,
    RealHR,
    RealLR,
    Scale,
    Strict,
    Subfolders,
    stop,
)
from srgame.errors import InputError

if TYPE_CHECKING:
    from srgame.data.pairs import Pairs

CONVENTION = Convention()


def evaluate(
    output: Output,
    checkpoints: Annotated[tuple[str, ...], tyro.conf.Positional] = (FIRST_CHECKPOINT,),
    network: Architectures = ("auto",),
    strict: Strict = True,
    sets: ImageSets = (PHOTOGRAPHS,),
    degradations: Annotated[tuple[str, ...], tyro.conf.arg(help=f"one or more of {SETTINGS}; or: all.")] = ("all",),
    lr: RealLR = None,
    hr: RealHR = None,
    images: ImageCount = None,
    subfolders: Subfolders = False,
    crop: Crop = None,
    scale: Scale = None,
    convention: Convention = CONVENTION,
    conventions: Conventions = (),
    tile: int | None = None,
    overlap: int | None = None,
    seed: int = 0,
) -> None:
    """Measure PSNR and SSIM of networks, and of bicubic upsampling, on image sets under the eight test settings.

    --lr and --hr name real pairs, which are measured instead.

    Writes benchmark.csv, one row per image, and benchmark.json into the output folder. The same command resumes after
    an interruption; a command with more checkpoints, sets or settings measures only what is new. As in the tables of SR
    papers, pixel values are rounded to 8 bits, and a border of `scale` pixels is cut off.

    Args:
        checkpoints: one or more networks of the same scale: names in the zoo, checkpoint files, or folders that hold
            one.
        tile: side of the largest LR image that is restored at once, in pixels; None: what fits into memory. A larger
            image is restored in overlapping tiles; the result is the same.
        overlap: overlap of the tiles, in LR pixels; None: the reach of the network. A smaller overlap is faster, but
            then the result is an approximation.
        seed: seed of the noise.
    """
    from srgame.cli.comparison import labels, real_pairs
    from srgame.cli.loading import architectures_of, conventions_of, judge, loaded
    from srgame.devices import available
    from srgame.evaluation.benchmark import benchmark, common_scale
    from srgame.files import ensure_writable
    from srgame.networks import zoo
    from srgame.report.tables import score_table

    folder, device = output.output, available(output.device)
    real = real_pairs(lr, hr, sets=sets, degradations=degradations, seed=seed)
    ensure_writable(folder)
    architectures = architectures_of(network, len(checkpoints))
    own = conventions_of(convention, conventions, len(checkpoints))
    models = {
        label: loaded(name, None if name in zoo() else architecture, scale, strict, convention).to(device)
        for label, name, architecture, convention in zip(
            labels(checkpoints), checkpoints, architectures, own, strict=True
        )
    }
    scale = common_scale(models, scale)
    if pairs := _first_pairs(real, sets, degradations, scale, images, crop, subfolders):
        for name, model in zip(checkpoints, models.values(), strict=True):
            judge(name, model, pairs)
    try:
        measured = benchmark(
            models,
            () if real else sets,
            degradations,
            scale,
            folder,
            images=images,
            crop=crop,
            tile=tile,
            overlap=overlap,
            seed=seed,
            progress=True,
            subfolders=subfolders,
            real=real,
        )
    except KeyboardInterrupt:
        stop("the same command resumes")
    print(score_table(measured.scores, measured.missing))
    print(f"written: {folder / 'benchmark.csv'} {folder / 'benchmark.json'}")


def _first_pairs(
    real: tuple[str, str] | None,
    sets: Sequence[str],
    degradations: Sequence[str],
    scale: int,
    images: int | None,
    crop: int | None,
    subfolders: bool,
) -> "Pairs | None":
    """A few of the user's own pairs that are to be measured, from the first set that is there."""
    from srgame.data.pairs import load_pairs, paired
    from srgame.networks.advice import FEW

    count = min(images or FEW, FEW)
    if real:
        return paired(*real, scale, count, crop, subfolders)
    setting = degradations[0] if degradations and degradations[0] != "all" else "clean"
    setting = "noise" if setting == "clean" and scale == 1 else setting  # clean images of scale 1 are their own HR
    for name in filter(PHOTOGRAPHS.__ne__, sets):
        with suppress(InputError):  # the benchmark reports it
            return load_pairs(name, setting, scale, count, crop, subfolders=subfolders)
    return None
