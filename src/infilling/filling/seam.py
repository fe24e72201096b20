"""Seams: move the colours of a fill so that it meets its surroundings without a step.

A network's colours drift, and a crop that was reduced knows the seam only to a pixel of its own. How far the
two sides of the seam are apart is measured along it, and a membrane stretched over these steps, smooth from
rim to rim, is added to the fill (as the membrane of Pérez et al., Poisson Image Editing, SIGGRAPH 2003).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infilling.filling.classical import fill_push_pull
from infilling.pictures.mask import Box, bounding_box, widen
from infilling.pictures.picture import Bools, Floats, Ints

Steps = tuple[Ints, Ints, Floats]

SHARE = 32  # reach of the windows over which steps are averaged, as the hole's size over this
LEAST = 12  # px that they reach at the least
OUTLIER = 0.08  # of a channel's range: steps that stray further from the mean end structures, and count less
ROUNDS = 2  # of weighing the steps by how far they are from their mean
DOUBT = 2.0  # times its squared standard error is taken off a squared mean


def match_seam(image: Floats, filled: Floats, hole: Bools) -> Floats:
    """Match the colours of a fill to those around its hole.

    A single step between two neighbours is texture as much as drift, so the mean m of a window counts, and
    only as far as it stands out of its own standard error s: m · max(0, 1 − 2 s² / m²). A fill that fits
    stays.

    Args:
        image: (h, w, 3) in [0, 1]; what its hole holds does not matter.
        filled: (h, w, 3), the fill; what it holds outside the hole does not matter.
        hole: (h, w) bool.

    Returns:
        (h, w, 3), changed in the hole only; it may leave [0, 1].

    >>> hole = np.zeros((9, 9), bool)
    >>> hole[3:6, 3:6] = True
    >>> image = np.full((9, 9, 3), 0.5, np.float32)
    >>> round(float(match_seam(image, image + np.float32(0.2), hole)[4, 4, 0]), 3)
    0.5
    """
    return add_membrane(filled, hole, list(_measure_steps(image, filled, hole)))


def add_membrane(filled: Floats, hole: Bools, steps: list[Steps]) -> Floats:
    """Add what was measured along a seam to a fill, by a membrane over the hole.

    Args:
        filled: (h, w, 3).
        hole: (h, w) bool.
        steps: rows and columns (n,) of pixels at the seam, and there known less filled, (n, 3).

    Returns:
        (h, w, 3), changed in the hole only.
    """
    rim = np.zeros(hole.shape, bool)
    for y, x, _ in steps:
        rim[y, x] = True
    if not rim.any():
        return filled
    near = bounding_box(hole | rim)  # nothing further out is looked at, and a crop may be many times as large
    reach = max(LEAST, round(float(np.sqrt(hole.sum())) / SHARE))
    membrane = _stretch(rim[near.slices], [_shift(step, near) for step in steps], reach)
    matched = filled.copy()
    part = matched[near.slices]
    np.add(part, membrane, out=part, where=hole[near.slices][..., None])
    return matched


def _shift(steps: Steps, near: Box) -> Steps:
    """Count the rows and columns of steps from the corner of a box."""
    y, x, step = steps
    return y - near.y, x - near.x, step


def _stretch(rim: Bools, steps: list[Steps], reach: int) -> Floats:
    """Stretch a membrane, (h, w, 3), over the mean steps at the rim, (h, w), in windows of this reach."""
    y, x = places = np.nonzero(rim)  # (n,) each
    number = np.zeros(rim.shape, np.intp)
    number[places] = np.arange(len(y))
    mean: Floats = np.zeros((len(y), 3), np.float32)
    for _ in range(ROUNDS):
        sums = _sum_steps(steps, [mean[number[step[:2]]] for step in steps], places, rim.shape, reach)
        weight, pairs = np.maximum(sums[:, 3:4], 1e-6), np.maximum(sums[:, 5:], 1)
        mean[:] = sums[:, :3] / weight
    size = np.square(mean).sum(axis=1, keepdims=True)
    error = np.maximum(sums[:, 4:5] / weight - size, 0) / pairs
    known: Floats = np.zeros((1, 3, *rim.shape), np.float32)
    known[0, :, y, x] = mean * np.maximum(0, 1 - DOUBT * error / np.maximum(size, 1e-12))
    membrane: Floats = fill_push_pull(known, (~rim[None, None]).astype(np.float32))[0]
    return np.asarray(membrane.transpose(1, 2, 0))


def _measure_steps(image: Floats, filled: Floats, hole: Bools) -> Iterator[Steps]:
    """Measure the steps over the seam, in the pairs of a hole pixel and a known one beside, above or below.

    A step is known less filled, less what the slopes on both sides (known beyond known, filled before filled)
    predict: a slope that continues over the seam is none.

    Yields:
        For each direction the hole pixels' rows and columns (n,) and their steps (n, 3).
    """
    near = widen(bounding_box(hole), 2, Box(0, 0, hole.shape[1], hole.shape[0]))  # what is looked at
    image, filled, hole = image[near.slices], filled[near.slices], hole[near.slices]
    height, width = hole.shape
    sides = ((2, 2), (2, 2))
    image, filled = (np.pad(values, (*sides, (0, 0)), mode="edge") for values in (image, filled))
    known, unknown = np.pad(~hole, sides), np.pad(hole, sides)
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):

        def at(values: NDArray[Any], places: int, down: int = down, right: int = right) -> NDArray[Any]:
            """Return the values that many places outwards of each pixel."""
            top, left = 2 + places * down, 2 + places * right
            return values[top : top + height, left : left + width]

        y, x = np.nonzero(hole & at(known, 1))
        here, outside = at(filled, 0)[y, x], at(image, 1)[y, x]
        inner = np.where(at(unknown, -1)[y, x, None], at(filled, -1)[y, x], here)
        outer = np.where(at(known, 2)[y, x, None], at(image, 2)[y, x], outside)
        yield y + near.y, x + near.x, outside - here - ((outer - outside) + (here - inner)) / 2


def _sum_steps(
    steps: list[Steps], means: list[Floats], places: tuple[Ints, ...], shape: tuple[int, int], reach: int
) -> NDArray[np.float64]:
    """Sum the steps d in windows round places, weighted by 1 / (1 + |d − m|² / 3 OUTLIER²)².

    The weight is that of Geman & McClure.

    Args:
        steps: what is summed.
        means: m for each step, (n, 3).
        places: rows and columns of the windows' centres.
        shape: height and width of what they are in.
        reach: the windows are 2 reach + 1 wide.

    Returns:
        (places, 6): the weighted sums in three channels, the weights, the weighted squares summed over the
        channels, and the number of steps.
    """
    height, width = shape
    values = []
    for (_, _, step), mean in zip(steps, means, strict=True):
        away = np.square(step - mean).sum(axis=1)
        weight = 1 / np.square(1 + away / (3 * OUTLIER**2))
        square = np.square(step).sum(axis=1)
        values.append([*(weight * step.T), weight, weight * square, np.ones_like(weight)])
    y, x = places
    top, bottom = np.maximum(y - reach, 0), np.minimum(y + reach + 1, height)
    left, right = np.maximum(x - reach, 0), np.minimum(x + reach + 1, width)
    windows = np.empty((len(y), 6))
    sums = np.empty((height + 1, width + 1))  # over all that is above and to the left of a corner
    for number in range(6):
        sums[:] = 0
        for (down, across, _), each in zip(steps, values, strict=True):
            sums[down + 1, across + 1] += each[number]
        for axis in (1, 0):
            np.cumsum(sums, axis=axis, out=sums)
        windows[:, number] = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return windows
