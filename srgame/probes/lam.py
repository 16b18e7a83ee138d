"""The local attribution map (LAM; Gu & Dong 2021): which LR pixels a window of the SR image is restored from.

The detail D is the sum of the SR image's `edges` in the window. Integrated gradients attribute it to LR pixels along a
path from the blurred image to the image itself. The attributions sum to D of the image minus D of the blurred image, up
to the discretization error of the integral (completeness).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from srgame.data.degradations.kernels import gaussian
from srgame.data.images import Image
from srgame.data.pairs import Pairs
from srgame.devices import device_of
from srgame.errors import InputError
from srgame.filters import differentiating, evaluating, run
from srgame.metrics import luma
from srgame.probes.equity import gini
from srgame.probes.features import lr_images_of
from srgame.probes.salience import edges


def lam(
    network: nn.Module,
    images: Iterable[Image] | Pairs,
    window: int = 16,
    corner: tuple[int, int] | None = None,
    steps: int = 50,
    sigma: float = 1.2,
) -> pd.DataFrame:
    """One row per image and LR pixel: image, row, column, luma, attribution, gain, watched.

    `attribution` is a signed sum over RGB; `gain` is the sum of the attributions on an infinitely fine path; `watched`
    marks the LR pixels under the window, whose first SR row and column are `corner` (default: the window is centred).

    >>> import srgame
    >>> network = srgame.seeded(lambda: srgame.SRResNet(features=4, blocks=1), seed=0)
    >>> pairs = srgame.load_pairs(images=1, crop=24)
    >>> lam(network, pairs, window=8, steps=2).columns.tolist()
    ['image', 'row', 'column', 'luma', 'attribution', 'gain', 'watched']
    """
    frames = []
    for number, image in enumerate(lr_images_of(images)):
        of_image = _frame(image, attributed(network, image, window, corner, steps, sigma))
        of_image.insert(0, "image", number)
        frames.append(of_image)
    if not frames:
        raise InputError("no image, no attribution: give at least one")
    return pd.concat(frames, ignore_index=True)


def lam_summary(attributions: pd.DataFrame, by: Sequence[str] = ("image",)) -> pd.DataFrame:
    """One row per group: diffusion_index, the sum of attributions, the gain, and their relative difference `gap`."""
    groups = attributions.groupby(list(by), sort=False)
    summary = groups.agg(
        diffusion_index=("attribution", diffusion_index), attributed=("attribution", "sum"), gain=("gain", "first")
    ).reset_index()
    difference = (summary["attributed"] - summary["gain"]).abs()
    return summary.assign(gap=difference / summary["gain"].abs().clip(lower=1e-12))


def diffusion_index(attribution: pd.Series | Float[np.ndarray, "*space"]) -> float:
    """(1 − Gini)·100 of the sizes of attributions: 100 if all pixels matter equally, near 0 if only one matters."""
    return (1 - gini(attribution)) * 100


@dataclass(frozen=True)
class Attribution:
    """What each value of the LR image adds to the detail in a window.

    `gain` is the detail of the image minus that of the blurred image.

    `watched` marks the LR pixels under the window.
    """

    values: Float[Tensor, "3 h w"]
    gain: float
    watched: Bool[np.ndarray, "h w"]


def attributed(
    network: nn.Module,
    image: Image,
    window: int = 16,
    corner: tuple[int, int] | None = None,
    steps: int = 50,
    sigma: float = 1.2,
) -> Attribution:
    """The attributions of one image: Σᵢ ∂D(γᵢ) ⊗ (γᵢ − γᵢ₋₁) over the images γᵢ of a path on which σ falls to 0."""
    if steps < 1 or sigma <= 0:
        raise InputError(f"a path cannot have {steps} steps from σ = {sigma}: give at least one step, and a σ above 0")
    lr = image[None].to(device_of(network))
    before = blurred(lr, sigma)
    with evaluating(network):
        with torch.inference_mode():
            sr = run(network, before)
        rows, columns = _window(sr, window, corner)
        details = [edges(sr)[..., rows, columns].sum().item()]
        total = torch.zeros_like(lr)
        for width in np.linspace(sigma, 0, steps + 1)[1:]:
            point = blurred(lr, float(width)).requires_grad_()
            with torch.enable_grad():
                detail = edges(run(network, point))[..., rows, columns].sum()
            details.append(detail.item())
            with differentiating():
                (gradient,) = torch.autograd.grad(detail, point)
            total += gradient * (point.detach() - before)
            before = point.detach()
    watched = np.zeros(image.shape[1:], dtype=bool)
    watched[_lr(rows, sr.shape[-2] // lr.shape[-2]), _lr(columns, sr.shape[-1] // lr.shape[-1])] = True
    return Attribution(total[0].cpu(), details[-1] - details[0], watched)


def blurred(lr: Float[Tensor, "b 3 h w"], sigma: float, size: int = 9) -> Float[Tensor, "b 3 h w"]:
    """The images blurred by a Gaussian of `size` × `size` pixels, reflected at the border; a copy if σ = 0."""
    if sigma == 0:
        return lr.clone()
    half = size // 2
    if min(lr.shape[-2:]) <= half:
        raise InputError(
            f"an image of {lr.shape[-1]}×{lr.shape[-2]} pixels is too small to be blurred: "
            f"each side needs at least {half + 1}"
        )
    kernel = torch.from_numpy(gaussian(size, sigma, sigma)).to(lr).expand(3, 1, size, size)
    return F.conv2d(F.pad(lr, (half,) * 4, mode="reflect"), kernel, groups=3)


def _window(sr: Float[Tensor, "1 3 h w"], window: int, corner: tuple[int, int] | None) -> tuple[slice, slice]:
    height, width = (length - 1 for length in sr.shape[-2:])  # edges have a row and a column less
    top, left = corner or ((height - window) // 2, (width - window) // 2)
    if window < 1 or min(top, left) < 0 or top + window > height or left + window > width:
        raise InputError(
            f"a window of {window}×{window} pixels at row {top}, column {left} is not within the SR image's edges, "
            f"{width}×{height} pixels: choose another window"
        )
    return slice(top, top + window), slice(left, left + window)


def _lr(place: slice, scale: int) -> slice:
    return slice(place.start // scale, -(-place.stop // scale))


def _frame(image: Image, attribution: Attribution) -> pd.DataFrame:
    row, column = (axis.ravel() for axis in np.indices(image.shape[1:]))
    return pd.DataFrame(
        {
            "row": row,
            "column": column,
            "luma": luma(image[None])[0, 0].flatten().numpy(),
            "attribution": attribution.values.sum(0).double().flatten().numpy(),
            "gain": attribution.gain,
            "watched": attribution.watched.ravel(),
        }
    )
