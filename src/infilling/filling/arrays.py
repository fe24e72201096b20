"""Arrays: data of any type, range and number of channels, taken apart for engines and put together again."""

import math
from dataclasses import dataclass

import numpy as np

from infilling.errors import InputError, warn
from infilling.filling.contract import Engine, check_hole
from infilling.filling.options import FillOptions
from infilling.filling.regions import fill_samples, fill_values
from infilling.filling.sources import read_sources
from infilling.filling.visible import see_visible
from infilling.pictures.mask import Mask, require_known
from infilling.pictures.picture import Array, Doubles, Picture, Samples, split_channels

EXACT = 2**53
"""Whole numbers up to this distance from each other are exact in the floats that they are filled in."""


FEW_ROWS = 16
"""Fewer rows than that, and no fewer columns and channels, are channels that come first."""


@dataclass(frozen=True, eq=False)
class Bands:
    """The channels of an array, apart.

    Attributes:
        colours: (H, W, C) the channels to fill.
        alpha: (H, W, 0 or 1) the channel that says what is transparent.
        missing: (H, W, C) where a colour is no value: NaN, masked, or the value that stands for none. None if
            there is no such place.
        is_data: each channel is a quantity of its own, in a unit of its own.
    """

    colours: Array
    alpha: Array
    missing: Mask | None
    is_data: bool = False

    @property
    def gaps(self) -> Mask | None:
        """(H, W) bool, where any channel is missing; None if nothing is."""
        return None if self.missing is None else np.asarray(self.missing.any(axis=2))

    @property
    def is_picture(self) -> bool:
        """Whether the values are those of a picture: 8 or 16 bits."""
        return self.colours.dtype.newbyteorder("=") in (np.uint8, np.uint16)


def split_bands(array: Array, *, bands: bool = False, nodata: float | None = None) -> Bands:
    """Take an array apart.

    Args:
        array: (H, W) or (H, W, C), masked or not; of 2 and 4 channels the last is alpha unless all are
            `bands`, or values in it are masked or `nodata`. NaN and values that alpha has not are warned of.
        bands: every channel is data.
        nodata: value that stands for a missing one.

    Raises:
        InputError: another shape, channels first, no pixels, or neither integers nor floats.
    """
    _require_array(array)
    if not bands and array.ndim == 3 and array.shape[0] < FEW_ROWS <= min(array.shape[1:]):
        raise InputError(
            f"an image array of shape {array.shape} seems to have its channels first: give "
            "numpy.moveaxis(array, 0, -1); if its height is that small and all channels are data, set bands"
        )
    planes = np.ma.getdata(array).reshape(*array.shape[:2], -1)
    named = _find_named(planes, array, nodata)
    is_data = bands or (named is not None and bool(named[..., -1].any()))
    count = planes.shape[2] if is_data else split_channels(planes)[0].shape[2]
    colours, rest = planes[..., :count], planes[..., count:]
    if rest.size and not _may_be_alpha(rest):
        warn(
            f"the last of {count + 1} channels is kept as alpha, which its values do not look like: "
            "bands=True fills it too"
        )
    return Bands(colours, rest, _find_missing(colours, named), bands or count not in (1, 3))


def _may_be_alpha(channel: Array) -> bool:
    """Return whether all values of a channel are from 0 on, and up to 1 as floats; NaN is not."""
    return bool(channel.min() >= 0 and (channel.dtype.kind != "f" or channel.max() <= 1))


def _require_array(array: Array) -> None:
    """Refuse an array of another shape, without pixels, or of neither integers nor floats."""
    if array.ndim not in (2, 3) or not array.size:
        raise InputError(f"an image array is (H, W) or (H, W, channels) and at least 1×1, not {array.shape}")
    if array.dtype.kind not in "uif":
        advice = ": give its astype(numpy.uint8)" if array.dtype.kind == "b" else ""
        raise InputError(f"an image array holds integers or floats, not {array.dtype}{advice}")


