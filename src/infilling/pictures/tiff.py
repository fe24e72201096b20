"""TIFF: its layout and its 16-bit samples.

Pillow reads 16-bit colour as 8-bit without a word, turns pictures by itself and warns about odd tags. So the
tags are read here, and Pillow sees a copy of the file whose only directory lays out the pixels.
Source: TIFF 6.0 (1992); Adobe TIFF Technical Note 3 for Deflate.
"""

import io
import itertools
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from infilling.errors import InputError
from infilling.pictures import tags as tags_of
from infilling.pictures.limits import check_bytes, check_size
from infilling.pictures.picture import Array, Deep
from infilling.pictures.previews import clean_iptc
from infilling.pictures.tags import RATIONAL, Tag, integers

MOST_DIRECTORIES = 64  # one behind the other: thumbnails of a picture
MOST_BLOCKS = 1 << 17  # strips or tiles; Pillow takes 6 µs for each
MOST_VALUES = 256  # channels, and values of a tag that has one for each

XMP, ICC = 700, 34675
_ONE_VALUE = (256, 257, 259, 262, 266, 277, 278, 284, 292, 293, 317, 322, 323, 332)
_SEVERAL_VALUES = (258, 338, 339, 529, 530, 531, 532)
_OF_EACH_BLOCK = (273, 279, 324, 325)
_MOST_OF = {  # values of each tag that lays out the pixels
    **dict.fromkeys(_ONE_VALUE, 1),
    **dict.fromkeys(_SEVERAL_VALUES, MOST_VALUES),
    320: 3 << 8,  # of a colour map of 8 bits
    347: 1 << 16,  # bytes of the tables of JPEGs
}
_SUBFILE_TYPE, _SUBDIRECTORIES, _PHOTOSHOP = 254, 330, 34377
STRUCTURE = {*_MOST_OF, *_OF_EACH_BLOCK, 255, 280, 281, 282, 283, 296, XMP, ICC}
STRUCTURE |= {_SUBFILE_TYPE, _SUBDIRECTORIES, _PHOTOSHOP, tags_of.ORIENTATION}
DEFLATE = (8, 32946)
_ARRANGEMENT = "a 16-bit TIFF in this arrangement is not supported; save it uncompressed or with Deflate"


