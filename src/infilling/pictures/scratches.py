"""Find scratches: long thin lines, brighter or darker than both of their sides in the same way all along.

Every line of a picture is traced and measured, and a small network weighs up what was measured. A scratch is
long and straight for its strength, has the colour of paper or dirt and one opacity all along, parts nothing
from nothing, and is alone. Outlines, stalks, towers and mortar fail in some of these. A wire before the sky
does not: nothing in its pixels tells it from a scratch.
"""

import numpy as np

from infilling.errors import InputError
from infilling.pictures.curves import Curves, trace_curves
from infilling.pictures.film_scratches import find_film_scratches
from infilling.pictures.line_features import measure_lines, sample
from infilling.pictures.mask import Mask, find_groups, grow
from infilling.pictures.morphology import to_grey
from infilling.pictures.picture import Array, Doubles, Samples
from infilling.pictures.ridges import find_side, measure_ridges
from infilling.pictures.scratch_network import load_network

SURE = 1.7  # score that one line of a picture must have …
SURE_AMONG = 2.0  # the same with the line's share of the points on all lines: others make it less likely …
LIKELY = -1.5  # … so that others are scratches from this score on
MOST_STEP = 0.5  # greatest difference of the sides of a scratch, as a share of its height
STEEPNESS = 2.6  # by which the score rises where lines are e times as strong
STRIP = 32  # rows that are softened at a time, so that they stay in the cache
END = 0.45  # share of its mean height at which a line ends
ENCLOSING = 0.6  # share of a group, on the rim of areas that it encloses, above which it is a drawing


def find_scratches(
    pixels: Samples, *, width: int = 7, length: int = 40, sensitivity: float = 1.0, margin: int = 1
) -> Mask:
    """Mark scratches in a scan: thin lines, bright or dark, of any direction.

    Lines that enclose areas are a drawing. Scratches that cross the whole picture, as in films, are also
    found from the means of many rows, however faint they are.

    Args:
        pixels: (H, W, 1 or 3) uint8 or uint16.
        width: how wide a scratch may be, in pixels.
        length: how long it must be at least, in pixels.
        sensitivity: 2 finds scratches half as strong, and more that is none.
        margin: pixels to widen what was found by, for its soft rim.

    Returns:
        (H, W) bool, True = scratch.

    Raises:
        InputError: a number that makes no sense.
    """
    if width < 1 or length < 1 or sensitivity <= 0:
        raise InputError(
            f"width {width}, length {length} and sensitivity {sensitivity} of scratches must be above 0"
        )
    soft = soften(pixels)
    traced = [trace_curves(each, width, sensitivity) for each in measure_ridges(to_grey(pixels), width)]
    long = [curves.select(curves.measure_lengths() >= length) for curves in traced]
    judged = [
        _score(*each, soft, STEEPNESS * np.log(sensitivity), dark=dark)
        for each, dark in zip(zip(long, traced, strict=True), (False, True), strict=True)
    ]
    is_any_sure = any(sure.any() for _, sure in judged)
    grey = to_grey(soft)
    lines = [
        _paint(curves, (score > LIKELY) & is_any_sure, shade)
        for curves, (score, _), shade in zip(long, judged, (grey, 255 - grey), strict=True)
    ]
    films = find_film_scratches(soft, lines, width, sensitivity)
    bright, dark = (_drop_drawings(line | film, width) for line, film in zip(lines, films, strict=True))
    return grow(bright | dark, margin)


def soften(pixels: Samples) -> Array:
    """Return (H, W, C) uint8 levels, each the mean of 3×3 with weights 1 2 1 down and across."""
    soft = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(soft), STRIP):
        rows = np.arange(top - 1, min(top + STRIP, len(soft)) + 1).clip(0, len(soft) - 1)
        bits = pixels[rows] if pixels.dtype == np.uint8 else pixels[rows] >> 8
        strip = np.pad(bits, ((0, 0), (1, 1), (0, 0)), "edge").astype(np.uint16)
        down = strip[:-2] + 2 * strip[1:-1] + strip[2:]
        across = down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]
        soft[top : top + STRIP] = (across + 8) // 16
    return soft


