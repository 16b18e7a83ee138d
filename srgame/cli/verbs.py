"""The `srgame` command: one function per verb, whose signature is the verb's flags.

What a verb needs is imported when it runs, so that `srgame --help` answers at once.
"""

import errno
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from srgame.cli import probe as probing
from srgame.cli import train as learning
from srgame.errors import InputError

app = tyro.extras.SubcommandApp()
Positional = Annotated[str, tyro.conf.Positional]

FIRST_CHECKPOINT = "srresnet-x4-bicubic"


@app.command
def shapley(
    checkpoint: Positional = FIRST_CHECKPOINT,
    network: str | None = None,
    layers: tuple[str, ...] = ("conv_hr",),
    game: Literal["each layer", "layers", "within layers", "all filters"] = "each layer",
    dataset: str = "photographs",
    images: int | None = None,
    crop: int | None = 96,
    degradation: str = "clean",
    scale: int | None = None,
    payoff: Literal["psnr", "-mse", "-l1"] = "psnr",
    target: Literal["hr", "bicubic"] = "hr",
    ablation: Literal["zero", "mean", "noise", "donor"] = "zero",
    precision: float | None = 0.02,
    rms: float | None = None,
    seconds: float | None = 45.0,
    evaluations: int | None = None,
    antithetic: bool | None = None,
    gradients: bool | None = None,
    bfloat16: bool = False,
    confidence: float = 0.95,
    seed: int = 0,
    store: Path | None = None,
    scheduler: str | None = None,
    workers: int | None = None,
    device: str = "cpu",
    output: Path = Path("srgame-output"),
) -> None:
    """Estimate the Shapley values of a network's filters: what each one contributes to the restored image.

    Writes shapley.csv, shapley.json and shapley.png (pdf) into the output folder.

    Args:
        checkpoint: a name of the zoo, or a checkpoint file.
        network: of a checkpoint file: the architecture, or module:function that builds it (this imports that code).
        layers: conv layers, as `srgame layers` lists them, or: all.
        game: each layer: its filters play, the other layers being whole. layers: the layers are the players. within
            layers: all filters play, in orders that keep layers together (Owen values). all filters: in any order.
        dataset: photographs (embedded), a folder, a file, or a set in the folder that $SRGAME_DATA names.
        images: only the first so many images.
        crop: only the middle so many HR pixels of each image, on each side; None for whole images.
        degradation: clean, blur, noise, jpeg, b+n, b+j, n+j or b+n+j.
        scale: refuse a network of another scale.
        payoff: what a coalition of filters is worth: PSNR in dB, or a negative error.
        target: what the restored image is compared with: the HR image, or bicubic upsampling.
        absent: what an erased filter responds: nothing, its mean, noise of its mean and deviation, or another filter's.
        precision: stop when the largest standard error is this share of the range of the values.
        rms: stop when the root mean square of the standard errors is this share of the range of the values.
        seconds: stop after this time for each game.
        evaluations: stop after this number of coalitions for each game.
        antithetic: also play every order in reverse; None: where the first units show that this lowers the error.
        gradients: sample gradients, and contributions that correct them, instead of orders, which pays where many play;
            None: for all filters at once.
        bfloat16: play most orders in bfloat16, where that rounds off far less than orders differ by, which the first
            units tell; up to twice as fast on processors that have it. What is played twice to check it counts once.
        confidence: of the intervals.
        seed: of the orders.
        keep: a folder to keep what is sampled in: a run that was stopped goes on there, and one that is asked for more
            precision adds to it. It belongs to one network, image set and game.
        scheduler: of a dask cluster that computes, its address or its scheduler file; trust it as your own shell.
        workers: compute in so many processes here, each with as many threads as one alone would have.
        device: where to compute: cpu or cuda.
        output: the folder for results.
    """
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in locals().items()}
    from srgame.data.pairs import load_pairs, toward_bicubic
    from srgame.devices import available, faster_in_bfloat16
    from srgame.files import ensure_writable
    from srgame.filters import filters_of
    from srgame.networks import fingerprint, load_network, scale_of
    from srgame.provenance import provenance, save_frame
    from srgame.report.figures import shapley_bars
    from srgame.report.style import save_figure
    from srgame.report.tables import shapley_table
    from srgame.shapley.audit import network_values
    from srgame.shapley.until import Until

    ensure_writable(output)
    model = load_network(checkpoint, network, scale)
    if bfloat16 and not scheduler and not faster_in_bfloat16(available(device)):
        raise InputError("this processor imitates bfloat16, which takes longer than float32: leave --bfloat16 out")
    if "all" in layers and len(layers) > 1:
        raise InputError("'all' are all layers already: name no other beside it")
    filters = filters_of(model, None if layers == ("all",) else layers)
    pairs = load_pairs(dataset, degradation, scale_of(model), images, crop)
    print(f"{checkpoint}: {len(filters)} filters of {', '.join(filters.layers)}")
    print(f"on {', '.join(pairs.names)} ({degradation}); worth: {payoff} against {target}")
    with _executor(scheduler, workers, device) as executor:
        values = network_values(
            model if scheduler or workers else model.to(available(device)),
            filters,
            toward_bicubic(pairs) if target == "bicubic" else pairs,
            until=Until(precision, evaluations, seconds, rms),
            game=game,
            seed=seed,
            antithetic=antithetic,
            gradients=gradients,
            confidence=confidence,
            progress=True,
            store=store,
            executor=executor,
            payoff=payoff,
            ablation=ablation,
            bfloat16=bfloat16,
        )
    unit = "dB" if payoff == "psnr" else ""
    print(shapley_table(values, unit, confidence))
    written = save_frame(
        output / "shapley", values, provenance(settings, weights=fingerprint(model), images=pairs.names)
    )
    written += save_figure(output / "shapley", shapley_bars(values, unit))
    print("written:", *written)


