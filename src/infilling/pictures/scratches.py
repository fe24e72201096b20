"""Find scratches: what is thin, long, straight, and brighter or darker than both of its sides."""

import numpy as np
import numpy.typing as npt

from infilling.errors import InputError
from infilling.pictures.film_scratches import find_film_scratches
from infilling.pictures.mask import Mask, find_groups, grow
from infilling.pictures.morphology import dilate, open_bright, to_grey
from infilling.pictures.picture import Floats, Ints, Samples
from infilling.pictures.scratch_lines import Stretches, find_stretches

WINDOW = 31  # px; side of the window whose mean a pixel must stand out from
OUTSTANDING = 4.0  # factor by which a pixel must exceed that mean
LEAST = 25  # 8-bit greys by which a pixel must stand out, before `sensitivity` divides it
WEAK = 0.5  # share of that at which the rim of a scratch belongs to it
DIRECTIONS, DOUBLINGS = 16, 5  # number of directions that are searched, and length of lines as a power of 2
FULL = 0.9  # share of such a line that must stand out
EVERY = 5  # step between pixels of a line that are measured
STRONG = 2.0  # how much more a line must stand out that is not measured, and may bend
THIN = 5  # greatest mean width of such a line, in pixels
MOST_ALIKE = 6  # of such lines in one direction; more are a texture
PART = 6  # a scratch is as long as this part of the longer side, between `length` and LONGEST
LONGEST = 256  # px
ENCLOSING = 0.6  # share of a group, on the rim of areas that it encloses, above which it is a drawing


