"""The degradations that SR networks are trained on: each returns a batch of LR images and the plan of each.

The result is a pure function of the images and the generator. LR images have 8-bit values in [0, 1].
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from srgame.data.degradations.bsrgan import bsrgan
from srgame.data.degradations.kernels import drawn_blur, drawn_sinc, gaussian
from srgame.data.degradations.steps import Plan, blurred, degraded, drawn_resize, drawn_seed, lr_size
from srgame.data.images import resize
from srgame.metrics import quantized

HR = Float[Tensor, "b 3 H W"]
LR = Float[Tensor, "b 3 h w"]
Range = tuple[float, float]


@dataclass(frozen=True)
class Stage:
    """The probabilities and ranges of one stage of the second-order degradation."""

    blur: float  # probability
    widths: Range  # σ of the kernels in pixels
    resize: tuple[float, float, float]  # probabilities of up, down, keep
    factors: Range  # smallest factor down, largest factor up
    noises: dict[str, Range]  # range of strength by kind; kinds are equally likely


FIRST = Stage(
    blur=1.0,
    widths=(0.2, 3.0),
    resize=(0.2, 0.7, 0.1),
    factors=(0.15, 1.5),
    noises={"gaussian": (1 / 255, 30 / 255), "poisson": (0.05, 3.0)},
)
SECOND = Stage(
    blur=0.8,
    widths=(0.2, 1.5),
    resize=(0.3, 0.4, 0.3),
    factors=(0.3, 1.2),
    noises={"gaussian": (1 / 255, 25 / 255), "poisson": (0.05, 2.5)},
)


def bicubic(hr: HR, rng: np.random.Generator, scale: int = 4) -> tuple[LR, list[Plan]]:
    """Bicubic downsampling with antialias; nothing is drawn."""
    return quantized(resize(hr, *lr_size(hr, scale))), [{} for _ in hr]


def second_order(hr: HR, rng: np.random.Generator, scale: int = 4) -> tuple[LR, list[Plan]]:
    """Real-ESRGAN's degradation (Wang et al. 2021), which is applied there to the `sharpened` HR images.

    As in Real-ESRGAN, the images of a batch share sizes, modes of resizing, kinds of noise and the order of the last
    steps; everything else is drawn for each image. Unlike in Real-ESRGAN, grey noise differs between the images, and a
    resized image covers exactly the same field of view, so LR and HR stay aligned.
    """
    plans = second_order_plans(rng, len(hr), lr_size(hr, scale), scale)
    return degraded(hr, plans), plans


def second_order_plans(rng: np.random.Generator, batch: int, size: tuple[int, int], scale: int = 4) -> list[Plan]:
    """The plans that `second_order` draws for a batch whose LR images have this height and width."""
    height, width = size
    first = _stage(FIRST, 1, rng, batch, height * scale, width * scale)
    second = _stage(SECOND, 2, rng, batch, height, width)
    resize = drawn_resize(rng, height, width)
    jpeg_last = rng.random() < 0.5
    plans = []
    for before, after in zip(first, second, strict=True):
        sinc, jpeg = {"resize3": resize, "blur3": drawn_sinc(rng)}, {"jpeg2": _jpeg(rng)}
        ending = sinc | jpeg if jpeg_last else jpeg | sinc
        plans.append(before | {"jpeg1": _jpeg(rng)} | after | ending)
    return plans


def second_order_part(kind: str, hr: HR, rng: np.random.Generator, scale: int = 4) -> tuple[LR, list[Plan]]:
    """`second_order` with the steps of one kind only: blur, resize, noise or jpeg, drawn as they are there.

    Without its resizes, the HR images are downsampled once, in the second stage, by averaging squares of pixels.
    """
    size = lr_size(hr, scale)
    plans = [_part(plan, kind, size) for plan in second_order_plans(rng, len(hr), size, scale)]
    return degraded(hr, plans), plans


def _part(plan: Plan, kind: str, size: tuple[int, int]) -> Plan:
    """The steps of one kind, in the plan's order, and the downsampling to this height and width."""
    height, width = size
    needed = {} if kind == "resize" else {"resize2": {"height": height, "width": width, "mode": "area"}}
    return {name: step for name, step in (plan | needed).items() if name.startswith(kind) or name in needed}


def sharpened(images: HR, weight: float = 0.5, threshold: float = 10.0) -> HR:
    """The images after Real-ESRGAN's unsharp mask: detail above `threshold` 8-bit levels is amplified by `weight`."""
    detail = images - _soft(images)
    mask = _soft((255 * detail.abs() > threshold).to(images))
    return mask * (images + weight * detail).clamp(0, 1) + (1 - mask) * images


def _soft(images: HR) -> HR:
    """The images after a Gaussian blur of 51×51 pixels; OpenCV's rule gives σ = 8."""
    return blurred(images, [gaussian(51, 8.0, 8.0)] * len(images))


def _stage(stage: Stage, number: int, rng: np.random.Generator, batch: int, height: int, width: int) -> list[Plan]:
    """Plans of one stage: blur, resize relative to this size, noise."""
    blur = rng.random() < stage.blur
    factor = _factor(stage, rng)
    resize = drawn_resize(rng, int(height * factor), int(width * factor))
    kind = str(rng.choice(list(stage.noises)))
    plans = []
    for _ in range(batch):
        steps = {f"blur{number}": drawn_blur(rng, stage.widths)} if blur else {}
        plans.append(steps | {f"resize{number}": resize, f"noise{number}": _noise(stage, rng, kind)})
    return plans


def _factor(stage: Stage, rng: np.random.Generator) -> float:
    smallest, largest = stage.factors
    up, down, keep = rng.uniform(1, largest), rng.uniform(smallest, 1), 1.0
    return float(rng.choice([up, down, keep], p=stage.resize))


def _noise(stage: Stage, rng: np.random.Generator, kind: str) -> dict[str, Any]:
    strength = rng.uniform(*stage.noises[kind])
    return {"kind": kind, "strength": strength, "grey": bool(rng.random() < 0.4), "seed": drawn_seed(rng)}


def _jpeg(rng: np.random.Generator) -> dict[str, Any]:
    return {"quality": round(rng.uniform(30, 95))}


DEGRADATIONS: dict[str, Callable[[HR, np.random.Generator, int], tuple[LR, list[Plan]]]] = {
    "bicubic": bicubic,
    "second-order": second_order,
    "bsrgan": bsrgan,
    "second-order:blur": partial(second_order_part, "blur"),
    "second-order:resize": partial(second_order_part, "resize"),
    "second-order:noise": partial(second_order_part, "noise"),
    "second-order:jpeg": partial(second_order_part, "jpeg"),
}
DISTORTIONS = (*(name for name in DEGRADATIONS if ":" in name), "second-order")  # the types that DIL trains on
