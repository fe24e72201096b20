"""Seams: move the colours of a fill so that it meets its surroundings without a step.

A network's colours drift, and a crop that was reduced knows the seam only to a pixel of its own. How far the
two sides of the seam are apart is measured along it, and a membrane stretched over these steps, smooth from
rim to rim, is added to the fill (as the membrane of Pérez et al., Poisson Image Editing, SIGGRAPH 2003).
"""

import math

import numpy as np

from infilling.filling.classical import double, fill_push_pull
from infilling.pictures.blend import sum_window
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
    steps = _measure_steps(image, filled, hole)
    if not len(steps[0]):
        return filled
    matched = filled.copy()
    matched[bounding_box(hole).slices] += find_membrane(hole, steps)
    return matched


def find_membrane(hole: Bools, steps: Steps) -> Floats:
    """Stretch a membrane over a hole, by what was measured along its seam.

    Windows are as wide as it takes to tell drift from texture, so that neighbouring pixels' are nearly the
    same: steps are averaged, and the membrane is stretched, in cells of a third of a window's reach.

    Args:
        hole: (h, w) bool.
        steps: rows and columns (n,) of pixels at the seam, and there known less filled, (n, 3).

    Returns:
        (height, width, 3) of the hole's bounding box, what to add to each pixel of the hole; 0 elsewhere.
    """
    y, x, step = steps
    box = bounding_box(hole)
    gap = hole[box.slices]
    if not len(y):
        return np.zeros((*gap.shape, 3), np.float32)
    # The first row and column, and those after the last, of hole and seam.
    (top, bottom), (left, right) = (
        (min(first, int(places.min())), max(first + side, int(places.max()) + 1))
        for first, side, places in ((box.y, box.height, y), (box.x, box.width, x))
    )
    reach = max(LEAST, round(math.sqrt(np.count_nonzero(gap)) / SHARE))
    sizes = [(bottom - top, right - left)]
    for _ in range(int(math.log2(reach / 3))):
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    cell = 1 << len(sizes) - 1
    known, mean = _average_steps((y - top) // cell, (x - left) // cell, step, sizes[-1], round(reach / cell))
    planes = np.ascontiguousarray((mean * known[..., None]).transpose(2, 0, 1)[None])
    membrane = fill_push_pull(planes, (~known[None, None]).astype(np.float32))
    for size in reversed(sizes[:-1]):
        membrane = double(membrane, *size)
    inside = Box(box.x - left, box.y - top, box.width, box.height).slices
    return np.asarray(membrane[0].transpose(1, 2, 0)[inside] * gap[..., None], np.float32)


def _average_steps(
    y: Ints, x: Ints, step: Floats, shape: tuple[int, int], reach: int
) -> tuple[Bools, Floats]:
    """Average the steps d in windows of cells, weighted by 1 / (1 + |d − m|² / 3 OUTLIER²)², m their mean.

    The weight is that of Geman & McClure.

    Args:
        y: (n,) row of each step's cell.
        x: (n,) column of it.
        step: (n, 3).
        shape: number of rows and columns of cells.
        reach: of a window, in cells.

    Returns:
        (h, w) which cells have steps; (h, w, 3) the mean of the window round each, as far as it stands out
        of its standard error.
    """
    number = y * shape[1] + x
    square = np.square(step).sum(axis=1)
    mean = np.zeros((shape[0] * shape[1], 3))
    for _ in range(ROUNDS):
        away = np.square(step - mean[number]).sum(axis=1)
        weight = 1 / np.square(1 + away / (3 * OUTLIER**2))
        planes = [*(weight * step.T), weight, weight * square, np.ones_like(weight)]
        cells: Floats = np.empty((len(mean), 6), np.float32)
        for column, plane in enumerate(planes):
            cells[:, column] = np.bincount(number, plane, len(mean))
        sums = sum_window(cells.reshape(*shape, 6), reach).reshape(-1, 6)
        total = np.maximum(sums[:, 3:4], 1e-6)
        mean = sums[:, :3] / total
    size = np.square(mean).sum(axis=1, keepdims=True)
    error = np.maximum(sums[:, 4:5] / total - size, 0) / np.maximum(sums[:, 5:], 1)
    mean *= np.maximum(0, 1 - DOUBT * error / np.maximum(size, 1e-12))
    return (cells[:, 5] > 0).reshape(shape), mean.astype(np.float32).reshape(*shape, 3)


def _measure_steps(image: Floats, filled: Floats, hole: Bools) -> Steps:
    """Measure the steps over the seam, in the pairs of a hole pixel and a known one beside, above or below.

    A step is known less filled, less what the slopes on both sides (known beyond known, filled before filled)
    predict: a slope that continues over the seam is none.

    Returns:
        Rows and columns (n,) of the hole pixels, and their steps, (n, 3).
    """
    near = widen(bounding_box(hole), 2, Box(0, 0, hole.shape[1], hole.shape[0]))  # what is looked at
    image, filled, hole = image[near.slices], filled[near.slices], hole[near.slices]
    height, width = hole.shape
    # One px more on all sides, like the pixel at the edge: a step there is none, and slopes are level.
    wide = np.pad(hole, 1, mode="edge")
    found = []
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        y, x = np.nonzero(hole & ~wide[1 + down : 1 + down + height, 1 + right : 1 + right + width])
        # One step inwards, one and two outwards.
        inwards, outwards, farther = (
            (np.clip(y + steps * down, 0, height - 1), np.clip(x + steps * right, 0, width - 1))
            for steps in (-1, 1, 2)
        )
        here, outside = filled[y, x], image[outwards]
        inner = np.where(hole[inwards][:, None], filled[inwards], here)
        outer = np.where(hole[farther][:, None], outside, image[farther])
        found.append((y, x, outside - here - ((outer - outside) + (here - inner)) / 2))
    y, x, steps = (np.concatenate(values) for values in zip(*found, strict=True))
    return y + near.y, x + near.x, steps
