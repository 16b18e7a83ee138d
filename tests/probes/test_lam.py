"""Local attribution maps against a slow path integral, and their axioms."""

from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from slow_responses import IMAGES, some_images
from small_networks import with_filters, with_habit

from srgame.errors import InputError
from srgame.networks import SRResNet
from srgame.probes.lam import attributed, blurred, diffusion_index, lam, lam_summary


def test_lam_is_integrated_gradients_along_the_blur(small: SRResNet) -> None:
    image = some_images((10, 12))[0]
    attribution = attributed(small, image, window=8, steps=5, sigma=1.0)
    points = [blurred(image[None], sigma) for sigma in (1.0, 0.8, 0.6, 0.4, 0.2, 0.0)]
    total = torch.zeros_like(points[0])
    for before, after in pairwise(points):
        after = after.clone().requires_grad_()
        sr = small(after)
        detail = torch.zeros(())
        for y in range(15, 23):  # the middle of 39 × 47 edges
            for x in range(19, 27):
                square = (sr[0, :, y, x] - sr[0, :, y + 1, x]) ** 2 + (sr[0, :, y, x] - sr[0, :, y, x + 1]) ** 2
                detail = detail + (square + 1e-8).sqrt().sum()
        (gradient,) = torch.autograd.grad(detail, after)
        total += gradient * (after.detach() - before)
    torch.testing.assert_close(attribution.values, total[0], rtol=1e-3, atol=1e-5)


def test_lam_marks_the_lr_pixels_under_the_window(small: SRResNet) -> None:
    watched = np.argwhere(attributed(small, some_images((10, 12))[0], window=8, steps=1).watched)
    assert watched.min(0).tolist() == [3, 4]  # SR rows 15 to 22, columns 19 to 26
    assert watched.max(0).tolist() == [5, 6]


def test_lam_is_complete_on_a_fine_path(small: SRResNet) -> None:
    image = some_images((10, 12))[0]
    gaps = [lam_summary(lam(small, [image], window=8, steps=steps))["gap"].item() for steps in (10, 160)]
    assert gaps[1] < 0.02 < gaps[0]


def test_a_flat_image_has_no_detail_and_no_nan() -> None:
    network = with_filters(torch.ones(2, 3), torch.zeros(2))
    summary = lam_summary(lam(network, [torch.full((3, 20, 20), 0.5)], steps=3))
    np.testing.assert_allclose(summary[["attributed", "gain"]], 0, atol=1e-6)
    assert not summary.isna().any(axis=None)


def test_blurring_is_that_of_opencv() -> None:
    image = some_images((13, 11))[0]
    expected = cv2.GaussianBlur(image.permute(1, 2, 0).numpy(), (9, 9), 1.2, borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(blurred(image[None], 1.2)[0].permute(1, 2, 0), expected, atol=1e-5)


def test_diffusion_index_is_100_for_all_alike_and_near_0_for_one() -> None:
    assert diffusion_index(np.full((4, 5), -2.0)) == pytest.approx(100)
    assert diffusion_index(np.eye(1, 50)) == pytest.approx(2)


@pytest.mark.parametrize(("corner", "window"), [((30, 0), 16), ((-1, 0), 16), (None, 200)])
def test_a_window_outside_of_the_image_is_an_error(
    small: SRResNet, corner: tuple[int, int] | None, window: int
) -> None:
    with pytest.raises(InputError, match=f"{window}×{window}.*27×35"):
        lam(small, IMAGES[:1], window, corner)


def test_an_image_too_small_to_be_blurred_is_an_error(small: SRResNet) -> None:
    with pytest.raises(InputError, match="9×4"):
        lam(small, some_images((4, 9)), 2)


def test_a_path_without_steps_is_an_error(small: SRResNet) -> None:
    with pytest.raises(InputError, match="0 steps"):
        lam(small, IMAGES[:1], steps=0)


@pytest.mark.parametrize("name", ["NoGradients", "OverwritesGates"])
def test_a_network_that_cannot_be_differentiated_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match="cannot be differentiated"):
        lam(with_habit(name), some_images((10, 12)), window=8, steps=1)
