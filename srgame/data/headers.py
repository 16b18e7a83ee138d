"""The header of an image file, read before anything is decoded."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

FORMATS = "PNG, JPEG, WebP, BMP, TIFF, PPM, PGM, GIF"
GIF_FRAME = 0x2C
BITS, EXTRA_SAMPLES, ASSOCIATED, UNASSOCIATED = 258, 338, 1, 2  # TIFF: tags, and kinds of alpha
FORMS = {3: "H", 4: "I", 16: "Q"}  # TIFF's integers of 16, 32 and 64 bits


@dataclass(frozen=True)
class Header:
    """Size in pixels, number of frames or pages, how colours are stored, and the value of white if known."""

    width: int
    height: int
    frames: int = 1
    printed: bool = False  # CMYK, or Lab
    white: int | None = None
    premultiplied: bool = False  # colours are stored multiplied by alpha
    misread: bool = False  # by OpenCV: more than 8 bits, with a plane for each colour or with 0 for white


def header_of(content: bytes) -> Header | None:
    """The header in `content`; None if it is in none of the FORMATS, or incomplete."""
    try:
        return next((read(content) for marks, read in _READERS.items() if content.startswith(marks)), None)
    except (struct.error, LookupError, ValueError, OverflowError, StopIteration):
        return None


def without_transparency(content: bytes) -> bytes:
    """The same image without the mark by which OpenCV replaces colours: TIFF's kind of alpha, GIF's transparent index.

    `content` has a header that `header_of` could read.
    """
    if not content.startswith((b"GIF8", b"II", b"MM")):
        return content
    kept = bytearray(content)
    if content.startswith(b"GIF8"):
        for place in _gif_blocks(content):
            if content[place : place + 2] == b"\x21\xf9":
                kept[place + 3] &= ~1
    else:
        end, big, offset = _tiff_start(content)
        for tag, form, at in _tiff_entries(content, offset, end, big):
            if tag == EXTRA_SAMPLES and form == "H" and struct.unpack_from(f"{end}H", content, at)[0] == UNASSOCIATED:
                struct.pack_into(f"{end}H", kept, at, 0)
    return bytes(kept)


def _png(content: bytes) -> Header:
    width, height = struct.unpack_from(">II", content, 16)
    control = content.find(b"acTL", 0, content.find(b"IDAT"))  # in animated PNGs, before the pixels
    frames = struct.unpack_from(">I", content, control + 4)[0] if control > 0 else 1
    return Header(width, height, frames)


def _jpeg(content: bytes) -> Header:
    place = 2
    while True:
        while content[place + 1] == 0xFF:  # padding
            place += 1
        marker, (length,) = content[place + 1], struct.unpack_from(">H", content, place + 2)
        if content[place] != 0xFF or marker == 0xDA:
            raise ValueError("no frame before the pixels")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width, components = struct.unpack_from(">HHB", content, place + 5)
            return Header(width, height, printed=components == 4)
        place += 2 + length


def _webp(content: bytes) -> Header:
    kind = content[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(content[at : at + 3], "little") for at in (24, 27))
        return Header(width, height, content.count(b"ANMF") if content[20] & 2 else 1)
    if kind == b"VP8L":
        bits = int.from_bytes(content[21:25], "little")
        return Header(1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    width, height = struct.unpack_from("<HH", content, 26)
    return Header(width & 0x3FFF, height & 0x3FFF)


def _bmp(content: bytes) -> Header:
    if content[14] == 12:
        return Header(*struct.unpack_from("<HH", content, 18))
    width, height = struct.unpack_from("<ii", content, 18)
    return Header(abs(width), abs(height))


def _gif(content: bytes) -> Header:
    width, height = struct.unpack_from("<HH", content, 6)
    return Header(width, height, sum(content[place] == GIF_FRAME for place in _gif_blocks(content)))


def _gif_blocks(content: bytes) -> Iterator[int]:
    """The offset of each frame and extension."""
    place = 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
    while content[place] != 0x3B:
        yield place
        if content[place] == GIF_FRAME:
            packed = content[place + 9]
            place += 11 + (3 << (packed & 7) + 1 if packed & 0x80 else 0)
        else:
            place += 2
        while content[place]:
            place += 1 + content[place]
        place += 1


def _tiff(content: bytes) -> Header:
    """The header of the first page; pages marked as smaller versions of it do not count."""
    end, big, offset = _tiff_start(content)
    pages: list[dict[int, int]] = []
    while offset and len(pages) < 64:
        page, offset = _tiff_page(content, offset, end, big)
        if not pages or not page.get(254, 0) & 1:
            pages.append(page)
    first = pages[0]
    return Header(
        first[256],
        first[257],
        len(pages),
        printed=first.get(262) in (5, 8, 9),
        premultiplied=first.get(EXTRA_SAMPLES) == ASSOCIATED,
        misread=first.get(BITS, 1) > 8 and (first.get(262) == 0 or (first.get(284) == 2 and first.get(277, 1) > 1)),
    )


def _tiff_start(content: bytes) -> tuple[str, bool, int]:
    """The byte order as `struct` has it, whether offsets have 64 bits, and the offset of the first page."""
    end = "<" if content.startswith(b"II") else ">"
    big = content[2:4] in (b"\x2b\x00", b"\x00\x2b")
    return end, big, struct.unpack_from(f"{end}Q" if big else f"{end}I", content, 8 if big else 4)[0]


def _tiff_page(content: bytes, offset: int, end: str, big: bool) -> tuple[dict[int, int], int]:
    """The first value of each integer tag of a page, and the offset of the next page."""
    page = {
        tag: struct.unpack_from(end + form, content, at)[0]
        for tag, form, at in _tiff_entries(content, offset, end, big)
    }
    (count,) = struct.unpack_from(f"{end}Q" if big else f"{end}H", content, offset)
    after = offset + (8 + 20 * count if big else 2 + 12 * count)
    return page, struct.unpack_from(f"{end}Q" if big else f"{end}I", content, after)[0]


def _tiff_entries(content: bytes, offset: int, end: str, big: bool) -> Iterator[tuple[int, str, int]]:
    """For each integer tag of a page: the tag, the format of its values, and the offset of the first."""
    (count,) = struct.unpack_from(f"{end}Q" if big else f"{end}H", content, offset)
    entries, size = (offset + 8, 20) if big else (offset + 2, 12)
    for at in range(entries, entries + min(count, 4096) * size, size):
        tag, kind = struct.unpack_from(f"{end}HH", content, at)
        if kind in FORMS:
            form = FORMS[kind]
            values = struct.unpack_from(f"{end}Q" if big else f"{end}I", content, at + 4)[0]
            inline = at + (12 if big else 8)
            if values * struct.calcsize(f"{end}{form}") > (8 if big else 4):
                inline = struct.unpack_from(f"{end}Q" if big else f"{end}I", content, inline)[0]
            yield tag, form, inline


def _pnm(content: bytes) -> Header:
    words = (word for line in content[2:512].split(b"\n") for word in line.split(b"#")[0].split())
    width, height, *white = map(int, islice(words, 2 if content[1] in b"14" else 3))  # bitmaps are black and white
    return Header(width, height, white=white[0] if white else None)


_READERS: dict[tuple[bytes, ...], Callable[[bytes], Header]] = {
    (b"\x89PNG\r\n\x1a\n",): _png,
    (b"\xff\xd8\xff",): _jpeg,
    (b"RIFF",): _webp,
    (b"BM",): _bmp,
    (b"GIF8",): _gif,
    (b"II\x2a\x00", b"MM\x00\x2a", b"II\x2b\x00", b"MM\x00\x2b"): _tiff,
    tuple(b"P%d" % kind for kind in range(1, 7)): _pnm,
}
