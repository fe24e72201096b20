"""Arrays, and files by their content: pictures, TIFFs of data, arrays in NumPy's format."""

import dataclasses
import io
from dataclasses import dataclass

import numpy as np

from infilling.errors import InputError, collect_warnings, warn
from infilling.filling import arrays
from infilling.filling.contract import Engine
from infilling.filling.options import AUTO, FillOptions
from infilling.filling.pipeline import FilledFile, fill_file, find_growth, find_mark, mix
from infilling.pictures import mask as masks
from infilling.pictures.files import decode_raster
from infilling.pictures.mask import Mask
from infilling.pictures.mask_files import MaskSource
from infilling.pictures.picture import Array, Floats
from infilling.pictures.rasters import Raster, find_missing, write_raster

NPY = "NPY"
"""What the format of an array is called; it is none of a picture."""

_NPY_MAGIC = b"\x93NUMPY"


def is_array(data: bytes) -> bool:
    """Return whether a file holds an array in NumPy's format."""
    return data.startswith(_NPY_MAGIC)


def fill_content(
    data: bytes,
    mask: MaskSource | None,
    engine: Engine,
    options: FillOptions,
    *,
    bands: bool = False,
    max_pixels: int | None = None,
    name: str | None = None,
) -> FilledFile:
    """Fill the holes of a file of any kind; see `fill_file` for pictures.

    Args:
        data: the file.
        mask: where the hole is, beside what `options` say.
        engine: what fills.
        options: how.
        bands: all channels of an array are data.
        max_pixels: refuse larger pictures; see `decode`.
        name: what errors call the file.

    Raises:
        InputError: file, mask or an option cannot be used.
        ModelError: the engine fails.
    """
    if is_array(data):
        _refuse_picture_options(options, name, "an array stays an array (.npy)")
        return _fill_npy(data, mask, engine, options, bands, name)
    raster = decode_raster(data, max_pixels=max_pixels, name=name)
    if raster is None:
        return fill_file(data, mask, engine, options, max_pixels=max_pixels, name=name)
    if options.format == "TIFF":
        options = dataclasses.replace(options, format=None)
    _refuse_picture_options(options, name, "a TIFF of data stays one (.tif)")
    return _fill_raster(raster, mask, engine, options)


def fill_array(
    array: Array, mask: MaskSource | None, engine: Engine, options: FillOptions, *, bands: bool = False
) -> tuple[Array, Mask]:
    """Fill the holes of an array.

    Args:
        array: (H, W) or (H, W, C) of integers or floats, masked or not; not written to.
        mask: where the hole is, beside what `options` say, and what is missing.
        engine: what fills.
        options: how; those of the file are not used.
        bands: all channels are data, the last of 2 and 4 too.

    Returns:
        An array of the same kind, and (H, W) bool, the pixels that were filled.

    Raises:
        InputError: array, mask or an option cannot be used.
        ModelError: the engine fails.
    """
    parts = arrays.split_bands(array, bands=bands, nodata=options.nodata)
    marked = _mark_array(parts, mask, options)
    if not marked.hole.any():
        warn("nothing is marked as hole, so nothing was filled")
    filled = arrays.fill_bands(parts, marked.hole, marked.unknown, engine, options)
    if marked.weight is not None:
        filled = mix(parts.colours, filled, marked.weight)
    opaque = marked.hole if mask is None and options.mask_from_alpha else None
    return arrays.join_bands(array, parts, filled, marked.wanted, opaque), marked.hole


@dataclass(frozen=True, eq=False)
class _Marked:
    """What is to be filled of an array.

    Attributes:
        hole: (H, W) bool, the pixels to fill.
        unknown: (H, W) bool, the pixels that nothing is taken from, the hole's among them.
        wanted: (H, W) or (H, W, C) bool, the values to replace.
        weight: (H, W) share of the fill in the result, for a soft mask.
    """

    hole: Mask
    unknown: Mask
    wanted: Mask
    weight: Floats | None


def _mark_array(parts: arrays.Bands, mask: MaskSource | None, options: FillOptions) -> _Marked:
    """Combine what the mask and the options mark with what is missing."""
    missing, gaps = parts.missing, parts.gaps
    hole, weight = np.zeros(parts.colours.shape[:2], dtype=bool), None
    pixels = 0 if options.grow == AUTO else int(options.grow)
    if mask is not None or options.mark_hole or gaps is None:
        picture = arrays.make_preview(parts)
        hole, weight = find_mark(picture, mask, options)
        pixels = find_growth(picture, hole, options, gaps)
    if missing is None or gaps is None:
        hole = masks.grow(hole, pixels)
        return _Marked(hole, hole, hole, weight)
    weight = None if weight is None else np.where(gaps, np.float32(1), weight)
    if options.only == "mask":
        hole = masks.grow(hole, pixels)
        return _Marked(hole, hole | gaps, hole, weight)
    hole = masks.grow(hole | gaps, pixels) if pixels else hole
    every = hole | gaps
    return _Marked(every, every, hole[..., None] | missing, weight)


def _fill_npy(
    data: bytes, mask: MaskSource | None, engine: Engine, options: FillOptions, bands: bool, name: str | None
) -> FilledFile:
    """Fill an array in NumPy's file format; nothing in such a file is ever executed."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{name or 'the file'}: not an array in NumPy's format ({error})") from error
    with collect_warnings() as reported:
        filled, hole = fill_array(array, mask, engine, options, bands=bands)
    file = io.BytesIO()
    np.save(file, filled, allow_pickle=False)
    return FilledFile(file.getvalue(), NPY, hole, warnings=tuple(reported))


def _fill_raster(raster: Raster, mask: MaskSource | None, engine: Engine, options: FillOptions) -> FilledFile:
    """Fill a TIFF of data. What means "missing" in it is no source; without a mask it is the hole."""
    if mask is not None or options.mark_hole:
        options = dataclasses.replace(options, only="mask")
    work = np.ma.masked_array(raster.bands, find_missing(raster))
    with collect_warnings() as reported:
        filled, hole = fill_array(work, mask, engine, options, bands=True)
    data = write_raster(dataclasses.replace(raster, bands=np.ma.getdata(filled)))
    return FilledFile(data, "TIFF", hole, warnings=tuple(reported))


def _refuse_picture_options(options: FillOptions, name: str | None, why: str) -> None:
    if options.format is not None or options.quality is not None or options.mark:
        front = f"{name}: " if name else ""
        raise InputError(f"{front}{why}: other formats, 'quality' and 'mark' are for pictures")
