"""Draw thick lines into masks, the same pixels on every machine."""

import math
from typing import NamedTuple

import numpy as np

from infilling.pictures.mask import Mask
from infilling.pictures.picture import Array, Doubles

Line = tuple[float, float, float, float, float]  # x0, y0, x1, y1, radius; pixel centres lie on whole numbers
Window = tuple[slice, slice]  # rows, columns

SIDES = np.array([-1.0, 1.0])[:, None, None]  # left and right
BEHIND = np.array([0.0, 1e-9])[:, None, None]  # what is rounded up is then behind a right edge on a pixel


def rasterise(lines: list[Line], height: int, width: int) -> tuple[Window, Mask]:
    """Draw lines with round caps: the pixels whose centre is within the radius of a segment.

    Such a line is convex, so it covers one interval of each row. The ends of all intervals of all lines are
    computed at once, then all are filled at once. Only exactly rounded operations: the same on every machine.

    Returns:
        The window of the picture that the lines touch, and what they cover in it.

    A line along row 1, from column 1 to column 3, of radius 1: its caps reach columns 0 and 4.

    >>> window, covered = rasterise([(1.0, 1.0, 3.0, 1.0, 1.0)], height=9, width=9)
    >>> window
    (slice(0, 3, None), slice(0, 5, None))
    >>> covered.astype(int)
    array([[0, 1, 1, 1, 0],
           [1, 1, 1, 1, 1],
           [0, 1, 1, 1, 0]])
    """
    rows, columns = _find_window(lines, height, width)
    edges, is_missed = _cross(_Walk.of(lines), np.arange(rows.start, rows.stop))
    # From the first pixel inside to the one behind the last, within the window; nowhere if the row misses.
    begin, end = np.minimum(np.maximum(np.ceil(edges + BEHIND), columns.start), columns.stop)
    end = np.where(is_missed, begin, end)
    covered = _cover(begin - columns.start, end - columns.start, columns.stop - columns.start)
    return (rows, columns), covered


class _Walk(NamedTuple):
    """Lines that run downwards, or right when level: each field is (lines, 1).

    Attributes:
        x: column of the start.
        y: row of the start.
        unit_x: columns for each pixel of length.
        unit_y: rows for each pixel of length.
        slope: rows for each pixel along a straight edge; 1 for level lines.
        lean: rows by which the straight edges start above and below the axis; for level lines, beyond any.
        length: of the segment, in px.
        radius: in px.
    """

    x: Doubles
    y: Doubles
    unit_x: Doubles
    unit_y: Doubles
    slope: Doubles
    lean: Doubles
    length: Doubles
    radius: Doubles

    @classmethod
    def of(cls, lines: list[Line]) -> "_Walk":
        """Direct lines."""
        return cls(*np.array(list(map(_direct, lines))).T[..., None])


def _direct(line: Line) -> tuple[float, float, float, float, float, float, float, float]:
    """Turn a line to run downwards, or right when level; return the fields of its `_Walk`."""
    x0, y0, x1, y1, radius = line
    if (y1, x1) < (y0, x0):
        x0, y0, x1, y1 = x1, y1, x0, y0
    length = math.sqrt((x1 - x0) ** 2 + (y1 - y0) ** 2)
    unit_x, unit_y = ((x1 - x0) / length, (y1 - y0) / length) if length else (1.0, 0.0)
    if unit_y == 0:  # the straight edges of a level line cross no row: its ends are the discs at its ends
        return x0, y0, unit_x, unit_y, 1.0, 1e18, length, radius
    return x0, y0, unit_x, unit_y, unit_y, radius * unit_x, length, radius


def _cross(walk: _Walk, rows: Array) -> tuple[Doubles, Mask]:
    """Find where rows enter and leave lines.

    A row leaves a line on each side at a disc whose centre is `along` the segment: where the line's straight
    edge crosses the row, or at the end of the segment if it crosses beyond.

    Returns:
        (2, lines, rows) the columns of the left and the right edge, and (lines, rows) bool, which rows miss.
    """
    below = rows - walk.y  # (lines, rows): how far each row is below the start
    along = np.minimum(np.maximum((below + SIDES * walk.lean) / walk.slope, 0), walk.length)
    rise = below - along * walk.unit_y
    half = walk.radius * walk.radius - rise * rise  # square of half the disc's chord in the row
    edges = walk.x + along * walk.unit_x + SIDES * np.sqrt(np.maximum(half, 0))
    return edges, np.asarray((half < 0).any(axis=0))


def _cover(begin: Doubles, end: Doubles, width: int) -> Mask:
    """Return (rows, width) what intervals cover: for (lines, rows), from a column to the one behind the last.

    +1 where an interval begins, -1 behind its end, and one column more for the ends: every row adds up to 0,
    so that one running sum serves them all.

    >>> _cover(np.array([[1, 0]]), np.array([[3, 1]]), 3).astype(int)
    array([[0, 1, 1],
           [1, 0, 0]])
    """
    columns = width + 1
    size = begin.shape[1] * columns
    row_starts = np.arange(0, size, columns)
    steps = np.bincount((row_starts + begin).astype(np.intp).ravel(), minlength=size)
    steps -= np.bincount((row_starts + end).astype(np.intp).ravel(), minlength=size)
    return np.asarray(steps.cumsum().reshape(-1, columns)[:, :-1] > 0)


def _find_window(lines: list[Line], height: int, width: int) -> Window:
    """Return the rows and columns of a picture that lines may touch."""
    x0, y0, x1, y1, radius = np.array(lines).T
    low_x, high_x = (np.minimum(x0, x1) - radius).min(), (np.maximum(x0, x1) + radius).max()
    low_y, high_y = (np.minimum(y0, y1) - radius).min(), (np.maximum(y0, y1) + radius).max()
    rows = slice(max(0, math.ceil(low_y)), min(height, math.floor(high_y) + 1))
    return rows, slice(max(0, math.ceil(low_x)), min(width, math.floor(high_x) + 1))
