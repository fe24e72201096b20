"""Write baseline TIFFs.

Source: TIFF 6.0 (1992); Adobe TIFF Technical Note 3 for Deflate.
"""

import itertools
import struct
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from infilling.pictures import tags as tags_of
from infilling.pictures.picture import Array, Picture, cut_strips
from infilling.pictures.tags import LONG, RATIONAL, SHORT, Directory, Tag, integer_tag
from infilling.pictures.tiff import DEFLATE, ICC, STRUCTURE, XMP

COMPRESSION = 1  # zlib level: on photographs, 6 takes five times as long for 8 % less
STRIP_BYTES = 1 << 18
PREDICTED = 2  # samples are differences from those to the left


def write_tiff(picture: Picture) -> bytes:
    """Write a baseline TIFF: one page, Deflate with horizontal predictor, grey or RGB, 8 or 16 bit.

    The tags of the EXIF block become tags of the file, and its byte order becomes the file's.
    """
    order, tree = tags_of.parse_exif(picture.exif) or ("<", {})
    kept = {code: tag for code, tag in tree.items() if code not in STRUCTURE}
    pixels, alpha = picture.pixels, picture.alpha
    height, width, colours = pixels.shape
    kept[262] = integer_tag(SHORT, order, 2 if colours == 3 else 1)
    if alpha is not None:
        kept[338] = integer_tag(SHORT, order, 2)
    if picture.dpi is not None:
        across, down = (struct.pack(order + "II", round(value * 1000), 1000) for value in picture.dpi)
        kept |= {282: Tag(RATIONAL, 1, across), 283: Tag(RATIONAL, 1, down)}
        kept[296] = integer_tag(SHORT, order, 2)
    blocks = {XMP: picture.xmp, ICC: picture.icc}
    kept |= {code: Tag(7, len(value), value) for code, value in blocks.items() if value}
    shape = height, width, colours + (alpha is not None)
    rows = count_rows(width, shape[2], pixels.dtype)
    return write_strips(cut_strips(pixels, alpha, rows), kept, order, shape, rows, pixels.dtype)


def count_rows(width: int, channels: int, dtype: np.dtype[Any]) -> int:
    """Return the number of rows of a strip."""
    return max(1, STRIP_BYTES // (width * channels * dtype.itemsize))


def write_strips(
    blocks: Iterable[Array],
    tags: Directory,
    order: str,
    shape: tuple[int, int, int],
    rows: int,
    dtype: np.dtype[Any],
) -> bytes:
    """Write a TIFF of one page in strips: Deflate, integers with horizontal predictor.

    Args:
        blocks: the strips, (rows, W, channels) each.
        tags: of the page, but for those that lay out the samples.
        order: byte order of the file, "<" or ">".
        shape: height, width and channels of the page.
        rows: of each strip but the last.
        dtype: of the samples.
    """
    height, width, channels = shape
    strips = [_write_strip(block, order) for block in blocks]
    *offsets, start = itertools.accumulate(map(len, strips), initial=8)
    layout = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [8 * dtype.itemsize] * channels),
        259: (SHORT, [DEFLATE[0]]),
        273: (LONG, offsets),
        277: (SHORT, [channels]),
        278: (LONG, [rows]),
        279: (LONG, [len(strip) for strip in strips]),
        317: (SHORT, [1 if dtype.kind == "f" else PREDICTED]),
    }
    tree = tags | {code: integer_tag(kind, order, *values) for code, (kind, values) in layout.items()}
    strips.append(tags_of.write_directory(tree, order, start))
    return tags_of.write_header(order, start) + b"".join(strips)


def _write_strip(block: Array, order: str) -> bytes:
    """Return a strip, integers differenced along the row; deflated, padded to an even length."""
    if block.dtype.kind != "f":
        steps = block.copy()  # they wrap round, as the predictor is meant to
        np.subtract(block[:, 1:], block[:, :-1], out=steps[:, 1:])
        block = steps
    stored = block.astype(f"{order}{block.dtype.kind}{block.itemsize}")
    strip = zlib.compress(stored.tobytes(), COMPRESSION)
    return strip + b"\0" * (len(strip) % 2)
