"""What is measured of a line, to distinguish scratches from outlines, stalks, towers and mortar.

Each feature is a number for each line, mostly a logarithm, so that twice as much is the same step everywhere.
"""

import numpy as np

from infilling.pictures.blend import sum_window
from infilling.pictures.curves import Curves
from infilling.pictures.picture import Array, Doubles, Floats
from infilling.pictures.ridges import DIRECTIONS, find_side

CELL = 16  # px; side of the cells in which parallel lines are counted
CELLS = 3  # cells on each side that are looked at
OVER = 0.9  # quantile of the heights of a picture's points that a line is compared with
HOLDS = 0.3  # share of its mean height by which a line must be above its sides at a point, to hold there
WHITE = 263  # level that light lines are a share of; a little above 255, so that no ground is as bright


def measure_lines(curves: Curves, every: Curves, soft: Array, *, dark: bool) -> dict[str, Doubles]:
    """Measure lines of one picture.

    Args:
        curves: the lines.
        every: all curves of the same picture and sign, short ones too.
        soft: (H, W, C) uint8 levels.
        dark: the lines are darker than their sides; levels are then counted from white on.

    Returns:
        (curves,) each, by the name of the feature.
    """
    height, width = soft.shape[:2]
    known = {
        **_measure_form(curves),
        **_measure_profile(curves, soft, dark),
        **_compare_with_picture(curves, every, (height, width)),
    }
    known["reach"] = known["length"] - np.log(min(height, width))
    return known


def _measure_form(curves: Curves) -> dict[str, Doubles]:
    """Return what is seen of lines without their levels."""
    count, length = np.bincount(curves.labels), curves.measure_lengths()
    cosine, sine = (curves.average(each) for each in (np.cos(2 * curves.angles), np.sin(2 * curves.angles)))
    rise = np.maximum(curves.average(curves.heights), 1)
    texture = curves.average(curves.textures)
    return {
        "length": np.log(length),
        "whole": np.log(count / length),
        "turning": np.log(1.002 - np.hypot(cosine, sine)),
        "bent": np.log(_measure_bends(curves, np.arctan2(sine, cosine) / 2, length) + 0.3),
        "width": np.log(curves.average(curves.widths)),
        "varied_width": _deviate(curves, curves.widths),
        "outstanding": np.log(rise / np.maximum(texture, 0.5)),
        "varied_height": np.log(_deviate(curves, curves.heights) / rise + 0.05),
        "texture": np.log(texture + 0.3),
    }


def _measure_bends(curves: Curves, axis: Doubles, length: Doubles) -> Doubles:
    """Return (curves,) how far the points are off a parabola along the axis, as a root mean square in px."""
    cosine, sine = np.cos(axis)[curves.labels], np.sin(axis)[curves.labels]
    place = curves.columns * cosine + curves.rows * sine
    aside = curves.rows * cosine - curves.columns * sine
    along = (place - curves.average(place)[curves.labels]) / (length[curves.labels] / 2)
    off = aside - curves.average(aside)[curves.labels]
    powers = [along**power for power in range(3)]
    # Products of powers i and j depend on i + j alone: sums[i + j] is (curves,).
    sums = np.stack([curves.average(along**power) for power in range(5)])
    matrices = np.moveaxis(sums[np.add.outer(range(3), range(3))], 2, 0) + 1e-6 * np.eye(3)
    wanted = np.stack([curves.average(each * off) for each in powers], axis=1)
    found = np.linalg.solve(matrices, wanted[..., None])[..., 0]  # (curves, 3)
    rest = off - sum(found[curves.labels, power] * each for power, each in enumerate(powers))
    return np.sqrt(curves.average(rest * rest))