@contextmanager
def _executor(scheduler: str | None, workers: int | None, device: str) -> Iterator[Any]:
    """This process, or the workers of a cluster."""
    if scheduler is None and workers is None:
        from srgame.shapley.audit import in_process

        yield in_process
        return
    from srgame.shapley.cluster import connected

    with connected(scheduler, workers, device) as cluster:
        yield cluster.executor


@app.command
def interactions(
    checkpoint: Positional = FIRST_CHECKPOINT,
    network: str | None = None,
    layer: str = "conv_hr",
    filters: tuple[int, ...] = (),
    dataset: str = "photographs",
    images: int | None = None,
    crop: int | None = 48,
    degradation: str = "clean",
    scale: int | None = None,
    payoff: Literal["psnr", "-mse", "-l1"] = "psnr",
    ablation: Literal["zero", "mean", "noise", "donor"] = "zero",
    index: Literal["shapley", "banzhaf"] = "shapley",
    precision: float = 0.02,
    seconds: float | None = 90.0,
    evaluations: int | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    device: str = "cpu",
    output: Path = Path("srgame-output"),
) -> None:
    """Estimate how the filters of a layer interact in pairs: which are interchangeable, which co-adapted.

    Negative: either filter will do. Positive: the one is useful only with the other. Writes interactions.csv,
    interactions.json and interactions.png (pdf) into the output folder.

    Args:
        checkpoint: a name of the zoo, or a checkpoint file.
        network: of a checkpoint file: the architecture, or module:function that builds it (this imports that code).
        layer: a conv layer, as `srgame layers` lists them.
        filters: only pairs of these filters of the layer, by default of all; all of them play.
        dataset: photographs (embedded), a folder, a file, or a set in the folder that $SRGAME_DATA names.
        images: only the first so many images.
        crop: only the middle so many HR pixels of each image, on each side; None for whole images.
        degradation: clean, blur, noise, jpeg, b+n, b+j, n+j or b+n+j.
        scale: refuse a network of another scale.
        payoff: what a coalition of filters is worth: PSNR in dB, or a negative error.
        absent: what an erased filter responds: nothing, its mean, noise of its mean and deviation, or another filter's.
        index: whether all sizes of coalitions count the same (shapley) or all coalitions (banzhaf).
        precision: stop when the largest standard error is this share of the range of the interactions.
        seconds: stop after this time, but not before there is an error bar.
        evaluations: stop after this number of coalitions.
        confidence: of the intervals.
        seed: of the coalitions.
        device: where to compute: cpu or cuda.
        output: the folder for results.
    """
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in locals().items()}
    from itertools import combinations

    from srgame.data.pairs import load_pairs
    from srgame.devices import available
    from srgame.files import ensure_writable
    from srgame.filters import filters_of
    from srgame.networks import fingerprint, load_network, scale_of
    from srgame.provenance import provenance, save_frame
    from srgame.report.figures import interaction_matrix
    from srgame.report.style import save_figure
    from srgame.report.tables import interaction_table
    from srgame.shapley.game import RestorationGame
    from srgame.shapley.interactions import pair_interactions
    from srgame.shapley.until import Until

    ensure_writable(output)
    model = load_network(checkpoint, network, scale).to(available(device))
    pairs = load_pairs(dataset, degradation, scale_of(model), images, crop)
    game = RestorationGame(model, filters_of(model, [layer]), pairs, payoff, ablation)
    of_filters = list(combinations(filters, 2)) if filters else None
    print(f"{checkpoint}: {layer} on {', '.join(pairs.names)} ({degradation}); worth: {payoff}")
    until = Until(precision, evaluations, seconds)
    found = pair_interactions(game, of_filters, until=until, index=index, seed=seed, progress=True)
    how = {h: getattr(found, h) for h in ("replicates", "evaluations", "relative_stderr", "ended")}
    values = found.frame(confidence).assign(layer=layer, **how)
    unit = "dB" if payoff == "psnr" else ""
    print(interaction_table(values, unit, confidence))
    source = provenance(settings, weights=fingerprint(model), images=pairs.names)
    written = save_frame(output / "interactions", values, source)
    written += save_figure(output / "interactions", interaction_matrix(values, unit))
    print("written:", *written)


