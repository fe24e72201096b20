"""Masks as arrays: boxes, growing, connected groups."""

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.morphology import dilation, disk

from infilling.errors import InputError
from infilling.pictures.mask import (
    Box,
    bounding_box,
    components,
    find_groups,
    from_boxes,
    grow,
    require_known,
    resize_nearest,
    widen,
)

HOLE = np.array([[False, True, True], [False, False, True]])
masks = st.builds(
    lambda height, width, share, seed: np.random.default_rng(seed).random((height, width)) < share,
    st.integers(1, 14),
    st.integers(1, 14),
    st.sampled_from([0, 0.05, 0.3, 0.5, 0.9, 1]),
    st.integers(0, 1 << 30),
)


@settings(deadline=None)
@given(masks, st.integers(1, 20), st.integers(1, 20))
def test_resizing_takes_the_nearest_pixel(mask: np.ndarray, height: int, width: int) -> None:
    mask = mask[
        : (mask.shape[0] - 1) // 2 * 2 + 1, : (mask.shape[1] - 1) // 2 * 2 + 1
    ]  # odd: no centre lies on a border
    image = Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.NEAREST)
    assert (resize_nearest(mask, height, width) == (np.asarray(image) > 0)).all()


# -- boxes ---------------------------------------------------------------------------------------------------


def test_boxes_are_cut_off_at_the_edges() -> None:
    mask = from_boxes([(-2, 1, 3, 1), (3, 2, 100, 100)], height=4, width=5)
    assert mask.astype(int).tolist() == [[0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]]


@pytest.mark.parametrize("box", [(5, 0, 1, 1), (0, 4, 1, 1), (-3, 0, 3, 1), (0, -2, 1, 2)])
def test_box_outside_is_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="outside the picture, which is 5×4"):
        from_boxes([box], height=4, width=5)


@pytest.mark.parametrize("box", [(0, 0, 0, 2), (0, 0, 2, -1)])
def test_box_without_area_is_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match="no area"):
        from_boxes([box], height=4, width=5)


@settings(deadline=None)
@given(masks)
def test_bounding_box_holds_all_holes_and_no_more(mask: np.ndarray) -> None:
    box = bounding_box(mask)
    assert cv2.boundingRect(mask.astype(np.uint8)) == tuple(box)
    assert mask[box.slices].sum() == mask.sum()


def test_widened_box_stays_inside() -> None:
    assert widen(Box(1, 5, 4, 4), 2, limit=Box(0, 0, 20, 10)) == Box(0, 3, 7, 7)


def test_all_hole_is_refused_and_says_why() -> None:
    require_known(HOLE)
    with pytest.raises(InputError, match="nothing is left to fill from"):
        require_known(np.ones((3, 3), dtype=bool))


# -- grow ----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(masks, st.integers(0, 20))
@example(np.zeros((3, 3), dtype=bool), 2)
def test_growing_is_dilation_by_a_disc(mask: np.ndarray, pixels: int) -> None:
    padded = np.pad(mask, pixels)
    expected = dilation(padded, disk(pixels))[
        pixels : pixels + mask.shape[0], pixels : pixels + mask.shape[1]
    ]
    before = mask.copy()
    assert (grow(mask, pixels) == expected).all()
    assert (mask == before).all()


def test_growing_a_large_mask_agrees_with_opencv() -> None:
    mask = np.random.default_rng(3).random((700, 900)) < 0.001
    expected = cv2.dilate(mask.astype(np.uint8), disk(23))
    assert (grow(mask, 23) == expected.astype(bool)).all()


@pytest.mark.parametrize("pixels", [-1, 10_001, 1_000_000_000])
def test_growing_beyond_its_range_is_refused(pixels: int) -> None:
    with pytest.raises(InputError, match=f"{pixels} pixels: give 0 to 10,000"):
        grow(HOLE, pixels)


@pytest.mark.timeout(20)
def test_growing_far_takes_no_longer_than_growing_a_little() -> None:
    mask = np.zeros((2000, 3000), dtype=bool)
    mask[700, 900] = True
    rows, columns = np.mgrid[:2000, :3000]
    for pixels in (900, 10_000):
        expected = (rows - 700) ** 2 + (columns - 900) ** 2 <= pixels**2
        assert (grow(mask, pixels) == expected).all()


# -- connected groups ----------------------------------------------------------------------------------------


def find_with_opencv(mask: np.ndarray) -> list[tuple[int, ...]]:
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return sorted(tuple(row[:4].tolist()) for row in stats[1:])


@settings(max_examples=100, deadline=None)
@given(masks)
def test_components_agree_with_opencv(mask: np.ndarray) -> None:
    assert sorted(components(mask)) == find_with_opencv(mask)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.4, 0.5, 0.7])
def test_components_of_a_large_mask_agree_with_opencv(share: float) -> None:
    mask = np.random.default_rng(5).random((1000, 700)) < share
    assert sorted(components(mask)) == find_with_opencv(mask)


def test_a_spiral_is_one_component() -> None:
    """A long thread that touches itself nowhere: the worst case for joining runs in rounds."""
    mask = np.zeros((401, 401), dtype=bool)
    for ring in range(0, 200, 2):
        mask[ring, max(ring - 1, 0) : 401 - ring] = True
        mask[ring : 401 - ring, 400 - ring] = True
        mask[400 - ring, ring : 401 - ring] = True
        mask[ring + 2 : 401 - ring, ring] = True
        mask[ring + 2, ring : ring + 2] = True
    assert find_with_opencv(mask) == [(0, 0, 401, 401)]
    assert components(mask) == [Box(0, 0, 401, 401)]


def test_components_come_in_the_order_of_a_scan() -> None:
    mask = np.zeros((6, 9), dtype=bool)
    mask[0, 7] = mask[1, 0] = mask[1, 3] = mask[3, 8] = mask[4, 1] = True
    assert [(box.y, box.x) for box in components(mask)] == [(0, 7), (1, 0), (1, 3), (3, 8), (4, 1)]


@settings(deadline=None)
@given(masks)
def test_groups_find_and_paint_their_own_pixels(mask: np.ndarray) -> None:
    groups = find_groups(mask)
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    assert len(groups.boxes) == count - 1
    rows, columns = np.nonzero(mask)
    found = groups.find(rows, columns)
    assert len({*zip(found.tolist(), labels[mask].tolist(), strict=True)}) == count - 1, "one to one"
    for label in range(count - 1):
        painted = np.zeros_like(mask)
        painted[rows[found == label], columns[found == label]] = True
        assert (groups.paint(np.array([label]), *mask.shape) == painted).all()