def _measure_profile(curves: Curves, soft: Array, dark: bool) -> dict[str, Doubles]:
    """Return what is seen across lines: levels, colours, and how the two sides differ."""
    side = find_side(0) + curves.widths // 2
    middle, left, right = (_sample_levels(curves, soft, away, dark) for away in (0 * side, side, -side))
    behind = (left + right) / np.float32(2)
    shares, line = _measure_shares(curves, middle, behind)
    ink, ground, left, right = (each.mean(axis=1) for each in (middle, behind, left, right))
    height = np.maximum(curves.average(np.maximum(ink - ground, 1)), 1)
    opacity = (ink - ground) / (WHITE - ground)
    left_mean, right_mean = curves.average(left), curves.average(right)
    above = np.maximum(curves.average(ink) - np.maximum(left_mean, right_mean), 1)
    holds = ink > np.maximum(left, right) + HOLDS * height[curves.labels]
    return {
        "height": np.log(height),
        "opacity": np.log(shares.mean(axis=0) + 0.02),
        "coloured": np.log(np.ptp(shares, axis=0) / np.maximum(shares.mean(axis=0), 0.01) + 0.05),
        "tint": np.log(np.ptp(line, axis=0) + 4),
        "ink": curves.average(ink) / 255,
        "ground": curves.average(ground) / 255,
        "varied_ink": np.log(_deviate(curves, ink) + 2),
        "varied_ground": np.log(_deviate(curves, ground) + 2),
        "varied_opacity": np.log(
            _deviate(curves, opacity) / np.maximum(curves.average(opacity), 0.02) + 0.05
        ),
        "holds": curves.average(holds),
        "step": np.log(np.abs(left_mean - right_mean) / above + 0.03),
        "uneven": np.log(curves.average(np.abs(left - right)) / height + 0.03),
    }


def _measure_shares(curves: Curves, middle: Floats, behind: Floats) -> tuple[Doubles, Doubles]:
    """Return (C, curves) each: the share of white in each channel of lines, and their levels."""
    line = np.stack([curves.average(plane) for plane in middle.T])
    ground = np.stack([curves.average(plane) for plane in behind.T])
    return np.maximum(line - ground, 0) / (WHITE - ground), line


def _compare_with_picture(curves: Curves, every: Curves, shape: tuple[int, int]) -> dict[str, Doubles]:
    """Return what is seen of lines beside the others of their picture."""
    count = np.bincount(curves.labels)
    own = np.minimum(count, CELL * (2 * CELLS + 1))
    beside = np.maximum(curves.average(_count_parallels(curves, every, shape)) - own, 0)
    rise = np.maximum(curves.average(curves.heights), 1)
    return {
        "parallel": np.log(beside + 10),
        "rivals": np.log(beside / own + 0.1),
        "over": np.log(rise / np.quantile(every.heights, OVER)),
        "busy": np.full(curves.count, np.log(1000 * len(every.rows) / (shape[0] * shape[1]) + 0.3)),
        "share": np.log(count / count.sum()),
    }


def _count_parallels(curves: Curves, every: Curves, shape: tuple[int, int]) -> Floats:
    """Return (n,) the number of points around each on lines of nearly its direction, its own among them."""
    counts = np.zeros((shape[0] // CELL + 1, shape[1] // CELL + 1, DIRECTIONS), np.float32)
    np.add.at(counts, _find_cells(every), 1)
    counts += np.roll(counts, 1, axis=2) + np.roll(counts, -1, axis=2)
    return np.asarray(sum_window(counts, CELLS)[_find_cells(curves)])


def _find_cells(curves: Curves) -> tuple[Array, Array, Array]:
    """Return (n,) each: row, column and direction of the cell of each point."""
    steps = np.rint(curves.angles * (DIRECTIONS / np.pi)).astype(np.intp) % DIRECTIONS
    return curves.rows // CELL, curves.columns // CELL, steps


def _deviate(curves: Curves, values: Array) -> Doubles:
    """Return (curves,) the standard deviation over the points of each."""
    mean = curves.average(values)
    return np.sqrt(np.maximum(curves.average(np.square(values, dtype=np.float64)) - mean * mean, 0))


def _sample_levels(curves: Curves, soft: Array, away: Array, dark: bool) -> Floats:
    """Return (n, C) the levels at a distance across the curve from each point, from white on if `dark`."""
    levels = sample(curves, soft, away)
    return 255 - levels if dark else levels


def sample(curves: Curves, planes: Array, away: Array) -> Floats:
    """Return (n, …) the values of a picture (H, W, …) at a distance across the curve from each point."""
    rows, columns = curves.place_beside(away)
    rows, columns = rows.clip(0, planes.shape[0] - 1), columns.clip(0, planes.shape[1] - 1)
    return planes[rows, columns].astype(np.float32)
