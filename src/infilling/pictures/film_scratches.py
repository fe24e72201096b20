"""Scratches along a film: faint straight lines from one edge of a picture to the other.

Where such a line is no stronger than the grain, no pixel shows it, but the mean of many rows does. The rows
are averaged in blocks, so that a line that leans is a shift from block to block.
"""

import numpy as np
from PIL import Image

from infilling.pictures.mask import Mask, grow
from infilling.pictures.picture import Array, Doubles, Floats, Ints

BLOCKS = 12, 32  # fewest blocks of rows that a picture is cut into, and most rows of a block
LEAST_ROWS = 8  # rows of the smallest block
LEAN = 1 / 64  # greatest slope of a line, in columns a row
SIDE = 3  # columns on each side that a line is compared with
AROUND = 61  # columns whose texture a line is compared with
FAINTEST = 1.0  # greys by which a line must stand out of a block, before `sensitivity` divides it
OUTSTANDING = 1.5  # the same, as a multiple of the mean of the texture around it
ALIKE = 0.5  # greatest difference of a line's two sides in the mean, as a share of its height
MEAN = 0.5  # strength that a line must have in the mean of its blocks, where more than 2 counts as 2
SHARE = 0.7  # of the blocks in which a line must stand out …
WEAK = 0.4  # … by this share of what is enough
RARE = 5.0  # strength of a line in the mean of its blocks, as a multiple of what is usual around it
USUAL = 151  # columns around a line by which that is measured
HOLDS = 0.7  # share of its blocks in which a line must be above both its sides
VARIED = 0.75  # greatest deviation of its opacity over the blocks, as a share of its mean
COLOURED = 0.5  # greatest difference of the channels in the share of white that a line needs, of their mean
MOST_ALIKE = 4  # lines among these columns; more are a texture
MOST = 2000  # places that are looked at for a line, best first


def find_film_scratches(soft: Array, known: list[Mask], width: int, sensitivity: float) -> list[Mask]:
    """Mark lines that cross the whole picture, almost upright or almost level.

    Args:
        soft: (H, W, C) uint8 levels.
        known: (H, W) bool each, bright lines that are found already, and dark ones.
        width: greatest width of a line, in pixels.
        sensitivity: 2 finds lines half as strong.

    Returns:
        (H, W) bool each, bright lines and dark ones.
    """
    near = [grow(lines, width) for lines in known]
    upright = _find_upright(soft, near, width, sensitivity)
    image = Image.fromarray(soft[..., 0] if soft.shape[2] == 1 else soft)
    turned = np.asarray(image.transpose(Image.Transpose.TRANSPOSE))
    levels = turned.reshape(soft.shape[1], soft.shape[0], soft.shape[2])
    lying = _find_upright(levels, [each.T for each in near], width, sensitivity)
    return [one | other.T for one, other in zip(upright, lying, strict=True)]


