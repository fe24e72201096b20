"""Find creases: wide, nearly straight bands from edge to edge, lighter or darker than both their sides.

A crease is faint in places, but it differs from both its sides in the same way all along. So, on a reduced
copy, the difference is averaged along every line from one edge to another; then the crease is followed, and
its width measured, on a larger copy.

Source of the sums along lines: Götz and Druckmüller, a fast digital Radon transform (1996).
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from infilling.errors import InputError
from infilling.pictures.mask import Mask
from infilling.pictures.morphology import to_grey
from infilling.pictures.picture import Array, Floats, Ints, Picture, Samples

SIDE = 256  # px; long side of the copy in which lines are looked for, a power of two
FINE_SIDE = 1024  # px; long side of the copy in which a crease is followed
WIDTHS = (2, 3, 4, 6, 9, 13)  # px on the copy; widths that are tried
STRONG = 14.0  # 8-bit greys; a greater difference counts hardly more …
FINER = 0.1  # … but by this share, up to five times as many, to choose between lines that all are strong
LEAST = 0.75  # average difference along a crease, as a share of that
LENGTH = 0.6  # shortest crease, as a share of the picture's shorter side
MOST = 6  # creases of a picture
MOST_STEP = 0.3  # greatest difference of a crease's two sides, as a share of its height
MOST_COLOUR = 0.9  # greatest difference of the channels in the share of white that it needs, of their mean
MOST_VARIED = 0.35  # deviation of its opacity along it, as a share of its mean
HOLDS = 0.9  # share of its length on which it is lighter (darker) than both sides
PARTS = 24  # stretches of a crease that are compared
BESIDE = 2  # px between a crease and what is compared with it
MOST_ALIKE = 2  # creases along one side of the picture; more are boards or steps
WANDER = 1  # px on the copy that a crease may be off a straight line, to each side


@dataclass(frozen=True)
class _Line:
    """A straight line across the copy, or its transpose.

    Attributes:
        score: average difference along it, as a share of STRONG.
        start, end: row at the first and behind the last of SIDE columns.
        width: rows that differ from both sides.
        sign: 1 lighter, -1 darker.
        upright: rows and columns are exchanged.
    """

    score: float
    start: float
    end: float
    width: int
    sign: int
    upright: bool


def find_fold(picture: Picture, *, sensitivity: float = 1.0) -> Mask:
    """Find creases that cross the picture.

    Args:
        picture: of any size and depth.
        sensitivity: 2 finds what is half as strong.

    Returns:
        (H, W) bool, True = crease.

    Raises:
        InputError: a number that makes no sense.
    """
    if not sensitivity > 0:
        raise InputError(f"sensitivity {sensitivity} of creases must be above 0")
    grey = to_grey(picture.pixels)
    fine, colours = _reduce(grey, FINE_SIDE), _reduce_colours(picture.pixels, FINE_SIDE)
    small = _reduce(grey, SIDE)
    scale = fine.shape[1] / small.shape[1]
    creases: dict[bool, list[Mask]] = {False: [], True: []}  # by whether they are upright
    for line in _list_lines(small, LEAST / sensitivity):
        followed = _follow(fine, line, scale)
        if _is_crease(colours, followed, line, max(2, round(line.width * scale))):
            creases[line.upright].append(followed)
    found = np.zeros(fine.shape, dtype=bool)
    for alike in creases.values():
        if len(alike) <= MOST_ALIKE:
            found = np.logical_or.reduce([found, *alike])
    if not found.any():
        return np.zeros(grey.shape, dtype=bool)
    image = Image.fromarray(found).convert("L").resize(grey.shape[::-1], Image.Resampling.BILINEAR)
    return np.asarray(image) >= 128


def _reduce(grey: Array, side: int) -> Floats:
    """Return (h, w) float32, averaged so that the long side is at most `side`."""
    scale = min(1.0, side / max(grey.shape))
    size = max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale))
    return np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BOX), np.float32)


def _reduce_colours(pixels: Samples, side: int) -> Floats:
    """Return (h, w, C) 8-bit levels, averaged so that the long side is at most `side`."""
    bits = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    return np.stack([_reduce(np.ascontiguousarray(plane), side) for plane in np.moveaxis(bits, 2, 0)], axis=2)


# -- lines ---------------------------------------------------------------------------------------------------


def _list_lines(small: Floats, least: float) -> Iterator[_Line]:
    """Yield the lines of a copy (h, w) that score `least` or more, the strongest first, at most MOST."""
    free = np.ones(small.shape, dtype=bool)
    for _ in range(MOST):
        line = _find_line(small, free)
        if line is None or line.score < least:
            return
        yield line
        near = _draw_line(small.shape, line)
        free &= ~near
        small = _erase(small, near, line.upright)


def _find_line(small: Floats, free: Mask) -> _Line | None:
    """Return the line along which the picture differs most from both sides; None if it is too small for one.

    Args:
        small: (h, w) the copy.
        free: (h, w) bool, what is on no line that was found before.
    """
    found = []
    for upright in (False, True):
        rows, open_ = (small.T, free.T) if upright else (small, free)
        found += [
            _find_falling(rows, open_, upright),
            _flip(_find_falling(rows[::-1], open_[::-1], upright), rows),
        ]
    best = max(found, key=lambda line: line.score)
    return best if best.score > 0 else None


def _find_falling(rows: Floats, free: Mask, upright: bool) -> _Line:
    """Return the best of the lines that do not rise from left to right."""
    counts = _sum_lines(free.astype(np.float32))
    weights = np.where(counts >= LENGTH * min(rows.shape), 1 / np.maximum(counts, 1), 0)
    best = _Line(0, 0, 0, 1, 1, upright)
    for width in WIDTHS:
        for sign in (1, -1):
            scores = _sum_lines(_measure_ridge(sign * rows, width) * free) * weights
            row, fall = np.unravel_index(np.argmax(scores), scores.shape)
            score = float(scores[row, fall])
            if score > best.score:
                best = _Line(score, float(row) - SIDE, float(row) - SIDE + float(fall), width, sign, upright)
    return best


def _flip(line: _Line, rows: Floats) -> _Line:
    """Return a line of the copy turned upside down, in the copy."""
    last = len(rows) - 1
    return dataclasses.replace(line, start=last - line.start, end=last - line.end)


def _measure_ridge(rows: Floats, width: int) -> Floats:
    """Return (h, w) how much lighter a band of rows is than both its sides, -1.1 to 1.1; next to it, too."""
    gap = 1 + width // 4
    height = len(rows)
    sums = np.insert(np.cumsum(rows, axis=0, dtype=np.float64), 0, 0, axis=0)

    def average(first: Ints) -> Array:
        low, high = np.clip(first, 0, height - 1), np.clip(first + width, 1, height)
        low = np.minimum(low, high - 1)
        return (sums[high] - sums[low]) / (high - low)[:, None]

    top = np.arange(height) - width // 2
    band, above, below = (average(each) for each in (top, top - gap - width, top + width + gap))
    excess = np.minimum(band - above, band - below) / STRONG
    ridge = (np.clip(excess, -1, 1) + FINER * np.clip(excess / 5, -1, 1)).astype(np.float32)
    padded = np.pad(ridge, ((WANDER, WANDER), (0, 0)), constant_values=-1)
    near = [padded[shift : shift + height] for shift in range(2 * WANDER + 1)]
    return np.asarray(np.max(near, axis=0))


def _sum_lines(values: Floats) -> Floats:
    """Sum the pixels along lines from left to right that fall by 0 to 45 degrees.

    Lines over two columns are sums of two lines over one, and so on: one over 2 n columns that falls by s
    rows is one over the left n that falls by s // 2, and one over the right n that begins s - s // 2 lower.

    Args:
        values: (h, w) with at most SIDE columns; columns behind the last are 0.

    Returns:
        (h + 2 SIDE, SIDE): at [y, s] the sum along the line that begins at row y - SIDE and falls by s rows.
    """
    height, width = values.shape
    padded = np.zeros((height + 2 * SIDE, SIDE, 1), np.float32)  # (row, block of columns, fall)
    padded[SIDE : SIDE + height, :width, 0] = values
    sums = padded
    while sums.shape[1] > 1:
        left, right = sums[:, 0::2], sums[:, 1::2]
        falls = np.arange(2 * sums.shape[2])
        joined = left[:, :, falls // 2].copy()
        for fall in falls:
            lower = (fall + 1) // 2
            joined[: len(joined) - lower, :, fall] += right[lower:, :, fall // 2]
        sums = joined
    return sums[:, 0]


def _place_rows(line: _Line, columns: int, scale: float) -> Array:
    """Return (columns,) the row of a line at each column of a copy that is larger by a scale."""
    x = (np.arange(columns) + 0.5) / scale
    return (line.start + 0.5 + (line.end - line.start) * x / SIDE) * scale - 0.5


def _draw_line(shape: tuple[int, ...], line: _Line) -> Mask:
    """Return a mask (h, w) of a line and what is close to it."""
    height, width = shape[::-1] if line.upright else shape
    rows = _place_rows(line, width, 1.0)
    near = np.abs(np.arange(height)[:, None] - rows) <= 1.5 * line.width + 3
    return near.T if line.upright else near


def _erase(small: Floats, near: Mask, upright: bool) -> Floats:
    """Return the copy (h, w) without a crease: across it, pixels go straight from one side to the other.

    Left in, a crease would be the side of another: of a dark strip between it and a lighter area.
    """
    values, erased = (small.T.copy(), near.T) if upright else (small.copy(), near)
    rows = np.arange(len(values))
    for column in np.flatnonzero(erased.any(axis=0) & ~erased.all(axis=0)):
        known = ~erased[:, column]
        values[:, column] = np.interp(rows, rows[known], values[known, column])
    return values.T if upright else values


# -- following -----------------------------------------------------------------------------------------------


def _follow(fine: Floats, line: _Line, scale: float) -> Mask:
    """Return (h, w) bool, the crease along a line."""
    rows = line.sign * (fine.T if line.upright else fine)
    reach = int(np.ceil((1.5 * line.width + 2) * scale))
    offsets = np.arange(-reach, reach + 1)
    at = np.rint(_place_rows(line, rows.shape[1], scale)).astype(np.intp)
    places = np.clip(at + offsets[:, None], 0, len(rows) - 1)
    strip = _smooth(rows[places, np.arange(rows.shape[1])], max(3, round(line.width * scale)))
    excess = _subtract_sides(strip, offsets, line.width * scale)
    middle = _track(_average_rows(excess, max(1, round(line.width * scale))))
    above, below = _measure_extent(excess, middle, line.width * scale)
    y, centre = np.arange(len(rows))[:, None], at + middle - reach
    found = (y >= centre - above) & (y <= centre + below)
    return found.T if line.upright else found


def _smooth(values: Array, size: int) -> Array:
    """Return the means of `size` columns around each."""
    kernel = size // 2
    padded = np.pad(values, ((0, 0), (kernel + 1, kernel)), mode="edge")
    sums = np.cumsum(padded, axis=1, dtype=np.float64)
    return np.asarray((sums[:, 2 * kernel + 1 :] - sums[:, : -2 * kernel - 1]) / (2 * kernel + 1))


def _average_rows(values: Array, size: int) -> Array:
    return np.asarray(_smooth(values.T, size).T)


def _subtract_sides(strip: Array, offsets: Ints, width: float) -> Array:
    """Return a strip less what its two sides, interpolated between them, would be without the crease."""
    outside = np.abs(offsets) > width
    up, down = (np.median(strip[outside & side], axis=0) for side in (offsets < 0, offsets > 0))
    share = (offsets - offsets[0])[:, None] / (offsets[-1] - offsets[0])
    return np.asarray(strip - (up * (1 - share) + down * share))


def _track(strength: Array) -> Ints:
    """Return (columns,) the row of the strongest path from left to right that moves at most a row a step."""
    total = np.minimum(strength, STRONG)
    height, width = total.shape
    sums = total.copy()
    for x in range(1, width):
        before = np.pad(sums[:, x - 1], 1, constant_values=-np.inf)
        sums[:, x] += np.maximum(before[1:-1], np.maximum(before[:-2], before[2:]) - 1)
    path = np.empty(width, np.intp)
    path[-1] = np.argmax(sums[:, -1])
    for x in range(width - 2, -1, -1):
        rows = np.arange(max(0, path[x + 1] - 1), min(height, path[x + 1] + 2))
        path[x] = rows[np.argmax(sums[rows, x] - np.abs(rows - path[x + 1]))]
    return path


def _measure_extent(excess: Array, middle: Ints, width: float) -> tuple[Ints, Ints]:
    """Return (columns,) how many rows the crease reaches above and below its middle."""
    peak = np.take_along_axis(excess, middle[None], axis=0)[0]
    level = _smooth(np.maximum(peak, 1)[None], max(3, round(4 * width)))[0]
    faint = excess < 0.3 * level
    rows = np.arange(len(excess))[:, None]
    top = np.where(faint & (rows < middle), rows, -1).max(axis=0)
    bottom = np.where(faint & (rows > middle), rows, len(excess)).min(axis=0)
    sides = []
    for reach in (middle - top - 1, bottom - middle - 1):
        usual = float(np.median(reach))
        limited = np.clip(reach, 0.6 * usual, 1.6 * usual + 1)
        sides.append(np.rint(_smooth(limited[None], max(3, round(width)))[0]).astype(np.intp))
    return sides[0], sides[1]


# -- what a crease is like -----------------------------------------------------------------------------------


def _is_crease(colours: Floats, followed: Mask, line: _Line, width: int) -> bool:
    """Say whether a line is grey, alike on both sides, and of one opacity all along, as no thing is.

    Args:
        colours: (h, w, C) levels, 0 to 255.
        followed: (h, w) bool, the line.
        line: the line.
        width: of the sides that are compared, in pixels.
    """
    levels = colours if line.sign > 0 else 255 - colours
    if line.upright:
        levels, followed = levels.swapaxes(0, 1), followed.T
    columns = np.flatnonzero(followed.any(axis=0))
    top = followed[:, columns].argmax(axis=0)
    bottom = len(followed) - followed[::-1, columns].argmax(axis=0)  # one past the end
    is_whole = (top >= BESIDE) & (bottom + BESIDE <= len(followed))
    columns, top, bottom = columns[is_whole], top[is_whole], bottom[is_whole]
    if len(columns) < PARTS:
        return False
    rim = (bottom - top) // 4
    middle = _average_between(levels, columns, top + rim, bottom - rim)
    above = _average_between(levels, columns, top - BESIDE - width, top - BESIDE)
    below = _average_between(levels, columns, bottom + BESIDE, bottom + BESIDE + width)
    return _compare_sides(middle, above, below)


def _average_between(levels: Floats, columns: Ints, start: Ints, stop: Ints) -> Floats:
    """Return (columns, C) the mean of some rows of each column, read at eight places."""
    places = start + (stop - 1 - start) * np.linspace(0, 1, 8)[:, None]
    rows = np.rint(places).astype(np.intp).clip(0, len(levels) - 1)
    return np.asarray(levels[rows, columns].mean(axis=0), np.float32)


def _compare_sides(middle: Floats, above: Floats, below: Floats) -> bool:
    """Say the same of the mean levels, (columns, C) each, of a lighter line and of both its sides."""
    ground = (above + below) / 2
    rise = np.median(middle - ground, axis=0)
    shares = np.maximum(rise, 0) / (263 - np.median(ground, axis=0))  # of white in each channel
    is_grey = np.ptp(shares) <= MOST_COLOUR * shares.mean()
    step = abs(float(np.median((above - below).mean(axis=1))))
    parts = [
        each[: len(each) // PARTS * PARTS].reshape(PARTS, -1).mean(axis=1) for each in (middle, above, below)
    ]
    behind = (parts[1] + parts[2]) / 2
    opacity = (parts[0] - behind) / (263 - behind)
    is_even = opacity.std() <= MOST_VARIED * opacity.mean()
    holds = float((parts[0] > np.maximum(parts[1], parts[2])).mean())
    return bool(is_grey and is_even and step <= MOST_STEP * rise.mean() and holds >= HOLDS)
