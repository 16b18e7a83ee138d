"""The `srgame` command: one function per verb, whose signature is the verb's flags.

What a verb needs is imported when it runs, so that `srgame --help` answers at once.
"""

import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from srgame import probing
from srgame.errors import InputError

app = tyro.extras.SubcommandApp()
app.command(probing.app, name="probe", help="Look at what the channels of one or more networks do.")
Positional = Annotated[str, tyro.conf.Positional]

FIRST_CHECKPOINT = "srresnet-x4-bicubic"
_NOT_OF_THE_RUN = ("output", "preset", "validation", "validation_degradations", "resume", "device")


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
    absent: Literal["zero", "mean", "noise", "donor"] = "zero",
    precision: float | None = 0.02,
    rms: float | None = None,
    seconds: float | None = 45.0,
    evaluations: int | None = None,
    antithetic: bool | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    keep: Path | None = None,
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
        confidence: of the intervals.
        seed: of the orders.
        keep: a folder to keep what is sampled in: a run that was stopped goes on there, and one that is asked for more
            precision adds to it. It belongs to one network, image set and game.
        device: where to compute: cpu or cuda.
        output: the folder for results.
    """
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in locals().items()}
    from srgame.audit import network_values
    from srgame.devices import available
    from srgame.files import writable
    from srgame.filters import filters_of
    from srgame.networks import fingerprint, load_network, scale_of
    from srgame.pairs import load_pairs, toward_bicubic
    from srgame.pictures import shapley_bars
    from srgame.results import provenance, save_figure, save_frame
    from srgame.tables import shapley_table
    from srgame.until import Until

    writable(output)
    model = load_network(checkpoint, network, scale).to(available(device))
    if "all" in layers and len(layers) > 1:
        raise InputError("'all' are all layers already: name no other beside it")
    filters = filters_of(model, None if layers == ("all",) else layers)
    pairs = load_pairs(dataset, degradation, scale_of(model), images, crop)
    print(f"{checkpoint}: {len(filters)} filters of {', '.join(filters.layers)}")
    print(f"on {len(pairs)} images: {', '.join(pairs.names)} ({degradation}); worth: {payoff} against {target}")
    values = network_values(
        model,
        filters,
        toward_bicubic(pairs) if target == "bicubic" else pairs,
        until=Until(precision, evaluations, seconds, rms),
        game=game,
        seed=seed,
        antithetic=antithetic,
        confidence=confidence,
        progress=True,
        keep=keep,
        payoff=payoff,
        absent=absent,
    )
    unit = "dB" if payoff == "psnr" else ""
    print(shapley_table(values, unit, confidence))
    written = save_frame(
        output / "shapley", values, provenance(settings, weights=fingerprint(model), images=pairs.names)
    )
    written += save_figure(output / "shapley", shapley_bars(values, unit))
    print("written:", *written)


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
    absent: Literal["zero", "mean", "noise", "donor"] = "zero",
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

    from srgame.devices import available
    from srgame.files import writable
    from srgame.filters import filters_of
    from srgame.game import RestorationGame
    from srgame.interactions import pair_interactions
    from srgame.networks import fingerprint, load_network, scale_of
    from srgame.pairs import load_pairs
    from srgame.pictures import interaction_matrix
    from srgame.results import provenance, save_figure, save_frame
    from srgame.tables import interaction_table
    from srgame.until import Until

    writable(output)
    model = load_network(checkpoint, network, scale).to(available(device))
    pairs = load_pairs(dataset, degradation, scale_of(model), images, crop)
    game = RestorationGame(model, filters_of(model, [layer]), pairs, payoff, absent)
    of_filters = list(combinations(filters, 2)) if filters else None
    print(f"{checkpoint}: {layer} on {len(pairs)} images: {', '.join(pairs.names)} ({degradation}); worth: {payoff}")
    until = Until(precision, evaluations, seconds)
    found = pair_interactions(game, of_filters, until=until, index=index, seed=seed, progress=True)
    how = {h: getattr(found, h) for h in ("units", "evaluations", "precision", "ended")}
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
def train(
    data: Positional,
    output: Path,
    preset: Literal["paper", "laptop"] = "paper",
    network: Literal["srresnet", "rrdbnet", "han", "han-lite"] = "srresnet",
    scale: int = 4,
    features: int | None = None,
    blocks: int | None = None,
    strategy: Literal["original", "dropout", "eats", "bicubic-pull"] = "original",
    dropout: float = 0.5,
    eats_ratio: float = 1.0,
    eats_count: int = 1,
    eats_toward: Literal["bicubic", "hr"] = "bicubic",
    eats_layers: tuple[str, ...] = ("all",),
    degradation: Literal["bicubic", "second-order", "bsrgan"] = "second-order",
    sharpen: bool = False,
    steps: int | None = None,
    batch: int | None = None,
    patch: int | None = None,
    crop: int | None = None,
    pool: int = 8,
    learning_rate: float = 2e-4,
    ema: float = 0.0,
    bfloat16: bool = False,
    validation: str = "photographs",
    validation_degradations: tuple[str, ...] = ("clean", "blur", "noise", "jpeg"),
    save_every: int = 500,
    resume: bool = True,
    device: str = "cpu",
    seed: int = 0,
) -> None:
    """Train a network on a folder of images.

    Several processes train together as `torchrun --standalone --nproc_per_node=2 -m srgame train ...` starts them.

    Args:
        data: a folder of images, or the name of a set in the folder that $SRGAME_DATA names.
        output: the folder for weights, log and state; a run that was stopped there is resumed.
        preset: how long, and on how much at a time: paper (500,000 steps of 16 patches of 128 pixels, from crops of
            400), or laptop (20,000 of 8 of 96, from crops of 192). Flags override it.
        network: the architecture.
        scale: how much larger than the LR image the SR image is.
        features: the network's width, by default its own.
        blocks: the network's depth, by default its own.
        strategy: what is minimised. original: L1. dropout: L1, channels dropped before the last conv. eats: L1, and an
            erased filter is awakened (paper, Algorithm 1). bicubic-pull: L1 to HR and to bicubic, nothing erased.
        dropout: how probably a channel is dropped (the paper: 0.5 for SRResNet, 0.7 for RRDBNet).
        eats_ratio: the share of layers that take part (paper, Table 6).
        eats_count: how many filters are erased in a step (paper, Table 7).
        eats_toward: what the erased network is drawn to.
        eats_layers: the layers to erase in, as `srgame layers` lists them, or: all.
        degradation: how LR images are made.
        sharpen: sharpen HR images first, as Real-ESRGAN and Reflash Dropout do.
        steps: the number of steps of Adam.
        batch: patches per step, of all processes together.
        patch: side of an HR patch, in pixels.
        crop: HR pixels a side of what is degraded before a patch is cut from it; 0 for the patch.
        pool: mix the patches of so many successive batches.
        learning_rate: at the first step; annealed to 0 along a cosine.
        ema: also keep a moving average of the weights, decayed by this factor (0.999), in weights.ema.safetensors.
        bfloat16: compute in bfloat16 where that is safe: about twice as fast on processors that have it.
        validation: the image set whose PSNR is logged whenever the state is saved.
        validation_degradations: under which of the eight settings it is.
        save_every: steps from one saved state to the next.
        resume: go on with the run in the output folder; with --no-resume a folder with a run in it is refused.
        device: where to compute: cpu or cuda.
        seed: of initial weights, patches and erasures.
    """
    identity = {name: value for name, value in locals().items() if name not in _NOT_OF_THE_RUN}
    from srgame import processes
    from srgame.devices import available
    from srgame.images import image_paths, read_rgb
    from srgame.networks import NETWORKS
    from srgame.pairs import load_pairs
    from srgame.patches import Patches, mixed, prefetched
    from srgame.states import STATES
    from srgame.strategies import STRATEGIES
    from srgame.training import PRESETS, Schedule, fit, seeded

    given = {"steps": steps, "batch": batch, "patch": patch, "crop": crop}
    amount = PRESETS[preset] | {name: value for name, value in given.items() if value is not None}
    if not resume and (output / STATES[0]).exists():
        raise InputError(f"'{output}' holds a run already: train elsewhere, or leave out --no-resume")
    images = [read_rgb(path) for path in image_paths(data)]
    size = {name: value for name, value in {"features": features, "blocks": blocks}.items() if value}
    model = seeded(lambda: NETWORKS[network](scale=scale, **size), seed)
    options: dict[str, dict[str, Any]] = {
        "dropout": {"p": dropout},
        "eats": {
            "layers": None if eats_layers == ("all",) else eats_layers,
            "ratio": eats_ratio,
            "count": eats_count,
            "toward": eats_toward,
        },
    }
    with processes.joined(available(device)) as place:
        share, rest = divmod(amount["batch"], processes.count())
        if rest:
            raise InputError(f"{processes.count()} processes cannot share a batch of {amount['batch']} evenly")
        patches = Patches(
            images, degradation, scale, amount["patch"], share, amount["crop"], sharpen, seed, processes.rank(), place
        )
        log = fit(
            STRATEGIES[strategy](model.to(place), **options.get(strategy, {})),
            prefetched(mixed(patches, pool, seed), ahead=pool),
            Schedule(amount["steps"], learning_rate, save_every, bfloat16, ema),
            output,
            seed,
            {name: load_pairs(validation, name, scale) for name in validation_degradations},
            identity | amount,
        )
        first = processes.rank() == 0
    if (reached := int(log["step"].iloc[-1])) < amount["steps"]:
        if first:
            print(f"srgame: stopped at step {reached} of {amount['steps']}: the same command resumes", file=sys.stderr)
        sys.exit(130)
    if first:
        print(log.tail(1).T.to_string(header=False))
        print(f"weights: {output / 'weights.safetensors'}")


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
            are restored in tiles, which overlap so far that the result is the same.
        overlap: of tiles, in LR pixels: fewer than the network's reach are faster, and an approximation.
        seed: of the noise.
        device: where to compute: cpu or cuda.
        output: the folder for results.
    """
    from srgame.benchmarks import benchmark
    from srgame.devices import available
    from srgame.files import writable
    from srgame.networks import load_network, zoo
    from srgame.tables import score_table

    writable(output)
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


