"""The rasteriser against the plain definition: within the radius of a segment."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infilling.pictures.strokes import Line, rasterise

places = st.integers(-5, 20)
radii = st.sampled_from([0.5, 1.0, 1.5, 2.25, 6.0, 9.75])
lines = st.lists(st.tuples(places, places, places, places, radii), min_size=1, max_size=3)


def covers(line: Line, x: int, y: int) -> bool:
    """Whether a pixel's centre lies within the radius of a segment; exact."""
    x0, y0, x1, y1, radius = (Fraction(value) for value in line)
    dx, dy = x1 - x0, y1 - y0
    along = ((x - x0) * dx + (y - y0) * dy) / (dx * dx + dy * dy) if dx or dy else Fraction(0)
    along = min(max(along, Fraction(0)), Fraction(1))
    return (x - x0 - along * dx) ** 2 + (y - y0 - along * dy) ** 2 <= radius * radius


def touches(line: Line, x: int, y: int) -> bool:
    """Whether the centre lies on the line's rim, where a float may fall on either side."""
    x0, y0, x1, y1, radius = line
    rims = [(x0, y0, x1, y1, radius + slack) for slack in (-1e-9, 1e-9)]
    return covers(rims[0], x, y) != covers(rims[1], x, y)


@settings(max_examples=40, deadline=None)
@given(lines, st.integers(1, 12), st.integers(1, 12))
@example([(11, 4, 3, 9, 1.5), (3, 9, 10, 11, 1.5)], 12, 12)
def test_pixels_within_the_radius_are_covered(drawn: list[Line], height: int, width: int) -> None:
    drawn = [(x0 % width, y0 % height, x1, y1, radius) for x0, y0, x1, y1, radius in drawn]  # from inside
    (rows, columns), covered = rasterise(drawn, height, width)
    mask = np.zeros((height, width), dtype=bool)
    mask[rows, columns] = covered
    for y in range(height):
        for x in range(width):
            if not any(touches(line, x, y) for line in drawn):
                assert mask[y, x] == any(covers(line, x, y) for line in drawn), (x, y)


@pytest.mark.parametrize("line", [(3, 4, 9, 4, 2.0), (4, 3, 4, 9, 2.0), (6, 6, 6, 6, 2.0)])
def test_rims_of_level_upright_and_dot_are_covered(line: Line) -> None:
    (rows, columns), covered = rasterise([line], 16, 16)
    mask = np.zeros((16, 16), dtype=bool)
    mask[rows, columns] = covered
    assert mask.tolist() == [[covers(line, x, y) for x in range(16)] for y in range(16)]


def test_thinnest_lines_have_no_gaps() -> None:
    """Of a line of width 1 every row or every column that it crosses has a pixel."""
    for x1, y1 in [(30, 0), (30, 11), (30, 29), (30, 30), (7, 30), (0, 30)]:
        (rows, columns), covered = rasterise([(0, 0, x1, y1, 0.5)], 31, 31)
        mask = np.zeros((31, 31), dtype=bool)
        mask[rows, columns] = covered
        assert mask.any(axis=1 if y1 > x1 else 0).all(), (x1, y1)
