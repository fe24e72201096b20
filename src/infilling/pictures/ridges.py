"""Ridges of a picture: how far each pixel stands out of both sides of a short line through it."""

from dataclasses import dataclass

import numpy as np

from infilling.pictures.picture import Array

DIRECTIONS = 16  # of lines, over half a turn; a power of 2
DOUBLINGS = 4  # length of a line as a power of 2, in pixels
LINE = 2**DOUBLINGS
SCALE = 8  # steps of a grey in what is summed: 255 · SCALE · LINE fits into 16 bits
FINE = SCALE * LINE // DIRECTIONS  # steps of a grey in a height
TILE = 256, 512  # rows and columns that are measured at a time, so that they stay in the cache
WIDEN = 1.7  # ratio of the widths of lines that are tried


Steps = tuple[tuple[int, int], ...]
"""Rows down and columns to the right, from each part of a line to the next."""


@dataclass(frozen=True, eq=False)
class Ridges:
    """What stands out, at each pixel, along the direction in which it does most.

    Attributes:
        height: (H, W) int16, in 1 / FINE greys, by which a line is brighter than the brighter of its sides;
            may be < 0.
        direction: (H, W) uint8, in steps of π / DIRECTIONS from rightwards to downwards.
        width: (H, W) uint8, index in `list_widths`.
    """

    height: Array
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
    margin = LINE // 2 + find_side(widths[-1]) + widths[-1]
    heights = np.empty((2, *grey.shape), np.int16)
    codes = np.empty((2, 2, *grey.shape), np.uint8)
    padded = np.pad(grey, margin, mode="edge")
    for top in range(0, grey.shape[0], TILE[0]):
        for left in range(0, grey.shape[1], TILE[1]):
            place = np.s_[:, top : top + TILE[0], left : left + TILE[1]]
            rows, columns = heights[place].shape[1:]
            tile = padded[top : top + rows + 2 * margin, left : left + columns + 2 * margin]
            heights[place], codes[:, 0][place], codes[:, 1][place] = _measure_tile(tile, widths, margin)
    bright, dark = (Ridges(*each) for each in zip(heights, *codes.swapaxes(0, 1), strict=True))
    return bright, dark


def _measure_tile(padded: Array, widths: list[int], margin: int) -> tuple[Array, Array, Array]:
    """Measure what is inside the margin.

    A height and its direction are one number, so that the greatest of both is found without a choice by a
    mask: the last bits of a sum, less than 1 / FINE of a grey, give way to the direction.

    Args:
        padded: (h + 2 margin, w + 2 margin) uint8.
        widths: that are tried.
        margin: of `padded`.

    Returns:
        Height, direction and width as in `Ridges`, (2, h, w) each: of bright lines and of dark ones.
    """
    best = _measure_width(padded, widths[0], margin)
    chosen = np.zeros(best.shape, np.uint8)
    for code, width in enumerate(widths[1:], 1):
        coded = _measure_width(padded, width, margin)
        np.copyto(chosen, code, where=coded >= best)
        np.maximum(best, coded, out=best)
    direction = np.stack([best[0] % DIRECTIONS, -best[1] % DIRECTIONS])
    best[1] += direction[1]
    return best // DIRECTIONS, direction.astype(np.uint8), chosen


def _measure_width(padded: Array, width: int, margin: int) -> Array:
    """Return (2, h, w) int16, DIRECTIONS · height + direction of bright lines, - direction of dark ones."""
    best = np.full((2, *_cut(padded, margin, 0, 0).shape), np.iinfo(np.int16).min, np.int16)
    sums: dict[Steps, Array] = {(): _average_square(padded.astype(np.int16) * SCALE, width)}
    for number in range(DIRECTIONS):
        angle, side = number * np.pi / DIRECTIONS, find_side(width)
        line = _sum_along(sums, angle)
        line &= -DIRECTIONS
        down, right = _find_step((LINE - 1) / 2, angle)  # from the first pixel of a line to its middle
        below, beside = _find_step(side, angle + np.pi / 2)
        middle = _cut(line, margin, -down, -right) + np.int16(number)
        one = _cut(line, margin, below - down, beside - right)
        other = _cut(line, margin, -below - down, -beside - right)
        brighter, darker = np.maximum(one, other), np.minimum(one, other)
        np.subtract(middle, brighter, out=brighter)
        np.subtract(darker, middle, out=darker)
        np.maximum(best[0], brighter, out=best[0])
        np.maximum(best[1], darker, out=best[1])
    return best


def _average_square(values: Array, side: int) -> Array:
    """Return the mean of an odd square around each pixel; wrong within `side` of the edge."""
    reach = side // 2
    for axis in (0, 1) if reach else ():
        total = values.copy()
        for away in range(1, reach + 1):
            total += np.roll(values, away, axis)
            total += np.roll(values, -away, axis)
        values = total // np.int16(side)
    return values


def _sum_along(sums: dict[Steps, Array], angle: float) -> Array:
    """Return the sums along lines of LINE pixels that begin at each; wrong within LINE of the edge.

    A line of 2 n pixels is two of n, one a step behind the other. Lines of several directions begin alike.

    Args:
        sums: those known already, by the steps from half to half, shortest first: () are the pixels. What is
            found is added, up to LINE / 2 pixels.
        angle: direction of the lines, in radians.
    """
    steps: Steps = ()
    for doubling in range(DOUBLINGS - 1):
        longer = (*steps, _find_step(2**doubling, angle))
        if longer not in sums:
            sums[longer] = _add_moved(sums[steps], *longer[-1])
        steps = longer
    return _add_moved(sums[steps], *_find_step(LINE // 2, angle))


def _find_step(length: float, angle: float) -> tuple[int, int]:
    """Return the rows down and the columns to the right of a step."""
    return round(length * np.sin(angle)), round(length * np.cos(angle))


def _add_moved(values: Array, down: int, right: int) -> Array:
    """Return each value plus the one that is `down` rows below it and `right` columns to its right.

    Rows follow one another, so that it is one step in memory; what it takes from another row is at the edge.
    """
    step = down * values.shape[1] + right
    total, flat = np.empty_like(values), values.ravel()
    first, second = (flat[:-step], flat[step:]) if step > 0 else (flat[-step:], flat[:step])
    np.add(first, second, out=total.ravel()[: len(flat) - step] if step > 0 else total.ravel()[-step:])
    return total


def _cut(values: Array, margin: int, down: int, right: int) -> Array:
    """Return what is inside of a margin, moved."""
    rows, columns = values.shape
    return values[margin + down : rows - margin + down, margin + right : columns - margin + right]