@app.command
def degrade(
    data: Positional,
    output: Path,
    degradation: Literal["bicubic", "second-order", "bsrgan"] = "second-order",
    scale: int = 4,
    sharpen: bool = False,
    seed: int = 0,
) -> None:
    """Write the LR images of an image set as training sees them, and a manifest of all that was drawn.

    Args:
        data: photographs (embedded), a folder, a file, or a set in the folder that $SRGAME_DATA names.
        output: the folder for the LR images and manifest.json.
        degradation: how LR images are made.
        scale: how much smaller they are.
        sharpen: sharpen HR images first, as Real-ESRGAN and Reflash Dropout do.
        seed: of all that is drawn.
    """
    from srgame.degradations.folder import degrade_set

    written = degrade_set(data, output, degradation, scale, sharpen, seed)
    print(f"written: {len(written) - 1} LR images, {written[-1]}")


def main() -> None:
    """The command line: a user's mistake is one sentence and exit status 2."""
    warnings.showwarning = _one_sentence  # type: ignore[assignment]
    try:
        app.cli(prog="srgame", description="Audits a super-resolution network as a cooperative game.")
    except InputError as error:
        print(f"srgame: {error}", file=sys.stderr)
        sys.exit(2)


def _one_sentence(message: Warning | str, *_: Any) -> None:
    print(f"srgame: note: {message}", file=sys.stderr)
