"""Pairs that fit, and real pairs from two folders."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from srgame.data.images import image_paths, read_rgb, to_bytes
from srgame.data.pairs import Pairs, load_pairs, matched, paired, toward_bicubic
from srgame.errors import InputError
from srgame.evaluation.evaluate import bicubic, evaluate

needs_sets = pytest.mark.skipif("SRGAME_DATA" not in os.environ, reason="$SRGAME_DATA names no folder of image sets")
NOISE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)


def written(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[:, :, ::-1])
    return path


def images(*sizes: tuple[int, int]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.rand(3, *size, generator=torch.Generator().manual_seed(0)) for size in sizes)


MISFITS = {
    "a row of HR is missing": (images((6, 8)), images((23, 32))),
    "a row of LR is missing": (images((5, 8)), images((24, 32))),
    "other proportions": (images((6, 8)), images((24, 16))),
    "LR is larger": (images((24, 32)), images((6, 8))),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_pairs_that_do_not_fit_are_refused_with_the_name_of_the_image(misfit: str) -> None:
    lr, hr = MISFITS[misfit]
    with pytest.raises(InputError, match="'odd'"):
        Pairs(("odd",), lr, hr)
    good = images((6, 8)), images((24, 32))
    with pytest.raises(InputError, match="'odd'"):
        Pairs(("good", "odd"), good[0] + lr, good[1] + hr)


def test_pairs_of_two_scales_are_refused() -> None:
    with pytest.raises(InputError, match=r"'b'.*8×6.*16×12"):
        Pairs(("a", "b"), images((6, 8), (6, 8)), images((24, 32), (12, 16)))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("kind", ["LR", "HR"])
def test_pixels_that_are_not_finite_are_refused(kind: str, value: float) -> None:
    lr, hr = images((6, 8))[0], images((24, 32))[0]
    (lr if kind == "LR" else hr)[1, 2, 3] = value
    with pytest.raises(InputError, match=f"{kind} image of 'odd'"):
        Pairs(("odd",), (lr,), (hr,))


def test_pairs_without_images_are_refused() -> None:
    for names, lr in (((), ()), (("a",), ())):
        with pytest.raises(InputError, match=f"{len(names)} names, 0 LR and 0 HR"):
            Pairs(names, lr, ())


def test_a_repr_is_short_and_each_pair_comes_alone() -> None:
    pairs = load_pairs(crop=32)
    assert len(repr(pairs)) < 200 and "scale 4" in repr(pairs) and "astronaut 32×32" in repr(pairs)
    alone = list(pairs)
    assert [pair.names[0] for pair in alone] == list(pairs.names)
    assert all(torch.equal(pair.hr[0], hr) for pair, hr in zip(alone, pairs.hr, strict=True))


NAMES = [
    ("0801x4", "0801"),
    ("0801x4m", "0801"),
    ("baboon_x3", "baboon"),
    ("Canon_001_LR4", "Canon_001_HR"),
    ("Nikon_01_lr", "Nikon_01"),
    ("img_001_SRF_4_LR", "img_001_SRF_4_HR"),
    ("LR_7", "HR_7"),
    ("DSC_1286_x1", "DSC_1286_x4"),
    ("a-LR", "a_GT"),
    ("same", "same"),
]


@pytest.mark.parametrize(("lr_name", "hr_name"), NAMES)
def test_names_are_matched_apart_from_tags(tmp_path: Path, lr_name: str, hr_name: str) -> None:
    lr, hr = (tmp_path / kind / f"{name}.png" for kind, name in (("l", lr_name), ("h", hr_name)))
    for path in (lr, hr):
        written(path, NOISE)
        written(path.with_name("other_12.png"), NOISE)
        written(path.with_name("other_1.png"), NOISE)
    found = matched(str(lr.parent), str(hr.parent))
    assert (lr, hr) in found and len(found) == 3
    assert all(a.name == b.name for a, b in found if (a, b) != (lr, hr))


def test_one_folder_may_hold_both(tmp_path: Path) -> None:
    for name in ("Canon_001_HR", "Canon_001_LR4", "Canon_002_HR", "Canon_002_LR4"):
        written(tmp_path / f"{name}.png", NOISE)
    names = [(lr.stem, hr.stem) for lr, hr in matched(str(tmp_path), str(tmp_path))]
    assert names == [("Canon_001_LR4", "Canon_001_HR"), ("Canon_002_LR4", "Canon_002_HR")]
    with pytest.raises(InputError, match=r"photographs"):
        matched("photographs", "photographs")


def test_files_without_a_partner_are_named(tmp_path: Path) -> None:
    for name in ("l/a", "l/b", "h/a", "h/c"):
        written(tmp_path / f"{name}.png", NOISE)
    with pytest.warns(UserWarning) as noted:
        pairs = paired(str(tmp_path / "l"), str(tmp_path / "h"))
    assert pairs.names == ("a",) and pairs.scale == 1
    assert [str(note.message).split(": ")[1] for note in noted] == ["b.png", "c.png"]
    (tmp_path / "h" / "a.png").unlink()
    with pytest.raises(InputError, match=r"'a\.png' and 'c\.png'"):
        paired(str(tmp_path / "l"), str(tmp_path / "h"))


def test_names_that_differ_in_tags_only_are_refused(tmp_path: Path) -> None:
    for name in ("l/a_LR2", "l/a_LR4", "h/a"):
        written(tmp_path / f"{name}.png", NOISE)
    with pytest.raises(InputError, match=r"a_LR2.*a_LR4"):
        matched(str(tmp_path / "l"), str(tmp_path / "h"))


def test_sizes_are_checked_and_hr_is_cut_to_a_multiple_of_the_scale(tmp_path: Path) -> None:
    lr, hr = (str(tmp_path / kind) for kind in "lh")
    written(tmp_path / "l" / "a.png", NOISE[:16, :20])
    written(tmp_path / "h" / "a.png", NOISE[:63, :79])  # as if LR had a row and a column too many
    with pytest.raises(InputError, match=r"l/a.*20×16.*h/a.*79×63"):
        paired(lr, hr)
    written(tmp_path / "h" / "a.png", NOISE)
    assert paired(lr, hr).scale == 4
    with pytest.raises(InputError, match=r"20×16.*80×64.*2 times"):
        paired(lr, hr, scale=2)
    written(tmp_path / "l" / "a.png", NOISE[:15, :19])
    written(tmp_path / "h" / "a.png", NOISE[:63, :79])
    assert [tuple(image.shape) for image in (paired(lr, hr).hr + paired(lr, hr, 4).lr)] == [(3, 60, 76), (3, 15, 19)]


@pytest.mark.parametrize("crop", [None, 16, 24, 500])
def test_crops_show_the_same_square_of_both(tmp_path: Path, crop: int | None) -> None:
    written(tmp_path / "l" / "a.png", NOISE[:15, :19])
    written(tmp_path / "h" / "a.png", NOISE[:15, :19].repeat(4, 0).repeat(4, 1))
    pairs = paired(str(tmp_path / "l"), str(tmp_path / "h"), crop=crop)
    assert torch.equal(pairs.lr[0].repeat_interleave(4, 1).repeat_interleave(4, 2), pairs.hr[0])
    assert pairs.hr[0].shape == ((3, 60, 76) if crop in (None, 500) else (3, crop, crop))


def test_pairs_of_equal_size_have_scale_one_and_bicubic_is_the_lr_image(tmp_path: Path) -> None:
    written(tmp_path / "l" / "a.png", NOISE)
    written(tmp_path / "h" / "a.png", np.roll(NOISE, 1, 0))
    pairs = paired(str(tmp_path / "l"), str(tmp_path / "h"))
    assert pairs.scale == 1 and np.array_equal(to_bytes(pairs.lr[0]), NOISE)
    assert torch.equal(toward_bicubic(pairs).hr[0], pairs.lr[0])
    error = (NOISE.astype(float) - np.roll(NOISE, 1, 0)) / 255  # no border is cut at scale 1
    measured = evaluate(bicubic(1), pairs)["psnr_rgb"].item()
    assert measured == pytest.approx(-10 * np.log10((error**2).mean()), abs=1e-4)


def as_folders(dataset: str, folder: Path, scale: int = 4, count: int | None = None) -> tuple[str, str]:
    """Folders with the LR and HR images of a set, named as DIV2K's are."""
    pairs = load_pairs(dataset, scale=scale, images=count)
    for name, lr, hr in zip(pairs.names, pairs.lr, pairs.hr, strict=True):
        written(folder / "lr" / f"{name}x{scale}.png", to_bytes(lr))
        written(folder / "hr" / f"{name}.png", to_bytes(hr))
    return str(folder / "lr"), str(folder / "hr")


