"""What a network's own images say about its convention; nothing is changed, and nothing is guessed silently."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from statistics import fmean

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srgame.data.images import center_crop, some, upsample
from srgame.data.pairs import Pairs, load_pairs
from srgame.filters import evaluating, run
from srgame.metrics import psnr
from srgame.networks.adapter import Adapted, Convention, convention_of, original, scale_of

LR_SIDE = 32  # of the images from which conventions are judged
FEW = 4  # of the user's own pairs
BYTES, SIGNED = (0.0, 255.0), (-1.0, 1.0)
RANGES = {  # of input and output, by flag
    "--range 255": (BYTES, BYTES),
    "--range=-1..1": (SIGNED, SIGNED),
    "--output-range 255": ((0.0, 1.0), BYTES),
    "--output-range=-1..1": ((0.0, 1.0), SIGNED),
}
CLEARLY = 2  # dB by which another convention must be better
OUTPUT = (-1, 2)  # SR images beyond this are far outside [0, 1]
FAR = 8  # dB below bicubic upsampling: more than networks lose that aim at perception or at other degradations


def notes(network: nn.Module) -> Iterator[str]:
    """Sentences on the sizes that the network takes, and on a convention that suits it better than the given one."""
    convention = replace(convention_of(network), scale=scale_of(network))
    if convention.multiple > 1:
        yield (
            f"it takes images whose sides are {_sides(convention)}: others are padded by reflection, and cropped again"
        )
    elif convention.smallest > 1:
        yield f"it takes images of at least {convention.smallest} pixels a side: smaller ones are padded by reflection"
    if convention.scale == 1:
        yield (
            "its SR images are as large as its input, so it is used at scale 1, to restore images degraded by noise, "
            "blur or jpeg (at scale 1, clean changes nothing); if it needs images that are enlarged already, give its "
            "scale too, such as --scale 4 --upsampled-input"
        )
    yield from _on_convention(network, convention, _photograph(convention.scale))


def _sides(convention: Convention) -> str:
    if convention.smallest % convention.multiple:
        return f"{convention.smallest} pixels or {convention.multiple}, {2 * convention.multiple}, … more"
    at_least = f", and at least {convention.smallest}" if convention.smallest > convention.multiple else ""
    return f"multiples of {convention.multiple}{at_least}"


def notes_on(network: nn.Module, pairs: Pairs) -> Iterator[str]:
    """A sentence if the user's own images suggest another convention; judged on the middle of the first pairs."""
    yield from _on_convention(network, replace(convention_of(network), scale=pairs.scale), _middle(pairs))


def _middle(pairs: Pairs) -> Pairs:
    """The middle, of at most LR_SIDE pixels a side, of the first FEW pairs."""
    scale = pairs.scale
    lr = tuple(center_crop(image, LR_SIDE) for image in pairs.lr[:FEW])
    tops = [[max(0, side - LR_SIDE) // 2 * scale for side in image.shape[1:]] for image in pairs.lr[:FEW]]
    hr = tuple(
        image[:, top : top + scale * small.shape[1], left : left + scale * small.shape[2]]
        for image, small, (top, left) in zip(pairs.hr, lr, tops, strict=False)
    )
    return Pairs(pairs.names[:FEW], lr, hr)


def _photograph(scale: int) -> Pairs:
    return load_pairs("photographs", "clean" if scale > 1 else "noise", scale, images=1, crop=LR_SIDE * scale)


def _on_convention(network: nn.Module, given: Convention, pairs: Pairs) -> Iterator[str]:
    """A sentence if images are restored far worse than by bicubic upsampling, or far outside the range of images."""
    scale = given.scale
    if scale == 1 and all(map(torch.equal, pairs.lr, pairs.hr)):  # nothing to restore says nothing of a network
        return
    images = _restored(network, pairs)
    own = _quality(images, pairs)
    bicubic = _quality([upsample(lr[None], scale) for lr in pairs.lr], pairs)
    better = {} if own > bicubic - CLEARLY / 2 else _others(original(network), given, pairs)
    best = max(better, key=better.__getitem__, default="")
    least, most = min(float(sr.min()) for sr in images), max(float(sr.max()) for sr in images)
    baseline = "bicubic upsampling" if scale > 1 else "the input"
    facts = (
        f"on the middle of {some(pairs.names)}, its PSNR is {own:.1f} dB, that of {baseline} {bicubic:.1f} dB, and its "
        f"output ranges from {least:.4g} to {most:.4g}"
    )
    if best and better[best] > own + CLEARLY and better[best] > bicubic - FAR:
        yield f"{facts}; with {best} it is {better[best]:.1f} dB: if that is its convention, give {best}"
    elif not own > bicubic - FAR or not OUTPUT[0] <= least <= most <= OUTPUT[1]:
        yield f"{facts}: if its convention is not RGB in [0, 1], give --range, --channels or --mean"


def _others(network: nn.Module, given: Convention, pairs: Pairs) -> dict[str, float]:
    """PSNR in dB under each convention that differs from the given one in what was left at its default, by flag."""
    plain = Convention()
    others = dict[str, Convention]()
    if (given.value_range, given.output_range) == (plain.value_range, plain.output_range):
        others |= {f: replace(given, value_range=into, output_range=out) for f, (into, out) in RANGES.items()}
    if given.channels == plain.channels:
        others |= {f"--channels {channels}": replace(given, channels=channels) for channels in ("bgr", "ycbcr")}
    return {flag: _quality(_restored(Adapted(network, other), pairs), pairs) for flag, other in others.items()}


@torch.inference_mode()
def _restored(network: nn.Module, pairs: Pairs) -> list[Float[Tensor, "1 3 h w"]]:
    with evaluating(network):
        return [run(network, lr[None]).cpu() for lr in pairs.lr]


def _quality(images: Sequence[Float[Tensor, "1 3 h w"]], pairs: Pairs) -> float:
    """Mean PSNR in dB, of values clamped to [0, 1] as tables have it."""
    return fmean(float(psnr(sr.clamp(0, 1), hr[None])) for sr, hr in zip(images, pairs.hr, strict=True))
