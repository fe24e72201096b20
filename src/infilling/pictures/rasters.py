"""TIFFs of data: any number of bands, of integers or floats, kept with all tags that do not lay out samples.

GeoTIFF keys, NODATA and the like stay as they were. Source: TIFF 6.0 (1992); GDAL_NODATA is tag 42113.
"""

import itertools
import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from infilling.errors import InputError
from infilling.pictures import tags as tags_of
from infilling.pictures import tiff
from infilling.pictures.picture import Array
from infilling.pictures.tags import SHORT, Directory, Tag, integer_tag
from infilling.pictures.tiff_writer import count_rows, write_strips

NODATA = 42113
KINDS = {1: "u", 2: "i", 3: "f"}  # SampleFormat -> NumPy's letter
FORMATS = {kind: code for code, kind in KINDS.items()}
WIDTHS = {"u": (8, 16, 32, 64), "i": (8, 16, 32, 64), "f": (16, 32, 64)}  # bits of a sample
ARRANGEMENT = (256, 257, 258, 259, 266, 273, 277, 278, 279, 284, 317, 322, 323, 324, 325, 338, 339)


@dataclass(frozen=True, eq=False)
class Raster:
    """Bands of data, and what their file says about them.

    Attributes:
        bands: (H, W, C) integers or floats.
        order: byte order of the file, "<" or ">".
        tags: all tags but those that lay out the samples.
        extras: what each band beyond the colours is; see `tiff.Layout.extras`.
        is_planar: each band is stored on its own.
        nodata: the value that means "missing"; None if there is none.
    """

    bands: Array
    order: str
    tags: Directory
    extras: tuple[int, ...]
    is_planar: bool
    nodata: float | None


def read_raster(data: bytes, limit: int) -> Raster | None:
    """Read a TIFF of data; None if it is a picture, or no TIFF.

    Args:
        data: the file.
        limit: pixels allowed.

    Raises:
        InputError: samples or a compression that are not read, or too many of them.
        ValueError: the file is damaged.
    """
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    layout = tiff.read_layout(data)
    if tiff.describe_data(layout) is None:
        return None
    tiff.check_layout(layout, limit)
    bands = tiff.read_blocks(data, layout, _find_type(layout))
    start = struct.unpack_from(layout.order + "I", data, 4)[0]
    tree = tags_of.read_tree(data, start, layout.order)
    kept = {code: tag for code, tag in tree.items() if code not in ARRANGEMENT}
    nodata = _read_nodata(layout.tags.get(NODATA))
    return Raster(bands, layout.order, kept, layout.extras, layout.is_planar, nodata)


def write_raster(raster: Raster) -> bytes:
    """Write a TIFF of data: strips in Deflate, integers with horizontal predictor."""
    bands, order = raster.bands, raster.order
    height, width, channels = bands.shape
    depth = 1 if raster.is_planar else channels
    rows = count_rows(width, depth, bands.dtype)
    blocks = (
        bands[top : top + rows, :, first : first + depth]
        for first, top in itertools.product(range(0, channels, depth), range(0, height, rows))
    )
    said = {
        284: [2 if raster.is_planar else 1],
        338: raster.extras,
        339: [FORMATS[bands.dtype.kind]] * channels,
    }
    tree = raster.tags | {code: integer_tag(SHORT, order, *values) for code, values in said.items() if values}
    return write_strips(blocks, tree, order, bands.shape, rows, bands.dtype)


def _find_type(layout: tiff.Layout) -> np.dtype[Any]:
    """Return the type of the samples in the file.

    Raises:
        InputError: it is not read, or the compression is not.
    """
    bits, formats = layout.widths, layout.formats
    kind = KINDS.get(min(formats), "") if len(formats) == 1 else ""
    if len(bits) > 1 or min(bits) not in WIDTHS.get(kind, ()):
        shown = "/".join(map(str, sorted(bits)))
        complexes = "complex " if formats & {5, 6} else ""
        raise InputError(
            f"a TIFF of {complexes}{shown}-bit samples is not supported: save it as integers or floats of up "
            "to 64 bits, all bands alike"
        )
    if not tiff.can_read_blocks(layout) or layout.number(262, 0) not in (0, 1, 2, 5):
        raise InputError(
            f"a TIFF of {layout.channels} bands with compression {layout.number(259, 1)} and predictor "
            f"{layout.number(317, 1)} is not supported; save it uncompressed, or with Deflate and "
            "predictor 1 or 2"
        )
    return np.dtype(f"{layout.order}{kind}{min(bits) // 8}")


def _read_nodata(tag: Tag | None) -> float | None:
    """Return the number in a tag of text."""
    try:
        return None if tag is None else float(tag.value.rstrip(b"\0 ").decode("ascii"))
    except ValueError:
        return None


def find_missing(raster: Raster) -> Array:
    """Return (H, W, C) bool, where a value means "missing"."""
    if raster.nodata is None:
        return np.zeros(raster.bands.shape, dtype=bool)
    if math.isnan(raster.nodata):
        return np.asarray(np.isnan(raster.bands))
    value = np.float32(raster.nodata) if raster.bands.dtype == np.float32 else raster.nodata
    return np.asarray(raster.bands == value)
