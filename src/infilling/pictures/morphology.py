"""Grey pictures opened and closed with squares, in time that hardly depends on the window."""

from typing import TypeVar

import numpy as np

from infilling.pictures.mask import LUMA
from infilling.pictures.picture import Array, Samples

STRIP = 32  # rows that are converted at a time, so that they stay in the cache

Values = TypeVar("Values", bound=Array)


def to_grey(pixels: Samples) -> Array:
    """Return (H, W) uint8 luma of (H, W, 1 or 3) uint8 or uint16."""
    if pixels.shape[2] == 1:
        return _to_bits(pixels[..., 0])
    grey = np.empty(pixels.shape[:2], np.uint8)
    for top in range(0, len(grey), STRIP):
        strip = _to_bits(pixels[top : top + STRIP])
        luma = sum(strip[..., channel].astype(np.uint32) * weight for channel, weight in enumerate(LUMA))
        grey[top : top + STRIP] = luma // 1000
    return grey


def _to_bits(values: Samples) -> Array:
    return values if values.dtype == np.uint8 else (values >> 8).astype(np.uint8)


def erode(values: Values, side: int) -> Values:
    """Return the least value in a square window; beyond the edge the edge pixel counts again."""
    return _slide(values, side, np.minimum, side // 2)


def dilate(values: Values, side: int) -> Values:
    """Return the greatest value in a square window; beyond the edge the edge pixel counts again."""
    return _slide(values, side, np.maximum, (side - 1) // 2)


def open_bright(values: Values, side: int) -> Values:
    """Return the picture without what is brighter than its surroundings and narrower than the window."""
    return dilate(erode(values, side), side)


def _slide(values: Values, side: int, choose: np.ufunc, before: int) -> Values:
    """Return the least or greatest value in a square window that begins `before` pixels ahead of each.

    A window of 2 n is two of n beside each other, so that a window of 13 takes four passes along an axis: of
    2, 4, 8, and two of 8 that overlap.
    """
    for axis in (0, 1):
        edges = [(0, 0), (0, 0)]
        edges[axis] = (before, side - 1 - before)
        wide = np.pad(values, edges, mode="edge")
        reach, length = 1, values.shape[axis]
        while reach < side:
            step = min(reach, side - reach)
            count = wide.shape[axis] - step
            first, second = (_take(wide, axis, start, start + count) for start in (0, step))
            wide = choose(first, second)
            reach += step
        values = _take(wide, axis, 0, length)  # type: ignore[assignment]
    return values


def _take(values: Array, axis: int, start: int, end: int) -> Array:
    return values[start:end] if axis == 0 else values[:, start:end]
