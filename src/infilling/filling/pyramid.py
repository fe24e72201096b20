"""A picture and its hole from fine to coarse, and what a patch search asks of each level."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infilling.pictures.mask import Box, bounding_box, widen
from infilling.pictures.picture import Bools, Floats, Ints

Pyramid = list[tuple[Floats, Bools]]
"""A picture, (H, W, 3), and its hole, (H, W): at full size, half of it, a quarter, and so on."""

ENOUGH_SOURCES = 64  # whole known patches below which smaller ones, or a finer level, are taken
CONFIDENCE = 1.3  # a hole pixel counts 1.3 times less with each px further from the rim (Wexler et al.)
FARTHEST = 80  # distance from the rim, in px, after which a hole pixel's weight does not fall further
STRIP = 16  # rows of blocks that are summed at once
EXACT_PAIRS = 50_000_000  # most patches compared with patches in an exact search


class Level:
    """One level of a pyramid: the pixels, the hole, and the patches of both.

    The picture is padded by the patch radius r, and a *place* is a flat index into the padded picture, so
    that a patch's pixels are at `place + offsets` and the pixel below a place is at `place + width`. With P
    places:

    Attributes:
        radius: the patch radius r.
        side: the side of a patch, 2 r + 1 px.
        shape: height and width of the padded picture; P is their product.
        pixels: (P, 3) float32; hole pixels are 0 until something fills them.
        hole: (P,) bool, True = hole.
        gaps: (G,) places of the hole pixels.
        filled: (P,) bool, pixels that have a colour, known or found; False in the padding.
        trust: (P,) float32, weight of a pixel in a patch: 1 where known, `CONFIDENCE` ** -depth in the hole,
            0 in the padding.
        offsets: (side²,) steps from a patch's middle to its pixels, row by row.
        is_source: (P,) bool, middles of patches that are known, and may be copied, throughout.

    >>> level = Level(np.zeros((4, 5, 3), np.float32), np.eye(4, 5) > 9, radius=1)
    >>> level.shape, level.offsets.tolist(), level.sources.tolist()
    ((6, 7), [-8, -7, -6, -1, 0, 1, 6, 7, 8], [16, 17, 18, 23, 24, 25])
    """

    def __init__(self, image: Floats, hole: Bools, radius: int, source: Bools | None = None) -> None:
        """Pad picture and hole by the radius, and find the sources: within `source` (H, W), unless None.

        A picture that `surround_pixels` made room for is not copied: its hole is written to.
        """
        self.radius, self.side = radius, 2 * radius + 1
        self.shape = hole.shape[0] + 2 * radius, hole.shape[1] + 2 * radius
        self.pixels, self._patches = _place_pixels(image, radius)
        self.hole: Bools = _surround(hole, radius).ravel()
        self.gaps: Ints = np.flatnonzero(self.hole)
        self.pixels[self.gaps] = 0
        self._depth = _measure_gaps(hole)  # of each of the gaps
        self.filled: Bools = _surround(~hole, radius).ravel()
        self.trust: Floats = self.filled.astype(np.float32)
        far = np.minimum(self._depth, FARTHEST).astype(np.float32)
        self.trust[self.gaps] = np.float32(CONFIDENCE) ** -far
        step = np.arange(-radius, radius + 1)
        self.offsets: Ints = (step[:, None] * self.shape[1] + step).ravel()
        usable = self.filled if source is None else self.filled & _surround(source, radius).ravel()
        known = all_known(usable.reshape(self.shape), 2 * radius + 1)
        self.is_source: Bools = _surround(known, radius).ravel()

    @property
    def sources(self) -> Ints:
        """The places of the patches that may be copied, (S,): made at each call, for they are many."""
        return np.flatnonzero(self.is_source)

    def find_depth(self, places: Ints) -> NDArray[np.int32]:
        """Return the steps from each of these places to the nearest known pixel; 0 where known."""
        depth = np.zeros(self.hole.size, np.int32)
        depth[self.gaps] = self._depth
        return depth[places]

    def picture(self) -> Floats:
        """Return the pixels without the padding, (H, W, 3): a view that can be written to."""
        return self.pixels.reshape(*self.shape, 3)[self._inner]

    def crop(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return what (P,) values are without the padding, (H, W): a view."""
        return values.reshape(self.shape)[self._inner]

    def find_touching(self, stride: int = 1) -> Ints:
        """Return the middles, inside the picture, of the patches that hold a hole pixel.

        Args:
            stride: a middle stands for a cell of this many px, on both axes: those of its pixels' patches.

        Returns:
            (n,) places, in order.
        """
        hole = self.crop(self.hole)
        whole = Box(0, 0, hole.shape[1], hole.shape[0])
        near = widen(bounding_box(hole), self.radius + stride - 1, whole)  # nothing further out is touched
        top, left = near.y - near.y % stride, near.x - near.x % stride
        part = hole[top : near.y + near.height, left : near.x + near.width]
        touches = ~all_known(~_surround(part, self.radius), self.side)
        rows, columns = (np.arange(0, length, stride) for length in touches.shape)
        cells = np.logical_or.reduceat(np.logical_or.reduceat(touches, rows, axis=0), columns, axis=1)
        y, x = np.nonzero(cells)
        return self.to_place(y * stride + top, x * stride + left)

    def patches(self, centres: Ints) -> Floats:
        """Gather the patches round these places; (n, side² · 3), a new array."""
        values: Floats = self._patches[centres].view(np.float32)
        return values

    def weights(self, centres: Ints, trust: Floats) -> Floats:
        """Return the weight of each value of these patches, as in `patches`; each row sums to 1."""
        rows = _view_patches(trust, self.shape[1], self.side)[centres + self.offsets[0]]
        weight = rows.view(np.float32)  # (n, side²)
        weight /= 3 * weight.sum(1, keepdims=True)
        each = np.empty((*weight.shape, 3), np.float32)
        for channel in range(3):  # `np.repeat` takes twice as long
            each[..., channel] = weight
        return each.reshape(len(centres), -1)

    def to_yx(self, places: Ints) -> tuple[Ints, Ints]:
        """Return row and column of each place, counted from the picture's corner."""
        y, x = np.divmod(places, self.shape[1])
        return y - self.radius, x - self.radius

    def to_place(self, y: Ints, x: Ints) -> Ints:
        """Return the place of each row and column, or the nearest one of the padded picture."""
        y = np.minimum(np.maximum(y + self.radius, 0), self.shape[0] - 1)  # np.clip takes three times as long
        x = np.minimum(np.maximum(x + self.radius, 0), self.shape[1] - 1)
        return np.asarray(y * self.shape[1] + x)

    @property
    def _inner(self) -> tuple[slice, slice]:
        inner = slice(self.radius, -self.radius or None)
        return inner, inner


