"""Arrays: data of any range and number of channels, as pictures that engines fill, and the way back."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infilling.errors import InputError
from infilling.pictures.mask import Mask
from infilling.pictures.picture import Picture, Samples

Array = NDArray[Any]

STEPS = 65535
"""Into so many steps the range of values is divided that are neither 8 nor 16 bit."""


@dataclass(frozen=True, eq=False)
class Bands:
    """The channels of an array, apart.

    Attributes:
        colours: (H, W, C) the channels to fill.
        alpha: (H, W, 0 or 1) the channel that says what is transparent.
        missing: (H, W, C) where a colour is NaN: hole, whatever the mask says.
        low, span: values are filled as (value - low) / span in [0, 1]; span 0 for uint8 and uint16, which
            are pictures already.
        limits: the least and the greatest known value, between which what is filled is kept if span is not 0.
    """

    colours: Array
    alpha: Array
    missing: Mask
    low: float = 0.0
    span: float = 0.0
    limits: tuple[float, float] = (-np.inf, np.inf)

    @property
    def gaps(self) -> Mask:
        """(H, W) bool, where any channel is missing."""
        return np.asarray(self.missing.any(axis=2))


def take(array: Array, *, bands: bool = False) -> Bands:
    """Take an array apart; its range is not known before its hole is, see `scale`.

    Args:
        array: (H, W) or (H, W, C); of 2 and 4 channels the last is alpha unless all are `bands`.
        bands: every channel is data.

    Raises:
        InputError: another shape, no pixels, or neither integers nor floats.
    """
    if array.ndim not in (2, 3) or not array.size:
        raise InputError(f"an image array is (H, W) or (H, W, channels) and at least 1×1, not {array.shape}")
    if array.dtype.kind not in "uif":
        raise InputError(f"an image array holds integers or floats, not {array.dtype}")
    planes = array if array.ndim == 3 else array[..., None]
    colours = planes.shape[2]
    if not bands and colours in (2, 4):
        colours -= 1
    missing = np.isnan(planes[..., :colours]) if array.dtype.kind == "f" else np.zeros(planes.shape, bool)
    return Bands(planes[..., :colours], planes[..., colours:], missing[..., :colours])


def scale(bands: Bands, hole: Mask) -> Bands:
    """Find the range of the known values: [0, 1] for floats within it, else from the least to the greatest.

    Raises:
        InputError: a known value is infinite.
    """
    if bands.colours.dtype.newbyteorder("=") in (np.uint8, np.uint16):
        return bands
    known = bands.colours[~hole].astype(np.float64)
    limits = low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if not np.isfinite(limits).all():
        raise InputError(
            f"the known values span {low:g} to {high:g}: mark what is infinite as hole, or as NaN"
        )
    if bands.colours.dtype.kind == "f" and low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    return replace(bands, low=low, span=high - low or 1.0, limits=limits)


def preview(bands: Bands) -> Picture:
    """Make a picture of the first channels and alpha, to find a colour or what is transparent in it."""
    span = 0.0 if bands.colours.dtype.newbyteorder("=") in (np.uint8, np.uint16) else 1.0
    count = 1 if bands.colours.shape[2] < 3 else 3
    return to_pictures(Bands(bands.colours[..., :count], bands.alpha, bands.missing, 0.0, span))[0]


def to_pictures(bands: Bands) -> list[Picture]:
    """Make pictures that can be filled: one of 1 or 3 channels, or several of 3 channels each."""
    pixels, alpha = _to_samples(bands.colours, bands), None
    if bands.alpha.shape[2]:
        alpha = _to_samples(bands.alpha, bands)[..., 0]
    count = pixels.shape[2]
    if count in (1, 3):
        return [Picture(pixels, alpha)]
    chosen = [np.minimum(np.arange(start, start + 3), count - 1) for start in range(0, count, 3)]
    return [Picture(np.ascontiguousarray(pixels[..., index]), alpha) for index in chosen]


def give(array: Array, bands: Bands, hole: Mask, results: list[Picture], *, opaque: bool) -> Array:
    """Copy the array and put what was filled into the copy; all other numbers are the caller's own.

    Args:
        array: what `take` took.
        bands: of the array, scaled.
        hole: (H, W), of which all channels are filled; what is missing elsewhere, in its own channel only.
        results: what became of `to_pictures`.
        opaque: make the hole opaque.
    """
    given = array.copy()
    planes = given.reshape(*hole.shape, -1)
    count = bands.colours.shape[2]
    filled: Array = np.concatenate([picture.pixels for picture in results], axis=2)[..., :count]
    wanted = hole[..., None] | bands.missing
    values = filled[wanted]
    if bands.span:
        values = np.clip(values / STEPS * bands.span + bands.low, *bands.limits)
        if array.dtype.kind != "f":
            values = np.rint(values)
    planes[..., :count][wanted] = values
    if opaque:
        planes[hole, count:] = 1 if array.dtype.kind == "f" else np.iinfo(array.dtype).max
    return given


def _to_samples(values: Array, bands: Bands) -> Samples:
    if not bands.span:
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    unit = (values.astype(np.float64) - bands.low) / bands.span
    unit = np.nan_to_num(unit, nan=0, posinf=1, neginf=0)  # in the hole there may be anything
    return np.rint(np.clip(unit, 0, 1) * STEPS).astype(np.uint16)
