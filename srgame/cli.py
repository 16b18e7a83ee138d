"""The `srgame` command: one function per verb, whose signature is the verb's flags.

What a verb needs is imported when it runs, so that `srgame --help` answers at once.
"""

import sys
from pathlib import Path
from typing import Annotated, Literal

import tyro

from srgame.errors import InputError

app = tyro.extras.SubcommandApp()
Checkpoint = Annotated[str, tyro.conf.Positional]


@app.command
def train(
    data: Annotated[str, tyro.conf.Positional],
    output: Path,
    network: Literal["srresnet", "rrdbnet", "han"] = "srresnet",
    scale: int = 4,
    strategy: Literal["original", "eats"] = "original",
    steps: int = 10_000,
    batch: int = 16,
    patch: int = 128,
    learning_rate: float = 2e-4,
    bfloat16: bool = False,
    validation: str = "photographs",
    seed: int = 0,
) -> None:
    """Train a network on a folder of images, their LR images bicubic.

    Args:
        data: a folder of images, or the name of a set in the folder that $SRGAME_DATA names.
        output: the folder for weights, log and state; a run that was stopped there is resumed.
        network: the architecture.
        scale: how much larger than the LR image the SR image is.
        strategy: what is minimised. original: L1. eats: L1, and an erased filter is awakened (paper, Algorithm 1).
        steps: the number of steps of Adam.
        batch: patches per step.
        patch: side of an HR patch, in pixels.
        learning_rate: at the first step; annealed to 0 along a cosine.
        bfloat16: compute in bfloat16 where that is safe: about twice as fast on processors that have it.
        validation: the image set whose PSNR is logged.
        seed: of initial weights, patches and erasures.
    """
    from srgame.images import image_paths, read_rgb
    from srgame.networks import NETWORKS
    from srgame.pairs import load_pairs
    from srgame.strategies import STRATEGIES
    from srgame.training import BicubicPatches, Schedule, fit, seeded

    images = [read_rgb(path) for path in image_paths(data)]
    model = seeded(lambda: NETWORKS[network](scale=scale), seed)
    log = fit(
        STRATEGIES[strategy](model),
        BicubicPatches(images, scale, patch, batch, seed),
        Schedule(steps, learning_rate, bfloat16=bfloat16),
        output,
        seed,
        load_pairs(validation, "clean", scale),
    )
    print(log.tail(1).to_string(index=False))
    print(f"weights: {output / 'weights.safetensors'}")


def main() -> None:
    """The command line: a user's mistake is one sentence and exit status 2."""
    try:
        app.cli(prog="srgame", description="Audits a super-resolution network as a cooperative game.")
    except InputError as error:
        print(f"srgame: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("srgame: stopped", file=sys.stderr)
        sys.exit(130)
