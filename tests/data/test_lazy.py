"""LR images and patches that are read one by one."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from srgame.data.images import image_paths, read_rgb
from srgame.data.lazy import LazyImages, LRImages, LRPatches, lazy_pairs, lr_images
from srgame.data.pairs import load_pairs
from srgame.errors import InputError
from srgame.training.patches import Patches


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


@pytest.mark.parametrize("cache_bytes", [0, 1_500_000, 1 << 30])
def test_patches_of_lazy_images_are_those_of_images_in_memory_and_the_cache_is_bounded(cache_bytes: int) -> None:
    paths = image_paths("photographs")
    lazy = LazyImages(paths, cache_bytes)
    decoded = [read_rgb(path) for path in paths]
    assert lazy.shapes == tuple(image.shape for image in decoded) and lazy.nbytes == sum(
        image.nbytes for image in decoded
    )
    for images in (lazy, pickle.loads(pickle.dumps(lazy))):
        made, expected = (
            Patches(each, "second-order", patch=24, batch=4, crop=36, seed=3) for each in (images, decoded)
        )
        for step in (0, 1, 5):
            assert all(torch.equal(a, b) for a, b in zip(made(step), expected(step), strict=True))
    assert sum(image.nbytes for image in lazy._cache.values()) <= cache_bytes
    assert len(pickle.dumps(lazy)) < 2000


def test_lazy_images_find_damaged_files_at_once_and_changed_ones_later(two_images: LRImages, tmp_path: Path) -> None:
    lazy = LazyImages(two_images.paths, 0)
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((5, 6, 3), np.uint8))
    with pytest.raises(InputError, match=r"b\.png"):
        _ = lazy[1]
    (tmp_path / "b.png").write_bytes(b"")
    for make in (lambda: LazyImages(two_images.paths), lambda: lazy_pairs(str(tmp_path))):
        with pytest.raises(InputError, match=r"b\.png"):
            make()


def test_lazy_pairs_include_subfolders_if_asked(two_images: LRImages, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    two_images.paths[1].rename(tmp_path / "more" / "c.png")
    assert [path.name for path in lazy_pairs(str(tmp_path), subfolders=True).paths] == ["a.png", "c.png"]


def test_lazy_pairs_are_those_of_load_pairs() -> None:
    lazy, pairs = lazy_pairs("photographs", "b+n"), load_pairs("photographs", "b+n")
    assert len(lazy) == 4
    for _ in range(2):
        for one, other in zip(lazy, pairs, strict=True):
            assert one.names == other.names
            assert torch.equal(one.lr[0], other.lr[0]) and torch.equal(one.hr[0], other.hr[0])
