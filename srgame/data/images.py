"""Image sets as tensors: embedded photographs, benchmark folders, one file.

An image is a float32 tensor "3 h w" with RGB values in [0, 1] that are whole multiples of 1/255.
"""

import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Num, UInt8
from torch import Tensor

from srgame.data.headers import FORMATS, Header, header_of, without_transparency
from srgame.errors import InputError

PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")  # shipped in scikit-image's wheel
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")

MOST_PIXELS = 2**27  # of one image: 1.5 GiB as float32; $SRGAME_MAX_PIXELS sets another limit
COLOURS = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}  # by the number of channels
DAMAGE = re.compile(r"Corrupt JPEG data.*|Premature end.*")  # some messages of libjpeg are harmless
FORMULA = re.compile(r"[=@\t]|[+-](?![\d.]*$)")  # the beginning of a cell that a spreadsheet would evaluate

Image = Float[Tensor, "3 _ _"]  # height and width


def image_paths(dataset: str, subfolders: bool = False) -> list[Path]:
    """The image files of `dataset`, sorted by path.

    `dataset` is "photographs" (embedded), a folder, a file, or the name of a set in the folder $SRGAME_DATA. With
    `subfolders`, a folder's images include those in its subfolders; without, a warning reports that they are ignored.
    Files of macOS and Windows that only seem to be images are skipped, with a warning.

    Raises InputError if there are no images, for file names that cannot stand in a csv, and if images in several
    folders have the same name.

    >>> [path.name for path in image_paths("photographs")]
    ['astronaut.png', 'chelsea.png', 'coffee.png', 'rocket.jpg']
    """
    if dataset == "photographs":
        return [Path(str(files("skimage.data") / name)) for name in PHOTOGRAPHS]
    below_data = Path(os.environ.get("SRGAME_DATA", "")) / dataset
    path = next((p for p in (Path(dataset), below_data) if p.exists()), None)
    if path is None:
        known = f" or in $SRGAME_DATA ({os.environ['SRGAME_DATA']})" if "SRGAME_DATA" in os.environ else ""
        raise InputError(
            f"no images at '{dataset}'{known}: give a folder, a file, 'photographs' (embedded), "
            "or the name of a set in the folder that $SRGAME_DATA names"
        )
    paths = _in_folder(path, subfolders) if path.is_dir() else [path]
    for each in paths:
        _check_name(each)
    return paths


def _in_folder(folder: Path, subfolders: bool) -> list[Path]:
    """The image files of a folder, sorted."""
    found = sorted(folder.rglob("*") if subfolders else folder.iterdir())
    paths = [path for path in found if _is_image(path)]
    ignored = (
        [] if subfolders else [each.name for each in found if each.is_dir() and any(map(_is_image, _inside(each)))]
    )
    if not paths:
        where = f"but its subfolder '{ignored[0]}' does: add --subfolders" if ignored else "choose another"
        raise InputError(f"the folder '{folder}' holds no image ({', '.join(SUFFIXES)}): {where}")
    if ignored:
        warnings.warn(
            f"images in subfolders of '{folder}' are ignored ({some(ignored)}): include them with --subfolders",
            stacklevel=3,
        )
    if skipped := [path.name for path in found if _seems_image(path) and not _is_image(path)]:
        warnings.warn(f"'{folder}': {some(skipped)} skipped: not an image, in spite of the name", stacklevel=3)
    names = [path.name for path in paths]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise InputError(f"several images in subfolders of '{folder}' have the name '{twice[0]}': rename them")
    return paths


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._") and not path.is_dir()


def _seems_image(path: Path) -> bool:
    """Whether the entry has the name of an image, or stores small copies of images, as Windows' Thumbs.db does."""
    return path.suffix.lower() in SUFFIXES or path.name.lower() == "thumbs.db"


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # not readable: nothing is known of it
        return []


def some(names: Sequence[str], most: int = 3) -> str:
    """The first names, and the number of the others."""
    others = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + others


def _check_name(path: Path) -> None:
    """Raises InputError for a name that a csv cannot store as it is, or that a spreadsheet would evaluate."""
    if not path.name.isprintable():  # this also refuses names that are not UTF-8
        raise InputError(f"the name of the image {str(path)!a} contains unprintable characters: rename it")
    if FORMULA.match(path.stem):
        raise InputError(f"a spreadsheet would take the name of the image '{path}' for a formula: rename it")


def read_image(path: Path) -> Image:
    """The image in `path` as 8-bit RGB: grey is repeated, and 16 bits are rounded to 8.

    Alpha is dropped, with a warning if some pixels are transparent: colours are those stored under it. EXIF orientation
    is ignored. Damage is detected in PNG, which has checksums, and in JPEG if libjpeg reports it; in other formats it
    may go unnoticed.

    Raises InputError, with the name of the file, if it holds no readable image or several (an animation, pages), if its
    colours are for print (CMYK), which take a profile to convert, and, before decoding, if it has more pixels than
    MOST_PIXELS or $SRGAME_MAX_PIXELS.
    """
    return from_bytes(read_rgb(path))


