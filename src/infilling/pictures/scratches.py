"""Find scratches: what is thin, long, and brighter or darker than both of its sides."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from infilling.errors import InputError
from infilling.pictures.mask import LUMA, Mask, find_groups, grow
from infilling.pictures.picture import Samples

WINDOW = 31  # px; a scratch must stand out from what else there is in a window of this side …
OUTSTANDING = 4.0  # … over the mean, as a factor
LEAST = 25  # and in 8-bit greys at the least, before `sensitivity` divides it
WEAK = 0.5  # the rim of a scratch may stand out by this share of that
DIRECTIONS, DOUBLINGS = 16, 5  # lines that are looked along: how many, and how often their length doubles
FULL = 0.9  # share of such a line that must stand out

Values = TypeVar("Values", npt.NDArray[np.uint8], npt.NDArray[np.float32])


def find_scratches(
    pixels: Samples, *, width: int = 7, length: int = 40, sensitivity: float = 1.0, margin: int = 1
) -> Mask:
    """Mark scratches in a scan: thin lines, bright or dark, of any direction.

    A pixel stands out by its distance from the picture opened (bright lines) or closed (dark lines) with a
    square a little larger than a scratch is wide: edges of things do not, as they differ from one side only.
    Where pixels stand out along nearly all of a straight line of 32 px, there is a scratch, and what stands
    out and touches it belongs to it. What is drawn in thin lines, a wire or writing, is found as well.

    Args:
        pixels: (H, W, 1 or 3) uint8 or uint16.
        width: how wide a scratch may be, in pixels.
        length: how long it must be at least, in pixels.
        sensitivity: 2 finds scratches half as strong, and more that is none.
        margin: pixels to widen what was found by, for its soft rim.

    Returns:
        (H, W) bool, True = scratch.

    Raises:
        InputError: a number that makes no sense.
    """
    if width < 1 or length < 1 or sensitivity <= 0:
        raise InputError(
            f"width {width}, length {length} and sensitivity {sensitivity} of scratches must be above 0"
        )
    luma = _to_luma(pixels)
    found = np.zeros(luma.shape, dtype=bool)
    for grey in (luma, 255 - luma):  # bright lines, then dark ones
        found |= _find_bright(grey, width, length, sensitivity)
    return grow(found, margin)


def _to_luma(pixels: Samples) -> npt.NDArray[np.uint8]:
    bits = pixels if pixels.dtype == np.uint8 else pixels >> 8
    if bits.shape[2] == 1:
        return bits[..., 0].astype(np.uint8)
    luma = sum(bits[..., c].astype(np.uint32) * weight for c, weight in enumerate(LUMA))
    return np.asarray(luma // 1000, dtype=np.uint8)


def _find_bright(luma: npt.NDArray[np.uint8], width: int, length: int, sensitivity: float) -> Mask:
    opened = _slide(_slide(luma, width + 2, np.minimum), width + 2, np.maximum)
    above = (luma - opened).astype(np.float32)  # opened ≤ luma
    above /= np.maximum(LEAST, OUTSTANDING * _mean(above, WINDOW)) / np.float32(sensitivity)
    lines = np.zeros(luma.shape, dtype=bool)
    # A line of pixels may miss a thin scratch by one: the best of the pixels beside it counts.
    near: npt.NDArray[np.float32] = np.minimum(above, np.float32(1))
    capped = _slide(near, 3, np.maximum)
    for angle in np.arange(DIRECTIONS) * (np.pi / DIRECTIONS):
        lines |= _look_along(capped, angle) >= FULL
    # The middle of a line that fits is half a line away from the scratch's end.
    weak = (above >= WEAK) & grow(lines, 2**DOUBLINGS // 2 + width)
    groups = find_groups(weak)
    long = np.flatnonzero(groups.boxes[:, 2:].max(axis=1, initial=0) >= length)
    rows, columns = np.nonzero(lines & weak)
    seeded = groups.find(rows, columns) if rows.size else np.empty(0, np.intp)
    return groups.paint(np.intersect1d(seeded, long), *luma.shape)


def _look_along(values: npt.NDArray[np.float32], angle: float) -> npt.NDArray[np.float32]:
    """Average along a line of 2 ** DOUBLINGS pixels in this direction, centred on each pixel."""
    step = np.array([np.sin(angle), np.cos(angle)])
    reach = 2**DOUBLINGS
    total = np.pad(values, reach)
    for doubling in range(DOUBLINGS):
        down, right = np.rint(step * 2**doubling).astype(int)
        total = total + np.roll(total, (-down, -right), (0, 1))
    down, right = np.rint(step * (reach - 1) / 2).astype(int)
    middle = np.roll(total, (down, right), (0, 1))
    return np.asarray(middle[reach:-reach, reach:-reach] / np.float32(reach))


def _slide(values: Values, side: int, choose: np.ufunc) -> Values:
    """Return the least or greatest value in a square window; edge pixels repeat beyond the edge."""
    for axis in (0, 1):
        before = side // 2 if choose is np.minimum else (side - 1) // 2
        edges = [(0, 0), (0, 0)]
        edges[axis] = (before, side - 1 - before)
        wide = np.pad(values, edges, mode="edge")
        length = values.shape[axis]
        part = [slice(None), slice(None)]
        part[axis] = slice(0, length)
        values = wide[tuple(part)].copy()
        for step in range(1, side):
            part[axis] = slice(step, step + length)
            choose(values, wide[tuple(part)], out=values)
    return values


def _mean(values: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    """Average in a square window, cut off at the edges."""
    for axis in (0, 1):
        length = values.shape[axis]
        sums = np.cumsum(values, axis=axis, dtype=np.float64)
        sums = np.insert(sums, 0, 0, axis=axis)
        low = np.maximum(np.arange(length) - side // 2, 0)
        high = np.minimum(np.arange(length) + side // 2 + 1, length)
        along = (-1, 1) if axis == 0 else (1, -1)
        values = ((sums.take(high, axis) - sums.take(low, axis)) / (high - low).reshape(along)).astype(
            np.float32
        )
    return values
