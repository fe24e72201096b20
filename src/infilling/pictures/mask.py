"""Masks as arrays (H, W) of bool, True = hole everywhere: boxes, growing, connected groups."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from infilling.errors import InputError
from infilling.pictures.picture import Bools, Ints

Mask = Bools

LUMA = (299, 587, 114)  # ITU-R BT.601, in thousandths: a grey (v, v, v) weighs exactly 1000 v
MOST_GROW = 10_000  # pixels that a mask may be grown by
FAR = 1 << 30  # a distance beyond every picture


class Box(NamedTuple):
    """A rectangle in pixels: left edge, top edge, width, height (the order of `--box x,y,w,h`)."""

    x: int
    y: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this box in an array (H, W, ...)."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


def shift(box: Box, whole: Box) -> Box:
    """Return a box in the coordinates of another one.

    >>> shift(Box(5, 7, 2, 2), Box(4, 4, 9, 9))
    Box(x=1, y=3, width=2, height=2)
    """
    return box._replace(x=box.x - whole.x, y=box.y - whole.y)


def from_boxes(boxes: Sequence[tuple[int, int, int, int]], height: int, width: int) -> Mask:
    """Make a mask (height, width) whose holes are boxes (x, y, width, height), cut off at its edges.

    Raises:
        InputError: a box is empty or is wholly outside the picture.

    >>> from_boxes([(1, 0, 9, 1)], height=2, width=3)
    array([[False,  True,  True],
           [False, False, False]])
    """
    mask, whole = np.zeros((height, width), dtype=bool), Box(0, 0, width, height)
    for each in boxes:
        box = Box(*each)
        name = f"box {box.x},{box.y},{box.width},{box.height} (x,y,width,height)"
        if min(box.width, box.height) <= 0:
            raise InputError(f"{name} has no area: width and height must be at least 1")
        if not overlap(box, whole):
            raise InputError(f"{name} is outside the picture, which is {width}×{height} (width × height)")
        mask[max(box.y, 0) : box.y + box.height, max(box.x, 0) : box.x + box.width] = True
    return mask


def require_known(mask: Mask) -> None:
    """Refuse a mask that leaves nothing to fill from.

    Raises:
        InputError: every pixel is hole.
    """
    if mask.all():
        raise InputError(
            "the mask covers the whole picture, so nothing is left to fill from: "
            "if it marks what to keep, invert it"
        )


def grow(mask: Mask, pixels: int) -> Mask:
    """Widen every hole by a disc: hole is what is within `pixels` (Euclidean) of a hole.

    The time does not depend on `pixels`. A pixel at a vertical distance `d` from a hole reaches as far as a
    chord of the disc to each side, `isqrt(pixels² - d²)`; running extremes along the rows join the chords.

    Args:
        mask: (H, W) bool.
        pixels: radius of the disc, 0 to MOST_GROW.

    Raises:
        InputError: `pixels` is not in this range.
    """
    if not 0 <= pixels <= MOST_GROW:
        raise InputError(f"cannot grow a mask by {pixels} pixels: give 0 to {MOST_GROW:,}")
    grown = mask.copy()
    if pixels == 0:
        return grown
    holes = bounding_box(mask)
    if holes.width == 0:
        return grown
    near = widen(holes, pixels, Box(0, 0, mask.shape[1], mask.shape[0])).slices
    distance = np.minimum(_measure_vertical(mask[near]), pixels + 1)
    chords = [math.isqrt(pixels * pixels - d * d) for d in range(pixels + 1)]
    chord = np.array([*chords, -1], np.int32)[distance]  # (h, w) half a chord; -1 reaches nothing
    columns = np.arange(chord.shape[1], dtype=np.int32)
    reached = np.maximum.accumulate(columns + chord, axis=1) >= columns
    reached |= np.minimum.accumulate((columns - chord)[:, ::-1], axis=1)[:, ::-1] <= columns
    grown[near] = reached
    return grown


def _measure_vertical(mask: Mask) -> Ints:
    """Return (H, W) the distance to the next hole in the same column, FAR or more where there is none."""
    rows = np.arange(mask.shape[0], dtype=np.int32)[:, None]
    above = np.maximum.accumulate(np.where(mask, rows, np.int32(-FAR)), axis=0)
    below = np.minimum.accumulate(np.where(mask, rows, np.int32(FAR + mask.shape[0]))[::-1], axis=0)[::-1]
    return np.asarray(np.minimum(rows - above, below - rows))


def bounding_box(mask: Mask) -> Box:
    """Find the smallest box that holds every hole pixel; Box(0, 0, 0, 0) when there is none."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return Box(0, 0, 0, 0)
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return Box(
        x=int(columns[0]),
        y=int(rows[0]),
        width=int(columns[-1] - columns[0]) + 1,
        height=int(rows[-1] - rows[0]) + 1,
    )


