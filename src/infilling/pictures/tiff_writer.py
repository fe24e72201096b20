"""Write baseline TIFFs.

Source: TIFF 6.0 (1992); Adobe TIFF Technical Note 3 for Deflate.
"""

import itertools
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from infilling.pictures import tags as tags_of
from infilling.pictures.tags import LONG, RATIONAL, SHORT, Directory, Tag, integer_tag
from infilling.pictures.tiff import DEFLATE, ICC, STRUCTURE, XMP

COMPRESSION = 1  # zlib level: on photographs, 6 takes five times as long for 8 % less
STRIP_BYTES = 1 << 18


def write_tiff(
    pixels: npt.NDArray[Any],
    alpha: npt.NDArray[Any] | None,
    *,
    icc: bytes | None,
    xmp: bytes | None,
    exif: bytes | None,
    dpi: tuple[float, float] | None,
) -> bytes:
    """Write a baseline TIFF: one page, Deflate with horizontal predictor, grey or RGB, 8 or 16 bit.

    Args:
        pixels: (H, W, 1 or 3) uint8 or uint16.
        alpha: (H, W) of the same type, not multiplied in; or None.
        icc: colour profile.
        xmp: XMP packet.
        exif: EXIF block, whose tags become tags of the file; its byte order becomes the file's.
        dpi: dots per inch, across and down.
    """
    order, tree = _read_exif(exif)
    height, width, colours = pixels.shape
    channels = colours + (alpha is not None)
    rows = max(1, STRIP_BYTES // (width * channels * pixels.itemsize))
    tops = range(0, height, rows)
    strips: list[bytes] = [_write_strip(pixels, alpha, top, top + rows, order) for top in tops]
    lengths = [len(strip) for strip in strips]
    *offsets, start = itertools.accumulate(lengths, initial=8)

    def put(code: int, kind: int, *values: int) -> None:
        tree[code] = integer_tag(kind, order, *values)

    put(256, LONG, width)
    put(257, LONG, height)
    put(258, SHORT, *[8 * pixels.itemsize] * channels)
    put(259, SHORT, DEFLATE[0])
    put(262, SHORT, 2 if colours == 3 else 1)
    put(273, LONG, *offsets)
    put(277, SHORT, channels)
    put(278, LONG, rows)
    put(279, LONG, *lengths)
    put(317, SHORT, 2)
    if alpha is not None:
        put(338, SHORT, 2)
    if dpi is not None:
        put(296, SHORT, 2)
        for code, value in zip((282, 283), dpi, strict=True):
            tree[code] = Tag(RATIONAL, 1, struct.pack(order + "II", round(value * 1000), 1000))
    tree |= {code: Tag(7, len(value), value) for code, value in ((XMP, xmp), (ICC, icc)) if value}
    strips.append(tags_of.write_directory(tree, order, start))
    return tags_of.write_header(order, start) + b"".join(strips)


def _write_strip(
    pixels: npt.NDArray[Any], alpha: npt.NDArray[Any] | None, top: int, stop: int, order: str
) -> bytes:
    """Rows `top` to `stop`, differenced along the row and deflated, padded to an even length."""
    parts = [pixels[top:stop]] if alpha is None else [pixels[top:stop], alpha[top:stop, :, None]]
    block = np.concatenate(parts, axis=2)
    block[:, 1:] = block[:, 1:] - block[:, :-1]  # wraps round, as the predictor is meant to
    strip = zlib.compress(block.astype(f"{order}u{block.itemsize}").tobytes(), COMPRESSION)
    return strip + b"\0" * (len(strip) % 2)


def _read_exif(exif: bytes | None) -> tuple[str, Directory]:
    """Byte order of an EXIF block, and those of its tags that a TIFF can take over."""
    if exif is None:
        return "<", {}
    try:
        order, start = tags_of.read_header(exif)
        tree = tags_of.read_tree(exif, start, order)
    except ValueError:
        return "<", {}
    return order, {code: tag for code, tag in tree.items() if code not in STRUCTURE}