def read_rgb(path: Path) -> UInt8[np.ndarray, "h w 3"]:
    """The image that `read_image` returns, as bytes.

    >>> read_rgb(image_paths("photographs")[0]).shape
    (512, 512, 3)
    """
    header, pixels = _decoded(path)
    if header.white not in (None, 255, 65535):
        raise InputError(
            f"'{path}' has {header.white} for white, not 255 or 65535: save it with 8 or 16 bits per channel"
        )
    if pixels.dtype == np.uint16:
        pixels = np.round(pixels / 257).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise InputError(f"'{path}' holds {pixels.dtype} pixels: save it with 8 or 16 bits per channel")
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.shape[:2] != (header.height, header.width) or channels not in COLOURS:
        raise InputError(
            f"'{path}' cannot be read as an image (its header does not match its pixels): replace or remove it"
        )
    return cv2.cvtColor(_without_alpha(path, pixels, header) if channels == 4 else pixels, COLOURS[channels])


def _without_alpha(path: Path, pixels: UInt8[np.ndarray, "h w 4"], header: Header) -> UInt8[np.ndarray, "h w 4"]:
    """The pixels with the colours that they have before alpha is applied; warns if it is not 255 everywhere."""
    alpha = pixels[:, :, 3:]
    if alpha.min() < 255:
        warnings.warn(
            f"images in '{path.parent}' have transparent pixels: alpha is dropped, and the colours under it are used",
            stacklevel=2,
        )
    if header.premultiplied:
        colours = pixels[:, :, :3] * 255.0 / np.maximum(alpha, 1)
        return np.dstack([colours.round().clip(0, 255).astype(np.uint8), alpha])
    return pixels


def _decoded(path: Path) -> tuple[Header, np.ndarray]:
    """The header of an image file, and all its channels."""
    try:
        content = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise InputError(f"'{path}' cannot be read as an image ({error.strerror}): replace or remove it") from error
    header = header_of(content)
    if header is None:
        what = f"it is none of {FORMATS}" if content else "it is empty"
        raise InputError(f"'{path}' cannot be read as an image ({what}): replace or remove it")
    _check_header(path, header)
    pixels, complaint = None, ""
    with _captured_stderr() as messages:
        try:
            pixels = cv2.imdecode(np.frombuffer(without_transparency(content), np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            complaint = "it is damaged"
    if content.startswith(b"\xff\xd8"):  # libjpeg guesses what it cannot read, and only prints that
        complaint = complaint or "; ".join(DAMAGE.findall("".join(messages)))
    if pixels is None or complaint:
        raise InputError(f"'{path}' cannot be read as an image ({complaint or 'it is damaged'}): replace or remove it")
    return header, pixels


def _check_header(path: Path, header: Header) -> None:
    """Raises InputError for an image that should not be decoded."""
    size = f"{header.width}×{header.height}"
    try:
        most = int(os.environ.get("SRGAME_MAX_PIXELS") or MOST_PIXELS)
    except ValueError as error:
        raise InputError("$SRGAME_MAX_PIXELS must be a number of pixels: correct it, or unset it") from error
    if header.width * header.height > most:
        raise InputError(
            f"'{path}' claims {size} pixels, more than the limit of {most:,} for one image: "
            "crop it, or raise $SRGAME_MAX_PIXELS if memory allows"
        )
    if header.frames > 1:
        raise InputError(
            f"'{path}' holds {header.frames} images (an animation, or pages): save one of them as a file of its own"
        )
    if header.printed:
        raise InputError(f"'{path}' has colours for print (CMYK or Lab): convert it to RGB with its profile")
    if header.misread:
        raise InputError(
            f"'{path}' has 16 bits per channel, but a plane for each colour or 0 for white: save it as ordinary RGB"
        )


@contextmanager
def _captured_stderr() -> Iterator[list[str]]:
    """A list that, once closed, holds what C libraries printed to standard error: libjpeg reports damage only there."""
    messages = list[str]()
    with _STDERR_LOCK, ExitStack() as stack:
        try:
            file = stack.enter_context(tempfile.TemporaryFile())
            before = os.dup(2)
        except OSError:  # no space for a temporary file, or no standard error
            yield messages
            return
        os.dup2(file.fileno(), 2)
        try:
            yield messages
        finally:
            os.dup2(before, 2)
            os.close(before)
            file.seek(0)
            messages.append(file.read().decode(errors="replace"))


_STDERR_LOCK = Lock()


def from_bytes(pixels: UInt8[np.ndarray, "h w 3"]) -> Image:
    """The image of 8-bit pixels."""
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float() / 255


def to_bytes(image: Image) -> UInt8[np.ndarray, "h w 3"]:
    """The 8-bit pixels of an image: clamped and rounded."""
    return (image.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def in_words(image: Tensor) -> str:
    """The size of an image as people write it: width × height."""
    return f"{image.shape[-1]}×{image.shape[-2]}"


def center_crop(image: Image, size: int) -> Image:
    """The middle `size` × `size` pixels, or fewer if the image is smaller."""
    _, height, width = image.shape
    top, left = max(0, height - size) // 2, max(0, width - size) // 2
    return image[:, top : top + size, left : left + size]


def resize(images: Num[Tensor, "b 3 h w"], height: int, width: int) -> Num[Tensor, "b 3 H W"]:
    """The images after bicubic resizing with antialias (a = -1/2), as Pillow does; bytes stay bytes."""
    return F.interpolate(images, (height, width), mode="bicubic", antialias=True)


def upsample(lr: Float[Tensor, "b 3 h w"], scale: int) -> Float[Tensor, "b 3 H W"]:
    """The images after bicubic upsampling, the baseline of every table."""
    return resize(lr, lr.shape[-2] * scale, lr.shape[-1] * scale)
