"""The flags that several verbs share, each with its default and its sentence in the help.

A verb takes a group, such as `Images`, as a parameter: its docstring and fields are a box of the verb's help. What only
some groups or verbs have in common is a type that carries its sentence.
"""

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from tyro.conf import Positional, arg

from srgame.errors import INTERRUPTED

FIRST_CHECKPOINT = "srresnet-x4-bicubic"
SETTINGS = "clean, blur, noise, jpeg, b+n, b+j, n+j or b+n+j"
PHOTOGRAPHS = "photographs"
SET = "photographs (four, embedded), a folder, a file, or a set in the folder that $SRGAME_DATA names"
ARCHITECTURE = (
    "architecture of a checkpoint file; module:function or file.py:function, which builds the network (srgame imports "
    "that code); or spandrel, which recognises it"
)
SQUARE = "side, in pixels, of the square cut from the middle of each"

ImageSet = Annotated[str, arg(help=f"{SET}.")]
ImageSets = Annotated[tuple[str, ...], arg(help=f"one or more image sets; each is {SET}.")]
ImageCount = Annotated[int | None, arg(help="number of images to use, from the start of each set; None: all of them.")]
Subfolders = Annotated[bool, arg(help="include the images in subfolders of a folder.")]
Crop = Annotated[int | None, arg(help=f"{SQUARE} HR image; None: the whole image.")]
Setting = Annotated[str, arg(help=f"how the HR images are degraded: {SETTINGS}.")]
RealLR = Annotated[
    str | None,
    arg(help="LR images of real pairs: a folder, or a set in the folder that $SRGAME_DATA names. Needs --hr."),
]
RealHR = Annotated[
    str | None,
    arg(
        help="HR images of real pairs; files are matched by name, apart from tags such as x4, _LR4 and _HR. Needs --lr."
    ),
]
Architecture = Annotated[str | None, arg(help=f"{ARCHITECTURE}; None: read from the weights.")]
Architectures = Annotated[
    tuple[str, ...], arg(help=f"{ARCHITECTURE}: one for all files, or one for each; auto: read from the weights.")
]
Conventions = Annotated[
    tuple[str, ...],
    arg(
        help="what differs from the flags of the convention: one text for all files, or one for each, such as "
        "'range=255 channels=y' or 'upsampled-input', with commas between several values; '': nothing."
    ),
]
Strict = Annotated[
    bool,
    arg(
        help="refuse a file that lacks weights of the network, or has others; --no-strict loads what fits, with a note."
    ),
]
Scale = Annotated[int | None, arg(help="expected scale; an error if the network's differs.")]
CONV_LAYERS = (
    "conv or linear layers, as `srgame layers` lists them, or: all (all conv layers); by default the last feature "
    "layer. NAME:input stands for the channels that a layer receives, "
)
SECOND_CALL = "NAME@2 for the second call of a layer that a run calls several times."
ConvLayers = Annotated[tuple[str, ...], arg(help=f"{CONV_LAYERS}NAME/4 for filters of 4 channels, and {SECOND_CALL}")]
ConvLayersByChannel = Annotated[tuple[str, ...], arg(help=f"{CONV_LAYERS}and {SECOND_CALL}")]
Payoff = Annotated[Literal["psnr", "-mse", "-l1"], arg(help="quality of an SR image: PSNR in dB, or a negated error.")]
TrainingDegradation = Literal[
    "bicubic",
    "second-order",
    "bsrgan",
    "second-order:blur",
    "second-order:resize",
    "second-order:noise",
    "second-order:jpeg",
]
Sharpen = Annotated[bool, arg(help="sharpen the HR images first, as Real-ESRGAN and Reflash Dropout do.")]
Confidence = Annotated[float, arg(help="confidence level of the intervals, between 0 and 1.")]
Device = Annotated[str, arg(help="device that computes: cpu or cuda.")]