def components(mask: Mask) -> list[Box]:
    """Find the connected groups of hole pixels (sides or corners touching) and return the box round each.

    The boxes come in the order in which a scan by rows meets their groups.
    """
    return [Box(*box) for box in find_groups(mask).boxes.tolist()]


@dataclass(frozen=True, eq=False)
class Groups:
    """Runs of hole pixels along the rows of a mask, in order, and the connected groups that they form.

    Attributes:
        rows, starts, ends: (runs,) row, first column, and column behind the last of each run.
        labels: (runs,) index of the run's group.
        boxes: (groups, 4) x, y, width, height of each group.
    """

    rows: Ints
    starts: Ints
    ends: Ints
    labels: Ints
    boxes: Ints

    def find(self, rows: Ints, columns: Ints) -> Ints:
        """Return the label of each hole pixel (rows[i], columns[i])."""
        stride = 1 + max(self.ends.max(initial=0), columns.max(initial=0))
        places = np.searchsorted(self.rows * stride + self.starts, rows * stride + columns, side="right")
        return np.asarray(self.labels[places - 1])

    def count_pixels(self) -> Ints:
        """Return (groups,) the number of pixels of each."""
        lengths = self.ends - self.starts
        return np.bincount(self.labels, lengths, len(self.boxes)).astype(np.intp)

    def list_pixels(self) -> tuple[Ints, Ints, Ints]:
        """Return row, column and label of every pixel, in order."""
        lengths = self.ends - self.starts
        behind = np.repeat(np.cumsum(lengths) - lengths, lengths)
        columns = np.arange(lengths.sum()) - behind + np.repeat(self.starts, lengths)
        return np.repeat(self.rows, lengths), columns, np.repeat(self.labels, lengths)

    def paint(self, labels: Ints, height: int, width: int) -> Mask:
        """Make a mask (height, width) of some of the groups."""
        chosen = np.isin(self.labels, labels)
        lengths = (self.ends - self.starts)[chosen]
        # The first pixel of each run, and from there a step for each pixel of the run.
        begin = np.repeat((self.rows * width + self.starts)[chosen] - (np.cumsum(lengths) - lengths), lengths)
        mask = np.zeros(height * width, dtype=bool)
        mask[begin + np.arange(lengths.sum())] = True
        return mask.reshape(height, width)


def find_groups(mask: Mask) -> Groups:
    """Find the connected groups of hole pixels: sides or corners touching. See `components`."""
    rows, starts, ends = _find_runs(mask)
    roots = _connect_runs(mask.shape[1], rows, starts, ends)
    # A root is its group's first run: counting the roots up to it numbers the groups in the order of the
    # scan.
    labels = (np.cumsum(roots == np.arange(rows.size)) - 1)[roots]
    order = np.argsort(labels, kind="stable")
    first = np.flatnonzero(np.diff(labels[order], prepend=-1))
    left, right = np.minimum.reduceat(starts[order], first), np.maximum.reduceat(ends[order], first)
    top, bottom = np.minimum.reduceat(rows[order], first), np.maximum.reduceat(rows[order], first) + 1
    return Groups(rows, starts, ends, labels, np.stack([left, top, right - left, bottom - top], axis=1))


