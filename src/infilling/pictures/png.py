"""PNG where Pillow falls short: animations, 16-bit colour, 16-bit grey with alpha; and a writer for these.

Source: Portable Network Graphics (PNG) Specification, third edition.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin

from infilling.errors import InputError
from infilling.pictures.limits import walk_png
from infilling.pictures.picture import Deep, Picture, Samples, cut_strips

COMPRESSION = 1  # zlib level: on photographs, 6 takes four times as long for 8 % less
ROWS_AT_ONCE = 64

SIGNATURE = b"\x89PNG\r\n\x1a\n"
XMP_KEYWORD = b"XML:com.adobe.xmp\0\0\0\0\0"
HEADER = 33  # bytes: the signature and IHDR
_MEANING = (b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI")
_SIZES = {b"sBIT": (1, 0, 3, 0, 2, 0, 4), b"bKGD": (2, 0, 6, 0, 2, 0, 6)}  # bytes by the colour type
_READ = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"iCCP", b"pHYs", b"eXIf", b"tIME")  # in other places
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_OTHERS = (b"XML:com.adobe.xmp", b"Raw profile type")  # keywords of XMP, and of metadata with thumbnails
_SAFE = 0x20  # in the first letter of a chunk's kind: need not be known; in the fourth: is safe to copy
_GREY, _RGB, _GREY_ALPHA, _RGB_ALPHA = 0, 2, 4, 6
_SUB, _UP = 1, 2


def read_depth(data: bytes) -> int:
    """Bits per sample from the header of a PNG.

    Raises:
        InputError: the file is animated.
        ValueError: it does not begin with a whole header.
    """
    if len(data) < HEADER:
        raise ValueError("truncated")
    if data[12:16] != b"IHDR":
        raise ValueError("no header")
    if b"acTL" in data and any(kind == b"acTL" for kind, *_ in walk_png(data)):
        raise InputError("an animated PNG; give one of its frames")
    return data[24]


def read_chunks(data: bytes) -> tuple[tuple[tuple[bytes, bytes], ...], tuple[str, ...]]:
    """Read the chunks that are kept as they are, and say which are not.

    Kept are those that say what the samples mean, texts, and what the specification calls safe to copy. The
    time of the last change is dropped, for it is no longer true.

    Returns:
        Kind and body of each chunk, in their order; and a line if there are others.

    Raises:
        InputError: the file has too many chunks.
    """
    chunks, lost = [], set()
    for kind, start, stop in walk_png(data):
        is_profile = kind in _TEXTS and data.startswith(_OTHERS, start)
        if kind in _READ or is_profile or not kind.isalpha():
            continue
        is_deep_enough = kind in _SIZES and data[24] >= 8  # the depth that is written
        if kind in _MEANING or is_deep_enough or kind[0] & kind[3] & _SAFE:
            chunks.append((kind, data[start:stop]))
        else:
            lost.add(kind.decode())
    said = (f"its PNG chunks {', '.join(sorted(lost))} are not kept",) if lost else ()
    return tuple(chunks), said


def insert_chunks(data: bytes, chunks: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Put chunks behind the header of a PNG, but for a JPEG's segments and what does not fit its colours."""
    fitting = [chunk for chunk in chunks if _fits(*chunk, data[25])]
    made = b"".join(_chunk(kind, body) for kind, body in fitting)
    return data[:HEADER] + made + data[HEADER:]


def _fits(kind: bytes, body: bytes, colour_type: int) -> bool:
    """Return whether a PNG of a colour type can hold a chunk."""
    return len(kind) == 4 and (kind not in _SIZES or len(body) == _SIZES[kind][colour_type])


def open_image(data: bytes) -> Image.Image:
    """Open with Pillow; transparent grey of a low bit depth is brought to the 8 bits of Pillow's pixels."""
    image = PngImagePlugin.PngImageFile(io.BytesIO(data))
    depth = data[24]
    if image.mode == "L" and depth < 8 and isinstance(image.info.get("transparency"), int):
        image.info["transparency"] *= 255 // (2**depth - 1)
    return image