def _find_named(planes: Array, array: Array, nodata: float | None) -> Mask | None:
    """Return (H, W, C) what is said to be no value; None if nothing is.

    Args:
        planes: (H, W, C).
        array: what they are channels of; a masked array masks what is missing.
        nodata: value that stands for a missing one.
    """
    found: list[Mask] = []
    if isinstance(array, np.ma.MaskedArray):
        found.append(np.ma.getmaskarray(array).reshape(planes.shape))
    if nodata is not None:
        found.append(_equal(planes, nodata))
    return np.logical_or.reduce(found) if found else None


def _find_missing(colours: Array, named: Mask | None) -> Mask | None:
    """Return (H, W, C) what is no value: NaN, and what is named of more channels; None if all are values."""
    found: list[Mask] = []
    if colours.dtype.kind == "f":
        found.append(np.isnan(colours))
    if named is not None:
        found.append(named[..., : colours.shape[2]])
    found = [each for each in found if each.any()]
    return np.logical_or.reduce(found) if found else None


def _equal(colours: Array, nodata: float) -> Mask:
    """Say where values are a number as their type holds it; whole numbers never wrap round to another."""
    if colours.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(colours == np.array(nodata).astype(colours.dtype))
    limits = np.iinfo(colours.dtype)
    is_held = math.isfinite(nodata) and nodata == int(nodata) and limits.min <= nodata <= limits.max
    return np.asarray(colours == int(nodata)) if is_held else np.zeros(colours.shape, dtype=bool)


def make_preview(bands: Bands) -> Picture:
    """Make a picture of the first channels and alpha, to find a colour or what is transparent in it.

    Floats count from 0 to 1.
    """
    count = 1 if bands.colours.shape[2] < 3 else 3
    alpha = _to_samples(bands.alpha)[..., 0] if bands.alpha.shape[2] else None
    return Picture(_to_samples(bands.colours[..., :count]), alpha)


def fill_bands(bands: Bands, hole: Mask, unknown: Mask, engine: Engine, options: FillOptions) -> Array:
    """Fill the channels of an array.

    Args:
        bands: the channels.
        hole: (H, W) bool, the pixels to fill, in all channels.
        unknown: (H, W) bool, the pixels that nothing is taken from, the hole's among them.
        engine: what fills.
        options: `detail` and `feather` are used.

    Returns:
        (H, W, C) of the channels' type; what is not in the hole is as given.

    Raises:
        InputError: nothing is known, a known value is infinite, or whole numbers are too far apart.
        ModelError: the engine fails.
    """
    if not hole.any():
        return bands.colours
    require_known(unknown)
    check_hole(engine, hole)
    options = read_sources(options, _hide(unknown, bands.alpha), engine)
    count = bands.colours.shape[2]
    step = 1 if bands.is_data and not bands.is_picture else 3
    filled = []
    for start in range(0, count, step):
        planes = bands.colours[..., start : start + step]
        kept = planes.shape[2]
        if kept == 2:  # engines take one channel or three
            planes = planes[..., [0, 1, 1]]
        if bands.is_picture:
            result = _fill_samples(planes, bands.alpha, hole, unknown, engine, options)
        else:
            result = _fill_numbers(planes, hole, _hide(unknown, bands.alpha), engine, options)
        filled.append(result[..., :kept])
    return filled[0] if len(filled) == 1 else np.concatenate(filled, axis=2)


def _hide(unknown: Mask, alpha: Array) -> Mask:
    """Return what is unknown with what is transparent, unless that leaves nothing known."""
    if not alpha.shape[2]:
        return unknown
    hidden = unknown | (alpha <= 0).any(axis=2)
    return unknown if hidden.all() else hidden


def join_bands(array: Array, bands: Bands, filled: Array, wanted: Mask, opaque: Mask | None) -> Array:
    """Copy the array and put what was filled into the copy; all other values are the caller's own.

    Args:
        array: what `split_bands` took apart.
        bands: of the array.
        filled: (H, W, C), what `fill_bands` gave.
        wanted: (H, W, C) bool, the values to put in, or (H, W) for all channels of a pixel.
        opaque: (H, W) bool, the pixels to make opaque; None: none.

    Returns:
        An array of the same kind; of a masked array, what was filled is masked no more.
    """
    if type(array) is np.ndarray and _is_result(bands, filled):
        return filled.reshape(array.shape)
    given = np.ma.getdata(array).copy()
    planes = given.reshape(*filled.shape[:2], -1)
    count = bands.colours.shape[2]
    planes[..., :count][wanted] = filled[wanted]
    if opaque is not None:
        planes[opaque, count:] = 1 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    if not isinstance(array, np.ma.MaskedArray):
        return given
    mask = np.ma.getmaskarray(array).copy()
    mask.reshape(planes.shape)[..., :count][wanted] = False
    with np.errstate(over="ignore"):  # NumPy's own fill value of 1e20, which float16 cannot hold
        return np.ma.MaskedArray(given, mask=mask, fill_value=array.fill_value)


