"""`srgame train`."""

import math
import sys
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from srgame.cli.flags import SET, Device, Sharpen, Subfolders, TrainingDegradation, stop
from srgame.errors import INTERRUPTED, InputError

if TYPE_CHECKING:
    from srgame.training.patches import Batches, Patches

# Flags that only some strategies read: the strategies, the name of the option there, the default (None: theirs).
_OPTIONS: dict[str, tuple[tuple[str, ...], str, Any]] = {
    "dropout": (("dropout",), "p", 0.5),
    "eats_ratio": (("eats",), "ratio", 1.0),
    "eats_count": (("eats",), "count", 1),
    "eats_layers": (("eats",), "layers", ("all",)),
    "eats_weight": (("eats", "bicubic-pull"), "weight", 1.0),
    "eats_target": (("eats", "bicubic-pull"), "target", "bicubic"),
    "eats_teaches": (("eats",), "teaches", "all"),
    "eats_erase": (("eats",), "erase", "one"),
    "dil_rate": (("dil",), "rate", None),
}
_NOT_OF_THE_RUN = ("output", "preset", "validation", "validation_degradations", "resume", "device", "workers", "cache")


def train(
    output: Path,
    data: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(help=f"HR images to train on: {SET}.")] = None,
    patches: tuple[Path, ...] | None = None,
    preset: Literal["paper", "laptop"] = "paper",
    network: str | None = None,
    init: str | None = None,
    scale: int | None = None,
    features: int | None = None,
    blocks: int | None = None,
    strategy: Literal["original", "dropout", "eats", "bicubic-pull", "dil"] = "original",
    dropout: float | None = None,
    eats_ratio: float | None = None,
    eats_count: int | None = None,
    eats_layers: tuple[str, ...] | None = None,
    eats_weight: float | None = None,
    eats_target: Literal["bicubic", "clean bicubic", "hr"] | None = None,
    eats_teaches: Literal["all", "layer", "disruptor"] | None = None,
    eats_erase: Literal["one", "one per layer", "none"] | None = None,
    dil_rate: float | None = None,
    degradation: TrainingDegradation | None = None,
    sharpen: Sharpen = False,
    steps: int | None = None,
    batch: int | None = None,
    patch: int | None = None,
    crop: int | None = None,
    subfolders: Subfolders = False,
    cache: float = 0.25,
    pool: int = 8,
    workers: int = 0,
    learning_rate: float = 2e-4,
    ema: float = 0.0,
    bfloat16: bool = False,
    validation: str = "photographs",
    validation_degradations: tuple[str, ...] = ("clean", "blur", "noise", "jpeg"),
    save_every: int = 500,
    resume: bool = True,
    device: Device = "cpu",
    seed: int = 0,
) -> None:
    """Train a network on images.

    To train with several processes: `torchrun --standalone --nproc_per_node=2 -m srgame train ...`

    Args:
        patches: train on the patches that `srgame degrade --patches` wrote into this folder, instead of on images; they
            determine scale, patch, crop, degradation and sharpen. Several folders must differ in their degradation, and
            each step takes a batch from every one; the strategy dil needs several.
        output: folder for the weights, the log and the state of the training; a training interrupted there resumes.
        preset: length of the training and size of its batches: paper (500,000 steps of 16 patches of 128 pixels, from
            crops of 400), or laptop (20,000 steps of 8 patches of 96 pixels, from crops of 192). Other flags override
            it.
        network: architecture of the network: srresnet, rrdbnet, han or han-lite; or module:function or file.py:function
            that builds it (this imports that code). None: srresnet, or that of --init.
        init: network of the zoo, or checkpoint file, with whose weights the training starts; None: random weights. If
            srgame does not recognise the architecture, give --network too.
        scale: scale of the network; None: that of the stored patches, of --init or of your own network; otherwise 4.
        features: width of the network; None: its own default. A function of yours needs a parameter of this name.
        blocks: depth of the network; None: its own default. A function of yours needs a parameter of this name.
        strategy: what the training minimises. original: the L1 loss. dropout: the L1 loss, with channels dropped before
            the last conv layer. eats: the L1 loss and the awakening loss of an erased filter (paper, Algorithm 1).
            bicubic-pull: the L1 loss to the HR image and to bicubic upsampling; no filter is erased. dil: the L1 loss
            on one type of distortion after the other, in a copy of the network that each step then approaches (Li et
            al. 2023); the types of images are the blur, the resizes, the noise, the jpeg and all of second-order.
        dropout: probability that a channel is dropped (the paper: 0.5 for SRResNet, 0.7 for RRDBNet); None: 0.5. Only
            for the strategy dropout.
        eats_ratio: share of the layers that take part (paper, Table 6); None: 1. Only for the strategy eats.
        eats_count: number of filters erased in each step (paper, Table 7); None: 1. Only for the strategy eats.
        eats_layers: layers in which filters are erased, as `srgame layers` lists them, or: all; None: all. Only for the
            strategy eats.
        eats_weight: weight of the awakening loss (the paper's text: 1), or of the second loss of bicubic-pull; None: 1.
            Only for these two strategies.
        eats_target: target of that loss: bicubic upsampling of the degraded LR image (bicubic; the paper's text), or of
            the downsampled HR image (clean bicubic), or the HR image (hr); None: bicubic.
        eats_teaches: weights that the awakening loss trains: all, those of the layer drawn, or those of the disruptor;
            None: all. Only for the strategy eats.
        eats_erase: erase filters in one layer, in every layer, or in none, which is the control experiment; None: one.
            Only for the strategy eats.
        dil_rate: learning rate of the copy of the network; None: 1e-4. Only for the strategy dil.
        degradation: how LR images are made; None: that of the stored patches, or second-order. With the strategy dil,
            leave it out.
        steps: number of training steps; None: that of the preset.
        batch: number of patches in each step (of each folder of patches; dil: of each type), for all processes
            together; None: that of the preset.
        patch: side of an HR patch, in pixels; None: that of the stored patches or the preset.
        crop: side of the HR crop that is degraded and from which a patch is cut, in pixels; 0: the patch itself; None:
            that of the stored patches or the preset.
        cache: GiB of decoded images that each process keeps in memory; other images are decoded again for each crop.
        pool: number of successive batches whose patches are mixed.
        workers: number of processes that make patches on the CPU; 0: the training process makes them, on its device.
        learning_rate: learning rate of Adam in the first step; it is annealed to 0 along a cosine.
        ema: decay, such as 0.999, of a moving average of the weights, which is written to weights.ema.safetensors; 0:
            none is kept.
        bfloat16: compute in bfloat16 if that is safe: about twice as fast on processors that have it.
        validation: image set whose PSNR is logged each time the state is saved.
        validation_degradations: test settings under which that PSNR is measured.
        save_every: number of steps from one saved state to the next.
        resume: resume the training in the output folder, or extend a finished one of fewer steps; with --no-resume,
            a training there is an error.
        seed: seed of the initial weights, the patches and the erasures.
    """
    identity = {name: value for name, value in locals().items() if name not in _NOT_OF_THE_RUN}
    identity |= _with_defaults(strategy, {flag: identity[flag] for flag in _OPTIONS})
    from srgame.data.degradations.training import DISTORTIONS
    from srgame.data.lazy import lazy_pairs
    from srgame.devices import available, faster_in_bfloat16
    from srgame.networks import scale_of
    from srgame.training import processes
    from srgame.training.loop import PRESETS, Schedule, fit
    from srgame.training.patch_store import StoredPatches
    from srgame.training.patches import Patches, joined, moved, prefetched
    from srgame.training.state import STATES
    from srgame.training.strategies import STRATEGIES

    if (data is None) == (patches is None):
        raise InputError("a training takes images or --patches FOLDER: give one of them")
    given = {"steps": steps, "batch": batch, "patch": patch, "crop": crop}
    amount = PRESETS[preset] | {name: value for name, value in given.items() if value is not None}
    if not resume and any((output / state).exists() for state in STATES):
        raise InputError(f"'{output}' holds a training already: choose another folder, or leave out --no-resume")
    if workers < 0:
        raise InputError(f"--workers is 0 or more, not {workers}")
    own = {"scale": scale, "patch": patch, "crop": crop, "degradation": degradation, "sharpen": sharpen or None}
    kinds = DISTORTIONS if strategy == "dil" else (degradation or "second-order",)
    if patches:
        stores = _stores(patches, own)
        if strategy == "dil" and len(stores) == 1:
            raise InputError(
                "the strategy dil needs a folder of patches for each type of distortion, not only "
                f"{stores[0]['degradation']}: make more with srgame degrade --degradation, such as second-order:noise"
            )
        identity |= {"patches": stores if len(stores) > 1 else stores[0]}
        amount |= {name: stores[0][name] for name in ("patch", "crop")}
        scale = stores[0]["scale"]
    elif strategy == "dil":
        if degradation:
            raise InputError(f"dil trains on {', '.join(DISTORTIONS)}: leave out --degradation")
        identity |= {"degradation": list(kinds)}
    images = _images(data, subfolders, cache) if data else []
    size = {name: value for name, value in {"features": features, "blocks": blocks}.items() if value}
    model, start = _start(network, init, scale, size, seed)
    identity |= start
    scale = scale_of(model.eval())
    options = {option: identity[flag] for flag, (readers, option, _) in _OPTIONS.items() if strategy in readers}
    options = {option: value for option, value in options.items() if value is not None}
    if strategy == "dil":
        options["types"] = len(patches or kinds)
    if options.get("layers") == ("all",):
        options["layers"] = None
    with processes.process_group(available(device)) as place, ExitStack() as prefetching:
        if bfloat16 and not faster_in_bfloat16(device):
            warnings.warn(
                "this processor emulates bfloat16, which takes longer than float32: leave out --bfloat16", stacklevel=1
            )
        rank, count = processes.rank(), processes.count()
        share, rest = divmod(amount["batch"], count)
        if rest:
            raise InputError(f"{count} processes cannot share a batch of {amount['batch']} evenly")
        if patches:
            stored = joined([StoredPatches(folder, share, seed, rank, count) for folder in patches])
            batches = prefetching.enter_context(prefetched(moved(stored, place)))
        else:
            each = -(-workers // len(kinds))
            how = (scale, amount["patch"], share, amount["crop"], sharpen, seed, rank, "cpu" if workers else place)
            made = [_made(Patches(images, kind, *how), pool, each, place, prefetching) for kind in kinds]
            batches = joined(made)
        log = fit(
            STRATEGIES[strategy](model.to(place), **options),
            batches,
            Schedule(amount["steps"], learning_rate, save_every, bfloat16, ema),
            output,
            seed,
            {name: lazy_pairs(validation, name, scale, subfolders) for name in validation_degradations},
            identity | amount,
        )
        first = rank == 0
    if (reached := int(log["step"].iloc[-1])) < amount["steps"]:
        if first:
            stop(f"{reached} of {amount['steps']} steps are done, and the same command resumes")
        sys.exit(INTERRUPTED)
    if first:
        print(log.tail(1).T.to_string(header=False))
        print(f"weights: {output / 'weights.safetensors'}")


def _stores(folders: Sequence[Path], own: dict[str, Any]) -> list[dict[str, Any]]:
    """The settings of each store; refuses those that differ from `own` flags, or do not make one training together."""
    from srgame.training.patch_store import StoredPatches

    stores = [StoredPatches(folder).settings for folder in folders]
    for folder, store in zip(folders, stores, strict=True):
        if differ := [name for name, value in own.items() if value is not None and value != store[name]]:
            what = ", ".join(f"{name} {store[name]}" for name in differ)
            raise InputError(f"the patches in '{folder}' have {what}: leave out --{', --'.join(differ)}")
        if differ := [name for name in ("scale", "patch", "crop", "sharpen") if store[name] != stores[0][name]]:
            what = ", ".join(f"{name} {store[name]}, not {stores[0][name]}" for name in differ)
            raise InputError(f"the patches in '{folder}' have {what} as in '{folders[0]}': make them alike")
    kinds = [store["degradation"] for store in stores]
    if len(set(kinds)) < len(kinds):
        raise InputError(
            f"the folders hold patches of {', '.join(kinds)}: give one folder of each degradation, since two folders "
            "of one degradation may hold the same patches"
        )
    return stores


def _made(made: "Patches", pool: int, workers: int, place: str, prefetching: ExitStack) -> "Batches":
    """Mixed batches on the device `place`, made ahead by this process or by workers."""
    from srgame.training.patches import mixed, moved, prefetched

    batches: Batches = made
    if workers:
        batches = moved(prefetching.enter_context(prefetched(made, 2 * workers, workers)), place)
    return prefetching.enter_context(prefetched(mixed(batches, pool, made.seed), ahead=pool))


def _images(data: str, subfolders: bool, cache: float) -> Sequence[Any]:
    """The images to train on; a warning reports that they do not fit into the cache of `cache` GiB."""
    from srgame.data.images import image_paths
    from srgame.data.lazy import LazyImages

    images = LazyImages(image_paths(data, subfolders), int(cache * 2**30))
    if images.nbytes > images.cache_bytes:
        needed = math.ceil(images.nbytes / 2**30 * 100) / 100
        warnings.warn(
            f"the images in '{data}' are decoded again for each crop, which takes time, because they need "
            f"{needed:.2f} GiB and each process keeps {cache:g}: --cache {needed:.2f} keeps them all",
            stacklevel=2,
        )
    return images


def _with_defaults(strategy: str, flags: dict[str, Any]) -> dict[str, Any]:
    """The flags of _OPTIONS with their defaults for None; refuses a flag that this strategy does not read."""
    for flag, value in flags.items():
        readers = _OPTIONS[flag][0]
        if value is not None and strategy not in readers:
            given = f"--{flag.replace('_', '-')}"
            raise InputError(f"{given} belongs to the strategy {' or '.join(readers)}, not to {strategy}: leave it out")
    return {flag: _OPTIONS[flag][2] if value is None else value for flag, value in flags.items()}


def _start(
    network: str | None, init: str | None, scale: int | None, size: dict[str, int], seed: int
) -> tuple[Any, dict[str, Any]]:
    """The network with its initial weights, and what identifies them in the settings of the run."""
    from srgame.networks import fingerprint, load_network, untrained
    from srgame.training.loop import seeded

    if init is None:
        name = network or "srresnet"
        return seeded(lambda: untrained(name, scale, **size), seed), {"network": name}
    if size:
        raise InputError(f"the network in '{init}' has its own size: leave out --{' and --'.join(size)}")
    model = load_network(init, network, scale)
    return model, {"init_weights": fingerprint(model)}