def read_deep(image: Image.Image, data: bytes) -> tuple[Deep, Deep | None]:
    """Read 16-bit samples exactly.

    Args:
        image: the file opened by Pillow, not yet loaded.
        data: the file.

    Returns:
        Colour (H, W, 1 or 3) uint16 and alpha (H, W) uint16 or None.
    """
    colour_type = data[25]
    alpha: Deep | None = None
    if colour_type == _GREY:
        colour: Deep = np.asarray(image).astype(np.uint16)[..., None]
    elif colour_type == _GREY_ALPHA:
        # Filters know bytes only: two samples of 16 bits are as many as four of 8, which Pillow can do.
        samples: Deep = _decode(image, "RGBA").view(">u2").astype(np.uint16)
        colour, alpha = samples[..., :1], samples[..., 1]
    else:
        colour = _decode(image, f"{image.mode};16B").astype(np.uint16)
        colour <<= 8
        # The unpacker meant for little-endian samples keeps the second byte of each: here the low one.
        colour |= _decode(PngImagePlugin.PngImageFile(io.BytesIO(data)), f"{image.mode};16L")
        if colour_type == _RGB_ALPHA:
            colour, alpha = colour[..., :3], colour[..., 3]
    transparent = image.info.get("transparency")
    if alpha is None and isinstance(transparent, int | tuple):
        alpha = np.where((colour == np.array(transparent, np.uint16)).all(axis=2), 0, 65535).astype(np.uint16)
    return np.ascontiguousarray(colour), None if alpha is None else np.ascontiguousarray(alpha)


def write_deep(picture: Picture) -> bytes:
    """Write a 16-bit PNG."""
    height, width, colours = picture.pixels.shape
    colour_type = (_GREY if colours == 1 else _RGB) + (0 if picture.alpha is None else 4)
    icc, dpi, xmp = picture.icc, picture.dpi, picture.xmp
    parts = [SIGNATURE, _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0))]
    metadata = {
        b"iCCP": icc and b"ICC Profile\0\0" + zlib.compress(icc),
        b"pHYs": dpi and struct.pack(">IIB", round(dpi[0] / 0.0254), round(dpi[1] / 0.0254), 1),
        b"iTXt": xmp and XMP_KEYWORD + xmp,
        b"eXIf": picture.exif,
    }
    parts += [_chunk(kind, body) for kind, body in metadata.items() if body]
    packer = zlib.compressobj(COMPRESSION)
    for rows in _filter_rows(picture.pixels, picture.alpha):
        if packed := packer.compress(rows):
            parts.append(_chunk(b"IDAT", packed))
    parts += [_chunk(b"IDAT", packer.flush()), _chunk(b"IEND", b"")]
    return b"".join(parts)


def _decode(image: Image.Image, rawmode: str) -> npt.NDArray[np.uint8]:
    """Decode a file that was only opened, its bytes in the layout `rawmode`."""
    image.tile = [tile._replace(args=rawmode) for tile in image.tile]  # type: ignore[attr-defined]
    return np.asarray(image)


def _filter_rows(pixels: Samples, alpha: Samples | None) -> Iterator[bytes]:
    """Rows with the filter, Sub or Up, that leaves the smaller differences; some at once, to save memory."""
    _, width, colours = pixels.shape
    step = 2 * (colours + (alpha is not None))
    above = np.zeros((1, width * step), np.uint8)
    for strip in cut_strips(pixels, alpha, ROWS_AT_ONCE):
        rows = strip.astype(">u2").view(np.uint8).reshape(len(strip), -1)
        up = rows - np.concatenate((above, rows[:-1]))
        sub = rows.copy()
        sub[:, step:] -= rows[:, :-step]
        is_up = _sum_differences(up) < _sum_differences(sub)
        filtered = np.empty((len(rows), 1 + width * step), np.uint8)
        filtered[:, 0] = np.where(is_up, _UP, _SUB)
        filtered[:, 1:] = np.where(is_up[:, None], up, sub)
        above = rows[-1:]
        yield filtered.tobytes()


def _sum_differences(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Sum of the distances from 0, modulo 256, of each row."""
    total: npt.NDArray[np.uint32] = np.minimum(rows, np.negative(rows)).sum(axis=1, dtype=np.uint32)
    return total


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
