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
from infilling.pictures.ridges import DIRECTIONS, Ridges, list_widths

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
ACROSS = ((1, 0, (14, 15, 0, 1, 2)), (1, -1, (3, 4, 5)), (0, 1, (6, 7, 8, 9, 10)), (1, 1, (11, 12, 13)))
"""Step (down, right) to the neighbour across a line, and the directions of lines that it is for."""


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
    is_peak = _find_peaks(ridges)
    is_peak &= ridges.height * sensitivity >= np.maximum(FAINTEST, OUTSTANDING * texture)
    rows, columns = np.nonzero(is_peak)
    directions = ridges.direction[rows, columns].astype(np.intp)
    labels = connect_pairs(len(rows), *_list_neighbours(rows, columns, directions, is_peak.shape[1]))
    is_long = np.bincount(labels, minlength=len(rows))[labels] >= SHORTEST
    rows, columns = rows[is_long], columns[is_long]
    curves = Curves(
        rows,
        columns,
        np.asarray(directions[is_long] * (np.pi / DIRECTIONS), np.float64),
        ridges.height[rows, columns],
        texture[rows, columns],
        np.array(list_widths(widest))[ridges.width[rows, columns]],
        _renumber(labels[is_long]),
    )
    return _bridge_gaps(_bridge_gaps(curves))


def _renumber(labels: Ints) -> Ints:
    return np.asarray(np.unique(labels, return_inverse=True)[1])


def _measure_texture(height: Floats) -> Floats:
    """Return (H, W) the usual height of ridges around each pixel: medians of blocks, averaged."""
    rows, columns = (max(1, side // BLOCK) for side in height.shape)
    tall, wide = -(-height.shape[0] // rows), -(-height.shape[1] // columns)
    edges = (0, rows * tall - height.shape[0]), (0, columns * wide - height.shape[1])
    blocks = np.pad(height, edges, "edge").reshape(rows, tall, columns, wide)
    medians = np.maximum(np.median(blocks[:, ::2, :, ::2], axis=(1, 3)), 0).astype(np.float32)
    sums = sum_window(np.stack([medians, np.ones_like(medians)], axis=2), AROUND)
    means = np.maximum(sums[..., 0] / sums[..., 1], 0)
    return np.repeat(np.repeat(means, tall, 0), wide, 1)[: height.shape[0], : height.shape[1]]


def _find_peaks(ridges: Ridges) -> Mask:
    """Return (H, W) bool, what is higher than both its neighbours across its direction."""
    padded = np.pad(ridges.height, 1, constant_values=-np.inf)
    height, width = ridges.height.shape
    is_peak = np.zeros((height, width), dtype=bool)
    for down, right, directions in ACROSS:
        before = padded[1 - down : 1 - down + height, 1 - right : 1 - right + width]
        after = padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        is_higher = (ridges.height >= before) & (ridges.height > after)
        is_peak |= is_higher & np.isin(np.arange(DIRECTIONS), directions)[ridges.direction]
    return is_peak


def _list_neighbours(rows: Ints, columns: Ints, directions: Ints, width: int) -> tuple[Ints, Ints]:
    """Return pairs of points, as two arrays of indices, that are next to each other on a curve."""
    stride = width + 4
    places = rows * stride + columns  # in order
    angles = directions * (np.pi / DIRECTIONS)
    firsts, seconds = [places[:0]], [places[:0]]
    for down, right in AHEAD if len(places) else ():
        wanted = places + down * stride + right
        found = np.minimum(np.searchsorted(places, wanted), len(places) - 1)
        first = np.flatnonzero(places[found] == wanted)
        second = found[first]
        turn = np.abs(directions[first] - directions[second])
        stray = np.abs(down * np.cos(angles[first]) - right * np.sin(angles[first]))
        fits = (np.minimum(turn, DIRECTIONS - turn) <= TURN) & (stray <= STRAY)
        firsts.append(first[fits])
        seconds.append(second[fits])
    return np.concatenate(firsts), np.concatenate(seconds)


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
    cosine, sine = (curves.average(each) for each in (np.cos(2 * curves.angles), np.sin(2 * curves.angles)))
    axis = (np.arctan2(sine, cosine) / 2)[curves.labels]
    order = np.lexsort((curves.columns * np.cos(axis) + curves.rows * np.sin(axis), curves.labels))
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