@dataclass(frozen=True)
class Convention:
    """What your own networks take and return, if not RGB images in [0, 1]; networks of the zoo ignore these flags."""

    range: Annotated[
        str, arg(help="pixel values that the network takes: 1 (0 to 1), 255 or LOW..HIGH, such as --range=-1..1.")
    ] = "1"
    output_range: Annotated[str | None, arg(help="pixel values of its SR images; None: those of --range.")] = None
    channels: Annotated[
        Literal["rgb", "bgr", "ycbcr", "y"],
        arg(help="its colour channels; with y it restores the luma, and Cb and Cr are upsampled bicubically."),
    ] = "rgb"
    mean: Annotated[
        tuple[float, ...],
        arg(help="mean, in [0, 1], subtracted from its input and added to its output: one number, or one per channel."),
    ] = (0.0,)
    upsampled_input: Annotated[
        bool, arg(help="enlarge its input bicubically by --scale first, as SRCNN and VDSR need it.")
    ] = False
    output_index: Annotated[
        tuple[str, ...], arg(help="which of several outputs is the SR image: an index, a key, or a path such as 0 -1.")
    ] = ()
    extra_input: Annotated[
        tuple[str, ...],
        arg(
            help="size of each further input, without its batch axis: 10 or 15xhxw (h and w: the sides of the image); "
            "it is filled with 0, or with a number: 1x1x1=0.1."
        ),
    ] = ()
    clamp: Annotated[bool, arg(help="clamp its SR images to [0, 1].")] = False


@dataclass(frozen=True)
class Network:
    """The network: one of the zoo, or your own."""

    checkpoint: Annotated[
        Positional[str], arg(help="name of a network in the zoo, a checkpoint file, or a folder that holds one.")
    ] = FIRST_CHECKPOINT
    network: Architecture = None
    strict: Strict = True
    scale: Scale = None
    convention: Convention = Convention()


@dataclass(frozen=True)
class Networks:
    """The networks: of the zoo, or your own; they share one table and one picture."""

    checkpoints: Annotated[
        Positional[tuple[str, ...]],
        arg(help="one or more networks: names in the zoo, checkpoint files, or folders that hold one."),
    ] = (FIRST_CHECKPOINT,)
    network: Architectures = ("auto",)
    strict: Strict = True
    scale: Scale = None
    convention: Convention = Convention()
    conventions: Conventions = ()


@dataclass(frozen=True)
class Dataset:
    """The images."""

    dataset: ImageSet = PHOTOGRAPHS
    images: ImageCount = None
    subfolders: Subfolders = False


@dataclass(frozen=True)
class Images(Dataset):
    """The images: HR images and LR images made from them, or real pairs of LR and HR images (--lr and --hr)."""

    crop: Crop = 96
    degradation: Setting = "clean"
    lr: RealLR = None
    hr: RealHR = None

    @property
    def are_own(self) -> bool:
        """Whether they are the user's own images, not the embedded photographs."""
        return self.lr is not None or self.dataset != PHOTOGRAPHS

    @property
    def setting(self) -> str:
        """The degradation, or "real" for real pairs."""
        return self.degradation if self.lr is None else "real"


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
    at: Annotated[
        Literal["output", "activation"],
        arg(help="where a filter is erased: at its layer's output, or behind the norm and activation that follow it."),
    ] = "output"


@dataclass(frozen=True)
class Limits:
    """The sampling of each game ends at the first of these limits; None: no limit.

    With `--seconds None`, the same command gives the same numbers on a slow machine and on a fast one.
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
    settings |= settings.pop("convention", {})
    return {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}


def stop(what_is_left: str) -> NoReturn:
    """Ends the command after Ctrl-C, with a sentence on what it leaves and the status INTERRUPTED."""
    print(f"srgame: interrupted: {what_is_left}", file=sys.stderr)
    sys.exit(INTERRUPTED)


def stop_measuring(missing: Sequence[str]) -> NoReturn:
    """Ends a command that has saved what it measured before Ctrl-C, and names the layers that it did not measure."""
    lacking = f"; not measured: {', '.join(missing)}" if missing else ""
    stop(f"what was measured so far is saved{lacking}")