def _is_result(bands: Bands, filled: Array) -> bool:
    """Say whether what `fill_bands` gave is the result: a new array of all channels, each value known."""
    is_whole = bands.missing is None and not bands.alpha.shape[2]
    return is_whole and filled.dtype == bands.colours.dtype and not np.may_share_memory(filled, bands.colours)


def _fill_samples(
    planes: Array, alpha: Array, hole: Mask, unknown: Mask, engine: Engine, options: FillOptions
) -> Samples:
    """Fill 8 or 16 bits as a picture's."""
    pixels, cover = _to_samples(planes), _to_samples(alpha)[..., 0] if alpha.shape[2] else None
    seen, unseen = see_visible(Picture(np.ascontiguousarray(pixels), cover), hole)
    seen, missing = seen.copy(), unknown > hole
    if missing.any():  # where it is all there is to see, it shows the mean
        seen[missing] = np.rint(seen[~unknown].mean(axis=0, dtype=np.float64))
        unseen = missing if unseen is None else unseen | missing
    return fill_samples(seen, hole, engine, options, unseen)


def _fill_numbers(planes: Array, hole: Mask, unknown: Mask, engine: Engine, options: FillOptions) -> Array:
    """Fill numbers of any range, as floats of at most 1, and bring them back exactly where they are whole."""
    if planes.dtype.kind == "f":
        return _fill_floats(planes, hole, unknown, engine, options)
    known = planes[~unknown]
    low, high = int(known.min()), int(known.max())
    if high - low >= EXACT:
        raise InputError(
            f"the known values span {low} to {high}: whole numbers further apart than 2^53 cannot be filled "
            "exactly; fill them as float64, or a part of their range"
        )
    # In unsigned arithmetic, which wraps round, the distance from the lowest is exact for every type.
    base = np.uint64(low % 2**64)
    distance = (planes.astype(np.uint64) - base).astype(np.float64)
    filled = _fill_floats(distance, hole, unknown, engine, options)
    steps = np.clip(np.rint(filled[hole]), 0, high - low).astype(np.uint64)
    result = planes.copy()
    result[hole] = (steps + base).astype(planes.dtype)
    return result


def _fill_floats(planes: Array, hole: Mask, unknown: Mask, engine: Engine, options: FillOptions) -> Array:
    """Fill floats; those of more than 64 bits are filled as float64."""
    with np.errstate(over="ignore"):
        values: Doubles = planes.astype(np.float64)
    low, high = float(values[~unknown].min()), float(values[~unknown].max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError(
            f"the known values span {low:g} to {high:g}: mark what is infinite as hole, or as NaN"
        )
    # A power of two brings all to at most 1, exactly: ranges neither overflow nor vanish.
    power = int(np.frexp(max(abs(low), abs(high)))[1])
    values = _scale_by(values, -power)
    filled = fill_values(values, hole, unknown, engine, options)
    result = planes.copy()
    result[hole] = _scale_by(filled[hole], power).astype(planes.dtype)
    return result


def _scale_by(values: Doubles, power: int) -> Doubles:
    """Multiply by a power of two; in two steps, for each alone may be out of range."""
    with np.errstate(invalid="ignore", over="ignore"):
        half = power // 2
        return np.asarray(np.ldexp(np.ldexp(values, half), power - half))


def _to_samples(values: Array) -> Samples:
    native = values.astype(values.dtype.newbyteorder("="), copy=False)
    if native.dtype in (np.uint8, np.uint16):
        return native
    unit = np.nan_to_num(native.astype(np.float64), nan=0, posinf=1, neginf=0)
    return np.rint(np.clip(unit, 0, 1) * 65535).astype(np.uint16)
