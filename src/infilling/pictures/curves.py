"""Curves: the middle lines of ridges, linked from pixel to pixel and across gaps.

A point is linked to a neighbour if both have nearly one direction, and are behind each other along it. So
lines that cross are two curves, and a line that bends is one.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from infilling.pictures.blend import sum_window
from infilling.pictures.mask import Mask, connect_pairs
from infilling.pictures.picture import Array, Doubles, Floats, Ints
from infilling.pictures.ridges import DIRECTIONS, FINE, Ridges, list_widths

BLOCK = 16  # px; side of the blocks whose median height is their texture
AROUND = 2  # blocks on each side over which these medians are averaged
FAINTEST = 3.0  # greys; lower ridges are not followed
OUTSTANDING = 2.0  # the same, as a multiple of the texture
TURN = 2  # steps of direction by which neighbours on a curve differ at most
STRAY = 1.3  # px by which a neighbour may be off the direction
SHORTEST = 12  # points of the shortest curve
TIP = 10  # points at the end of a curve that say where it points
GAP = 24  # px; longest gap between two ends that is bridged
TOUCH = 5  # px; so close, ends need not point at each other
BEND = 0.35  # radians by which each end may point past the other

AHEAD = [(0, 1), (0, 2)] + [(down, right) for down in (1, 2) for right in range(-2, 3)]
"""Steps (down, right) to the neighbours that come later by rows."""
ACROSS = 3 * [(1, 0)] + 3 * [(1, -1)] + 5 * [(0, 1)] + 3 * [(1, 1)] + 2 * [(1, 0)]
"""Step (down, right) to the neighbour across a line, for each direction of lines."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Points on curves.

    Attributes:
        rows, columns: (n,) of each point, by rows.
        angles: (n,) direction of the curve, in radians from rightwards to downwards, 0 to π.
        heights: (n,) greys by which the line is brighter than both sides.
        textures: (n,) usual height around the point, in greys.
        widths: (n,) width of the line, in pixels.
        labels: (n,) index of the curve that the point is on.
    """

    rows: Ints
    columns: Ints
    angles: Doubles
    heights: Floats
    textures: Floats
    widths: Ints
    labels: Ints

    @property
    def count(self) -> int:
        """Number of curves."""
        return int(self.labels.max(initial=-1)) + 1

    def average(self, values: Array) -> Doubles:
        """Return (curves,) the mean over the points of each."""
        sums = np.bincount(self.labels, values, self.count)
        return np.asarray(sums / np.bincount(self.labels, minlength=self.count))

    def measure_lengths(self) -> Doubles:
        """Return (curves,) the diagonal of the box around each, in pixels."""
        sides = []
        for places in (self.rows, self.columns):
            low, high = np.full(self.count, np.iinfo(np.intp).max), np.zeros(self.count, np.intp)
            np.minimum.at(low, self.labels, places)
            np.maximum.at(high, self.labels, places)
            sides.append(high - low + 1)
        return np.asarray(np.hypot(*sides))

    def take(self, points: Array) -> "Curves":
        """Return some of the points, by (n,) bool or by their indices, with their labels as they are."""
        return Curves(*(values[points] for values in vars(self).values()))

    def select(self, chosen: Mask) -> "Curves":
        """Return some of the curves, (curves,) bool, with new labels."""
        some = self.take(chosen[self.labels])
        return dataclasses.replace(some, labels=(np.cumsum(chosen) - 1)[some.labels])

    def list_gaps(self) -> "Curves":
        """Return points that are missing between parts of one curve, one a pixel."""
        order = np.lexsort((_measure_along(self), self.labels))
        first, second = order[:-1], order[1:]
        down, right = (each[second] - each[first] for each in (self.rows, self.columns))
        length = np.hypot(down, right)
        angles = np.arctan2(down, right)
        bends = [np.cos(angles - self.angles[each]) ** 2 for each in (first, second)]
        is_gap = (self.labels[first] == self.labels[second]) & (length > STRAY + 1) & (length <= 2 * GAP)
        gaps = np.flatnonzero(is_gap & (np.minimum(*bends) > np.cos(BEND) ** 2))
        counts = length[gaps].astype(np.intp)
        gap = np.repeat(gaps, counts)
        share = (np.arange(len(gap)) - np.repeat(np.cumsum(counts) - counts, counts)) / length[gap]
        return dataclasses.replace(
            self.take(first[gap]),
            rows=self.rows[first[gap]] + np.rint(share * down[gap]).astype(np.intp),
            columns=self.columns[first[gap]] + np.rint(share * right[gap]).astype(np.intp),
            angles=angles[gap],
        )

    def place_beside(self, away: Array | float) -> tuple[Ints, Ints]:
        """Return row and column, (n,) each, of the pixels at a distance across the curve."""
        rows = np.rint(self.rows + away * np.cos(self.angles))
        columns = np.rint(self.columns - away * np.sin(self.angles))
        return rows.astype(np.intp), columns.astype(np.intp)


def trace_curves(ridges: Ridges, widest: int, sensitivity: float) -> Curves:
    """Return the curves of the ridges that stand out, those across a gap joined.

    Args:
        ridges: of bright or of dark lines.
        widest: greatest width of a line that they were measured for, in pixels.
        sensitivity: 2 follows ridges half as high.
    """
    texture = _measure_texture(ridges.height)
    rows, columns = _find_peaks(ridges, np.maximum(FAINTEST, OUTSTANDING * texture) / sensitivity)
    directions = ridges.direction[rows, columns].astype(np.intp)
    labels = connect_pairs(len(rows), *_list_neighbours(rows, columns, directions, ridges.height.shape[1]))
    is_long = np.bincount(labels, minlength=len(rows))[labels] >= SHORTEST
    rows, columns = rows[is_long], columns[is_long]
    curves = Curves(
        rows,
        columns,
        np.asarray(directions[is_long] * (np.pi / DIRECTIONS), np.float64),
        (ridges.height[rows, columns] / FINE).astype(np.float32),
        texture[rows // BLOCK, columns // BLOCK],
        np.array(list_widths(widest))[ridges.width[rows, columns]],
        _renumber(labels[is_long]),
    )
    return _bridge_gaps(_bridge_gaps(curves))


def _renumber(labels: Ints) -> Ints:
    return np.asarray(np.unique(labels, return_inverse=True)[1])


def _measure_texture(height: Array) -> Floats:
    """Return the usual height of ridges, in greys, around each block: medians of blocks, averaged.

    Args:
        height: (H, W) int16, in 1 / FINE greys.

    Returns:
        (rows, columns) of blocks, those cut off by the edge among them.
    """
    rows, columns = (-(-side // BLOCK) for side in height.shape)
    edges = (0, rows * BLOCK - height.shape[0]), (0, columns * BLOCK - height.shape[1])
    some = np.pad(height, edges, "reflect" if min(height.shape) > BLOCK else "edge")[::2, ::2]
    blocks = some.reshape(rows, BLOCK // 2, columns, BLOCK // 2).swapaxes(1, 2).reshape(rows, columns, -1)
    medians = np.maximum(np.partition(blocks, blocks.shape[2] // 2, axis=2)[..., blocks.shape[2] // 2], 0)
    sums = sum_window(np.stack([medians, np.full_like(medians, FINE)], axis=2).astype(np.float32), AROUND)
    return sums[..., 0] / sums[..., 1]


def _find_peaks(ridges: Ridges, least: Floats) -> tuple[Ints, Ints]:
    """Return rows and columns, by rows, of what is higher than both its neighbours across its direction.

    Args:
        ridges: of bright or of dark lines.
        least: height of a peak in each block, in greys.
    """
    height, width = ridges.height.shape
    limits = np.repeat(np.ceil(least * FINE).clip(0, 2**15 - 1).astype(np.int16), BLOCK, axis=1)[:, :width]
    strips = [
        np.flatnonzero(ridges.height[top : top + BLOCK] >= limit) + top * width
        for top, limit in zip(range(0, height, BLOCK), limits, strict=True)
    ]
    places = np.concatenate(strips)
    rows, columns = np.divmod(places, width)
    inner = (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
    places = places[inner]
    flat = ridges.height.ravel()
    down, right = np.array(ACROSS)[ridges.direction.ravel()[places]].T
    step, own = down * width + right, flat[places]
    places = places[(own >= flat[places - step]) & (own > flat[places + step])]
    return np.divmod(places, width)


def _list_neighbours(rows: Ints, columns: Ints, directions: Ints, width: int) -> tuple[Ints, Ints]:
    """Return pairs of points, as two arrays of indices, that are next to each other on a curve."""
    stride = width + 4
    places = rows * stride + columns
    numbers = np.zeros(
        (int(rows.max(initial=0)) + 3) * stride, np.int32
    )  # of the point at each place, from 1
    numbers[places] = np.arange(1, len(places) + 1)
    firsts, seconds = [], []
    for down, right in AHEAD:
        found = numbers[places + (down * stride + right)]
        first = np.flatnonzero(found)
        second = found[first] - 1
        fits = _list_fits(down, right)[directions[first] * DIRECTIONS + directions[second]]
        firsts.append(first[fits])
        seconds.append(second[fits])
    return np.concatenate(firsts), np.concatenate(seconds)


def _list_fits(down: int, right: int) -> Mask:
    """Return (DIRECTIONS²,) bool, which two directions of points this step apart may be linked."""
    first, second = np.divmod(np.arange(DIRECTIONS * DIRECTIONS), DIRECTIONS)
    turn, angle = np.abs(first - second), first * (np.pi / DIRECTIONS)
    stray = np.abs(down * np.cos(angle) - right * np.sin(angle))
    return np.asarray((np.minimum(turn, DIRECTIONS - turn) <= TURN) & (stray <= STRAY))


# -- gaps ----------------------------------------------------------------------------------------------------


def _bridge_gaps(curves: Curves) -> Curves:
    """Join curves whose ends point at each other; each end is joined to its nearest."""
    if not curves.count:
        return curves
    ends = _find_ends(curves)
    owners = np.tile(np.arange(curves.count), 2)
    first, second = _list_near_ends(ends, owners)
    gaps = ends[second, :2] - ends[first, :2]
    lengths = np.hypot(*gaps.T)
    ahead = (gaps * ends[first, 2:]).sum(axis=1) / np.maximum(lengths, 1)
    behind = -(gaps * ends[second, 2:]).sum(axis=1) / np.maximum(lengths, 1)
    facing = -(ends[first, 2:] * ends[second, 2:]).sum(axis=1)
    straight = np.cos(BEND)
    fits = (facing > straight) & ((np.minimum(ahead, behind) > straight) | (lengths < TOUCH))
    first, second, lengths = first[fits], second[fits], lengths[fits]
    nearest = np.full(len(ends), np.inf)
    np.minimum.at(nearest, first, lengths)
    np.minimum.at(nearest, second, lengths)
    fits = (lengths <= nearest[first]) & (lengths <= nearest[second])
    joined = connect_pairs(curves.count, owners[first[fits]], owners[second[fits]])
    return dataclasses.replace(curves, labels=_renumber(joined[curves.labels]))


def _find_ends(curves: Curves) -> Doubles:
    """Return (2 curves, 4): row, column and unit vector outwards of each first end, then of each last."""
    order = np.lexsort((_measure_along(curves), curves.labels))
    counts = np.bincount(curves.labels)
    first = np.cumsum(counts) - counts
    last = first + counts - 1
    tips = np.minimum(TIP, counts - 1)
    ends = []
    for end, inner in ((order[first], order[first + tips]), (order[last], order[last - tips])):
        down, right = (each[end] - each[inner] for each in (curves.rows, curves.columns))
        length = np.maximum(np.hypot(down, right), 1)
        ends.append(np.stack([curves.rows[end], curves.columns[end], down / length, right / length], axis=1))
    return np.concatenate(ends)


def _measure_along(curves: Curves) -> Doubles:
    """Return (n,) the place of each point along the mean direction of its curve, in pixels."""
    cosine, sine = (curves.average(each) for each in (np.cos(2 * curves.angles), np.sin(2 * curves.angles)))
    axis = (np.arctan2(sine, cosine) / 2)[curves.labels]
    return np.asarray(curves.columns * np.cos(axis) + curves.rows * np.sin(axis))


def _list_near_ends(ends: Doubles, owners: Ints) -> tuple[Ints, Ints]:
    """Return pairs of ends of two curves, as two arrays of indices, at most GAP apart."""
    cells = (ends[:, :2] // GAP).astype(np.intp)
    stride = int(cells[:, 1].max()) + 3
    keys = cells[:, 0] * stride + cells[:, 1]
    order = np.argsort(keys, kind="stable")
    firsts, seconds = [], []
    for row in (-stride, 0, stride):
        low = np.searchsorted(keys[order], keys + row - 1, "left")
        counts = np.searchsorted(keys[order], keys + row + 1, "right") - low
        first = np.repeat(np.arange(len(keys)), counts)
        second = order[np.arange(len(first)) + np.repeat(low - (np.cumsum(counts) - counts), counts)]
        distance = np.hypot(*(ends[first, :2] - ends[second, :2]).T)
        fits = (owners[first] < owners[second]) & (distance <= GAP)
        firsts.append(first[fits])
        seconds.append(second[fits])
    return np.concatenate(firsts), np.concatenate(seconds)
