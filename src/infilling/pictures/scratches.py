"""Find scratches: long thin lines, brighter or darker than both of their sides in the same way all along.

Every line of a picture is traced and measured, and what was measured is weighed up. A scratch is long and
straight for its strength, has sharp sides, is of the paper's or the dirt's colour, parts nothing from
nothing, and is alone. Outlines, stalks, towers and mortar fail in some of these. A wire before the sky does
not: nothing in its pixels tells it from a scratch.
"""

import numpy as np
from PIL import Image, ImageFilter

from infilling.errors import InputError
from infilling.pictures.blend import sum_window
from infilling.pictures.curves import Curves, trace_curves
from infilling.pictures.film_scratches import find_film_scratches
from infilling.pictures.mask import Mask, find_groups, grow
from infilling.pictures.morphology import to_grey
from infilling.pictures.picture import Array, Doubles, Floats, Samples
from infilling.pictures.ridges import DIRECTIONS, find_side, measure_ridges

# Weights of a logistic regression on lines of drawn scratches and of clean photographs.
WEIGHTS = {
    "length": 1.89,
    "height": 1.57,
    "outstanding": 1.06,
    "turning": -0.45,
    "width": -1.43,
    "whole": 2.13,
    "uneven_sides": 1.8,
    "parting": -0.69,
    "coloured": -0.48,
    "soft": -1.43,
    "parallel": -0.55,
}
BIAS = -19.65
SURE = 0.8  # score that one line of a picture must have …
LIKELY = -2.0  # … so that others are scratches from this score on
CELL = 16  # px; side of the cells in which parallel lines are counted
CELLS = 3  # cells on each side that are looked at
MOST_RIVALS = 2.5  # parallel lines beside a scratch
MOST_STEP = 0.25  # greatest difference of the sides of a scratch, as a share of its height
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
    luma = to_grey(pixels)
    found = np.zeros(luma.shape, dtype=bool)
    soft = _blur(pixels)
    traced = [trace_curves(each, width, sensitivity) for each in measure_ridges(luma, width)]
    shades = soft, 255 - soft
    scores = [_score(*each) + _weigh_sensitivity(sensitivity) for each in zip(traced, shades, strict=True)]
    is_sure = max(each.max(initial=-np.inf) for each in scores) > SURE
    for curves, shade, score in zip(traced, shades, scores, strict=True):
        chosen = (score > LIKELY) & (curves.measure_lengths() >= length) & is_sure
        lines = _paint(curves, chosen, shade.mean(axis=2))
        lines |= find_film_scratches(shade, lines, width, sensitivity)
        found |= _drop_drawings(lines, width)
    return grow(found, margin)


def _blur(pixels: Samples) -> Floats:
    """Return (H, W, C) 8-bit levels, a little softened."""
    bits = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    image = Image.fromarray(bits[..., 0] if bits.shape[2] == 1 else bits)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(0.6)), np.float32)
    return soft.reshape(bits.shape)


def _weigh_sensitivity(sensitivity: float) -> float:
    return float((WEIGHTS["height"] + WEIGHTS["outstanding"]) * np.log(sensitivity))


def _score(curves: Curves, shade: Floats) -> Doubles:
    """Return (curves,) how much each bright line of a picture looks like a scratch.

    Args:
        curves: bright lines.
        shade: (H, W, C) levels, 0 to 255.
    """
    if not curves.count:
        return np.zeros(0)
    known = {**_measure_form(curves, shade.shape[:2]), **_measure_profile(curves, shade)}
    score = sum(weight * known[name] for name, weight in WEIGHTS.items()) + BIAS
    is_alone = known["rivals"] < MOST_RIVALS
    return np.where(is_alone & (known["step"] < MOST_STEP), score, -np.inf)


def _measure_form(curves: Curves, shape: tuple[int, ...]) -> dict[str, Doubles]:
    """Return (curves,) each what is seen of a line without its colours."""
    count = np.bincount(curves.labels)
    length = curves.measure_lengths()
    cosine, sine = (curves.average(each) for each in (np.cos(2 * curves.angles), np.sin(2 * curves.angles)))
    rise = np.maximum(curves.average(curves.heights), 1) / np.maximum(curves.average(curves.textures), 0.5)
    own = np.minimum(count, CELL * (2 * CELLS + 1))
    beside = np.maximum(curves.average(_count_parallels(curves, shape)) - own, 0)
    return {
        "length": np.log(length),
        "outstanding": np.log(rise),
        "turning": np.log(1.002 - np.hypot(cosine, sine)),
        "width": np.log(curves.average(curves.widths)),
        "whole": np.log(count / length),
        "parallel": np.log(beside + 10),
        "rivals": beside / own,
    }


