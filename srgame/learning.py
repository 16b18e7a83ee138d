"""The verbs of the `srgame` command that make networks: train, and degrade, which shows what training sees."""

import sys
import warnings
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from srgame.errors import InputError

Positional = Annotated[str, tyro.conf.Positional]
_NOT_OF_THE_RUN = ("output", "preset", "validation", "validation_degradations", "resume", "device", "workers")


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
    from srgame import processes
    from srgame.devices import available, faster_in_bfloat16
    from srgame.images import image_paths, read_rgb
    from srgame.networks import NETWORKS
    from srgame.pairs import load_pairs
    from srgame.patches import Patches, mixed, moved, prefetched
    from srgame.states import STATES
    from srgame.strategies import STRATEGIES
    from srgame.training import PRESETS, Schedule, fit, seeded

    given = {"steps": steps, "batch": batch, "patch": patch, "crop": crop}
    amount = PRESETS[preset] | {name: value for name, value in given.items() if value is not None}
    if not resume and any((output / state).exists() for state in STATES):
        raise InputError(f"'{output}' holds a run already: train elsewhere, or leave out --no-resume")
    if workers < 0:
        raise InputError(f"patches are made by 0 or more workers, not {workers}")
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
        if bfloat16 and not faster_in_bfloat16(device):
            warnings.warn(
                "this processor imitates bfloat16, which takes longer than float32: leave it out", stacklevel=1
            )
        share, rest = divmod(amount["batch"], processes.count())
        if rest:
            raise InputError(f"{processes.count()} processes cannot share a batch of {amount['batch']} evenly")
        where, rank = "cpu" if workers else place, processes.rank()
        patches = Patches(
            images, degradation, scale, amount["patch"], share, amount["crop"], sharpen, seed, rank, where
        )
        made = moved(prefetched(patches, 2 * workers, workers), place) if workers else patches
        log = fit(
            STRATEGIES[strategy](model.to(place), **options.get(strategy, {})),
            prefetched(mixed(made, pool, seed), ahead=pool),
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
