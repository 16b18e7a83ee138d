"""Image files: every format, damaged files, decompression bombs and malicious names."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from srgame.data.degradations.folder import degrade_set
from srgame.data.headers import Header, header_of
from srgame.data.images import MOST_PIXELS, image_paths, read_image, read_rgb
from srgame.data.pairs import load_pairs
from srgame.errors import InputError
from srgame.evaluation.benchmark import benchmark

NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
SMOOTH = cv2.GaussianBlur(NOISE, (0, 0), 3)


def stored(form: str, mode: str = "RGB", **options: object) -> bytes:
    """SMOOTH as Pillow encodes it."""
    file = io.BytesIO()
    Image.fromarray(SMOOTH).convert(mode).save(file, form, **options)
    return file.getvalue()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


LOSSLESS = {
    "png": stored("PNG"),
    "alpha.png": stored("PNG", "RGBA"),
    "lossless.webp": stored("WEBP", lossless=True),
    "bmp": stored("BMP"),
    "tiff": stored("TIFF"),
    "packed.tiff": stored("TIFF", compression="tiff_lzw"),
    "big.tiff": stored("TIFF", big_tiff=True),
    "ppm": stored("PPM"),
}
LOSSY = {
    "jpg": stored("JPEG", quality=98),
    "progressive.jpg": stored("JPEG", quality=98, progressive=True),
    "several.jpg": stored("MPO", save_all=True, append_images=[Image.fromarray(NOISE)], quality=98),  # as phones do
    "webp": stored("WEBP", quality=98),
    "alpha.webp": stored("WEBP", "RGBA", quality=98),
}
GREY = {
    name: stored(form, mode)
    for name, form, mode in (("g.png", "PNG", "L"), ("ga.png", "PNG", "LA"), ("g.jpg", "JPEG", "L"))
}


@pytest.mark.parametrize("name", [*LOSSLESS, *LOSSY])
def test_every_format_is_read_and_its_header_has_the_size(tmp_path: Path, name: str) -> None:
    content = (LOSSLESS | LOSSY)[name]
    assert header_of(content) == Header(40, 24, white=255 if name == "ppm" else None)
    difference = np.abs(read_rgb(written(tmp_path / name, content)).astype(int) - SMOOTH)
    assert difference.max() == 0 if name in LOSSLESS else difference.mean() < 4


def test_grey_palette_and_one_bit_are_read_as_rgb(tmp_path: Path) -> None:
    grey = np.array(Image.fromarray(SMOOTH).convert("L")).astype(int)[..., None]
    for name, content in GREY.items():
        assert np.abs(read_rgb(written(tmp_path / name, content)) - grey).max() <= 12 * (name == "g.jpg"), name
    for form in ("PNG", "GIF", "BMP", "TIFF"):
        palette = np.array(Image.open(io.BytesIO(stored(form, "P"))).convert("RGB"))
        assert np.array_equal(read_rgb(written(tmp_path / f"p.{form}", stored(form, "P"))), palette), form
    assert set(np.unique(read_rgb(written(tmp_path / "1.png", stored("PNG", "1"))))) == {0, 255}


def test_exif_orientation_is_ignored(tmp_path: Path) -> None:
    turned = Image.Exif()
    turned[0x112] = 6
    path = written(tmp_path / "turned.jpg", stored("JPEG", quality=98, exif=turned))
    assert read_rgb(path).shape == SMOOTH.shape and Image.open(path).getexif()[0x112] == 6


def animated(form: str) -> bytes:
    return stored(form, save_all=True, append_images=[Image.fromarray(image) for image in (NOISE, 255 - NOISE)])


def transparent() -> Image.Image:
    """NOISE under an alpha of all values."""
    alpha = np.arange(24 * 40, dtype=np.int64).reshape(24, 40) % 256
    return Image.fromarray(np.dstack([NOISE, alpha.astype(np.uint8)]))


def planes(bits: int, kind: str | None, planar: str = "contig") -> bytes:
    """NOISE as a TIFF of so many bits, with alpha of this kind."""
    pixels = np.asarray(transparent()).astype(np.uint16 if bits == 16 else np.uint8) * (257 if bits == 16 else 1)
    pixels = pixels if kind else pixels[..., :3]
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        pixels if planar == "contig" else pixels.transpose(2, 0, 1).copy(),
        photometric="rgb",
        planarconfig=planar,
        extrasamples=[kind] if kind else None,
    )
    return file.getvalue()


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


TRANSPARENT = {
    "a.png": encoded(transparent(), "PNG"),
    "la.png": encoded(transparent().convert("LA"), "PNG"),
    "colour.png": encoded(transparent().convert("RGB"), "PNG", transparency=tuple(NOISE[0, 0].tolist())),
    "a.webp": encoded(transparent(), "WEBP", lossless=True, exact=True),
    "a.tiff": encoded(transparent(), "TIFF"),
    "packed.tiff": encoded(transparent(), "TIFF", compression="tiff_lzw"),
    "big.tiff": encoded(transparent(), "TIFF", compression="tiff_deflate", big_tiff=True),
    "la.tiff": encoded(transparent().convert("LA"), "TIFF"),
    "a.bmp": encoded(transparent(), "BMP"),
    "p.gif": encoded(transparent().convert("RGB").quantize(16), "GIF", transparency=3),
    "rgba.gif": encoded(transparent(), "GIF"),
    "p.png": encoded(transparent().convert("RGB").quantize(16), "PNG", transparency=3),
    "premultiplied.tiff": planes(8, "assocalpha"),
}


@pytest.mark.filterwarnings("ignore:images in")
@pytest.mark.parametrize("name", TRANSPARENT)
def test_colours_under_alpha_are_those_that_pillow_reads(tmp_path: Path, name: str) -> None:
    content = TRANSPARENT[name]
    pillow = np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))
    ours = read_rgb(written(tmp_path / name, content)).astype(int)
    clear = 0 if name == "premultiplied.tiff" else -1  # there the colours are lost where alpha is 0
    assert np.abs(ours - pillow[..., :3])[pillow[..., 3] > clear].max() <= (name == "premultiplied.tiff")


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tiff"])
def test_transparent_pixels_are_noted(tmp_path: Path, name: str) -> None:
    with pytest.warns(UserWarning, match=f"{tmp_path}.*alpha"):
        read_rgb(written(tmp_path / name, TRANSPARENT[name]))


@pytest.mark.filterwarnings("ignore:images in")
@pytest.mark.parametrize("kind", [None, "unassalpha", "unspecified"])
@pytest.mark.parametrize("bits", [8, 16])
def test_tiffs_of_8_and_16_bits_are_read_or_refused_but_never_mixed_up(
    tmp_path: Path, bits: int, kind: str | None
) -> None:
    for planar in ("contig", "separate"):
        path = written(tmp_path / f"{planar}.tiff", planes(bits, kind, planar))
        if bits == 16 and planar == "separate":
            with pytest.raises(InputError, match=r"separate\.tiff"):
                read_rgb(path)
        else:
            assert np.array_equal(read_rgb(path), NOISE)


def test_black_and_white_may_be_swapped_in_a_tiff(tmp_path: Path) -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, NOISE[..., 0], photometric="miniswhite")
    assert np.array_equal(read_rgb(written(tmp_path / "a.tiff", file.getvalue()))[..., 0], 255 - NOISE[..., 0])


REFUSED: dict[str, tuple[bytes, str]] = {
    "zero.png": (b"", "it is empty"),
    "text.png": (b"not an image", "it is none of PNG, JPEG, WebP"),
    "cut.png": (LOSSLESS["png"][:300], "it is damaged"),
    "header.png": (LOSSLESS["png"][:20], "none of"),
    "cut.jpg": (LOSSY["jpg"][:600], "cannot be read as an image"),
    "cut.webp": (LOSSY["webp"][:300], "it is damaged"),
    "cut.tiff": (LOSSLESS["tiff"][:9], "none of"),
    "cut.bmp": (LOSSLESS["bmp"][:40], "it is damaged"),
    "cut.ppm": (LOSSLESS["ppm"][:40], "it is damaged"),
    "ten bits.pgm": (b"P5 2 2 1023\n" + bytes(8), "255 or 65535"),
    "cmyk.jpg": (stored("JPEG", "CMYK"), "CMYK"),
    "cmyk.tif": (stored("TIFF", "CMYK"), "CMYK"),
    "lab.tif": (stored("TIFF", "LAB"), "Lab"),
    "moving.gif": (animated("GIF"), "holds 3 images"),
    "moving.png": (animated("PNG"), "holds 3 images"),
    "moving.webp": (animated("WEBP"), "holds 3 images"),
    "pages.tif": (animated("TIFF"), "holds 3 images"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_but_a_single_undamaged_rgb_image_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    content, sentence = REFUSED[name]
    with pytest.raises(InputError, match=rf"'.*{name}' .*{sentence}") as refusal:
        read_image(written(tmp_path / name, content))
    assert "\n" not in str(refusal.value)


def test_a_damaged_jpeg_is_refused_if_libjpeg_complains(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    damaged = bytearray(LOSSY["jpg"])
    damaged[-200:-40] = bytes(160)
    with pytest.raises(InputError, match=r"damaged.jpg' cannot be read as an image \(Corrupt JPEG data"):
        read_image(written(tmp_path / "damaged.jpg", bytes(damaged)))
    assert capfd.readouterr().err == ""


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be a large black image."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    lines = zlib.compress(bytes((width + 7) // 8 + 1) * min(height, 64))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def resized(content: bytes, old: bytes, new: bytes) -> bytes:
    assert content.count(old) >= 1
    return content.replace(old, new, 1)


BOMBS: dict[str, Callable[[], bytes]] = {
    "b.png": lambda: bomb(60_000, 60_000),
    "b.jpg": lambda: resized(LOSSY["jpg"], struct.pack(">HH", 24, 40), struct.pack(">HH", 60_000, 60_000)),
    "b.gif": lambda: resized(stored("GIF", "P"), struct.pack("<HH", 40, 24), struct.pack("<HH", 60_000, 60_000)),
    "b.bmp": lambda: resized(LOSSLESS["bmp"], struct.pack("<ii", 40, 24), struct.pack("<ii", 60_000, -60_000)),
    "b.ppm": lambda: resized(LOSSLESS["ppm"], b"40 24", b"60000 60000"),
    "b.tif": lambda: resized(
        resized(LOSSLESS["tiff"], struct.pack("<HHII", 256, 4, 1, 40), struct.pack("<HHII", 256, 4, 1, 60_000)),
        struct.pack("<HHII", 257, 4, 1, 24),
        struct.pack("<HHII", 257, 4, 1, 60_000),
    ),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    sentence = rf"{name}' claims 60000×60000 pixels, more than the limit of {MOST_PIXELS:,} "
    with pytest.raises(InputError, match=sentence):
        read_image(written(tmp_path / name, BOMBS[name]()))


def test_the_limit_of_pixels_can_be_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.png", LOSSLESS["png"])
    monkeypatch.setenv("SRGAME_MAX_PIXELS", "959")
    with pytest.raises(InputError, match=r"claims 40×24 pixels, more than the limit of 959 for one image"):
        read_image(path)
    monkeypatch.setenv("SRGAME_MAX_PIXELS", "960")
    assert read_image(path).shape == (3, 24, 40)
    monkeypatch.setenv("SRGAME_MAX_PIXELS", "many")
    with pytest.raises(InputError, match=r"\$SRGAME_MAX_PIXELS"):
        read_image(path)


@pytest.mark.filterwarnings("ignore:images in")
@pytest.mark.parametrize("name", [*LOSSLESS, *LOSSY, "moving.gif"])
def test_flipped_bits_and_truncation_raise_only_input_errors(tmp_path: Path, name: str) -> None:
    good = (LOSSLESS | LOSSY | {"moving.gif": animated("GIF")})[name]
    rng = np.random.default_rng(0)
    for trial in range(30):
        bad = bytearray(good)
        bad[rng.integers(min(len(bad), 64 if trial % 2 else len(bad)))] ^= 1 << int(rng.integers(8))
        path = written(tmp_path / name, bytes(bad[: rng.integers(len(bad))] if trial % 3 == 0 else bad))
        try:
            read = read_rgb(path)
        except InputError:
            continue
        assert name not in ("png", "alpha.png") or np.array_equal(read, SMOOTH)  # PNG has checksums


@pytest.mark.parametrize("name", ["=cmd|' C calc'!A0.png", "@sum.png", "+a.png", "-a.png"])
def test_a_name_that_a_spreadsheet_would_evaluate_is_refused(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, LOSSLESS["png"])
    for dataset in (tmp_path, path):
        with pytest.raises(InputError, match=r"a spreadsheet would take the name .* for a formula: rename it"):
            image_paths(str(dataset))


@pytest.mark.parametrize("name", [b"a\nb.png", b"\x1b[2Jb.png", b"a\rb.png", b"\xff.png"])
def test_an_unprintable_name_is_refused(tmp_path: Path, name: bytes) -> None:
    (Path(tmp_path) / name.decode("utf-8", "surrogateescape")).write_bytes(LOSSLESS["png"])
    with pytest.raises(InputError, match="unprintable") as refusal:
        image_paths(str(tmp_path))
    assert str(refusal.value).isprintable()


def test_other_names_are_the_same_after_a_csv(tmp_path: Path) -> None:
    names = ['a,b"c;d.png', "-1.png", "<script>.png", "$x_{.png", "..png.png", "%2e%2e%2f.png", "été 猫.png"]
    (tmp_path / "images").mkdir()
    for name in names:
        written(tmp_path / "images" / name, LOSSLESS["png"])
    folder = tmp_path / "out"
    measured = benchmark({}, [str(tmp_path / "images")], ["clean"], folder=folder).scores
    assert sorted(measured["image"]) == sorted(names) and sorted(p.name for p in tmp_path.iterdir()) == [
        "images",
        "out",
    ]
    degraded = degrade_set(str(tmp_path / "images"), tmp_path / "lr", "bicubic")
    assert {path.parent for path in degraded} == {tmp_path / "lr"} and len(list((tmp_path / "lr").iterdir())) == 8
    again = benchmark({}, [str(tmp_path / "images")], ["clean"], folder=folder).scores
    assert again.equals(measured)


def test_an_image_of_one_pixel_is_read_and_is_too_small_to_restore(tmp_path: Path) -> None:
    path = written(tmp_path / "dot.png", cv2.imencode(".png", NOISE[:1, :1])[1].tobytes())
    assert read_image(path).shape == (3, 1, 1)
    with pytest.raises(InputError, match=r"dot.png' has 1×1 pixels: too small for scale 4"):
        load_pairs(str(path))
