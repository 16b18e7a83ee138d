"""LR images and patches that are read one by one."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from srgame.data.lazy import LRImages, LRPatches, lr_images
from srgame.data.pairs import load_pairs
from srgame.errors import InputError


def test_streamed_images_are_those_of_pairs() -> None:
    streamed = lr_images("photographs", "b+n", 4, 2, 48)
    pairs = load_pairs("photographs", "b+n", 4, 2, 48)
    assert streamed.names == pairs.names and len(streamed) == 2
    for _ in range(2):
        assert all(torch.equal(a, b) for a, b in zip(streamed, pairs.lr, strict=True))


def test_images_that_are_already_lr_are_cropped() -> None:
    assert [image.shape for image in lr_images("photographs", images=1, crop=40)] == [(3, 40, 40)]
    with pytest.raises(InputError, match=r"crop.* 0"):
        lr_images(crop=0)


@pytest.fixture
def two_images(tmp_path: Path) -> LRImages:
    """Two files of 20 × 30 pixels: six patches of 10 × 10 each."""
    for name in ("a", "b"):
        values = np.arange(20 * 30 * 3, dtype=np.int64).reshape(20, 30, 3) % 251
        cv2.imwrite(str(tmp_path / f"{name}.png"), values.astype(np.uint8))
    return lr_images(str(tmp_path))


@pytest.mark.parametrize("count", [4, 5, 12])
def test_patches_come_from_all_images(two_images: LRImages, count: int) -> None:
    assert len(list(LRPatches(two_images, 10, count))) == count


def test_patches_do_not_overlap(two_images: LRImages) -> None:
    patches = list(LRPatches(two_images, 10, 12))
    whole = torch.cat([torch.cat(patches[row : row + 3], 2) for row in (0, 3)], 1)
    assert torch.equal(whole, next(iter(two_images)))


def test_fewer_patches_than_asked_for_are_a_warning(two_images: LRImages) -> None:
    with pytest.warns(UserWarning, match="12 patches.*100"):
        assert len(list(LRPatches(two_images, 10, 100))) == 12


def test_patches_larger_than_every_image_are_an_error(two_images: LRImages) -> None:
    with pytest.raises(InputError, match="31×31"):
        list(LRPatches(two_images, 31, 4))
