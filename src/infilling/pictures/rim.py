"""Rim of a hole: whether a mask ends on the edge of what it covers, and by how many pixels it is short.

A stamp or a thing that was marked too tightly leaves a strip outside the hole that looks like the inside of
the hole, and ends in a step to the surroundings. Along the whole of a tight mask the step is at the same
distance; where a hole is anywhere in a picture, few lines across its rim have a step at all. So the picture
is looked at along short lines across the rim, and the mean over those lines is taken.
"""

from dataclasses import dataclass

import numpy as np

from infilling.pictures.mask import Box, Mask, bounding_box, widen
from infilling.pictures.picture import Floats, Ints, Levels, to_float

MOST_RIM = 6  # pixels that a mask may be short by
REACH = MOST_RIM + 2  # pixels outside the hole where a step may be
BEYOND = 4  # pixels of surroundings behind the step
INSIDE = 2  # pixels of each line that are in the hole
LINES = 2000  # lines that are looked at, at most
FEWEST = 12  # lines without which nothing can be said
SIDE = 3  # pixels to each side by which the direction across the rim is found
CONTRAST = 24 / 255 / 3**0.5  # root mean square over the channels, as a share of white
SPREAD = 0.3  # deviation that surroundings may have, as a share of the contrast
BETWEEN = 0.2, 0.85  # shares of the covered colour that are neither it nor the surroundings
MOST_BETWEEN = 2  # pixels of a line that may have such a share
AGREEING = 0.7  # share of the lines that must have a step
ONE_WAY = 0.25  # contrast that must be left in the mean of all lines, as a share of theirs
SOFT = 0.05  # share of the covered colour, in the mean of all lines, that pixels at the rim must have
FULL = 0.3  # share in the first pixel from which on a rim may be wider than that pixel
LEFT = 0.1  # share in the pixels behind it that counts as a rest
SETTLED = 0.2  # share that may be left behind the rim


@dataclass(frozen=True, eq=False)
class _Lines:
    """Lines from the hole outwards: INSIDE pixels in the hole, then REACH + BEYOND outside.

    Attributes:
        colours: (lines, pixels, 3) in [0, 1].
        covered: (lines, INSIDE) bool, which of the first pixels are in the hole, and seen.
        free: (lines, pixels outside) bool, which pixels come before another hole and the picture's end.
    """

    colours: Floats
    covered: Mask
    free: Mask


def measure_rim(pixels: Levels, hole: Mask, unseen: Mask | None = None) -> int:
    """Return by how many pixels a hole has to be widened to take in the rim of what it covers.

    Args:
        pixels: (H, W, 1 or 3), with what the hole covers still in place.
        hole: (H, W) bool.
        unseen: (H, W) bool, pixels whose colour means nothing; None: none.

    Returns:
        0 to MOST_RIM; 0 where the hole does not end on an edge, or has a margin.

    >>> band = np.zeros((64, 64, 1), np.uint8)
    >>> band[:, 20:44] = 255
    >>> hole = np.zeros((64, 64), bool)
    >>> hole[:, 22:42] = True
    >>> measure_rim(band, hole)
    2
    """
    height, width = hole.shape
    near = widen(bounding_box(hole), REACH + BEYOND + SIDE, Box(0, 0, width, height)).slices
    blind = None if unseen is None else unseen[near]
    lines = _draw_lines(pixels[near], hole[near], blind)
    whole = int(lines.free[:, :BEYOND].all(axis=1).sum())
    if whole < FEWEST:
        return 0
    object_colour, ground, has_step = _find_steps(lines)
    share = _measure_share(lines, object_colour, ground)
    # A slope is no step: it passes through many colours between the two.
    between = (share > BETWEEN[0]) & (share < BETWEEN[1]) & lines.free[:, :REACH]
    has_step &= between.sum(axis=1) <= MOST_BETWEEN
    if has_step.sum() < AGREEING * whole:
        return 0
    # On a board as many lines go from dark to light as the other way: nothing is covered.
    contrast = (object_colour - ground)[has_step]
    if _measure(contrast.mean(axis=0)) < ONE_WAY * _measure(contrast).mean():
        return 0
    return _read_width(_average_rest(share[has_step], lines.free[has_step, :REACH]))


def _read_width(rest: Floats) -> int:
    """Return how wide a rim is, from the share of the covered colour at each distance outside.

    >>> _read_width(np.array([1, 0.9, 0.4, 0, 0, 0, 0, 0]))
    3
    """
    if rest[0] < SOFT:
        return 0
    if rest[0] < FULL:  # a half-covered pixel at the most: behind it there is nothing, or it is texture
        return int(rest[1] < rest[0] / 2)
    rim = int((np.append(rest, 0) < LEFT).argmax())
    is_settled = rim <= MOST_RIM and rest[rim:].max() < SETTLED
    return rim if is_settled else 0