@dataclass(frozen=True)
class Layout:
    """The tags of the first page of a TIFF, read with the defaults of the standard."""

    order: str
    tags: dict[int, Tag]

    def numbers(self, code: int, most: int = MOST_VALUES) -> tuple[int, ...]:
        """Return the first `most` values of a whole-number tag, none if it is missing."""
        tag = self.tags.get(code)
        return () if tag is None else integers(tags_of.shorten(tag, most), self.order)

    def number(self, code: int, default: int) -> int:
        """First value of a whole-number tag."""
        return (*self.numbers(code), default)[0]

    def data(self, code: int) -> bytes | None:
        """Return the bytes of a tag; None if it is missing."""
        return self.tags[code].value if code in self.tags else None

    def rational(self, code: int) -> float | None:
        """First value of a tag of fractions; None if there is none, or if it divides by 0."""
        tag = self.tags.get(code)
        if tag is None or tag.kind != RATIONAL:
            return None
        above, below = struct.unpack_from(self.order + "II", tag.value)
        return above / below if below else None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return self.number(256, 0), self.number(257, 0)

    @property
    def bits(self) -> int:
        """Bits per sample, the same for all (`read_layout` has seen to it)."""
        return self.number(258, 1)

    @property
    def widths(self) -> set[int]:
        """Bits per sample, of all channels."""
        return set(self.numbers(258)) or {1}

    @property
    def formats(self) -> set[int]:
        """Sample formats of all channels: 1 unsigned, 2 signed, 3 floating-point."""
        return set(self.numbers(339)) or {1}

    @property
    def channels(self) -> int:
        """Samples per pixel."""
        return self.number(277, 1)

    @property
    def colours(self) -> int:
        """Channels that are colour; those that follow are alpha or data."""
        return {2: 3, 5: 4, 6: 3, 8: 3}.get(self.number(262, 0), 1)

    @property
    def extras(self) -> tuple[int, ...]:
        """What each further channel is: 0 data, 1 alpha that is multiplied in, 2 alpha."""
        count = max(0, self.channels - self.colours)
        unsaid = 2 if count == 1 else 0
        return (*self.numbers(338)[:count], *[unsaid] * (count - len(self.numbers(338))))

    @property
    def is_planar(self) -> bool:
        """Whether each channel has strips or tiles of its own."""
        return self.number(284, 1) == 2 and self.channels > 1

    @property
    def block_size(self) -> tuple[int, int]:
        """Width and height of a strip or tile."""
        if 324 in self.tags:
            return self.number(322, 0), self.number(323, 0)
        return self.size[0], min(self.number(278, self.size[1]), self.size[1])

    @property
    def block_count(self) -> int:
        """Number of strips or tiles."""
        (width, height), (across, down) = self.size, self.block_size
        return -(-width // across) * -(-height // down) * (self.channels if self.is_planar else 1)

    @property
    def blocks(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Offsets and lengths of the strips or tiles."""
        codes = (324, 325) if 324 in self.tags else (273, 279)
        offsets, lengths = (self.numbers(code, self.block_count) for code in codes)
        return offsets, lengths


def read_layout(data: bytes) -> Layout:
    """Read the tags of a TIFF and refuse what cannot be read exactly.

    Raises:
        InputError: several pages; floating-point, signed or over 16-bit samples.
        ValueError: the tags are damaged.
    """
    if data[2:4] in (b"\0\x2b", b"\x2b\0"):
        raise InputError("BigTIFF is not supported; save it as a classic TIFF (under 4 GB)")
    order, start = tags_of.read_header(data)
    tags, following = tags_of.read_directory(data, start, order)
    layout = Layout(order, tags)
    if not 1 <= layout.channels <= MOST_VALUES:
        raise ValueError(f"{layout.channels} samples per pixel")
    if min(layout.block_size) < 1 and min(layout.size) > 0:
        raise ValueError("strips or tiles of no size")
    if _has_pages(data, following, order):
        raise InputError("a TIFF of several pages; give its pages one by one")
    return layout


def check_layout(layout: Layout, limit: int) -> None:
    """Refuse a TIFF by what its tags make a reader allocate.

    Args:
        layout: as read.
        limit: pixels allowed.

    Raises:
        TooLargeError: more pixels, or more decoded bytes, than allowed, those of whole tiles counted.
        InputError: no pixels.
        ValueError: over MOST_BLOCKS strips or tiles.
    """
    check_size(layout.size, limit, layout.bits * layout.channels)
    if layout.block_count > MOST_BLOCKS:
        raise ValueError(f"{layout.block_count:,} strips or tiles")
    across, down = layout.block_size
    if 324 in layout.tags:
        planes = 1 if layout.is_planar else layout.channels
        check_bytes(layout.block_count * across * down * planes * layout.bits // 8, limit)


def describe_data(layout: Layout) -> str | None:
    """Return why a TIFF is data and no picture; None for a picture.

    Data are signed, floating-point or wide samples, and bands that are neither colour nor alpha.
    """
    bits = layout.widths
    if layout.formats != {1} or bits not in ({1}, {2}, {4}, {8}, {16}):
        kind = "/".join(map(str, sorted(bits)))
        names = {2: "signed ", 3: "floating-point "}
        signed = "".join(names.get(number, "") for number in sorted(layout.formats))
        return (
            f"a TIFF of {signed}{kind}-bit samples is data, no picture: fill it with `infill fill`, which "
            "keeps every value, or save it as 8 or 16 bit without a sign"
        )
    if len(layout.extras) > 1 or 0 in layout.extras:
        return (
            f"a TIFF of {layout.channels} bands, {len(layout.extras)} beyond its {layout.colours} of colour, "
            "is data, no picture: fill it with `infill fill`, which keeps every band"
        )
    return None


def open_image(data: bytes, layout: Layout) -> Image.Image:
    """Open the pixels with Pillow, which sees the layout tags only: no turn, no metadata, no second page.

    Raises:
        InputError: pixels of a kind that Pillow does not read.
    """
    _check_extent(data, layout)
    most_of = _MOST_OF | dict.fromkeys(_OF_EACH_BLOCK, layout.block_count)
    kept = {code: tags_of.shorten(tag, most_of[code]) for code, tag in layout.tags.items() if code in most_of}
    padding = b"\0" * (len(data) % 2)
    start = len(data) + len(padding)
    directory = tags_of.write_directory(kept, layout.order, start)
    header = tags_of.write_header(layout.order, start)
    file = io.BytesIO(b"".join((header, memoryview(data)[8:], padding, directory)))
    try:
        return _TiffFile(file)
    except SyntaxError as error:
        if not isinstance(error.__cause__, KeyError):  # which is of Pillow's table of kinds of pixels
            raise
        raise InputError(
            f"a TIFF of {layout.channels} × {layout.bits} bits and photometric interpretation "
            f"{layout.number(262, 0)} is not supported; save it as 8- or 16-bit RGB"
        ) from error


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
        raise InputError("a 16-bit TIFF that is neither grey nor RGB is not supported; save it as 16-bit RGB")
    _check_extent(data, layout)
    if can_read_blocks(layout):
        samples = read_blocks(data, layout, np.dtype(layout.order + "u2"))
    elif layout.is_planar or (layout.colours == 1 and layout.channels > 1):
        raise InputError(_ARRANGEMENT)
    else:
        samples = _read_twice(data, layout)
    colour = np.ascontiguousarray(samples[..., : layout.colours])
    alpha = np.ascontiguousarray(samples[..., layout.colours]) if layout.extras else None
    if alpha is not None and layout.extras[0] == 1:
        colour = _divide_alpha(colour, alpha)
    return (np.invert(colour) if layout.number(262, 0) == 0 else colour), alpha


def read_exif(data: bytes, layout: Layout) -> bytes | None:
    """Return the tags about the photograph as an EXIF block; None if there are none."""
    tree = tags_of.read_tree(data, struct.unpack_from(layout.order + "I", data, 4)[0], layout.order)
    kept = {code: tag for code, tag in tree.items() if code not in STRUCTURE}
    iptc = kept.get(tags_of.IPTC)
    if isinstance(iptc, Tag):
        kept[tags_of.IPTC] = _clean_iptc(iptc)
    return tags_of.write_exif(kept, layout.order)


def _clean_iptc(tag: Tag) -> Tag:
    """Take the preview out of IPTC data, which are said to be bytes, or whole numbers of four."""
    value = clean_iptc(tag.value)
    size = len(tag.value) // tag.length
    value += b"\0" * (-len(value) % size)
    return Tag(tag.kind, len(value) // size, value)


def read_dpi(layout: Layout) -> tuple[float, float] | None:
    """Dots per inch, across and down, if the file gives them in inches or centimetres."""
    scale = {2: 1.0, 3: 2.54}.get(layout.number(296, 2))
    across, down = layout.rational(282), layout.rational(283)
    return (across * scale, down * scale) if scale and across and down else None


def _has_pages(data: bytes, following: int, order: str) -> bool:
    """Whether there is another picture than the first; thumbnails and reduced versions (bit 0) are none."""
    directories = 0
    while following:
        directories += 1
        if directories > MOST_DIRECTORIES:
            raise ValueError(f"over {MOST_DIRECTORIES} tag directories")
        tags, following = tags_of.read_directory(data, following, order)
        if not (*integers(tags.get(_SUBFILE_TYPE), order), 0)[0] & 1:
            return True
    return False


def _check_extent(data: bytes, layout: Layout) -> None:
    """Say "truncated" here: libtiff would say it on the host's standard error."""
    offsets, lengths = layout.blocks
    if not offsets:
        raise ValueError("no pixels in it")
    ends = map(sum, zip(offsets, lengths, strict=False))
    if layout.number(259, 1) != 1 and any(end > len(data) for end in ends):
        raise ValueError("truncated")


def can_read_blocks(layout: Layout) -> bool:
    """Whether `read_blocks` reads this compression, order of bits and predictor."""
    is_plain = layout.number(266, 1) == 1 and layout.number(317, 1) in (1, 2)
    return is_plain and layout.number(259, 1) in (1, *DEFLATE)


def read_blocks(data: bytes, layout: Layout, dtype: np.dtype[Any]) -> Array:
    """Read strips or tiles, raw or Deflate, with or without horizontal predictor.

    Args:
        data: the file.
        layout: what `can_read_blocks` accepts, checked by `check_layout`.
        dtype: of the samples, in the file's byte order.

    Returns:
        (H, W, channels) in the machine's byte order.

    Raises:
        ValueError: strips or tiles are missing or cut off.
    """
    (width, height), (across, down) = layout.size, layout.block_size
    deflate, predictor = layout.number(259, 1) in DEFLATE, layout.number(317, 1) == 2
    depth = 1 if layout.is_planar else layout.channels
    offsets, lengths = layout.blocks
    if layout.block_count > min(len(offsets), len(lengths) if deflate else len(offsets)):
        raise ValueError("strips are missing")
    out: Array = np.empty((height, width, layout.channels), dtype.newbyteorder("="))
    grid = (range(0, layout.channels, depth), range(0, height, down), range(0, width, across))
    for index, (plane, top, left) in enumerate(itertools.product(*grid)):
        rows = min(down, height - top)
        count = rows * across * depth
        chunk = memoryview(data)[offsets[index] :]
        if deflate:
            packed = chunk[: lengths[index]]
            chunk = memoryview(zlib.decompressobj().decompress(packed, dtype.itemsize * count))
        block: Array = np.frombuffer(chunk, dtype, count).reshape(rows, across, depth)
        if predictor:
            block = np.cumsum(block, axis=1, dtype=out.dtype)  # wraps round, as the predictor is meant to
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
