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
from infilling.pictures.blend import sum_window

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]

SHARE = 32  # steps are averaged over windows that reach so manieth part of the hole's size …
LEAST = 12  # … and at least so many px
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
    steps = list(_measure_steps(image, filled, hole))
    rim = np.zeros(hole.shape, bool)
    for y, x, _ in steps:
        rim[y, x] = True
    if not rim.any():
        return filled
    reach = max(LEAST, round(float(np.sqrt(hole.sum())) / SHARE))
    mean: Floats = np.zeros_like(filled)
    for _ in range(ROUNDS):
        sums = _sum_steps(steps, mean, reach)
        weight, pairs = np.maximum(sums[..., 3:4], np.float32(1e-6)), np.maximum(sums[..., 5:], 1)
        mean = np.asarray(sums[..., :3] / weight, dtype=np.float32)
    size = np.square(mean).sum(axis=2, keepdims=True)
    error = np.maximum(sums[..., 4:5] / weight - size, 0) / pairs
    step = mean * np.maximum(0, 1 - DOUBT * error / np.maximum(size, 1e-12))
    known = rim[..., None].astype(np.float32)
    planes = np.ascontiguousarray((step * known).transpose(2, 0, 1)[None], dtype=np.float32)
    membrane = fill_push_pull(planes, 1 - known.transpose(2, 0, 1)[None])[0].transpose(1, 2, 0)
    return np.where(hole[..., None], filled + membrane, filled)


def _measure_steps(image: Floats, filled: Floats, hole: Bools) -> Iterator[tuple[Ints, Ints, Floats]]:
    """Measure the steps over the seam, in the pairs of a hole pixel and a known one beside, above or below.

    A step is known less filled, less what the slopes on both sides (known beyond known, filled before filled)
    foretell: a slope that goes on over the seam is none.

    Yields:
        For each direction the hole pixels' rows and columns (n,) and their steps (n, 3).
    """
    height, width = hole.shape
    sides = ((2, 2), (2, 2))
    image, filled = (np.pad(values, (*sides, (0, 0)), mode="edge") for values in (image, filled))
    known, unknown = np.pad(~hole, sides), np.pad(hole, sides)
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):

        def at(values: NDArray[Any], places: int, down: int = down, right: int = right) -> NDArray[Any]:
            """Values so many places outwards of each pixel."""
            top, left = 2 + places * down, 2 + places * right
            return values[top : top + height, left : left + width]

        y, x = np.nonzero(hole & at(known, 1))
        here, outside = at(filled, 0)[y, x], at(image, 1)[y, x]
        inner = np.where(at(unknown, -1)[y, x, None], at(filled, -1)[y, x], here)
        outer = np.where(at(known, 2)[y, x, None], at(image, 2)[y, x], outside)
        yield y, x, outside - here - ((outer - outside) + (here - inner)) / 2


def _sum_steps(steps: list[tuple[Ints, Ints, Floats]], mean: Floats, reach: int) -> Floats:
    """Sum the steps d in windows, weighted by 1 / (1 + |d − m|² / 3 OUTLIER²)² (Geman & McClure).

    Returns:
        (h, w, 6): the weighted sums in three channels, the weights, the weighted squares summed over the
        channels, and the number of steps.
    """
    sums = np.zeros((*mean.shape[:2], 6), np.float32)
    for y, x, step in steps:
        away = np.square(step - mean[y, x]).sum(axis=1, keepdims=True)
        weight = 1 / np.square(1 + away / (3 * OUTLIER**2))
        square = np.square(step).sum(axis=1, keepdims=True)
        sums[y, x] += np.concatenate([weight * step, weight, weight * square, np.ones_like(weight)], axis=1)
    return sum_window(sums, reach)