def test_real_pairs_written_from_a_set_are_those_of_the_set(tmp_path: Path) -> None:
    real, made = paired(*as_folders("photographs", tmp_path)), load_pairs()
    assert real.names == made.names and real.scale == 4
    for kind in ("lr", "hr"):
        assert all(torch.equal(a, b) for a, b in zip(getattr(real, kind), getattr(made, kind), strict=True))


@needs_sets
@pytest.mark.parametrize(("dataset", "known"), [("Set5", 28.42), ("Kodak24", 27.23)])
def test_bicubic_has_the_known_psnr_on_a_set_and_on_its_real_pairs(tmp_path: Path, dataset: str, known: float) -> None:
    try:
        image_paths(dataset)
    except InputError:
        pytest.skip(f"$SRGAME_DATA holds no {dataset}")
    from_hr = evaluate(bicubic(4), load_pairs(dataset))["psnr_y"]
    real = evaluate(bicubic(4), paired(*as_folders(dataset, tmp_path)))["psnr_y"]
    assert from_hr.mean() == pytest.approx(known, abs=0.03)
    assert real.tolist() == from_hr.tolist()


def test_images_in_subfolders_are_noted_or_included(tmp_path: Path) -> None:
    for name in ("b.png", "sub/a.png", "sub/deep/c.png"):
        written(tmp_path / name, NOISE)
    with pytest.warns(UserWarning, match=f"{tmp_path}.*sub.*--subfolders"):
        assert [path.name for path in image_paths(str(tmp_path))] == ["b.png"]
    assert {path.name for path in image_paths(str(tmp_path), subfolders=True)} == {"a.png", "b.png", "c.png"}
    assert load_pairs(str(tmp_path), crop=16, subfolders=True).names == ("b", "a", "c")
    (tmp_path / "b.png").unlink()
    with pytest.raises(InputError, match=f"{tmp_path}.*'sub'.*--subfolders"):
        image_paths(str(tmp_path))
    written(tmp_path / "a.png", NOISE)
    with pytest.raises(InputError, match=r"'a\.png'"):
        image_paths(str(tmp_path), subfolders=True)


def test_what_only_seems_to_be_an_image_is_skipped_with_a_note(tmp_path: Path) -> None:
    written(tmp_path / "a.png", NOISE)
    (tmp_path / "._a.png").write_bytes(b"\0\5\x16\7Mac OS X")
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf")
    (tmp_path / "x.png").mkdir()
    with pytest.warns(UserWarning) as noted:
        assert [path.name for path in image_paths(str(tmp_path))] == ["a.png"]
    (note,) = noted
    assert all(name in str(note.message) for name in ("._a.png", "Thumbs.db", "x.png", str(tmp_path)))
    assert np.array_equal(read_rgb(tmp_path / "a.png"), NOISE)
