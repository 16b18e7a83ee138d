"""Image sets, the test degradations and PSNR, against known answers."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data as photographs_of_skimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from srgame.data.degradations.testing import SETTINGS, degrade
from srgame.data.images import image_paths, read_image, to_bytes
from srgame.data.pairs import load_pairs
from srgame.errors import InputError
from srgame.evaluation.evaluate import bicubic, evaluate
from srgame.metrics import benchmark_pair, l1, luma, mse, psnr, ssim

needs_sets = pytest.mark.skipif("SRGAME_DATA" not in os.environ, reason="$SRGAME_DATA names no folder of image sets")

# Bicubic upsampling on Set5: mean PSNR in dB, in the order of SETTINGS.
KNOWN_BICUBIC = {
    (4, "rgb"): [26.66, 24.86, 22.11, 23.73, 21.31, 22.94, 22.46, 21.93],
    (4, "y"): [28.40, 26.55, 25.33, 26.60, 24.29, 25.50, 25.04, 24.26],
    (2, "rgb"): [31.77, 25.98, 23.57, 27.34, 21.82, 24.80, 24.99, 23.32],
}


@needs_sets
@pytest.mark.parametrize("setting", SETTINGS)
def test_bicubic_on_set5_has_the_known_psnr(setting: str) -> None:
    for (scale, channel), known in KNOWN_BICUBIC.items():
        measured = evaluate(bicubic(scale), load_pairs("Set5", setting, scale))[f"psnr_{channel}"].mean()
        assert measured == pytest.approx(known[list(SETTINGS).index(setting)], abs=0.05), (scale, channel)


def test_the_photographs_need_no_download() -> None:
    pairs = load_pairs()
    assert pairs.names == ("astronaut", "chelsea", "coffee", "rocket")
    assert [tuple(hr.shape) for hr in pairs.hr] == [(3, 512, 512), (3, 300, 448), (3, 400, 600), (3, 424, 640)]
    for lr, hr in zip(pairs.lr, pairs.hr, strict=True):
        assert (4 * lr.shape[1], 4 * lr.shape[2]) == hr.shape[1:]
    assert np.array_equal(to_bytes(pairs.hr[0]), photographs_of_skimage.astronaut())


def written(path: Path, pixels: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), pixels)
    return path


@pytest.fixture
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)


@pytest.mark.filterwarnings("ignore:images in")
def test_colour_grey_alpha_and_16_bits_are_read(tmp_path: Path, rgb: np.ndarray) -> None:
    bgr = np.ascontiguousarray(rgb[:, :, ::-1])
    alpha = np.dstack([bgr, np.full(bgr.shape[:2], 7, np.uint8)])
    files = {
        "colour": written(tmp_path / "colour.png", bgr),
        "alpha": written(tmp_path / "alpha.png", alpha),
        "16 bits": written(tmp_path / "deep.png", bgr.astype(np.uint16) * 257),
        "16 bits and alpha": written(tmp_path / "deep_alpha.png", alpha.astype(np.uint16) * 257),
    }
    for kind, path in files.items():
        assert np.array_equal(to_bytes(read_image(path)), rgb), kind
    grey = read_image(written(tmp_path / "grey.png", rgb[:, :, 0]))
    deep_grey = read_image(written(tmp_path / "deep_grey.png", rgb[:, :, 0].astype(np.uint16) * 257))
    for image in (grey, deep_grey):
        assert np.array_equal(to_bytes(image), np.repeat(rgb[:, :, :1], 3, axis=2))
    assert read_image(files["colour"]).dtype == torch.float32


def test_an_unreadable_image_is_named(tmp_path: Path, rgb: np.ndarray) -> None:
    whole = written(tmp_path / "whole.png", rgb).read_bytes()
    for name, content in {"empty.png": b"", "text.png": b"not an image", "cut.png": whole[: len(whole) // 3]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}' cannot be read as an image"):
            read_image(tmp_path / name)


def test_float_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"deep\.tiff' holds float32 pixels"):
        read_image(written(tmp_path / "deep.tiff", np.zeros((8, 8, 3), np.float32)))


def test_a_folder_a_file_and_a_named_set_are_found(
    tmp_path: Path, rgb: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Own").mkdir()
    for name in ("b.png", "a.JPG", "notes.txt"):
        (tmp_path / "Own" / name).touch()
    monkeypatch.setenv("SRGAME_DATA", str(tmp_path))
    assert [path.name for path in image_paths("Own")] == ["a.JPG", "b.png"]
    assert image_paths(str(tmp_path / "Own")) == image_paths("Own")
    assert image_paths(str(tmp_path / "Own" / "b.png")) == [tmp_path / "Own" / "b.png"]


def test_a_missing_set_and_a_folder_without_images_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=f"folder '{tmp_path}' holds no image"):
        image_paths(str(tmp_path))
    monkeypatch.delenv("SRGAME_DATA", raising=False)
    with pytest.raises(InputError, match=r"no images at 'Set6': give a folder"):
        image_paths("Set6")
    monkeypatch.setenv("SRGAME_DATA", str(tmp_path))
    with pytest.raises(InputError, match=rf"no images at 'Set6' or in \$SRGAME_DATA \({tmp_path}\)"):
        image_paths("Set6")


def test_hr_is_cut_to_a_multiple_of_the_scale_and_cropped_in_the_middle(tmp_path: Path, rgb: np.ndarray) -> None:
    path = written(tmp_path / "odd.png", rgb[:19, :23, ::-1])
    whole, middle = load_pairs(str(path), scale=4), load_pairs(str(path), scale=2, crop=7)
    assert np.array_equal(to_bytes(whole.hr[0]), rgb[:16, :20])
    assert np.array_equal(to_bytes(middle.hr[0]), rgb[6:12, 8:14])
    assert middle.lr[0].shape == (3, 3, 3)


def test_an_image_too_small_for_the_scale_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "dot.png", np.zeros((1, 9, 3), np.uint8))
    with pytest.raises(InputError, match=r"dot\.png' has 9×1 pixels: too small for scale 4"):
        load_pairs(str(path))


def test_degradations_repeat_and_noise_differs_between_images_settings_and_seeds() -> None:
    def noise(image: int, setting: str = "noise", without: str = "clean", seed: int = 0) -> torch.Tensor:
        with_noise = load_pairs("photographs", setting, images=2, crop=64, seed=seed)
        return (with_noise.lr[image] - load_pairs("photographs", without, images=2, crop=64).lr[image]).flatten()

    assert torch.equal(noise(0), noise(0))
    different = torch.stack([noise(0), noise(1), noise(0, seed=1), noise(0, "b+n", "blur")])
    assert torch.corrcoef(different).fill_diagonal_(0).abs().max() < 0.15


def test_noise_has_its_strength_and_each_setting_differs() -> None:
    grey = torch.full((3, 400, 400), 128 / 255)
    noisy = degrade(grey, "noise", seed=3)
    assert noisy.std().item() * 255 == pytest.approx(20, rel=0.03)
    assert noisy.mean().item() * 255 == pytest.approx(127.5, abs=0.3)  # truncation takes half a level
    hr = load_pairs(images=1, crop=128).hr[0]
    made = [degrade(hr, setting).flatten() for setting in SETTINGS]
    assert len({tuple(lr.tolist()) for lr in made}) == 8
    assert all(torch.equal((lr * 255).round() / 255, lr) for lr in made)


def test_an_unknown_degradation_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"unknown degradation 'fog': choose one of clean, blur, noise"):
        degrade(torch.zeros(3, 8, 8), "fog")


@given(seed=st.integers(0, 10**6), border=st.integers(0, 4))
@settings(deadline=None, max_examples=20)
def test_psnr_agrees_with_scikit_image(seed: int, border: int) -> None:
    rng = np.random.default_rng(seed)
    hr = rng.integers(0, 256, (1, 3, 16, 18)).astype(np.uint8)
    sr = np.clip(hr + rng.normal(0, 20, hr.shape), -10, 270).astype(np.float32)
    inner = np.s_[..., border : 16 - border, border : 18 - border]
    expected = peak_signal_noise_ratio(hr[inner], np.clip(sr.round(), 0, 255).astype(np.uint8)[inner], data_range=255)
    sr, hr = torch.from_numpy(sr) / 255, torch.from_numpy(hr).float() / 255
    assert psnr(*benchmark_pair(sr, hr, border)).item() == pytest.approx(expected, abs=1e-4)
    assert psnr(sr, hr).item() == pytest.approx(-10 * np.log10(mse(sr, hr).item()))
    assert l1(sr, hr).item() == pytest.approx((sr - hr).abs().mean().item(), rel=1e-5)


@given(seed=st.integers(0, 10**6), noise=st.floats(0, 0.4), height=st.integers(11, 24), width=st.integers(11, 24))
@settings(deadline=None, max_examples=20)
def test_ssim_agrees_with_scikit_image(seed: int, noise: float, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    hr = rng.random((height, width, 3))
    sr = hr + rng.normal(0, noise, hr.shape)
    as_matlab = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    expected = structural_similarity(hr, sr, channel_axis=2, **as_matlab)
    ours = ssim(*(torch.from_numpy(x).permute(2, 0, 1)[None] for x in (sr, hr)))
    assert ours.item() == pytest.approx(expected, abs=1e-9)


def test_equal_images_have_ssim_one_and_small_ones_have_none() -> None:
    images = torch.rand(2, 3, 11, 12)
    assert ssim(images, images).tolist() == pytest.approx([1, 1])
    assert ssim(images[..., :10], images[..., :10]).isnan().all()


def test_luma_is_matlabs() -> None:
    rgb = np.random.default_rng(0).random((9, 8, 3), dtype=np.float32)
    ours = luma(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0, 0].numpy()
    full_range = cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)[..., 0]
    np.testing.assert_allclose(ours, (full_range * 219 + 16) / 255, atol=5e-4)


def test_evaluate_gives_one_row_per_image() -> None:
    table = evaluate(bicubic(4), load_pairs(crop=64))
    assert table["image"].tolist() == ["astronaut", "chelsea", "coffee", "rocket"]
    assert table[["psnr_rgb", "psnr_y"]].to_numpy().min() > 15
    assert table["ssim_y"].between(0.3, 1).all()


@needs_sets
def test_bicubic_on_set5_has_the_published_ssim() -> None:
    """0.8104 at ×4 with MATLAB's resize, in every SR paper's table."""
    assert evaluate(bicubic(4), load_pairs("Set5"))["ssim_y"].mean() == pytest.approx(0.8104, abs=1.5e-3)
