"""Stamps on ten prints are found with their glow; prints without one stay clean."""

import numpy as np
import pytest
from tests.pictures.prints import add_stamp, make_print

from infilling.filling.finders import find_mask
from infilling.pictures.picture import Picture
from infilling.pictures.stamp import find_stamp


def test_stamps_are_found_on_ten_prints() -> None:
    scores = []
    for seed in range(10):
        photo, truth = add_stamp(seed)
        found = find_stamp(Picture(photo))
        scores.append(((found & truth).sum() / max(1, found.sum()), (found & truth).sum() / truth.sum()))
    precision, recall = np.mean(scores, axis=0)
    assert recall >= 0.9, scores
    assert precision >= 0.7, scores


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5])
def test_clean_prints_have_none(seed: int) -> None:
    assert not find_stamp(Picture(make_print(seed)[0])).any()


def test_in_a_box_the_stamp_may_be_anywhere() -> None:
    photo, truth = add_stamp(7)
    moved = np.roll(photo, (-200, 100), (0, 1))
    where = np.roll(truth, (-200, 100), (0, 1))
    rows, columns = np.nonzero(where)
    box = int(columns.min()) - 9, int(rows.min()) - 9, int(np.ptp(columns)) + 18, int(np.ptp(rows)) + 18
    found = find_mask("stamp", Picture(moved), box=box)
    assert found[where].mean() > 0.9
    assert not find_stamp(Picture(moved))[where].any()


def test_a_stamp_along_the_height_is_found() -> None:
    photo, truth = add_stamp(7)
    found = find_stamp(Picture(np.ascontiguousarray(np.rot90(photo))))
    assert found[np.rot90(truth)].mean() > 0.8


def test_depth_and_tiny_pictures() -> None:
    photo, _ = add_stamp(0)
    found = find_stamp(Picture(photo))
    np.testing.assert_array_equal(find_stamp(Picture(photo.astype(np.uint16) * 257)), found)
    for shape in ((1, 1, 1), (1, 50, 3), (50, 1, 1), (9, 9, 3)):
        assert not find_stamp(Picture(np.full(shape, 90, np.uint8))).any()
