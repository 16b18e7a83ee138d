"""The verbs of the `srgame` command that make networks: train, and degrade, which shows what training sees."""

import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from srgame.errors import InputError

Positional = Annotated[str, tyro.conf.Positional]
_NOT_OF_THE_RUN = ("output", "preset", "validation", "validation_degradations", "resume", "device", "workers")


def train(
    output: Path,
    data: Annotated[str | None, tyro.conf.Positional] = None,
    patches: Path | None = None,
    preset: Literal["paper", "laptop"] = "paper",
    network: Literal["srresnet", "rrdbnet", "han", "han-lite"] = "srresnet",
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
    sharpen: bool = False,
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
    device: str = "cpu",
    seed: int = 0,
) -> None:
    """Train a network on a folder of images.

    Several processes train together as `torchrun --standalone --nproc_per_node=2 -m srgame train ...` starts them.

    Args:
        data: a folder of images, or the name of a set in the folder that $SRGAME_DATA names.
        patches: train on the patches that `srgame degrade --patches` wrote into this folder, in place of images; scale,
            patch and degradation are theirs.
        output: the folder for weights, log and state; a run that was stopped there is resumed.
        preset: how long, and on how much at a time: paper (500,000 steps of 16 patches of 128 pixels, from crops of
            400), or laptop (20,000 of 8 of 96, from crops of 192). Flags override it.
        network: the architecture.
        scale: how much larger than the LR image the SR image is; by default 4, or that of the stored patches.
        features: the network's width, by default its own.
        blocks: the network's depth, by default its own.
        strategy: what is minimised. original: L1. dropout: L1, channels dropped before the last conv. eats: L1, and an
            erased filter is awakened (paper, Algorithm 1). bicubic-pull: L1 to HR and to bicubic, nothing erased.
        dropout: how probably a channel is dropped (the paper: 0.5 for SRResNet, 0.7 for RRDBNet).
        eats_ratio: the share of layers that take part (paper, Table 6).
        eats_count: how many filters are erased in a step (paper, Table 7).
        eats_layers: the layers to erase in, as `srgame layers` lists them, or: all.
        eats_weight: weight of the awakening loss beside L1, also that of bicubic-pull (the paper's text: 1).
        eats_target: target of the awakening loss, also that of bicubic-pull: bicubic upsampling of the degraded LR
            image (the paper's text) or of the downsampled HR image (clean bicubic), or the HR image.
        eats_teaches: the weights that the awakening loss trains: all, the drawn layer's, or the disruptor's.
        eats_erase: erase in one layer, in every layer, or nowhere, which is the control of the same reading.
        degradation: how LR images are made; by default second-order.
        sharpen: sharpen HR images first, as Real-ESRGAN and Reflash Dropout do.
        steps: the number of steps of Adam.
        batch: patches per step, of all processes together.
        patch: side of an HR patch, in pixels.
        crop: HR pixels a side of what is degraded before a patch is cut from it; 0 for the patch.
        pool: mix the patches of so many successive batches.
        workers: make patches in so many processes on the CPU; with 0 they are made beside the training, on its device.
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
    from srgame.data.images import image_paths, read_rgb
    from srgame.data.pairs import load_pairs
    from srgame.devices import available, faster_in_bfloat16
    from srgame.networks import NETWORKS
    from srgame.training import processes
    from srgame.training.loop import PRESETS, Schedule, fit, seeded
    from srgame.training.patch_store import StoredPatches
    from srgame.training.patches import Batches, Patches, mixed, moved, prefetched
    from srgame.training.state import STATES
    from srgame.training.strategies import STRATEGIES

    if (data is None) == (patches is None):
        raise InputError("training takes a folder of images or --patches FOLDER: give one of them")
    given = {"steps": steps, "batch": batch, "patch": patch, "crop": crop}
    amount = PRESETS[preset] | {name: value for name, value in given.items() if value is not None}
    if not resume and any((output / state).exists() for state in STATES):
        raise InputError(f"'{output}' holds a run already: train elsewhere, or leave out --no-resume")
    if workers < 0:
        raise InputError(f"patches are made by 0 or more workers, not {workers}")
    own = {"scale": scale, "patch": patch, "crop": crop, "degradation": degradation, "sharpen": sharpen or None}
    if patches:
        store = StoredPatches(patches, seed=seed).settings
        if differ := [name for name, value in own.items() if value is not None and value != store[name]]:
            what = ", ".join(f"{name} {store[name]}" for name in differ)
            raise InputError(f"the patches in '{patches}' are made ({what}): leave {', '.join(differ)} out")
        identity |= {"patches": store}
        amount |= {name: store[name] for name in ("patch", "crop")}
    images = [read_rgb(path) for path in image_paths(data)] if data else []
    scale = store["scale"] if patches else scale or 4
    size = {name: value for name, value in {"features": features, "blocks": blocks}.items() if value}
    model = seeded(lambda: NETWORKS[network](scale=scale, **size), seed)
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
                "this processor imitates bfloat16, which takes longer than float32: leave it out", stacklevel=1
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


def degrade(
    data: Positional,
    output: Path,
    degradation: Literal["bicubic", "second-order", "bsrgan"] = "second-order",
    scale: int = 4,
    sharpen: bool = False,
    patches: int | None = None,
    patch: int | None = None,
    crop: int | None = None,
    workers: int = 0,
    seed: int = 0,
) -> None:
    """Write the LR images of an image set as training sees them, or the patches of a whole training.

    Without --patches: a LR image for each image, and a manifest of all that was drawn. With it: that many LR and HR
    patches in lr.npy and hr.npy, for `srgame train --patches`; the same command resumes where it was interrupted.

    Args:
        data: photographs (embedded), a folder, a file, or a set in the folder that $SRGAME_DATA names.
        output: the folder for the LR images and manifest.json, or for the patches and patches.json.
        degradation: how LR images are made.
        scale: how much smaller they are.
        sharpen: sharpen HR images first, as Real-ESRGAN and Reflash Dropout do.
        patches: number of patches to write, for example 32,000: each is cut from a random crop of a random image.
        patch: side of an HR patch in pixels, by default 128.
        crop: side in HR pixels of the crop that is degraded and that a patch is cut from, by default 400.
        workers: number of processes that make patches; 0 for none beside this one.
        seed: of all that is drawn.
    """
    if patches is None:
        if given := [name for name, value in {"patch": patch, "crop": crop, "workers": workers}.items() if value]:
            raise InputError(f"--{given[0]} belongs to --patches: leave it out, or say how many patches to write")
        from srgame.data.degradations.folder import degrade_set

        written = degrade_set(data, output, degradation, scale, sharpen, seed)
        print(f"written: {len(written) - 1} LR images, {written[-1]}")
        return
    from srgame.data.images import image_paths, read_rgb
    from srgame.training.patch_store import write_patches
    from srgame.training.patches import Patches

    if workers < 0:
        raise InputError(f"patches are made by 0 or more workers, not {workers}")
    images = [read_rgb(path) for path in image_paths(data)]
    crops = Patches(images, degradation, scale, patch or 128, 8, 400 if crop is None else crop, sharpen, seed)
    print(f"written: {patches:,} patches, {write_patches(crops, patches, output, workers, progress=True)}")