def _surround(values: NDArray[Any], width: int) -> NDArray[Any]:
    """Return (H, W) values with that many px of 0 on all sides; `np.pad` takes ten times as long."""
    height, length = values.shape
    wide = np.zeros((height + 2 * width, length + 2 * width), values.dtype)
    wide[width : width + height, width : width + length] = values
    return wide


def surround_pixels(height: int, width: int, radius: int) -> Floats:
    """Return zeros, (height, width, 3) float32: a `Level` takes a picture that is in them without a copy."""
    wide = width + 2 * radius
    corner = radius * (wide + 1)  # places from a patch's first pixel to its middle
    memory = np.zeros(((height + 2 * radius) * wide + 2 * corner, 3), np.float32)
    inner = slice(radius, -radius or None)
    return memory[corner:-corner].reshape(-1, wide, 3)[inner, inner]


def _place_pixels(image: Floats, radius: int) -> tuple[Floats, NDArray[Any]]:
    """Copy a picture into a padded one, unless it is in one already, and view that as patches.

    The view has an item for every place, the padding's too: the memory reaches beyond the padded picture by a
    corner of r rows and r pixels at both ends.

    Returns:
        (P, 3) float32, the padded pixels; and (P, side) items, the rows of the patch round each place.
    """
    height, width = image.shape[:2]
    room = surround_pixels(height, width, radius)
    if _is_like(image, room):
        room = image
    else:
        room[:] = image
    assert isinstance(room.base, np.ndarray)
    corner = radius * (width + 2 * radius + 1)
    return room.base[corner:-corner], _view_patches(room.base, width + 2 * radius, 2 * radius + 1)