def _find_upright(soft: Array, known: list[Mask], width: int, sensitivity: float) -> list[Mask]:
    height, across = soft.shape[:2]
    rows = min(BLOCKS[1], height // BLOCKS[0])
    if rows < LEAST_ROWS or across < AROUND:
        return [np.zeros((height, across), dtype=bool) for _ in known]
    blocks = soft[: height // rows * rows].reshape(-1, rows, across, soft.shape[2])
    total = blocks.sum(axis=1, dtype=np.uint16).astype(np.float32)
    bright = (total - blocks.max(axis=1)) / (rows - 1)  # a speck is one row
    dark = 255 - (total - blocks.min(axis=1)) / (rows - 1)
    return [
        _find_lines(*each, rows, height, width, sensitivity)
        for each in zip((bright, dark), known, strict=True)
    ]


def _find_lines(colours: Floats, known: Mask, rows: int, height: int, width: int, sensitivity: float) -> Mask:
    """Return (H, W) bool, bright lines that are almost upright.

    Args:
        colours: (blocks, W, C) means of rows, 0 to 255.
        known: (H, W) bool, what is near lines that are found already.
        rows: of each block.
        height: of the picture, in pixels.
        width: greatest width of a line, in pixels.
        sensitivity: 2 finds lines half as strong.
    """
    across = colours.shape[1]
    found = np.zeros((height, across), dtype=bool)
    means = colours.mean(axis=2)
    widths = range(1, width + 1, 2)
    strength = np.max([_measure_strength(means, each) for each in widths], axis=0) * np.float32(sensitivity)
    centres = (np.arange(len(means), dtype=np.float32) + np.float32(0.5)) * rows
    taken = (
        known[: len(means) * rows].reshape(len(means), rows, across).sum(axis=1, dtype=np.uint8) > rows / 2
    )
    for columns in _list_lines(strength, centres / np.float32(height), int(height * LEAN)):
        inside = (columns >= 0) & (columns < across)
        at, places = np.flatnonzero(inside), columns[inside]
        if taken[at, places].mean() > 0.8:
            continue
        _mark(taken, columns, -width // 2 - 2, width // 2 + 3)
        first, stop = _measure_line(means[at], places, width)
        if _is_plain(colours[at], places, first, stop):
            _mark(found, np.interp(np.arange(height), centres, columns), first, stop)
    return found


def _is_plain(colours: Floats, columns: Ints, first: int, stop: int) -> bool:
    """Say whether a line is grey, has like sides, and is above them by about the same opacity all along.

    Args:
        colours: (blocks, W, C) means of rows.
        columns: (blocks,) middle of the line.
        first: where the line begins across it, from its middle on.
        stop: where it ends.
    """
    blocks, last = np.arange(len(columns))[:, None], colours.shape[1] - 1
    line, left, right = (  # (blocks, C) each
        colours[blocks, np.clip(columns[:, None] + np.arange(*ends), 0, last)].mean(axis=1)
        for ends in ((first, stop), (first - 1 - SIDE, first - 1), (stop + 1, stop + 1 + SIDE))
    )
    ground = (left + right) / 2
    rise = (line - ground).mean(axis=0)
    shares = np.maximum(rise, 0) / (263 - ground.mean(axis=0))
    is_grey = np.ptp(shares) <= COLOURED * shares.mean()
    is_alike = abs((left - right).mean()) <= ALIKE * rise.mean()
    holds = line.mean(axis=1) > np.maximum(left.mean(axis=1), right.mean(axis=1))
    opacity = ((line - ground) / (263 - ground)).mean(axis=1)
    is_even = holds.mean() >= HOLDS and opacity.std() <= VARIED * opacity.mean()
    return bool(is_grey and is_alike and is_even)


def _measure_strength(means: Floats, width: int) -> Floats:
    """Return (blocks, W) by how much a line of this width would stand out; 1 is just enough."""
    centre = _slide_mean(means, width)
    side = _slide_mean(means, SIDE)
    reach = width // 2 + 1 + SIDE // 2 + 1
    left, right = _shift(side, reach), _shift(side, -reach)
    height = centre - (left + right) / 2 - np.abs(left - right) / 4
    texture = _slide_mean(np.abs(height), AROUND)
    return np.asarray(height / np.maximum(FAINTEST, OUTSTANDING * texture), dtype=np.float32)


def _list_lines(strength: Floats, centres: Floats, reach: int) -> list[Ints]:
    """List the columns of each line that stands out in the mean, (blocks,) each, the strongest first.

    Args:
        strength: (blocks, W).
        centres: (blocks,) middle row of each, as a share of the picture's height.
        reach: greatest lean from the top to the bottom, in columns.
    """
    blocks, columns = strength.shape
    held = np.clip(strength, -1, 2)
    near = np.maximum(held, np.maximum(_shift(held, 1), _shift(held, -1)))
    upright = held.mean(axis=0, keepdims=True)
    usual = RARE * _slide_mean(np.abs(upright), USUAL)[0]
    is_peak = (upright >= MEAN) & (upright >= _shift(upright, 1)) & (upright > _shift(upright, -1))
    usual[_slide_mean(is_peak.astype(np.float32), USUAL)[0] * USUAL > MOST_ALIKE] = np.inf
    ends = max(1, blocks // 8)
    lines: list[tuple[float, Ints]] = []
    padded = np.pad(near, ((0, 0), (reach, reach)), mode="edge")
    for lean in range(-reach, reach + 1, 2):  # `near` takes in the columns beside
        shift = np.rint(centres * lean).astype(np.intp)
        total = sum(
            row[reach + step : reach + step + columns] for row, step in zip(padded, shift, strict=True)
        )
        fits = np.flatnonzero(total >= MEAN * blocks)
        across = np.clip(fits + shift[:, None], 0, columns - 1)
        seen = np.take_along_axis(near, across, axis=1)
        reaches = np.minimum(seen[:ends].max(axis=0), seen[-ends:].max(axis=0)) >= 1
        chosen = reaches & ((seen > WEAK).mean(axis=0) >= SHARE)
        fits = fits[chosen]
        score = np.take_along_axis(held, across[:, chosen], axis=1).mean(axis=0)
        is_rare = score > usual[fits]
        lines += [
            (float(each), column + shift) for each, column in zip(score[is_rare], fits[is_rare], strict=True)
        ]
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


def _slide_mean(values: Floats, width: int) -> Floats:
    """Return the mean of `width` (odd) columns around each; beyond the edge the edge counts again."""
    padded = np.pad(values, ((0, 0), (width // 2 + 1, width // 2)), mode="edge")
    sums = np.cumsum(padded, axis=1, dtype=np.float64)
    return ((sums[:, width:] - sums[:, :-width]) / width).astype(np.float32)


def _shift(values: Floats, columns: int) -> Floats:
    """Move columns to the right; those that come in are copies of the edge."""
    places = np.clip(np.arange(values.shape[1]) - columns, 0, values.shape[1] - 1)
    return values[:, places]
