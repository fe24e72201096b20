"""Windows that slide, compared with scipy."""

import numpy as np
import pytest
from scipy import ndimage

from infilling.pictures.morphology import dilate, erode, open_bright, to_grey


@pytest.mark.parametrize("side", [1, 2, 3, 4, 7, 13, 40])
def test_least_greatest_and_opened_are_those_of_scipy(side: int) -> None:
    values = np.random.default_rng(side).integers(0, 256, (31, 23), np.uint8)
    np.testing.assert_array_equal(erode(values, side), ndimage.minimum_filter(values, side, mode="nearest"))
    if side % 2:
        expected = ndimage.maximum_filter(values, side, mode="nearest")
        np.testing.assert_array_equal(dilate(values, side), expected)
    opened = open_bright(values, side)
    assert (opened <= values).all()
    np.testing.assert_array_equal(open_bright(opened, side), opened)


def test_grey_is_luma() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [9, 9, 9]]], np.uint8)
    assert to_grey(pixels).tolist() == [[76, 149, 9]]
    assert to_grey(pixels.astype(np.uint16) * 257).tolist() == [[76, 149, 9]]
    assert to_grey(pixels[..., :1]).tolist() == [[255, 0, 9]]
