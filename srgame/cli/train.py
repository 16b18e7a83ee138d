"""`srgame train`."""

import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from srgame.cli.flags import SET, Device, Sharpen
from srgame.errors import InputError

_NOT_OF_THE_RUN = ("output", "preset", "validation", "validation_degradations", "resume", "device", "workers")


def train(
    output: Path,
    data: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(help=f"HR images to train on: {SET}.")] = None,
    patches: Path | None = None,
    preset: Literal["paper", "laptop"] = "paper",
    network: str = "srresnet",
    scale: int | None = None,
    features: int | None = None,
    blocks: int | None = None,
    strategy: Literal["original", "dropout", "eats", "bicubic-pull"] = "original",
    dropout: float = 0.5,
    eats_ratio: float = 1.0,
    eats_count: int = 1,
    eats_layers: tuple[str, ...] = ("all",),
    eats_weight: float = 1.0,
    eats_target: Literal["bicubic", "clean bicubic", "hr"] = "bicubic",
    eats_teaches: Literal["all", "layer", "disruptor"] = "all",
    eats_erase: Literal["one", "one per layer", "none"] = "one",
    degradation: Literal["bicubic", "second-order", "bsrgan"] | None = None,
    sharpen: Sharpen = False,
    steps: int | None = None,
    batch: int | None = None,
    patch: int | None = None,
    crop: int | None = None,
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
            determine scale, patch, crop, degradation and sharpen.
        output: folder for the weights, the log and the state of the training; a training interrupted there resumes.
        preset: length of the training and size of its batches: paper (500,000 steps of 16 patches of 128 pixels, from
            crops of 400), or laptop (20,000 steps of 8 patches of 96 pixels, from crops of 192). Other flags override
            it.
        network: architecture of the network: srresnet, rrdbnet, han or han-lite; or module:function or file.py:function
            that builds it (this imports that code).
        scale: scale of the network; None: that of the stored patches, or 4, or that of the network that you build.
        features: width of the network; None: its own default. Your function has to take it.
        blocks: depth of the network; None: its own default. Your function has to take it.
        strategy: what the training minimises. original: the L1 loss. dropout: the L1 loss, with channels dropped before
            the last conv layer. eats: the L1 loss and the awakening loss of an erased filter (paper, Algorithm 1).
            bicubic-pull: the L1 loss to the HR image and to bicubic upsampling; no filter is erased.
        dropout: probability that a channel is dropped (the paper: 0.5 for SRResNet, 0.7 for RRDBNet).
        eats_ratio: share of the layers that take part (paper, Table 6).
        eats_count: number of filters erased in each step (paper, Table 7).
        eats_layers: layers in which filters are erased, as `srgame layers` lists them, or: all.
        eats_weight: weight of the awakening loss (the paper's text: 1), or of the second loss of bicubic-pull.
        eats_target: target of that loss: bicubic upsampling of the degraded LR image (bicubic; the paper's text), or of
            the downsampled HR image (clean bicubic), or the HR image (hr).
        eats_teaches: weights that the awakening loss trains: all, those of the layer drawn, or those of the disruptor.
        eats_erase: erase filters in one layer, in every layer, or in none, which is the control experiment.
        degradation: how LR images are made; None: that of the stored patches, or second-order.
        steps: number of training steps; None: that of the preset.
        batch: number of patches in each step, for all processes together; None: that of the preset.
        patch: side of an HR patch, in pixels; None: that of the stored patches or the preset.
        crop: side of the HR crop that is degraded and from which a patch is cut, in pixels; 0: the patch itself; None:
            that of the stored patches or the preset.
        pool: number of successive batches whose patches are mixed.
        workers: number of processes that make patches on the CPU; 0: the training process makes them, on its device.
        learning_rate: learning rate of Adam in the first step; it is annealed to 0 along a cosine.
        ema: decay, such as 0.999, of a moving average of the weights, which is written to weights.ema.safetensors; 0:
            none is kept.
        bfloat16: compute in bfloat16 where that is safe: about twice as fast on processors that have it.
        validation: image set whose PSNR is logged each time the state is saved.
        validation_degradations: test settings under which that PSNR is measured.
        save_every: number of steps from one saved state to the next.
        resume: resume the training in the output folder; with --no-resume, a training there is an error.
        seed: seed of the initial weights, the patches and the erasures.
    """
    identity = {name: value for name, value in locals().items() if name not in _NOT_OF_THE_RUN}
    from srgame.data.images import image_paths, read_rgb
    from srgame.data.pairs import load_pairs
    from srgame.devices import available, faster_in_bfloat16
    from srgame.networks import scale_of, untrained
    from srgame.training import processes
    from srgame.training.loop import PRESETS, Schedule, fit, seeded
    from srgame.training.patch_store import StoredPatches
    from srgame.training.patches import Batches, Patches, mixed, moved, prefetched
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
    if patches:
        store = StoredPatches(patches, seed=seed).settings
        if differ := [name for name, value in own.items() if value is not None and value != store[name]]:
            what = ", ".join(f"{name} {store[name]}" for name in differ)
            raise InputError(f"the patches in '{patches}' have {what}: leave out --{', --'.join(differ)}")
        identity |= {"patches": store}
        amount |= {name: store[name] for name in ("patch", "crop")}
    images = [read_rgb(path) for path in image_paths(data)] if data else []
    wanted = store["scale"] if patches else scale
    model = seeded(lambda: untrained(network, wanted, features=features, blocks=blocks), seed)
    scale = wanted or scale_of(model.eval())
    awakening = {"weight": eats_weight, "target": eats_target}
    options: dict[str, dict[str, Any]] = {
        "dropout": {"p": dropout},
        "bicubic-pull": awakening,
        "eats": {
            "layers": None if eats_layers == ("all",) else eats_layers,
            "ratio": eats_ratio,
            "count": eats_count,
            "teaches": eats_teaches,
            "erase": eats_erase,
            **awakening,
        },
    }
    with processes.process_group(available(device)) as place, ExitStack() as prefetching:
        if bfloat16 and not faster_in_bfloat16(device):
            warnings.warn(
                "this processor emulates bfloat16, which takes longer than float32: leave out --bfloat16", stacklevel=1
            )
        rank, count = processes.rank(), processes.count()
        share, rest = divmod(amount["batch"], count)
        if rest:
            raise InputError(f"{count} processes cannot share a batch of {amount['batch']} evenly")
        batches: Batches
        if patches:
            stored = moved(StoredPatches(patches, share, seed, rank, count), place)
            batches = prefetching.enter_context(prefetched(stored))
        else:
            made: Batches = Patches(
                images,
                degradation or "second-order",
                scale,
                amount["patch"],
                share,
                amount["crop"],
                sharpen,
                seed,
                rank,
                "cpu" if workers else place,
            )
            if workers:
                made = moved(prefetching.enter_context(prefetched(made, 2 * workers, workers)), place)
            batches = prefetching.enter_context(prefetched(mixed(made, pool, seed), ahead=pool))
        log = fit(
            STRATEGIES[strategy](model.to(place), **options.get(strategy, {})),
            batches,
            Schedule(amount["steps"], learning_rate, save_every, bfloat16, ema),
            output,
            seed,
            {name: load_pairs(validation, name, scale) for name in validation_degradations},
            identity | amount,
        )
        first = rank == 0
    if (reached := int(log["step"].iloc[-1])) < amount["steps"]:
        if first:
            print(f"srgame: stopped at step {reached} of {amount['steps']}: the same command resumes", file=sys.stderr)
        sys.exit(130)
    if first:
        print(log.tail(1).T.to_string(header=False))
        print(f"weights: {output / 'weights.safetensors'}")
