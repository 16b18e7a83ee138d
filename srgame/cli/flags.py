"""The flags that several verbs share, each with its default and its sentence in the help.

A verb takes a group, such as `Images`, as a parameter: its docstring and fields are a box of the verb's help. What only
some groups or verbs have in common is a type that carries its sentence.
"""

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

FIRST_CHECKPOINT = "srresnet-x4-bicubic"
SETTINGS = "clean, blur, noise, jpeg, b+n, b+j, n+j or b+n+j"
SET = "photographs (four, embedded), a folder, a file, or a set in the folder that $SRGAME_DATA names"
ARCHITECTURE = "architecture of a checkpoint file, or module:function that builds it (this imports that code)"
SQUARE = "side, in pixels, of the square cut from the middle of each"

ImageSet = Annotated[str, arg(help=f"{SET}.")]
ImageSets = Annotated[tuple[str, ...], arg(help=f"one or more image sets; each is {SET}.")]
ImageCount = Annotated[int | None, arg(help="number of images to use: the first of each set; None: all of them.")]
Crop = Annotated[int | None, arg(help=f"{SQUARE} HR image; None: the whole image.")]
Setting = Annotated[str, arg(help=f"how the HR images are degraded: {SETTINGS}.")]
Architecture = Annotated[str | None, arg(help=f"{ARCHITECTURE}; None: read from the weights.")]
Scale = Annotated[int | None, arg(help="expected scale; an error if the network's differs.")]
ConvLayers = Annotated[tuple[str, ...], arg(help="conv layers, as `srgame layers` lists them, or: all.")]
Payoff = Annotated[Literal["psnr", "-mse", "-l1"], arg(help="quality of an SR image: PSNR in dB, or a negated error.")]
Sharpen = Annotated[bool, arg(help="sharpen the HR images first, as Real-ESRGAN and Reflash Dropout do.")]
Confidence = Annotated[float, arg(help="confidence level of the intervals, between 0 and 1.")]
Device = Annotated[str, arg(help="device that computes: cpu or cuda.")]


@dataclass(frozen=True)
class Network:
    """The network: one of the zoo, or your own."""

    checkpoint: Annotated[Positional[str], arg(help="name of a network in the zoo, or a checkpoint file.")] = (
        FIRST_CHECKPOINT
    )
    network: Architecture = None
    scale: Scale = None


@dataclass(frozen=True)
class Networks:
    """The networks: of the zoo, or your own; they share one table and one picture."""

    checkpoints: Annotated[
        Positional[tuple[str, ...]], arg(help="one or more networks: names in the zoo, or checkpoint files.")
    ] = (FIRST_CHECKPOINT,)
    network: Annotated[
        tuple[str, ...], arg(help=f"{ARCHITECTURE}: one for all files, or one for each; auto: read from the weights.")
    ] = ("auto",)


@dataclass(frozen=True)
class Dataset:
    """The images."""

    dataset: ImageSet = "photographs"
    images: ImageCount = None


@dataclass(frozen=True)
class Images(Dataset):
    """The images: HR images, and LR images made from them."""

    crop: Crop = 96
    degradation: Setting = "clean"


@dataclass(frozen=True)
class LRImages(Dataset):
    """The images: LR images, or HR images from which LR images are made."""

    crop: Annotated[
        int | None,
        arg(help=f"{SQUARE} image file; None: the whole image."),
    ] = 96
    degradation: Annotated[
        str | None, arg(help=f"how LR images are made: {SETTINGS}; None: the files are LR images already.")
    ] = None


@dataclass(frozen=True)
class Worth:
    """The worth of a coalition: the quality of the SR image when all filters outside it are erased."""

    payoff: Payoff = "psnr"
    target: Annotated[
        Literal["hr", "bicubic"],
        arg(help="what the SR image is compared with: the HR image, or bicubic upsampling of the LR image."),
    ] = "hr"
    ablation: Annotated[
        Literal["zero", "mean", "noise", "donor"],
        arg(
            help="response of an erased filter: zero, its mean, noise with its mean and standard deviation, "
            "or the response of another filter (donor)."
        ),
    ] = "zero"


@dataclass(frozen=True)
class Limits:
    """The sampling of each game ends at the first of these limits; None: no limit.

    Without --seconds, the same command gives the same numbers on a slow machine and on a fast one.
    """

    tolerance: Annotated[
        float | None, arg(help="stop when the largest standard error is at most this share of the range of the values.")
    ] = 0.02
    rms_tolerance: Annotated[
        float | None,
        arg(help="stop when the root mean square of the standard errors is at most this share of that range."),
    ] = None
    evaluations: Annotated[int | None, arg(help="evaluate at most this number of coalitions.")] = None
    seconds: Annotated[
        float | None, arg(help="stop after this time; the replicates that have ended by then count.")
    ] = None


@dataclass(frozen=True)
class Output:
    """Where to compute, and where to write."""

    device: Device = "cpu"
    output: Annotated[Path, arg(help="folder for the results.")] = Path("srgame-output")


def unwrapped(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb; the sentence of each flag in its docstring is now one line, because the help would keep line breaks."""
    verb.__doc__ = re.sub(r"\n {12}", " ", verb.__doc__ or "")
    return verb


def flat(*groups: Any, **flags: Any) -> dict[str, Any]:
    """Every flag of the groups, and `flags`, by name: the settings that the json beside a result records."""
    settings = {name: value for group in groups for name, value in asdict(group).items()} | flags
    return {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