def widen(box: Box, pixels: int, limit: Box) -> Box:
    """Widen a box on every side, but not beyond another.

    >>> widen(Box(1, 5, 4, 4), 2, limit=Box(0, 0, 20, 10))
    Box(x=0, y=3, width=7, height=7)
    """
    left, top = max(box.x - pixels, limit.x), max(box.y - pixels, limit.y)
    right = min(box.x + box.width + pixels, limit.x + limit.width)
    bottom = min(box.y + box.height + pixels, limit.y + limit.height)
    return Box(left, top, right - left, bottom - top)


def cut_tiles(part: Box, side: int, whole: Box) -> list[Box]:
    """Cut the tiles that touch a part out of a grid over a whole, whose edges cut them off; by rows.

    >>> cut_tiles(Box(3, 0, 3, 2), 4, whole=Box(0, 0, 7, 3))
    [Box(x=0, y=0, width=4, height=3), Box(x=4, y=0, width=3, height=3)]
    """
    rows = range(part.y // side * side, part.y + part.height, side)
    columns = range(part.x // side * side, part.x + part.width, side)
    return [widen(Box(left, top, side, side), 0, whole) for top in rows for left in columns]


def overlap(one: Box, other: Box) -> bool:
    """Say whether two boxes have a pixel in common.

    >>> overlap(Box(0, 0, 4, 4), Box(3, 3, 1, 1)), overlap(Box(0, 0, 4, 4), Box(4, 0, 4, 4))
    (True, False)
    """
    across = one.x < other.x + other.width and other.x < one.x + one.width
    return across and one.y < other.y + other.height and other.y < one.y + one.height


def resize_nearest(mask: Mask, height: int, width: int) -> Mask:
    """Resize a mask by taking, for each new pixel, the old one under its centre."""
    rows = (2 * np.arange(height) + 1) * mask.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * mask.shape[1] // (2 * width)
    return mask[np.ix_(rows, columns)]


# -- runs of hole pixels -------------------------------------------------------------------------------------


def _find_runs(mask: Mask) -> tuple[Ints, Ints, Ints]:
    """Find the runs of hole pixels along the rows, in order: row, first column, column behind the last."""
    near = bounding_box(mask)
    stride = near.width + 1
    padded = np.zeros((near.height, stride), dtype=bool)  # the known column at the end keeps rows apart
    padded[:, :-1] = mask[near.slices]
    flat = padded.reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[:1].any():
        edges = np.concatenate([[0], edges])
    rows, starts = np.divmod(edges[0::2], stride)
    ends = edges[1::2] - rows * stride
    return rows + near.y, starts + near.x, ends + near.x


def _connect_runs(width: int, rows: Ints, starts: Ints, ends: Ints) -> Ints:
    """Give every run the index of the first run of its 8-connected group: (n,)."""
    # One coordinate for all rows. Two free places between rows: a run never touches its neighbour row's by
    # wrapping.
    stride = width + 2
    first_place, last_place = rows * stride + starts, rows * stride + ends
    # The runs of the row above that touch a run are consecutive: those that end at or behind its start, and
    # start at or before its end (both may be one off to the side: corners count).
    low = np.searchsorted(last_place, first_place - stride, side="left")
    high = np.searchsorted(first_place, last_place - stride, side="right")
    counts = np.maximum(high - low, 0)
    below = np.repeat(np.arange(rows.size), counts)
    above = np.arange(counts.sum()) + np.repeat(low - (np.cumsum(counts) - counts), counts)
    return connect_pairs(rows.size, below, above)


def connect_pairs(count: int, first: Ints, second: Ints) -> Ints:
    """Find the smallest item of each item's group, (count,), where pairs of items are in one group.

    All pairs at once: hang every root under the smallest root of its pairs, flatten, repeat. Each round at
    least halves the number of roots that are still paired with another.

    >>> connect_pairs(5, np.array([3, 4]), np.array([1, 3])).tolist()
    [0, 1, 2, 1, 1]
    """
    parents = np.arange(count)
    while True:
        one, other = parents[first], parents[second]
        apart = one != other
        if not apart.any():
            return parents
        one, other, first, second = one[apart], other[apart], first[apart], second[apart]
        np.minimum.at(parents, np.maximum(one, other), np.minimum(one, other))
        flatter = parents[parents]
        while not np.array_equal(flatter, parents):
            parents, flatter = flatter, flatter[flatter]
