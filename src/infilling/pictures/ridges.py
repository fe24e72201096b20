"""Ridges of a picture: how far each pixel stands out of both sides of a short line through it."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from infilling.pictures.picture import Array, Floats

DIRECTIONS = 16  # of lines, over half a turn
DOUBLINGS = 4  # length of a line as a power of 2, in pixels
LINE = 2**DOUBLINGS
SCALE = 8  # steps of a grey in what is summed: 255 · SCALE · LINE fits into 16 bits
CODES = 256  # more than there are directions times widths; a power of 2
STRIP = 96  # rows that are measured at a time, so that they stay in the cache
WIDEN = 1.7  # ratio of the widths of lines that are tried


@dataclass(frozen=True, eq=False)
class Ridges:
    """What stands out, at each pixel, along the direction in which it does most.

    Attributes:
        height: (H, W) float32 greys by which a line is brighter than the brighter of its sides; may be < 0.
        direction: (H, W) uint8, in steps of π / DIRECTIONS from rightwards to downwards.
        width: (H, W) uint8, index in `list_widths`.
    """

    height: Floats
    direction: Array
    width: Array


def list_widths(greatest: int) -> list[int]:
    """Return the odd widths of lines that are tried, in pixels.

    >>> list_widths(7)
    [1, 3, 5]
    """
    widths = [1]
    while 1.3 * widths[-1] * WIDEN < greatest:
        widths.append(int(widths[-1] * WIDEN) // 2 * 2 + 1 if widths[-1] > 1 else 3)
    return widths


def find_side(width: int) -> int:
    """Return the distance from the middle of a line to where its sides are measured, in pixels."""
    return width // 2 + 3


def measure_ridges(grey: Array, greatest: int) -> tuple[Ridges, Ridges]:
    """Measure bright lines up to a width, and dark ones: for these, height is how much darker they are.

    Args:
        grey: (H, W) uint8.
        greatest: width of a line, in pixels.
    """
    widths = list_widths(greatest)
    margin = LINE + find_side(widths[-1]) + widths[-1]
    packed = np.empty((2, *grey.shape), np.int32)
    padded = np.pad(grey, margin, mode="edge").astype(np.int16) * SCALE
    for top in range(0, grey.shape[0], STRIP):
        rows = min(STRIP, grey.shape[0] - top)
        _measure_strip(padded[top : top + rows + 2 * margin], widths, margin, packed[:, top : top + rows])
    return _unpack(packed[0]), _unpack(packed[1])


def _measure_strip(padded: Array, widths: list[int], margin: int, best: Array) -> None:
    """Measure what is inside the margin: heights of bright lines and of dark ones, with their codes.

    Args:
        padded: (h + 2 margin, w + 2 margin) int16.
        widths: that are tried.
        margin: of `padded`.
        best: (2, h, w) int32, where the greatest heights go: CODES · height + code.
    """
    best[...] = np.iinfo(np.int32).min
    for code, (width, number) in enumerate(product(widths, range(DIRECTIONS))):
        if number == 0:
            smooth = _average_square(padded, width)
        angle, side = number * np.pi / DIRECTIONS, find_side(width)
        line = _sum_along(smooth, angle)
        down, right = round(side * np.cos(angle)), -round(side * np.sin(angle))
        one, other = (_cut(line, margin, sign * down, sign * right) for sign in (1, -1))
        middle = _cut(line, margin, 0, 0)
        for height, chosen in (
            (middle - np.maximum(one, other), best[0]),
            (np.minimum(one, other) - middle, best[1]),
        ):
            coded = np.multiply(height, CODES, dtype=np.int32)
            coded += code
            np.maximum(chosen, coded, out=chosen)  # a code with its height: faster than a choice by a mask


def _unpack(packed: Array) -> Ridges:
    code = packed & (CODES - 1)
    height = (packed >> CODES.bit_length() - 1) / np.float32(SCALE * LINE)
    return Ridges(
        height.astype(np.float32), (code % DIRECTIONS).astype(np.uint8), (code // DIRECTIONS).astype(np.uint8)
    )


def _average_square(values: Array, side: int) -> Array:
    """Return the mean of an odd square around each pixel; wrong within `side` of the edge."""
    if side == 1:
        return values
    for axis in (0, 1):
        sums = np.cumsum(values, axis=axis, dtype=np.int32)
        wide = np.roll(sums, -(side // 2), axis) - np.roll(sums, side // 2 + 1, axis)
        values = wide // side
    return values.astype(np.int16)


def _sum_along(values: Array, angle: float) -> Array:
    """Return the sums along lines of LINE pixels centred on each; wrong within LINE of the edge."""
    total = values
    for doubling in range(DOUBLINGS):
        step = 2**doubling * np.array([np.sin(angle), np.cos(angle)])
        total = _add_moved(total, *np.rint(step).astype(int))
    down, right = (round((LINE - 1) / 2 * turned) for turned in (np.sin(angle), np.cos(angle)))
    return np.roll(total, (down, right), (0, 1))


def _add_moved(values: Array, down: int, right: int) -> Array:
    """Return each value plus the one that is `down` rows below it and `right` columns to its right."""
    rows, columns = values.shape
    total = values.copy()
    own_columns = slice(max(0, -right), columns - max(0, right))
    moved_columns = slice(max(0, right), columns + min(0, right))
    total[: rows - down, own_columns] += values[down:, moved_columns]
    return total


def _cut(values: Array, margin: int, down: int, right: int) -> Array:
    """Return what is inside of a margin, moved."""
    rows, columns = values.shape
    return values[margin + down : rows - margin + down, margin + right : columns - margin + right]