def _is_like(image: Floats, room: Floats) -> bool:
    """Say whether a picture is at the same place of the same kind of memory as this room."""
    given, wanted = image.base, room.base
    if not isinstance(given, np.ndarray) or not isinstance(wanted, np.ndarray):
        return False
    one, other = (
        (memory.dtype, memory.shape, memory.strides, view.strides, view.ctypes.data - memory.ctypes.data)
        for view, memory in ((image, given), (room, wanted))
    )
    return one == other


def _view_patches(values: NDArray[Any], width: int, side: int) -> NDArray[Any]:
    """View the values of a picture, (P,) or (P, C), as the patches whose first pixel is at each place.

    A row of a patch is contiguous in memory, so that its values are one item of a void type: to gather a
    patch is to copy side items.

    Returns:
        (P − what is within the last patch, side) items.
    """
    step = values.strides[0]
    count = len(values) - (side - 1) * (width + 1)
    return np.ndarray((count, side), f"V{side * step}", values.data, 0, (step, step * width))


def build_pyramid(image: Floats, hole: Bools, radius: int, pyramid: Pyramid | None = None) -> Pyramid:
    """Halve picture and hole until a patch reaches from the rim to the hole's middle; finest first.

    Args:
        image: (H, W, 3).
        hole: (H, W) bool.
        radius: of the patches.
        pyramid: what is made of it already: it is changed, and returned.
    """
    pyramid = pyramid or [(image, hole)]
    levels = 1
    while _is_deep(hole, 2 * radius) or _count_pairs(hole) > EXACT_PAIRS:
        image, hole = find_level(pyramid, levels)
        if not hole.any() or count_sources(hole, radius) < ENOUGH_SOURCES:
            break
        levels += 1
    del pyramid[levels:]
    return pyramid


def find_level(pyramid: Pyramid, halvings: int) -> tuple[Floats, Bools]:
    """Return picture and hole halved that many times; what is missing is added to the pyramid."""
    while len(pyramid) <= halvings:
        pyramid.append(halve(*pyramid[-1]))
    return pyramid[halvings]


def _is_deep(hole: Bools, steps: int) -> bool:
    """Say whether some hole pixel is farther than that many steps from a known one; see `measure_depth`."""
    near, side = hole[bounding_box(hole).slices], 2 * steps + 1
    if min(near.shape) >= side and all_known(near, side).any():  # the middle of such a square is
        return True
    return bool(_measure_gaps(hole).max(initial=0) > steps)


def _count_pairs(hole: Bools) -> int:
    """Return how many pairs of a hole pixel and a known one there are."""
    count = int(np.count_nonzero(hole))
    return count * (hole.size - count)


def halve(image: Floats, hole: Bools) -> tuple[Floats, Bools]:
    """Average the known pixels of each 2×2 block; a block with fewer than two of them is hole."""
    known = ~hole
    [count] = _add_blocks(known[..., None].view(np.uint8)).transpose(2, 0, 1)
    halved = _add_blocks(image)
    halved *= np.float32(0.25)
    halved[count == 0] = 0
    y, x = np.nonzero((count < 4) & (count > 0))  # few blocks are cut by a rim: their sums are taken again
    total = np.zeros((len(y), 3), np.float32)
    for down, right in product(range(2), repeat=2):
        rows, columns = (2 * y + down) % hole.shape[0], (2 * x + right) % hole.shape[1]
        counts = known[rows, columns] & (rows >= 2 * y) & (columns >= 2 * x)  # beyond an odd edge is nothing
        total += np.where(counts[:, None], image[rows, columns], np.float32(0))
    halved[y, x] = total / np.maximum(count[y, x], 1)[:, None]
    gap = count < 2
    if hole.shape[0] % 2 and hole.shape[1] % 2:  # the corner's block has one pixel
        gap[-1, -1] = hole[-1, -1]
    return halved, gap


def build_sources(pyramid: Pyramid, source: Bools | None, radius: int) -> list[Bools | None]:
    """Halve a mask of what may be copied along with a pyramid; finest first.

    The coarsest levels of the pyramid, in which too few whole patches may be copied, are taken out of it.
    """
    if source is None:
        return [None] * len(pyramid)
    sources: list[Bools | None] = [source]
    for _, hole in pyramid[1:]:
        source = halve_source(source)
        if count_sources(hole | ~source, radius) < ENOUGH_SOURCES:
            break
        sources.append(source)
    del pyramid[len(sources) :]
    return sources


