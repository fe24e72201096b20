"""Sort the holes of a mask into what is planned together: thin and solid groups, cells, neighbours.

For arithmetic, a box is a row of an integer array (n, 4) here: top, left, bottom, right, the last two one
past the end.
"""

import numpy as np

from infilling.pictures.mask import Box, Groups, Mask
from infilling.pictures.picture import Ints


def find_solid(mask: Mask, groups: Groups, large: Ints, side: int) -> Ints:
    """Find which of the large groups are solid: those that cover a square of a grid of this side.

    All that hold a square of twice the side somewhere do; none do that are thinner than the side.
    """
    if not large.size:
        return large
    side = max(1, side)
    tall, wide = mask.shape[0] // side, mask.shape[1] // side
    squares = mask[: tall * side, : wide * side].reshape(tall, side, wide, side).all(axis=(1, 3))
    rows, columns = np.nonzero(squares)
    return large[np.isin(large, groups.find(rows * side, columns * side))]


def split(groups: Groups, labels: Ints, side: int) -> Ints:
    """Split groups by a grid of this side: the box of their pixels in each cell, by rows of cells."""
    chosen = np.isin(groups.labels, labels)
    rows, starts, ends = groups.rows[chosen], groups.starts[chosen], groups.ends[chosen]
    # Each run, once for every cell that it crosses, cut to that cell.
    first = starts // side
    pieces = (ends - 1) // side - first + 1
    rows = np.repeat(rows, pieces)
    column = np.repeat(first - (np.cumsum(pieces) - pieces), pieces) + np.arange(rows.size)
    left = np.maximum(np.repeat(starts, pieces), column * side)
    right = np.minimum(np.repeat(ends, pieces), column * side + side)
    order = np.lexsort((column, rows // side))
    rows, column, left, right = rows[order], column[order], left[order], right[order]
    if not rows.size:
        return np.empty((0, 4), dtype=np.intp)
    begin = np.flatnonzero((np.diff(rows // side, prepend=-1) != 0) | (np.diff(column, prepend=-1) != 0))
    top, bottom = np.minimum.reduceat(rows, begin), np.maximum.reduceat(rows, begin) + 1
    return np.stack(
        [top, np.minimum.reduceat(left, begin), bottom, np.maximum.reduceat(right, begin)], axis=1
    )


def join(edges: Ints) -> Ints:
    """Join boxes that are nearer to each other than a quarter of the smaller one's longer side."""
    joined: list[Ints] = []
    for box in edges:
        while near := [other for other in joined if _is_near(box, other)]:
            joined = [other for other in joined if not any(other is one for one in near)]
            box = unite(np.stack([box, *near]))
        joined.append(box)
    joined.sort(key=lambda box: (box[0], box[1]))
    return np.array(joined, dtype=np.intp).reshape(-1, 4)


def _is_near(one: Ints, other: Ints) -> bool:
    gap = np.maximum(one[:2], other[:2]) - np.minimum(one[2:], other[2:])
    longest = min((box[2:] - box[:2]).max() for box in (one, other))
    return bool(gap.max() <= longest / 4)


def unite(edges: Ints) -> Ints:
    return np.concatenate([edges[:, :2].min(axis=0), edges[:, 2:].max(axis=0)])


def to_edges(boxes: Ints) -> Ints:
    return np.stack([boxes[:, 1], boxes[:, 0], boxes[:, 1] + boxes[:, 3], boxes[:, 0] + boxes[:, 2]], axis=1)


def to_box(edges: Ints) -> Box:
    top, left, bottom, right = (int(edge) for edge in edges)
    return Box(left, top, right - left, bottom - top)
