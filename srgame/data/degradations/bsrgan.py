"""BSRGAN's degradation (Zhang et al. 2021): blurs, downsamplings, noise and JPEG in random order.

Its camera step (with probability 1/4, the noise of a sensor and its processing) is left out: it needs measured camera
profiles. The public code also leaves it out, unless it is given a model of them.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from srgame.data.degradations.steps import Plan, degraded, drawn_resize, drawn_seed, lr_size

HR = Float[Tensor, "b 3 H W"]
LR = Float[Tensor, "b 3 h w"]


def bsrgan(hr: HR, rng: np.random.Generator, scale: int = 4) -> tuple[LR, list[Plan]]:
    """The LR images and the plan of each; the draws of an image are independent of the others'."""
    size = lr_size(hr, scale)
    plans = [bsrgan_plan(rng, size, scale) for _ in hr]
    return torch.cat([degraded(image[None], [plan]) for image, plan in zip(hr, plans, strict=True)]), plans


def bsrgan_plan(rng: np.random.Generator, size: tuple[int, int], scale: int = 4) -> Plan:
    """The plan that `bsrgan` draws for an image whose LR image has this height and width."""
    height, width = size
    plan: Plan = {}
    if scale == 4 and rng.random() < 0.25:
        plan["resize1"] = drawn_resize(rng, 2 * height, 2 * width)
        scale = 2
    steps = {
        "blur1": {"blur1": _blur(rng, scale)},
        "blur2": {"blur2": _blur(rng, scale)},
        "smaller": _smaller(rng, height, width, scale),
        "smallest": {"resize3": drawn_resize(rng, height, width)},
        "noise": {"noise1": _noise(rng)},
        "jpeg": {"jpeg1": _jpeg(rng)} if rng.random() < 0.9 else {},
    }
    for name in _order(rng, list(steps)):
        plan |= steps[name]
    return plan | {"jpeg2": _jpeg(rng)}


def _order(rng: np.random.Generator, names: list[str]) -> list[str]:
    """A random order of the steps in which the first downsampling comes before the last."""
    order = [str(name) for name in rng.permutation(names)]
    first, last = sorted(map(order.index, ("smaller", "smallest")))
    order[first], order[last] = "smaller", "smallest"
    return order


def _blur(rng: np.random.Generator, scale: int) -> dict[str, Any]:
    size = int(rng.choice(range(7, 26, 2)))
    if rng.random() < 0.5:
        sigma_x, sigma_y = np.sqrt(rng.uniform(0, 4 + scale, 2)).tolist()
        return _gaussian(size, sigma_x, sigma_y, theta=rng.uniform(0, np.pi))
    sigma = rng.uniform(0, 2 + 0.2 * scale)
    return _gaussian(size, sigma, sigma)


def _smaller(rng: np.random.Generator, height: int, width: int, scale: int) -> Plan:
    """The first downsampling: a resize, or a Gaussian blur centred on each block of pixels that becomes one."""
    if rng.random() < 0.75:
        factor = scale / rng.uniform(1, 2 * scale)
        return {"resize2": drawn_resize(rng, int(height * factor), int(width * factor))}
    sigma = rng.uniform(0.1, 0.6 * scale)
    return {"blur3": _gaussian(25, sigma, sigma, shift=(scale - 1) / 2), "stride1": {"step": scale}}


def _noise(rng: np.random.Generator) -> dict[str, Any]:
    choice, seed = rng.random(), drawn_seed(rng)
    if choice < 0.2:
        turn = np.linalg.svd(rng.random((3, 3)))[0]
        covariance = np.abs((25 / 255) ** 2 * turn.T @ np.diag(rng.random(3)) @ turn)
        return {"kind": "correlated", "seed": seed, "covariance": covariance.tolist()}
    return {"kind": "gaussian", "seed": seed, "strength": int(rng.integers(2, 26)) / 255, "grey": choice < 0.6}


def _jpeg(rng: np.random.Generator) -> dict[str, Any]:
    return {"quality": int(rng.integers(30, 96))}


def _gaussian(size: int, sigma_x: float, sigma_y: float, **placed: float) -> dict[str, Any]:
    return {"kind": "gaussian", "size": size, "sigma_x": sigma_x, "sigma_y": sigma_y, **placed}
