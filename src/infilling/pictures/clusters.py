"""Holes that are planned together: thin and solid groups, the cells of thin ones, near neighbours.

For arithmetic, a box is a row of an integer array (n, 4) here: top, left, bottom, right, the last two one
past the end.
"""

from collections.abc import Iterator

import numpy as np

from infilling.pictures.mask import Box, Groups, Mask, bounding_box, connect_pairs
from infilling.pictures.picture import Ints

CROWD = 64  # boxes of one class in a cell, above which some of them must be near each other


def find_solid(mask: Mask, groups: Groups, large: Ints, side: int) -> Ints:
    """Find which of the large groups are solid: those that cover a square of a grid of this side.

    All that hold a square of twice the side somewhere do; none do that are thinner than the side.
    """
    if not large.size:
        return large
    side = max(1, side)
    near = bounding_box(mask)
    top, left = near.y // side, near.x // side
    part = mask[top * side : near.y + near.height, left * side : near.x + near.width]
    tall, wide = part.shape[0] // side, part.shape[1] // side
    squares = part[: tall * side, : wide * side].reshape(tall, side, wide, side).all(axis=(1, 3))
    rows, columns = np.nonzero(squares)
    return large[np.isin(large, groups.find((rows + top) * side, (columns + left) * side))]


def split_groups(groups: Groups, labels: Ints, side: int) -> Ints:
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


def join_edges(edges: Ints) -> Ints:
    """Join boxes that are near each other, until no two are; the result does not depend on their order.

    Two boxes are near if the gap between them is at most a quarter of the smaller one's longer side. A joined
    box is larger than its parts, so that it can be near to others: each round joins all that are near by
    then, and compares only what the round before joined. Time is O(n log n) for each round; of thousands of
    holes two or three rounds are usual.

    Args:
        edges: (n, 4) boxes.

    Returns:
        (m, 4) boxes, by their top and left.

    >>> join_edges(np.array([[0, 0, 40, 40], [0, 50, 40, 90], [200, 0, 240, 40]])).tolist()
    [[0, 0, 40, 90], [200, 0, 240, 40]]
    """
    fresh = np.ones(len(edges), bool)
    while fresh.any():
        first, second = _find_near(edges, fresh)
        groups = connect_pairs(len(edges), first, second)
        order = np.argsort(groups, kind="stable")
        begin = np.flatnonzero(np.diff(groups[order], prepend=-1))
        edges = np.concatenate(
            [np.minimum.reduceat(edges[order, :2], begin), np.maximum.reduceat(edges[order, 2:], begin)],
            axis=1,
        )
        fresh = np.diff(begin, append=len(order)) > 1
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))].reshape(-1, 4)


def _find_near(edges: Ints, fresh: Mask) -> tuple[Ints, Ints]:
    """Find pairs of boxes, one of them fresh at least, that are near each other: their indices, (p,) each.

    Each box is compared with those of its own class of size and of each larger one. Boxes of class c are at
    most 2ᶜ long, and their centres are sorted into cells of 1.25 · 2ᶜ: one that is near to a box of the same
    or a smaller class has its centre in one of the 3 × 3 cells around that one's centre. With a cell's index
    being row · stride + column, the three cells of a row are one range of the sorted cells.

    Boxes that are not near each other leave no room for more than some thirty of a class in a cell. Of fuller
    cells only those within `CROWD` of each other in sorted order are compared: some of them are near, and the
    next round has fewer.
    """
    sizes = (edges[:, 2:] - edges[:, :2]).max(axis=1)
    classes = np.ceil(np.log2(np.maximum(sizes, 1))).astype(np.intp)
    centres = edges[:, :2] + edges[:, 2:]  # twice the centre: whole numbers
    found: list[tuple[Ints, Ints]] = []
    for number in np.flatnonzero(np.bincount(classes)):
        cells = np.floor(centres / (2.5 * 2.0**number)).astype(np.intp) + 1
        cells -= cells.min(axis=0) - 1
        stride = int(cells[:, 1].max()) + 2
        keys = cells[:, 0] * stride + cells[:, 1]
        members = np.flatnonzero(classes == number)
        members = members[np.argsort(keys[members], kind="stable")]
        if _is_crowded(keys[members]):
            found.extend(_compare_neighbours(edges, keys, members))
            continue
        smaller = classes <= number
        for asking, asked in (
            (np.flatnonzero(smaller & fresh), members),
            (np.flatnonzero(smaller & ~fresh), members[fresh[members]]),
        ):
            for row in (-stride, 0, stride):
                first, second = _look_up(keys[asking] + row, keys[asked])
                found.append((asking[first], asked[second]))
    first = np.concatenate([pair[0] for pair in found])
    second = np.concatenate([pair[1] for pair in found])
    near = _are_near(edges[first], edges[second]) & (first != second)
    return first[near], second[near]


