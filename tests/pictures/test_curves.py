"""Ridges are measured, and linked to curves."""

import numpy as np
import pytest

from infilling.pictures.curves import trace_curves
from infilling.pictures.ridges import FINE, list_widths, measure_ridges


def draw_lines() -> np.ndarray:
    """A level line of one pixel, and one of three pixels that crosses it, 60 greys above their ground."""
    pixels = np.full((120, 160), 100, np.uint8)
    pixels[60, 20:140] = 160
    pixels[10:110, 79:82] = 160
    return pixels


def test_a_ridge_has_height_direction_and_width() -> None:
    bright, dark = measure_ridges(draw_lines(), 7)
    assert (bright.height[60, 40] / FINE, bright.direction[60, 40]) == (60, 0)
    assert (bright.height[30, 80] / FINE, bright.direction[30, 80]) == (60, 8)
    assert [list_widths(7)[bright.width[place]] for place in ((60, 40), (30, 80))] == [1, 3]
    assert dark.height[60, 20:70].max() < FINE
    inverted = measure_ridges(255 - draw_lines(), 7)
    np.testing.assert_allclose(inverted[1].height, bright.height, atol=2)  # cut off at 1 / FINE


@pytest.mark.parametrize("edge", [100, 160])
def test_steps_and_plain_pictures_have_no_ridge(edge: int) -> None:
    pixels = np.full((50, 60), 100, np.uint8)
    pixels[:, 30:] = edge
    for ridges in measure_ridges(pixels, 7):
        assert ridges.height.max() <= 0
        assert not trace_curves(ridges, 7, 1.0).count


def test_lines_that_cross_are_two_curves_and_a_gap_is_bridged() -> None:
    pixels = draw_lines()
    pixels[60, 100:112] = 100
    bright, _ = measure_ridges(pixels, 7)
    curves = trace_curves(bright, 7, 1.0)
    level = (curves.rows == 60) & (curves.angles == 0)
    upright = (curves.columns == 80) & (curves.angles == np.pi / 2)
    assert not np.intersect1d(curves.labels[level], curves.labels[upright]).size
    before, behind = (level & (np.abs(curves.columns - column) < 4) for column in (94, 118))
    assert len(np.unique(curves.labels[before | behind])) == 1
    assert before.any()
    assert behind.any()