@app.command
def layers(checkpoint: Positional = FIRST_CHECKPOINT, network: str | None = None, scale: int | None = None) -> None:
    """List the conv layers of a network and how many filters each has.

    Args:
        checkpoint: a name of the zoo, or a checkpoint file.
        network: of a checkpoint file: the architecture, or module:function that builds it (this imports that code).
        scale: refuse a network of another scale.
    """
    from srgame.filters import filters_of
    from srgame.networks import load_network

    filters = filters_of(load_network(checkpoint, network, scale))
    for layer, width in zip(filters.layers, filters.widths, strict=True):
        print(f"{layer:24} {width:6,}")
    print(f"{len(filters.layers)} layers, {len(filters):,} filters")


@app.command
def evaluate(
    checkpoints: Annotated[tuple[str, ...], tyro.conf.Positional] = (FIRST_CHECKPOINT,),
    network: str | None = None,
    sets: tuple[str, ...] = ("photographs",),
    degradations: tuple[str, ...] = ("all",),
    images: int | None = None,
    crop: int | None = None,
    scale: int | None = None,
    tile: int | None = None,
    overlap: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    output: Path = Path("srgame-output"),
) -> None:
    """Measure PSNR and SSIM of networks, beside bicubic upsampling, on image sets under the eight test settings.

    The output folder keeps benchmark.csv, a row per image, and benchmark.json. The same command continues where it was
    interrupted; with more checkpoints, sets or settings it measures those only. As in SR tables, values are rounded to
    8 bits and a border of `scale` pixels is cut.

    Args:
        checkpoints: names of the zoo, or checkpoint files, all of one scale.
        network: of checkpoint files: the architecture, or module:function that builds it (this imports that code).
        sets: photographs (embedded), folders, files, or sets in the folder that $SRGAME_DATA names.
        degradations: clean, blur, noise, jpeg, b+n, b+j, n+j, b+n+j, or: all.
        images: only the first so many images of each set.
        crop: only the middle so many HR pixels of each image, on each side.
        scale: refuse networks of another scale.
        tile: LR pixels a side of the largest image that is restored at once; None for what memory allows. Larger images
            are restored in tiles, which overlap by the network's reach, so that the result is the same.
        overlap: of tiles, in LR pixels: fewer than the network's reach are faster, and an approximation.
        seed: of the noise.
        device: where to compute: cpu or cuda.
        output: the folder for results.
    """
    from srgame.devices import available
    from srgame.evaluation.benchmark import benchmark
    from srgame.files import ensure_writable
    from srgame.networks import load_network, zoo
    from srgame.report.tables import score_table

    ensure_writable(output)
    place = available(device)
    networks = {name: load_network(name, None if name in zoo() else network, scale).to(place) for name in checkpoints}
    options = {"images": images, "crop": crop, "tile": tile, "overlap": overlap, "seed": seed}
    try:
        measured = benchmark(networks, sets, degradations, scale, output, progress=True, **options)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        print("srgame: interrupted: the same command continues", file=sys.stderr)
        sys.exit(130)
    print(score_table(measured.scores, measured.missing))
    print(f"written: {output / 'benchmark.csv'} {output / 'benchmark.json'}")


app.command(learning.train)
app.command(learning.degrade)
app.command(probing.app, name="probe", help="Look at what the channels of one or more networks do.")


def main() -> None:
    """The command line: a user's mistake, or a machine's limit, is one sentence and exit status 2."""
    warnings.showwarning = _note  # type: ignore[assignment]
    try:
        app.cli(prog="srgame", description="Audits a super-resolution network as a cooperative game.")
    except InputError as error:
        sentence = str(error)
    except Exception as error:
        sentence = _limit(error)
    else:
        return
    print(f"srgame: {_one_line(sentence)}", file=sys.stderr)
    sys.exit(2)


def _limit(error: Exception) -> str:
    """What of the machine is used up; raises the error itself where that is not why."""
    from srgame.devices import out_of_memory

    if out_of_memory(error):
        return "memory does not hold this: crop the images, take smaller batches, or free memory"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS):
        return f"nothing can be written any more ({error.strerror}): free space, and the same command goes on"
    raise error


def _note(message: Warning | str, *_: Any) -> None:
    print(f"srgame: note: {_one_line(str(message))}", file=sys.stderr)


def _one_line(text: str) -> str:
    """The text with its control characters spelt out: a name from a file may hold any."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