def _look_up(wanted: Ints, keys: Ints) -> tuple[Ints, Ints]:
    """Find the sorted keys within 1 of each wanted one: indices into `wanted` and `keys`, in pairs.

    >>> [found.tolist() for found in _look_up(np.array([5, 9]), np.array([1, 4, 6, 10]))]
    [[0, 0, 1], [1, 2, 3]]
    """
    low, high = np.searchsorted(keys, wanted - 1, "left"), np.searchsorted(keys, wanted + 1, "right")
    counts = high - low
    first = np.repeat(np.arange(len(wanted)), counts)
    return first, np.arange(len(first)) + np.repeat(low - (np.cumsum(counts) - counts), counts)


def _is_crowded(keys: Ints) -> bool:
    """Say whether any of these sorted keys occurs more than `CROWD` times."""
    return len(keys) > CROWD and bool((keys[CROWD:] == keys[:-CROWD]).any())


def _compare_neighbours(edges: Ints, keys: Ints, members: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yield near pairs among boxes of one cell that are within `CROWD` of each other in this order.

    The first pairs are enough: once they are joined, the next round has fewer boxes to compare.
    """
    for step in range(1, CROWD + 1):
        first, second = members[:-step], members[step:]
        near = (keys[first] == keys[second]) & _are_near(edges[first], edges[second])
        if near.any():
            yield first[near], second[near]
            return


def _are_near(one: Ints, other: Ints) -> Mask:
    """Say of pairs of boxes, (p, 4) each, whether the gap is at most 1/4 of the smaller's longer side."""
    gap = (np.maximum(one[:, :2], other[:, :2]) - np.minimum(one[:, 2:], other[:, 2:])).max(axis=1)
    longer, other_longer = ((box[:, 2:] - box[:, :2]).max(axis=1) for box in (one, other))
    return np.asarray(4 * gap <= np.minimum(longer, other_longer))


def pack(starts: Ints, ends: Ints, length: int) -> Iterator[Ints]:
    """Gather intervals into parts of a length, from the first start on.

    A part begins where the first interval begins that is in none yet, and takes all that end within the
    length. An interval that is longer is in a part that begins with it.

    Args:
        starts: (n,) first pixel of each interval.
        ends: (n,) pixel behind the last of each.
        length: of a part, in px.

    Yields:
        Ints of the intervals of a part, by their starts.

    >>> [part.tolist() for part in pack(np.array([0, 30, 5, 60]), np.array([10, 45, 50, 70]), 45)]
    [[0, 1], [2], [3]]
    """
    order = np.argsort(starts, kind="stable")
    sorted_starts = starts[order]
    waiting, coming = order[:0], 0  # intervals that did not fit a part; how many were looked at
    while waiting.size or coming < len(order):
        first = waiting[0] if waiting.size else order[coming]
        reach = int(np.searchsorted(sorted_starts, starts[first] + length, "right"))
        seen = np.concatenate([waiting, order[coming:reach]])
        coming = max(coming, reach)
        fits = ends[seen] <= starts[first] + length
        fits[0] = True
        yield seen[fits]
        waiting = seen[~fits]


def unite(edges: Ints) -> Ints:
    """Return the box around boxes, (4,)."""
    return np.concatenate([edges[:, :2].min(axis=0), edges[:, 2:].max(axis=0)])


def widen_edges(edges: Ints, around: Ints | int) -> Ints:
    """Widen boxes on every side: by one number of pixels, or (n, 2) rows and columns of each."""
    return np.concatenate([edges[:, :2] - around, edges[:, 2:] + around], axis=1)


def to_edges(boxes: Ints) -> Ints:
    """Turn rows of x, y, width, height into rows of top, left, bottom, right."""
    return np.stack([boxes[:, 1], boxes[:, 0], boxes[:, 1] + boxes[:, 3], boxes[:, 0] + boxes[:, 2]], axis=1)


def to_box(edges: Ints) -> Box:
    """Turn one row of top, left, bottom, right into a `Box`."""
    top, left, bottom, right = (int(edge) for edge in edges)
    return Box(left, top, right - left, bottom - top)
