"""TIFF: its layout, its 16-bit samples, and a baseline writer.

Pillow reads 16-bit colour as 8-bit without a word, turns pictures by itself and warns about odd tags. So the
tags are read here, and Pillow sees a copy of the file whose only directory lays out the pixels.
Source: TIFF 6.0 (1992); Adobe TIFF Technical Note 3 for Deflate.
"""

import io
import itertools
import math
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from infilling.errors import InputError
from infilling.pictures import tags as tags_of
from infilling.pictures.picture import Deep
from infilling.pictures.tags import LONG, RATIONAL, SHORT, Directory, Tag, integer_tag, integers

COMPRESSION = 1  # zlib level: on photographs, 6 takes five times as long for 8 % less
STRIP_BYTES = 1 << 18
MAX_CHANNELS = 6  # colour, alpha, and what Pillow can step over

XMP, ICC = 700, 34675
_ONE_VALUE = (256, 257, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323, 332)
_SEVERAL_VALUES = (258, 273, 279, 320, 324, 325, 338, 339, 347, 529, 530, 531, 532)
_SUBFILE_TYPE, _SUBDIRECTORIES, _PHOTOSHOP = 254, 330, 34377
_STRUCTURE = {*_ONE_VALUE, *_SEVERAL_VALUES, 255, 280, 281, 282, 283, 296, XMP, ICC}
_STRUCTURE |= {_SUBFILE_TYPE, _SUBDIRECTORIES, _PHOTOSHOP, tags_of.ORIENTATION}
_DEFLATE = (8, 32946)
_ARRANGEMENT = "16-bit TIFF in this arrangement is not read; save it uncompressed or with Deflate"