def _draw_lines(pixels: Levels, hole: Mask, unseen: Mask | None) -> _Lines:
    """Take up to LINES lines across the rim of a hole, evenly spread."""
    rows, columns, down, right = _find_rim(hole)
    steps = np.arange(1 - INSIDE, REACH + BEYOND + 1)
    y = np.rint(rows[:, None] + steps * down[:, None]).astype(np.intp)  # (lines, pixels)
    x = np.rint(columns[:, None] + steps * right[:, None]).astype(np.intp)
    height, width = hole.shape
    in_picture = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    y, x = y.clip(0, height - 1), x.clip(0, width - 1)
    seen = in_picture if unseen is None else in_picture & ~unseen[y, x]
    in_hole = hole[y, x]
    free = np.logical_and.accumulate((seen & ~in_hole)[:, INSIDE:], axis=1)
    return _Lines(to_float(pixels[y, x]), (seen & in_hole)[:, :INSIDE], free)


def _find_rim(hole: Mask) -> tuple[Ints, Ints, Floats, Floats]:
    """Return (lines,) row and column of hole pixels at the rim, and the direction outwards from each."""
    outside = np.zeros_like(hole)
    outside[1:] |= ~hole[:-1]
    outside[:-1] |= ~hole[1:]
    outside[:, 1:] |= ~hole[:, :-1]
    outside[:, :-1] |= ~hole[:, 1:]
    places = np.flatnonzero(outside & hole)
    places = places[:: max(1, -(-places.size // LINES))]
    rows, columns = np.divmod(places, hole.shape[1])
    offsets = np.arange(-SIDE, SIDE + 1)
    around = np.pad(hole, SIDE, mode="edge")[
        rows[:, None, None] + SIDE + offsets[:, None], columns[:, None, None] + SIDE + offsets
    ]  # (lines, 2 SIDE + 1, 2 SIDE + 1)
    # Away from where most of the hole is: the centre of its pixels near by, turned round.
    down = -(around * offsets[:, None]).sum(axis=(1, 2)).astype(np.float32)
    right = -(around * offsets).sum(axis=(1, 2)).astype(np.float32)
    length = np.hypot(down, right)
    clear = length > 0
    return rows[clear], columns[clear], down[clear] / length[clear], right[clear] / length[clear]


def _find_steps(lines: _Lines) -> tuple[Floats, Floats, Mask]:
    """Find on each line the nearest place from which on it has one colour that is not the hole's.

    Returns:
        (lines, 3) the colour in the hole, (lines, 3) that of the surroundings, and (lines,) bool: whether the
        line has such a place. The colours are 0 where it has not.
    """
    outside = lines.colours[:, INSIDE:]
    count, _, channels = outside.shape
    object_colour, ground = np.zeros((2, count, channels), np.float32)
    has_step = np.zeros(count, dtype=bool)
    for start in range(REACH, -1, -1):
        stretch = outside[:, start : start + BEYOND]
        mean = np.asarray(sum(stretch[:, place] for place in range(BEYOND)) / np.float32(BEYOND))
        inside, contrast = _choose_inside(lines, mean)
        spread = _measure(stretch - mean[:, None]).max(axis=1)
        fits = lines.free[:, start : start + BEYOND].all(axis=1)
        fits &= (contrast >= CONTRAST) & (spread <= SPREAD * contrast)
        object_colour[fits], ground[fits] = inside[fits], mean[fits]
        has_step |= fits
    return object_colour, ground, has_step


def _choose_inside(lines: _Lines, ground: Floats) -> tuple[Floats, Floats]:
    """Return (lines, 3) the colour in the hole that is farthest from the ground's, and how far it is.

    A pixel at the rim may be covered in part.
    """
    away = _measure(lines.colours[:, :INSIDE] - ground[:, None])
    away = np.where(lines.covered, away, -1)
    best = away.argmax(axis=1)
    every = np.arange(len(best))
    return lines.colours[every, best], away[every, best]


def _measure_share(lines: _Lines, object_colour: Floats, ground: Floats) -> Floats:
    """Return (lines, REACH) how much of the hole's colour each pixel outside has: 1 all, 0 the ground's."""
    step = object_colour - ground
    outside = lines.colours[:, INSIDE : INSIDE + REACH] - ground[:, None]
    length = np.maximum((step * step).sum(axis=1), np.float32(1e-9))
    return np.asarray((outside * step[:, None]).sum(axis=2) / length[:, None])


def _average_rest(share: Floats, free: Mask) -> Floats:
    """Return (REACH,) the share of the hole's colour at each distance outside, in the mean of the lines."""
    counted = np.where(free, share.clip(-1, 1), 0).sum(axis=0)
    rest = counted / np.maximum(free.sum(axis=0), 1)
    # What is left far away is texture that happens to be like the hole's colour, and no rim.
    return np.asarray(rest - max(0, float(rest[MOST_RIM:].mean())))


def _measure(difference: Floats) -> Floats:
    """Return the root mean square over the channels, the last axis; `mean` is slow over so few values."""
    channels = np.moveaxis(difference * difference, -1, 0)
    return np.asarray(np.sqrt(sum(channels) / np.float32(len(channels))))
