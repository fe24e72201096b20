"""Draw thick lines into masks, the same pixels on every machine."""

import math

import numpy as np

from infilling.pictures.mask import Mask

Line = tuple[float, float, float, float, float]  # x0, y0, x1, y1, radius; pixel centres lie on whole numbers
Window = tuple[slice, slice]  # rows, columns

SIDES = np.array([-1.0, 1.0])[:, None, None]  # left and right
BEHIND = np.array([0.0, 1e-9])[:, None, None]  # what is rounded up is then behind a right edge on a pixel


def rasterise(lines: list[Line], height: int, width: int) -> tuple[Window, Mask]:
    """Draw lines with round caps: the pixels whose centre is within the radius of a segment.

    Such a line is convex, so it covers one interval of each row. The ends of all intervals of all lines are
    computed at once, and a running sum along the rows fills them. Only exactly rounded operations: the same
    on every machine.

    Returns:
        The window of the picture that the lines touch, and what they cover in it.
    """
    walks = np.array([_direct(line) for line in lines]).T[..., None]
    x, y, unit_x, unit_y, slope, lean, length, radius = walks
    (low_x, low_y), (high_x, high_y) = _bound(lines)
    top, bottom = max(0, math.ceil(low_y)), min(height, math.floor(high_y) + 1)
    left, right = max(0, math.ceil(low_x)), min(width, math.floor(high_x) + 1)
    below = np.arange(top, bottom) - y  # (lines, rows): how far each row is below the start
    # A row leaves the line on each side at a disc whose centre is `along` the segment: where the line's
    # straight edge crosses the row, or at the end of the segment if it crosses beyond.
    along = np.minimum(np.maximum((below + SIDES * lean) / slope, 0), length)
    rise = below - along * unit_y
    half = radius * radius - rise * rise
    edges = x + along * unit_x + SIDES * np.sqrt(np.maximum(half, 0))
    # From the first pixel inside to the one behind the last, within the window; nowhere if the row misses.
    begin, end = np.minimum(np.maximum(np.ceil(edges + BEHIND), left), right)
    end = np.where((half < 0).any(axis=0), begin, end)
    # +1 where an interval begins, -1 behind its end, one column more than the window for the ends: every row
    # adds up to 0, so that one running sum serves them all.
    columns = right - left + 1
    size = (bottom - top) * columns
    places = np.arange(-left, size - left, columns)
    steps = np.bincount((places + begin).astype(np.intp).ravel(), minlength=size)
    steps -= np.bincount((places + end).astype(np.intp).ravel(), minlength=size)
    covered = steps.cumsum().reshape(-1, columns)[:, :-1] > 0
    return (slice(top, bottom), slice(left, right)), covered


def _direct(line: Line) -> tuple[float, ...]:
    """Turn a line to run downwards, or right when level, and work out what `rasterise` needs of it."""
    x0, y0, x1, y1, radius = line
    if (y1, x1) < (y0, x0):
        x0, y0, x1, y1 = x1, y1, x0, y0
    length = math.sqrt((x1 - x0) ** 2 + (y1 - y0) ** 2)
    unit_x, unit_y = ((x1 - x0) / length, (y1 - y0) / length) if length else (1.0, 0.0)
    if unit_y == 0:  # the straight edges of a level line cross no row: its ends are the discs at its ends
        return x0, y0, unit_x, unit_y, 1.0, 1e18, length, radius
    return x0, y0, unit_x, unit_y, unit_y, radius * unit_x, length, radius


def _bound(lines: list[Line]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Least and greatest x and y that lines touch."""
    low_x = low_y = math.inf
    high_x = high_y = -math.inf
    for x0, y0, x1, y1, radius in lines:
        low_x, high_x = min(low_x, x0 - radius, x1 - radius), max(high_x, x0 + radius, x1 + radius)
        low_y, high_y = min(low_y, y0 - radius, y1 - radius), max(high_y, y0 + radius, y1 + radius)
    return (low_x, low_y), (high_x, high_y)