def _measure_profile(curves: Curves, shade: Floats) -> dict[str, Doubles]:
    """Return (curves,) each what is seen across a line: colour, sharpness, and how its two sides differ."""
    side = find_side(0) + curves.widths // 2
    middle, left, right = (_sample(curves, shade, away) for away in (0 * side, side, -side))
    behind = (left + right) / np.float32(2)
    height = np.maximum(curves.average(np.maximum((middle - behind).mean(axis=1), 1)), 1)
    shoulders = [_sample(curves, shade, away).mean(axis=1) for away in (side - 1, 1 - side)]
    soft = curves.average(shoulders[0] + shoulders[1] - 2 * behind.mean(axis=1)) / (2 * height)
    # What the sides differ by, compared with what each differs from the same distance farther out.
    left, right = left.mean(axis=1), right.mean(axis=1)
    sides = curves.average(left), curves.average(right)
    above = curves.average(middle.mean(axis=1)) - np.maximum(*sides)
    outwards = [
        edge - _sample(curves, shade, away).mean(axis=1)
        for edge, away in ((left, 3 * side), (right, -3 * side))
    ]
    usual = np.maximum(sum(curves.average(np.abs(each)) for each in outwards), 1) / 2
    drift = sum(np.abs(curves.average(each)) for each in outwards)
    return {
        "height": np.log(height),
        "soft": np.clip(soft, -0.5, 1),
        "coloured": np.log(_measure_colour(curves, middle, behind) + 0.05),
        "uneven_sides": np.log(curves.average(np.abs(left - right)) / usual + 0.1),
        "parting": np.log(np.abs(np.subtract(*sides)) / (drift + 4) + 0.1),
        "step": np.abs(np.subtract(*sides)) / np.maximum(above, 1),
    }


def _measure_colour(curves: Curves, middle: Floats, behind: Floats) -> Doubles:
    """Return (curves,) how much the share of white in a line differs by channel; 0 for grey."""
    shares = []
    for channel in range(middle.shape[1]):
        ground = curves.average(behind[:, channel])
        rise = curves.average(middle[:, channel]) - ground
        shares.append(np.maximum(rise, 0) / (263 - ground))
    opacity = np.stack(shares)
    return np.asarray(np.ptp(opacity, axis=0) / np.maximum(opacity.mean(axis=0), 0.01))


def _sample(curves: Curves, shade: Floats, away: Array) -> Floats:
    """Return (n, C) the levels at a distance across the curve from each point."""
    rows, columns = curves.place_beside(away)
    return np.asarray(shade[rows.clip(0, shade.shape[0] - 1), columns.clip(0, shade.shape[1] - 1)])


def _count_parallels(curves: Curves, shape: tuple[int, ...]) -> Floats:
    """Return (n,) the number of points around each on lines of nearly its direction, its own among them."""
    rows, columns = curves.rows // CELL, curves.columns // CELL
    steps = np.rint(curves.angles * (DIRECTIONS / np.pi)).astype(np.intp) % DIRECTIONS
    counts = np.zeros((shape[0] // CELL + 1, shape[1] // CELL + 1, DIRECTIONS), np.float32)
    np.add.at(counts, (rows, columns, steps), 1)
    counts += np.roll(counts, 1, axis=2) + np.roll(counts, -1, axis=2)
    return sum_window(counts, CELLS)[rows, columns, steps]


def _paint(curves: Curves, chosen: Array, grey: Floats) -> Mask:
    """Return (H, W) bool, the chosen lines as wide as they have half of their height."""
    found = np.zeros(grey.shape, dtype=bool)
    if not chosen.any():
        return found
    # The mean along a short line is half as high at the end of a scratch, and lower beyond it.
    each = chosen[curves.labels] & (curves.heights > END * curves.average(curves.heights)[curves.labels])
    line = Curves(*(values[each] for values in vars(curves).values()))
    side = find_side(0) + line.widths // 2
    planes = grey[..., None]
    middle, left, right = (_sample(line, planes, away)[:, 0] for away in (0 * side, side, -side))
    half = (middle + np.maximum(left, right)) / 2
    for sign in (-1, 1):
        within = np.ones(len(side), dtype=bool)
        for away in np.arange(0, int(side.max()), 0.5):
            rows, columns = line.place_beside(sign * away)
            within &= (away < side - 1) & (rows >= 0) & (columns >= 0)
            within &= (rows < grey.shape[0]) & (columns < grey.shape[1])
            within[within] &= (grey[rows[within], columns[within]] >= half[within]) | (away < 1)
            found[rows[within], columns[within]] = True
    return found


def _drop_drawings(lines: Mask, width: int) -> Mask:
    """Leave out groups of lines that are mostly the rim of areas that they enclose.

    The areas are filled and opened with a square: what remains of scratches that cross one another is little,
    as their ends are free.
    """
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
