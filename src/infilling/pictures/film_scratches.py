"""Scratches along a film: faint straight lines from one edge of a picture to the other.

Where such a line is no stronger than the grain, no pixel shows it, but the mean of many rows does. The rows
are averaged in blocks, so that a line that leans is a shift from block to block.
"""

import numpy as np

from infilling.pictures.mask import Mask
from infilling.pictures.picture import Doubles, Floats, Ints

BLOCK = 32  # rows that are averaged
FEWEST = 12  # blocks that a picture must have
LEAN = 1 / 64  # greatest slope of a line, in columns a row
SIDE = 3  # columns on each side that a line is compared with
AROUND = 61  # columns whose texture a line is compared with
FAINTEST = 1.0  # greys by which a line must stand out of a block, before `sensitivity` divides it
OUTSTANDING = 1.5  # the same, as a multiple of the mean of the texture around it
ALIKE = 0.5  # greatest difference of a line's two sides, as a share of its height
MEAN = 0.9  # strength that a line must have in the mean of its blocks
SHARE = 0.7  # of the blocks in which a line must be brighter than both of its sides
MOST = 2000  # places that are looked at for a line, best first


def find_film_scratches(luma: Floats, width: int, sensitivity: float) -> Mask:
    """Mark bright lines that cross the whole picture, almost upright or almost level.

    Args:
        luma: (H, W) greys, 0 to 255.
        width: greatest width of a line, in pixels.
        sensitivity: 2 finds lines half as strong.

    Returns:
        (H, W) bool.
    """
    upright = _find_upright(luma, width, sensitivity)
    level = _find_upright(np.ascontiguousarray(luma.T), width, sensitivity)
    return upright | level.T


def _find_upright(luma: Floats, width: int, sensitivity: float) -> Mask:
    found = np.zeros(luma.shape, dtype=bool)
    blocks = luma.shape[0] // BLOCK
    if blocks < FEWEST or luma.shape[1] < AROUND:
        return found
    means = luma[: blocks * BLOCK].reshape(blocks, BLOCK, -1).mean(axis=1)
    widths = range(1, width + 1, 2)
    strength = np.max([_measure_strength(means, each) for each in widths], axis=0) * np.float32(sensitivity)
    taken = np.zeros(means.shape, dtype=bool)
    for columns in _list_lines(strength, int(luma.shape[0] * LEAN)):
        inside = (columns >= 0) & (columns < luma.shape[1])
        rows, places = np.flatnonzero(inside), columns[inside]
        if taken[rows, places].mean() > 0.5:
            continue
        first, stop = _measure_line(means[rows], places, width)
        _mark(taken, columns, -width // 2 - 2, width // 2 + 3)
        _mark(found, np.interp(np.arange(luma.shape[0]), _find_centres(blocks), columns), first, stop)
    return found


def _measure_strength(means: Floats, width: int) -> Floats:
    """Return (blocks, W) by how much a line of this width would stand out; 1 is just enough."""
    centre = _slide_mean(means, width)
    side = _slide_mean(means, SIDE)
    reach = width // 2 + 1 + SIDE // 2 + 1
    left, right = _shift(side, reach), _shift(side, -reach)
    height = centre - np.maximum(left, right)
    texture = _slide_mean(np.abs(height), AROUND)
    strength = height / np.maximum(FAINTEST, OUTSTANDING * texture)
    strength[np.abs(left - right) > ALIKE * np.abs(height)] = 0
    return np.asarray(strength, dtype=np.float32)


def _list_lines(strength: Floats, reach: int) -> list[Ints]:
    """List the columns of each line that stands out in the mean, (blocks,) each, the strongest first."""
    blocks, columns = strength.shape
    held = np.clip(strength, -1, 2)
    near = np.maximum(held, np.maximum(_shift(held, 1), _shift(held, -1)))
    ends = max(1, blocks // 16)
    lines: list[tuple[float, Ints]] = []
    for lean in range(-reach, reach + 1):
        shift = np.rint(_find_centres(blocks) / BLOCK / blocks * lean).astype(np.intp)
        across = np.clip(np.arange(columns) + shift[:, None], 0, columns - 1)
        seen = np.take_along_axis(near, across, axis=1)
        fits = seen.mean(axis=0) >= MEAN
        fits &= (seen > 0).mean(axis=0) >= SHARE
        fits &= (seen[:ends].max(axis=0) >= 1) & (seen[-ends:].max(axis=0) >= 1)
        score = np.take_along_axis(held, across, axis=1).mean(axis=0)
        lines += [(float(score[column]), column + shift) for column in np.flatnonzero(fits)]
    lines.sort(key=lambda line: -line[0])
    return [places for _, places in lines[:MOST]]


def _measure_line(means: Floats, columns: Ints, width: int) -> tuple[int, int]:
    """Return where a line begins and ends across it, from its middle on, at half of its height."""
    reach = np.arange(-width, width + 1)
    places = np.clip(columns[:, None] + reach, 0, means.shape[1] - 1)
    profile = np.median(means[np.arange(len(columns))[:, None], places], axis=0)
    floor = np.median(profile)
    near = slice(width - 1, width + 2)
    top = width - 1 + int(np.argmax(profile[near]))
    above = profile - floor > (profile[top] - floor) / 2
    before = np.argmin(above[top::-1]) or top + 1
    after = np.argmin(above[top:]) or len(above) - top
    return int(reach[top] - before + 1), int(reach[top] + after)


def _mark(marked: Mask, columns: Ints | Doubles, first: int, stop: int) -> None:
    """Mark the columns from `first` to `stop` beside a line's in each row."""
    rows = np.arange(marked.shape[0])
    for step in range(first, stop):
        places = np.rint(columns).astype(np.intp) + step
        inside = (places >= 0) & (places < marked.shape[1])
        marked[rows[inside], places[inside]] = True


def _find_centres(blocks: int) -> Floats:
    """Return the row in the middle of each block."""
    return (np.arange(blocks, dtype=np.float32) + np.float32(0.5)) * BLOCK


def _slide_mean(values: Floats, width: int) -> Floats:
    """Return the mean of `width` (odd) columns around each; beyond the edge the edge counts again."""
    padded = np.pad(values, ((0, 0), (width // 2 + 1, width // 2)), mode="edge")
    sums = np.cumsum(padded, axis=1, dtype=np.float64)
    return ((sums[:, width:] - sums[:, :-width]) / width).astype(np.float32)


def _shift(values: Floats, columns: int) -> Floats:
    """Move columns to the right; those that come in are copies of the edge."""
    places = np.clip(np.arange(values.shape[1]) - columns, 0, values.shape[1] - 1)
    return values[:, places]