def halve_source(source: Bools) -> Bools:
    """Halve a mask of what may be copied: of a 2×2 block all of it, or none."""
    height, width = source.shape
    if height % 2 or width % 2:
        source = np.pad(source, ((0, height % 2), (0, width % 2)), mode="edge")
    rows = source[0::2] & source[1::2]
    return np.asarray(rows[:, 0::2] & rows[:, 1::2])


def halve_whole(image: Floats) -> Floats:
    """Average the pixels of each 2×2 block of a picture without a hole; an odd edge counts twice."""
    total = _add_blocks(image)
    if image.shape[0] % 2:
        total[-1] *= 2
    if image.shape[1] % 2:
        total[:, -1] *= 2
    return np.asarray(total / 4, dtype=np.float32)


def _add_blocks(values: NDArray[Any]) -> NDArray[Any]:
    """Sum 2×2 blocks of (H, W, C): some rows at a time, whose sums stay in the cache.

    Blocks at an odd edge have two pixels, or one.
    """
    height, width, channels = values.shape
    total = np.empty((-(-height // 2), -(-width // 2), channels), values.dtype)
    for top in range(0, len(total), STRIP):
        _add_rows(values[2 * top : 2 * (top + STRIP)], total[top : top + STRIP])
    return total


def _add_rows(values: NDArray[Any], total: NDArray[Any]) -> None:
    """Sum 2×2 blocks into `total`, channel by channel: in loops that are long along a row."""
    pairs = values.shape[0] // 2, values.shape[1] // 2
    rows = values[0::2].copy()
    rows[: pairs[0]] += values[1::2]
    for channel in range(rows.shape[2]):
        left, right = rows[:, : 2 * pairs[1] : 2, channel], rows[:, 1::2, channel]
        np.add(left, right, out=total[:, : pairs[1], channel])
    if rows.shape[1] % 2:
        total[:, -1] = rows[:, -1]


def measure_depth(hole: Bools) -> NDArray[np.int32]:
    """Count the steps (down, up, left, right) from each pixel to the nearest known one; 0 where known.

    >>> measure_depth(np.array([[False, True, True, True]])).tolist()
    [[0, 1, 2, 3]]
    """
    whole = np.zeros(hole.shape, np.int32)
    whole[hole] = _measure_gaps(hole)
    return whole


def _measure_gaps(hole: Bools) -> NDArray[np.int32]:
    """Return the depth of each hole pixel, (G,); see `measure_depth`."""
    # One pixel round the holes is known, where it is in the picture: no way out is shorter beyond it.
    near = hole[widen(bounding_box(hole), 1, Box(0, 0, hole.shape[1], hole.shape[0])).slices]
    return _measure_depth(near)[near]


def _measure_depth(hole: Bools) -> NDArray[np.int32]:
    depth = np.where(hole, np.int32(sum(hole.shape)), np.int32(0))
    for _ in range(2):  # the distance along one axis, then the least of the other axis's sums, is exact
        place = np.arange(len(depth), dtype=np.int32)[:, None]
        before = np.minimum.accumulate(depth - place) + place
        after = np.minimum.accumulate((depth + place)[::-1])[::-1] - place
        depth = np.minimum(before, after).T
    return depth


def count_sources(hole: Bools, radius: int) -> int:
    """Count the whole patches inside the picture that hold no hole."""
    side = 2 * radius + 1
    return int(np.count_nonzero(all_known(~hole, side))) if min(hole.shape) >= side else 0


def all_known(known: Bools, side: int) -> Bools:
    """Say of each side × side window whether all of it is known; (H − side + 1, W − side + 1).

    The `and` over a window of 7 is made of windows of 1, 2 and 4 pixels: three steps instead of seven.
    """
    for _ in range(2):  # rows, then columns
        span = 1  # pixels that each value stands for
        while span < side:
            step = min(span, side - span)
            known = known[: len(known) - step] & known[step:]
            span += step
        known = known.T
    return known
