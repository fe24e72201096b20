"""Joining near boxes and packing intervals, against plain loops; thousands of holes are planned at once."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infilling.pictures.clusters import join_edges, pack
from infilling.pictures.frame import SizeRule, plan

Boxes = list[tuple[int, int, int, int]]


def join_one_by_one(boxes: Boxes) -> Boxes:
    """Compare each with each, and begin again whenever two were near."""
    for one in boxes:
        for other in boxes:
            gap = max(
                max(one[0], other[0]) - min(one[2], other[2]), max(one[1], other[1]) - min(one[3], other[3])
            )
            sides = (max(box[2] - box[0], box[3] - box[1]) for box in (one, other))
            if one is not other and gap <= min(sides) / 4:
                rest = [box for box in boxes if box is not one and box is not other]
                both = list(zip(one, other, strict=True))
                low, high = [min(edge) for edge in both[:2]], [max(edge) for edge in both[2:]]
                return join_one_by_one([*rest, (*low, *high)])  # type: ignore[list-item]
    return sorted(boxes)


boxes = st.lists(
    st.builds(
        lambda top, left, height, width: (top, left, top + height, left + width),
        st.integers(0, 300),
        st.integers(0, 300),
        st.sampled_from([1, 3, 8, 20, 70]),
        st.sampled_from([1, 2, 9, 25, 60]),
    ),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(boxes)
def test_near_boxes_are_joined_until_none_are_near(given_boxes: Boxes) -> None:
    edges = np.array(given_boxes, np.intp).reshape(-1, 4)
    assert sorted(map(tuple, join_edges(edges).tolist())) == join_one_by_one(given_boxes)


def test_the_order_of_boxes_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 2000, (300, 2))
    edges = np.concatenate([corners, corners + rng.integers(1, 90, (300, 2))], axis=1)
    np.testing.assert_array_equal(join_edges(edges), join_edges(rng.permutation(edges)))


@pytest.mark.parametrize("spread", [1, 3000])  # all in one place, or all over
def test_thousands_of_boxes_are_joined_in_seconds(spread: int) -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, spread, (30_000, 2))
    began = time.process_time()
    join_edges(np.concatenate([corners, corners + 2], axis=1))
    assert time.process_time() - began < 4


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), max_size=30), st.integers(5, 25))
def test_intervals_are_packed_from_the_first_start_on(intervals: list[tuple[int, int]], length: int) -> None:
    starts = np.array([start for start, _ in intervals], np.intp)
    ends = starts + np.array([size for _, size in intervals], np.intp)
    left = sorted(range(len(intervals)), key=lambda index: starts[index])
    for part in pack(starts, ends, length):
        expected = [index for index in left if ends[index] <= starts[left[0]] + length]
        expected = expected if left[0] in expected else [left[0], *expected]
        assert part.tolist() == expected
        left = [index for index in left if index not in expected]
    assert not left


@pytest.mark.parametrize("kind", ["dots", "blocks"])
def test_twelve_megapixels_of_holes_are_planned_in_seconds(kind: str) -> None:
    mask = np.zeros((3000, 4000), bool)
    if kind == "dots":
        rng = np.random.default_rng(0)
        mask[rng.integers(0, 3000, 100_000), rng.integers(0, 4000, 100_000)] = True
    else:
        rows, columns = np.arange(3000) % 56 < 44, np.arange(4000) % 56 < 44
        mask = rows[:, None] & columns  # blocks of 44 px, 12 px apart
    began = time.process_time()
    assert plan(mask, SizeRule(multiple_of=8, working_size=128))
    assert time.process_time() - began < 2