def _score(curves: Curves, every: Curves, soft: Array, bonus: float, *, dark: bool) -> tuple[Doubles, Mask]:
    """Return how much each line looks like a scratch, as the logarithm of odds, and which surely are one.

    Args:
        curves: the lines.
        every: all curves of the same picture and sign, short ones too.
        soft: (H, W, C) uint8 levels.
        bonus: added to each score.
        dark: the lines are darker than their sides.

    Returns:
        (curves,) each.
    """
    if not curves.count:
        return np.zeros(0), np.zeros(0, dtype=bool)
    known = measure_lines(curves, every, soft, dark=dark)
    score = np.where(known["step"] < np.log(MOST_STEP), load_network().score(known) + bonus, -np.inf)
    return score, (score > SURE) & (score + np.exp(known["share"]) > SURE_AMONG)


def _paint(curves: Curves, chosen: Array, grey: Array) -> Mask:
    """Return (H, W) bool, the chosen lines as wide as they have half of their height.

    Args:
        curves: bright lines.
        chosen: (curves,) bool.
        grey: (H, W) uint8.
    """
    found = np.zeros(grey.shape, dtype=bool)
    if not chosen.any():
        return found
    line = curves.select(chosen)
    # The mean along a short line is half as high at the end of a scratch, and lower beyond it.
    line = line.take(line.heights > END * line.average(line.heights)[line.labels])
    side = find_side(0) + line.widths // 2
    middle, left, right = (sample(line, grey, away) for away in (0 * side, side, -side))
    half = (middle + np.maximum(left, right)) / 2
    for sign in (-1, 1):
        within = np.ones(len(side), dtype=bool)
        for away in np.arange(0, int(side.max()), 0.5):
            rows, columns = line.place_beside(sign * away)
            within &= (away < side - 1) & (rows >= 0) & (columns >= 0)
            within &= (rows < grey.shape[0]) & (columns < grey.shape[1])
            within[within] &= (grey[rows[within], columns[within]] >= half[within]) | (away < 1)
            found[rows[within], columns[within]] = True
    gaps = line.list_gaps()
    for away in np.arange(-int(gaps.widths.max(initial=0)) / 2, gaps.widths.max(initial=0) / 2, 0.5):
        rows, columns = gaps.take(np.abs(away) <= gaps.widths / 2).place_beside(away)
        inside = (rows >= 0) & (columns >= 0) & (rows < grey.shape[0]) & (columns < grey.shape[1])
        found[rows[inside], columns[inside]] = True
    return found


def _drop_drawings(lines: Mask, width: int) -> Mask:
    """Leave out groups of lines that are mostly the rim of areas that they enclose.

    The areas are filled and opened with a square: what remains of scratches that cross one another is little,
    as their ends are free.
    """
    if not lines.any():
        return lines
    groups = find_groups(lines)
    ground = find_groups(np.pad(~grow(lines, 1), 1, constant_values=True))
    if len(ground.boxes) < 2:
        return lines
    [outside] = ground.find(np.zeros(1, np.intp), np.zeros(1, np.intp))
    inner = np.setdiff1d(np.arange(len(ground.boxes)), outside)
    height, across = lines.shape
    enclosed = ground.paint(inner, height + 2, across + 2)[1:-1, 1:-1]
    side = 2 * width + 4
    solid = grow(~grow(~(grow(lines, 1) | enclosed), side), side)
    sizes = np.bincount(groups.find(*np.nonzero(lines)), minlength=len(groups.boxes))
    on_rim = np.bincount(groups.find(*np.nonzero(lines & solid)), minlength=len(groups.boxes))
    return groups.paint(np.flatnonzero(on_rim <= ENCLOSING * sizes), height, across)
