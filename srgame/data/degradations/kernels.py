"""The blur kernels of practical degradations (Real-ESRGAN, Wang et al. 2021, section 3).

A kernel has an odd side and sums to 1. It is drawn as a dict of its kind and its parameters (lengths in pixels, angles
in radians), from which `kernel` builds it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

Kernel = Float[np.ndarray, "k k"]
Drawn = dict[str, Any]

SIZES = range(7, 22, 2)
KINDS = {  # (kind, whether it is isotropic): probability
    ("gaussian", True): 0.45,
    ("gaussian", False): 0.25,
    ("generalized", True): 0.12,
    ("generalized", False): 0.03,
    ("plateau", True): 0.12,
    ("plateau", False): 0.03,
}
BETAS = {"generalized": (0.5, 4.0), "plateau": (1.0, 2.0)}


def drawn_blur(rng: np.random.Generator, widths: tuple[float, float]) -> Drawn:
    """Parameters of a kernel of one of the KINDS, or, with probability 0.1, of a sinc; σ is uniform over `widths`."""
    size = int(rng.choice(SIZES))
    if rng.random() < 0.1:
        return {"kind": "sinc", "size": size, "cutoff": rng.uniform(np.pi / (3 if size < 13 else 5), np.pi)}
    kind, isotropic = list(KINDS)[rng.choice(len(KINDS), p=list(KINDS.values()))]
    sigma = rng.uniform(*widths)
    drawn: Drawn = {"kind": kind, "size": size, "sigma_x": sigma, "sigma_y": sigma, "theta": 0.0}
    if not isotropic:
        drawn |= {"sigma_y": rng.uniform(*widths), "theta": rng.uniform(-np.pi, np.pi)}
    if kind in BETAS:
        low, high = BETAS[kind]
        drawn["beta"] = rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high)
    return drawn


def drawn_sinc(rng: np.random.Generator) -> Drawn:
    """Parameters of the last filter of the pipeline: with probability 0.8 a sinc, otherwise the identity."""
    if rng.random() < 0.8:
        return {"kind": "sinc", "size": int(rng.choice(SIZES)), "cutoff": rng.uniform(np.pi / 3, np.pi)}
    return {"kind": "identity"}


def kernel(kind: str, **parameters: Any) -> Kernel:
    """The kernel with these parameters."""
    return BUILDERS[kind](**parameters)


def gaussian(size: int, sigma_x: float, sigma_y: float, theta: float = 0.0, shift: float = 0.0) -> Kernel:
    """exp(-d/2), centred `shift` pixels to the right of the middle and below it."""
    return _unit_sum(np.exp(-_distance(size, sigma_x, sigma_y, theta, shift) / 2))


def generalized(size: int, sigma_x: float, sigma_y: float, theta: float, beta: float) -> Kernel:
    """exp(-d^β / 2): flatter than a Gaussian for β > 1, more peaked for β < 1."""
    return _unit_sum(np.exp(-(_distance(size, sigma_x, sigma_y, theta) ** beta) / 2))


def plateau(size: int, sigma_x: float, sigma_y: float, theta: float, beta: float) -> Kernel:
    """1 / (1 + d^β)."""
    return _unit_sum(1 / (1 + _distance(size, sigma_x, sigma_y, theta) ** beta))


def sinc(size: int, cutoff: float) -> Kernel:
    """ω J₁(ωr) / 2πr, the circular low-pass filter with `cutoff` ω (radians per pixel), which causes ringing."""
    r = np.hypot(*_grid(size))
    r[size // 2, size // 2] = 1
    values = cutoff * torch.special.bessel_j1(torch.from_numpy(cutoff * r)).numpy() / (2 * np.pi * r)
    values[size // 2, size // 2] = cutoff**2 / (4 * np.pi)
    return _unit_sum(values)


def identity() -> Kernel:
    """No blur."""
    return np.ones((1, 1))


def padded(values: Kernel, size: int) -> Float[np.ndarray, "size size"]:
    """The kernel, padded with zeros to side `size`."""
    return np.pad(values, (size - len(values)) // 2)


def _distance(size: int, sigma_x: float, sigma_y: float, theta: float, shift: float = 0.0) -> Kernel:
    """d = xᵀΣ⁻¹x for axes σx and σy, rotated by θ."""
    x, y = (axis - shift for axis in _grid(size))
    along, across = x * np.cos(theta) + y * np.sin(theta), y * np.cos(theta) - x * np.sin(theta)
    distance: Kernel = (along / sigma_x) ** 2 + (across / sigma_y) ** 2
    return distance


def _grid(size: int) -> tuple[Kernel, Kernel]:
    """x and y of every tap, relative to the middle."""
    axis = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(axis, axis)
    return x, y


def _unit_sum(values: Kernel) -> Kernel:
    normalised: Kernel = values / values.sum()
    return normalised


BUILDERS: dict[str, Callable[..., Kernel]] = {
    "gaussian": gaussian,
    "generalized": generalized,
    "plateau": plateau,
    "sinc": sinc,
    "identity": identity,
}
