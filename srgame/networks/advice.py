"""What a network's own images say about its convention; nothing is changed, and nothing is guessed silently."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from srgame.data.images import upsample
from srgame.data.pairs import Pairs, load_pairs
from srgame.devices import device_of
from srgame.filters import evaluating
from srgame.metrics import psnr
from srgame.networks.adapter import Adapted, Convention, convention_of, original, scale_of

LR_SIDE = 32  # of the photograph from which conventions are judged
BYTES, SIGNED = (0.0, 255.0), (-1.0, 1.0)
RANGES = {  # of input and output, by flag
    "--range 255": (BYTES, BYTES),
    "--range=-1..1": (SIGNED, SIGNED),
    "--output-range 255": ((0.0, 1.0), BYTES),
    "--output-range=-1..1": ((0.0, 1.0), SIGNED),
}
CLEARLY = 2  # dB by which another convention must be better
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
    yield from _on_convention(network, convention)


def _sides(convention: Convention) -> str:
    if convention.smallest % convention.multiple:
        return f"{convention.smallest} pixels or {convention.multiple}, {2 * convention.multiple}, … more"
    at_least = f", and at least {convention.smallest}" if convention.smallest > convention.multiple else ""
    return f"multiples of {convention.multiple}{at_least}"


def _on_convention(network: nn.Module, given: Convention) -> Iterator[str]:
    """A sentence if a photograph is restored far worse than by bicubic upsampling."""
    scale = given.scale
    pair = load_pairs("photographs", "clean" if scale > 1 else "noise", scale, images=1, crop=LR_SIDE * scale)
    sr = _restored(network, pair)
    own = _quality(sr, pair)
    bicubic = _quality(upsample(pair.lr[0][None], scale), pair)
    better = {} if own > bicubic - CLEARLY / 2 else _others(original(network), given, pair)
    best = max(better, key=better.__getitem__, default="")
    facts = (
        f"on a photograph its PSNR is {own:.1f} dB, that of {'bicubic upsampling' if scale > 1 else 'the input'} "
        f"{bicubic:.1f} dB, and its output ranges from {sr.min():.4g} to {sr.max():.4g}"
    )
    if best and better[best] > own + CLEARLY and better[best] > bicubic - FAR:
        yield f"{facts}; with {best} it is {better[best]:.1f} dB: if that is its convention, give {best}"
    elif not own > bicubic - FAR:
        yield f"{facts}: if its convention is not RGB in [0, 1], give --range, --channels or --mean"


def _others(network: nn.Module, given: Convention, pair: Pairs) -> dict[str, float]:
    """PSNR in dB under each convention that differs from the given one in what was left at its default, by flag."""
    plain = Convention()
    others = dict[str, Convention]()
    if (given.value_range, given.output_range) == (plain.value_range, plain.output_range):
        others |= {f: replace(given, value_range=into, output_range=out) for f, (into, out) in RANGES.items()}
    if given.channels == plain.channels:
        others |= {f"--channels {channels}": replace(given, channels=channels) for channels in ("bgr", "ycbcr")}
    return {flag: _quality(_restored(Adapted(network, other), pair), pair) for flag, other in others.items()}


@torch.inference_mode()
def _restored(network: nn.Module, pair: Pairs) -> Float[Tensor, "1 3 h w"]:
    lr = pair.lr[0][None].to(device_of(network), next(network.parameters(), torch.zeros(())).dtype)
    with evaluating(network):
        sr: Tensor = network(lr).cpu().float()
    return sr


def _quality(sr: Float[Tensor, "1 3 h w"], pair: Pairs) -> float:
    """PSNR in dB, of values clamped to [0, 1] as tables have it."""
    return float(psnr(sr.clamp(0, 1), pair.hr[0][None]))