@dataclass(frozen=True)
class Layout:
    """The tags of the first page of a TIFF, read with the defaults of the standard."""

    order: str
    tags: dict[int, Tag]

    def numbers(self, code: int) -> tuple[int, ...]:
        """All values of a whole-number tag, none if it is missing."""
        return integers(self.tags.get(code), self.order)

    def number(self, code: int, default: int) -> int:
        """First value of a whole-number tag."""
        return (*self.numbers(code), default)[0]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.number(256, 0), self.number(257, 0)

    @property
    def bits(self) -> int:
        """Bits per sample, the same for all (`read_layout` has seen to it)."""
        return self.number(258, 1)

    @property
    def channels(self) -> int:
        """Samples per pixel."""
        return self.number(277, 1)

    @property
    def colours(self) -> int:
        """Channels that are colour: 3 for RGB, else 1; what follows them is alpha or nothing."""
        return 3 if self.number(262, 0) == 2 else 1

    @property
    def blocks(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Offsets and lengths of the tiles or strips."""
        offsets, lengths = (324, 325) if 324 in self.tags else (273, 279)
        return self.numbers(offsets), self.numbers(lengths)


def read_layout(data: bytes) -> Layout:
    """Read the tags of a TIFF and refuse what cannot be read exactly.

    Raises:
        InputError: several pages; floating-point, signed or over 16-bit samples.
        ValueError: the tags are damaged.
    """
    if data[2:4] in (b"\0\x2b", b"\x2b\0"):
        raise InputError("BigTIFF is not read; save it as a classic TIFF (under 4 GB)")
    order, start = tags_of.read_header(data)
    tags, following = tags_of.read_directory(data, start, order)
    layout = Layout(order, tags)
    bits = set(layout.numbers(258)) or {1}
    if not 1 <= layout.channels <= MAX_CHANNELS:
        raise ValueError(f"{layout.channels} samples per pixel")
    if not set(layout.numbers(339)) <= {1} or len(bits) > 1 or not bits <= {1, 2, 4, 8, 16}:
        kind = "/".join(str(number) for number in sorted(bits))
        signed = "" if set(layout.numbers(339)) <= {1} else "signed or floating-point "
        raise InputError(f"TIFF of {signed}{kind}-bit samples is not read; save it as 8 or 16 bit")
    if _count_pages(data, following, order) > 1:
        raise InputError("a TIFF of several pages; give its pages one by one")
    return layout


def open_image(data: bytes, layout: Layout) -> Image.Image:
    """Open the pixels with Pillow, which sees the layout tags only: no turn, no metadata, no second page."""
    _check_extent(data, layout)
    kept: Directory = {}
    for code, tag in layout.tags.items():
        if code in _SEVERAL_VALUES:
            kept[code] = tag
        elif code in _ONE_VALUE:
            kept[code] = Tag(tag.kind, 1, tag.value[: len(tag.value) // tag.length])
    padding = b"\0" * (len(data) % 2)
    start = len(data) + len(padding)
    directory = tags_of.write_directory(kept, layout.order, start)
    header = tags_of.write_header(layout.order, start)
    return _TiffFile(io.BytesIO(b"".join((header, memoryview(data)[8:], padding, directory))))


class _TiffFile(TiffImagePlugin.TiffImageFile):
    def load_prepare(self) -> None:
        # Pillow would check the size once more here, against a limit that belongs to the whole process.
        self.im = Image.new(self.mode, self.size).im
        super().load_prepare()


def read_deep(data: bytes, layout: Layout) -> tuple[Deep, Deep | None]:
    """Read 16-bit samples exactly.

    Returns:
        Colour (H, W, 1 or 3) uint16 and alpha (H, W) uint16 or None, alpha not multiplied in.

    Raises:
        InputError: a colour space or compression whose 16 bits cannot be had.
    """
    if layout.number(262, 0) not in (0, 1, 2) or layout.channels < layout.colours:
        raise InputError("16-bit TIFF that is neither grey nor RGB is not read; save it as 16-bit RGB")
    _check_extent(data, layout)
    compression, planar = layout.number(259, 1), layout.number(284, 1) == 2 and layout.channels > 1
    if compression in (1, *_DEFLATE) and layout.number(266, 1) == 1 and layout.number(317, 1) in (1, 2):
        samples = _read_blocks(data, layout, planar)
    elif planar or (layout.colours == 1 and layout.channels > 1):
        raise InputError(_ARRANGEMENT)
    else:
        samples = _read_twice(data, layout)
    colour, alpha = samples[..., : layout.colours], None
    extra = layout.numbers(338) or (2,) * (layout.channels - layout.colours)
    if any(kind in (1, 2) for kind in extra[:1]) and samples.shape[2] > layout.colours:
        alpha = np.ascontiguousarray(samples[..., layout.colours])
        if extra[0] == 1:
            colour = _divide_alpha(colour, alpha)
    colour = np.ascontiguousarray(colour)
    return (np.invert(colour) if layout.number(262, 0) == 0 else colour), alpha


def write(
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
    put(259, SHORT, _DEFLATE[0])
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


def read_exif(data: bytes, layout: Layout) -> bytes | None:
    """The tags that tell of the photograph, as an EXIF block; None if there are none."""
    tree = tags_of.read_tree(data, struct.unpack_from(layout.order + "I", data, 4)[0], layout.order)
    kept = {code: tag for code, tag in tree.items() if code not in _STRUCTURE}
    return tags_of.write_exif(kept, layout.order)


def read_dpi(layout: Layout) -> tuple[float, float] | None:
    """Dots per inch, across and down, if the file gives them in inches or centimetres."""
    scale = {2: 1.0, 3: 2.54}.get(layout.number(296, 2))
    values = [layout.tags.get(code) for code in (282, 283)]
    if scale is None or not all(tag is not None and tag.kind == RATIONAL for tag in values):
        return None
    pairs = [struct.unpack_from(layout.order + "II", tag.value) for tag in values if tag is not None]
    if not all(above and below for above, below in pairs):
        return None
    across, down = (above / below * scale for above, below in pairs)
    return across, down


def _write_strip(
    pixels: npt.NDArray[Any], alpha: npt.NDArray[Any] | None, top: int, stop: int, order: str
) -> bytes:
    """Rows `top` to `stop`, differenced along the row and deflated, padded to an even length."""
    parts = [pixels[top:stop]] if alpha is None else [pixels[top:stop], alpha[top:stop, :, None]]
    block = np.concatenate(parts, axis=2)
    block[:, 1:] = block[:, 1:] - block[:, :-1]  # wraps round, as the predictor is meant to
    strip = zlib.compress(block.astype(f"{order}u{block.itemsize}").tobytes(), COMPRESSION)
    return strip + b"\0" * (len(strip) % 2)


def _count_pages(data: bytes, following: int, order: str) -> int:
    """Pages that are pictures of their own: thumbnails and other reduced versions (bit 0) do not count."""
    pages, seen = 1, set()
    while following and following not in seen:
        seen.add(following)
        tags, following = tags_of.read_directory(data, following, order)
        pages += not (*integers(tags.get(_SUBFILE_TYPE), order), 0)[0] & 1
    return pages


def _check_extent(data: bytes, layout: Layout) -> None:
    """Say "truncated" here: libtiff would say it on the host's standard error."""
    offsets, lengths = layout.blocks
    if not offsets:
        raise ValueError("no pixels in it")
    ends = map(sum, zip(offsets, lengths, strict=False))
    if layout.number(259, 1) != 1 and any(end > len(data) for end in ends):
        raise ValueError("truncated")


def _read_blocks(data: bytes, layout: Layout, planar: bool) -> Deep:
    """Read strips or tiles, raw or Deflate, with or without horizontal predictor, into (H, W, channels)."""
    width, height = layout.size
    deflate, predictor = layout.number(259, 1) in _DEFLATE, layout.number(317, 1) == 2
    across, down = width, min(layout.number(278, height), height)
    if 324 in layout.tags:
        across, down = layout.number(322, 0), layout.number(323, 0)
    depth = 1 if planar else layout.channels
    offsets, lengths = layout.blocks
    grid = (range(0, layout.channels, depth), range(0, height, down), range(0, width, across))
    if math.prod(map(len, grid)) > min(len(offsets), len(lengths) if deflate else len(offsets)):
        raise ValueError("strips are missing")
    out = np.empty((height, width, layout.channels), np.uint16)
    for index, (plane, top, left) in enumerate(itertools.product(*grid)):
        rows = min(down, height - top)
        count = rows * across * depth
        chunk = memoryview(data)[offsets[index] :]
        if deflate:
            chunk = memoryview(zlib.decompressobj().decompress(chunk[: lengths[index]], 2 * count))
        block = np.frombuffer(chunk, layout.order + "u2", count).reshape(rows, across, depth)
        if predictor:
            block = np.cumsum(block, axis=1, dtype=np.uint16)  # wraps round, as the predictor is meant to
        out[top : top + rows, left : left + across, plane : plane + depth] = block[:, : width - left]
    return out


def _read_twice(data: bytes, layout: Layout) -> Deep:
    """Have Pillow decode the same bytes twice, keeping the high halves of the samples, then the low ones.

    libtiff hands samples over in the machine's order, and Pillow's rawmode says which of two bytes to keep.
    """
    halves = []
    for little_end_first in (True, False):
        image = open_image(data, layout)
        if image.mode.startswith("I;16"):
            grey: Deep = np.asarray(image).astype(np.uint16)[..., None]
            return grey
        (tile,) = image.tile  # type: ignore[attr-defined]
        if not tile.args[0].endswith(";16N"):
            raise InputError(_ARRANGEMENT)
        kept = tile.args[0].removesuffix("N").replace("RGBa", "RGBA") + ("L" if little_end_first else "B")
        image.tile = [tile._replace(args=(kept, *tile.args[1:]))]  # type: ignore[attr-defined]
        halves.append(np.asarray(image))
    high, low = halves if struct.pack("=H", 1) == b"\1\0" else reversed(halves)
    samples: Deep = high.astype(np.uint16)
    samples <<= 8
    samples |= low
    return samples


def _divide_alpha(colour: Deep, alpha: Deep) -> Deep:
    """Undo a multiplication by alpha; what is fully transparent stays 0."""
    below = np.maximum(alpha, 1).astype(np.uint32)[..., None]
    straight = (colour.astype(np.uint32) * 65535 + below // 2) // below
    limited: Deep = np.minimum(straight, 65535).astype(np.uint16)
    return limited


def _read_exif(exif: bytes | None) -> tuple[str, Directory]:
    """Byte order of an EXIF block, and those of its tags that a TIFF can take over."""
    if exif is None:
        return "<", {}
    try:
        order, start = tags_of.read_header(exif)
        tree = tags_of.read_tree(exif, start, order)
    except ValueError:
        return "<", {}
    return order, {code: tag for code, tag in tree.items() if code not in _STRUCTURE}
