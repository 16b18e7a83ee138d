"""`srgame evaluate`."""

from typing import Annotated

import tyro

from srgame.cli.flags import (
    FIRST_CHECKPOINT,
    SETTINGS,
    Architectures,
    Convention,
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

CONVENTION = Convention()


def evaluate(
    output: Output,
    checkpoints: Annotated[tuple[str, ...], tyro.conf.Positional] = (FIRST_CHECKPOINT,),
    network: Architectures = ("auto",),
    strict: Strict = True,
    sets: ImageSets = ("photographs",),
    degradations: Annotated[tuple[str, ...], tyro.conf.arg(help=f"one or more of {SETTINGS}; or: all.")] = ("all",),
    lr: RealLR = None,
    hr: RealHR = None,
    images: ImageCount = None,
    subfolders: Subfolders = False,
    crop: Crop = None,
    scale: Scale = None,
    convention: Convention = CONVENTION,
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
    from srgame.cli.comparison import architectures_of, labels, real_pairs
    from srgame.cli.loading import loaded
    from srgame.devices import available
    from srgame.evaluation.benchmark import benchmark
    from srgame.files import ensure_writable
    from srgame.networks import zoo
    from srgame.report.tables import score_table

    folder, device = output.output, available(output.device)
    real = real_pairs(lr, hr, sets=sets, degradations=degradations, seed=seed)
    ensure_writable(folder)
    each = zip(labels(checkpoints), checkpoints, architectures_of(network, len(checkpoints)), strict=True)
    models = {
        label: loaded(name, None if name in zoo() else architecture, scale, strict, convention).to(device)
        for label, name, architecture in each
    }
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