def find_scratches(
    pixels: Samples, *, width: int = 7, length: int = 40, sensitivity: float = 1.0, margin: int = 1
) -> Mask:
    """Mark scratches in a scan: thin lines, bright or dark, of any direction.

    A pixel stands out by its distance from the picture opened (bright lines) or closed (dark lines) with a
    square a little larger than a scratch is wide. Where pixels stand out along nearly all of a straight line,
    a longer stretch is straightened and measured: a scratch has both sides alike, and is as wide, strong and
    sharp at one end as at the other. What stands out twice as much, thin and long, is not measured, and may
    bend. Lines that enclose areas are a drawing. Scratches that cross the whole
    picture, as in films, are found from the means of many rows, however faint they are. A wire before the sky
    is found as well: nothing in its pixels tells it from a scratch.

    Args:
        pixels: (H, W, 1 or 3) uint8 or uint16.
        width: how wide a scratch may be, in pixels.
        length: how long it must be at least, in pixels; faint ones at least 1/6 of the longer side,
            up to 256 px.
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
    luma = to_grey(pixels)
    found = np.zeros(luma.shape, dtype=bool)
    for grey in (luma, 255 - luma):  # bright lines, then dark ones
        above = _measure_excess(grey, width, sensitivity)
        bright = _find_measured(grey, above, width, length, sensitivity)
        bright |= _find_strong(above, length)
        bright |= find_film_scratches(grey.astype(np.float32), width, sensitivity)
        found |= _drop_drawings(bright, width)
    return grow(found, margin)


def _measure_excess(luma: npt.NDArray[np.uint8], width: int, sensitivity: float) -> Floats:
    """Return (H, W) how much each pixel stands out; 1 is enough for a line that is measured."""
    above = (luma - open_bright(luma, width + 2)).astype(np.float32)  # opened ≤ luma
    above /= np.maximum(LEAST, OUTSTANDING * _mean(above, WINDOW)) / np.float32(sensitivity)
    return above


def _find_strong(above: Floats, length: int) -> Mask:
    """Return (H, W) the lines that stand out STRONG times as much, are long and, on average, THIN."""
    above = above / np.float32(STRONG)
    rows, columns, angles = _find_seeds(above)
    if not rows.size:
        return np.zeros(above.shape, dtype=bool)
    weak = above >= WEAK
    groups = find_groups(weak)
    sides = groups.boxes[:, 2:].max(axis=1, initial=0)
    sizes = np.bincount(groups.find(*np.nonzero(weak)), minlength=len(sides))
    is_line = (sides >= length) & (sizes <= THIN * sides)
    seeded = groups.find(rows, columns)
    for angle in np.unique(angles):
        alike = np.unique(seeded[(angles == angle) & is_line[seeded]])
        if len(alike) > MOST_ALIKE:
            is_line[alike] = False
    return groups.paint(np.unique(seeded[is_line[seeded]]), *above.shape)


def _find_measured(
    luma: npt.NDArray[np.uint8], above: Floats, width: int, length: int, sensitivity: float
) -> Mask:
    """Return (H, W) the lines with stretches that are a scratch by what is measured across and along them."""
    rows, columns, angles = _find_seeds(above)
    if not rows.size:
        return np.zeros(luma.shape, dtype=bool)
    reach = max(length, min(max(luma.shape) // PART, LONGEST))
    stretches = find_stretches(luma.astype(np.float32), rows, columns, angles, width, reach, sensitivity)
    lines = _paint_stretches(stretches, reach, luma.shape)
    further = _paint_stretches(stretches, 2 * reach, luma.shape)  # a scratch's end may be unlike its middle
    weak = (above >= WEAK) & grow(further, max(1, width // 2))
    groups = find_groups(weak)
    long = np.flatnonzero(groups.boxes[:, 2:].max(axis=1, initial=0) >= length)
    rows, columns = np.nonzero(lines & weak)
    seeded = groups.find(rows, columns) if rows.size else np.empty(0, np.intp)
    return groups.paint(np.intersect1d(seeded, long), *luma.shape)


def _find_seeds(above: Floats) -> tuple[Ints, Ints, npt.NDArray[np.float64]]:
    """Return rows, columns and directions of some of the pixels amid straight lines that stand out."""
    # A line of pixels may miss a thin scratch by one: the best of the pixels beside it counts.
    near: Floats = np.minimum(above, np.float32(1))
    capped = dilate(near, 3)
    best, direction = np.zeros(above.shape, np.float32), np.zeros(above.shape, np.int8)
    for number in range(DIRECTIONS):
        share = _look_along(capped, number * (np.pi / DIRECTIONS))
        better = share > best
        best[better], direction[better] = share[better], number
    rows, columns = np.nonzero((best >= FULL) & (above >= WEAK))
    some = (rows + 2 * columns) % EVERY == 0  # lines of every direction cross some of these
    rows, columns = rows[some], columns[some]
    return rows, columns, direction[rows, columns] * (np.pi / DIRECTIONS)


def _paint_stretches(stretches: Stretches, length: int, shape: tuple[int, int]) -> Mask:
    """Return (H, W) the middle line of each stretch."""
    lines = np.zeros(shape, dtype=bool)
    for step in range(-length // 2, length // 2 + 1):
        rows = np.rint(stretches.rows + step * np.sin(stretches.angles)).astype(np.intp)
        columns = np.rint(stretches.columns + step * np.cos(stretches.angles)).astype(np.intp)
        lines[np.clip(rows, 0, shape[0] - 1), np.clip(columns, 0, shape[1] - 1)] = True
    return lines


def _drop_drawings(lines: Mask, width: int) -> Mask:
    """Leave out groups of lines that are mostly the rim of areas that they enclose.

    The areas are filled and opened with a square: what remains of scratches that cross one another is little,
    as their ends are free.
    """
    groups = find_groups(lines)
    ground = find_groups(np.pad(~grow(lines, 1), 1, constant_values=True))
    if len(ground.boxes) < 2:
        return lines
    [outside] = ground.find(np.zeros(1, np.intp), np.zeros(1, np.intp))
    inner = np.setdiff1d(np.arange(len(ground.boxes)), outside)
    height, across = lines.shape
    enclosed = ground.paint(inner, height + 2, across + 2)[1:-1, 1:-1]
    side = 2 * width + 4
    solid = grow(~grow(~(grow(lines, 1) | enclosed), side), side)
    sizes = np.bincount(groups.find(*np.nonzero(lines)), minlength=len(groups.boxes))
    on_rim = np.bincount(groups.find(*np.nonzero(lines & solid)), minlength=len(groups.boxes))
    return groups.paint(np.flatnonzero(on_rim <= ENCLOSING * sizes), height, across)


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
