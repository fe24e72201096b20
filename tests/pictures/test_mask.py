"""Masks: every way in, growing, connected groups."""

import io
from pathlib import Path

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
    read,
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


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def paint(hole: np.ndarray, mode: str) -> Image.Image:
    """White on black in a Pillow mode."""
    return Image.fromarray(hole.astype(np.uint8) * 255).convert(mode)


# -- read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
def test_pillow_image_of_every_mode_is_read(mode: str) -> None:
    image = paint(HOLE, mode)
    if mode == "F":
        image = Image.fromarray(HOLE.astype(np.float32))
    assert (read(image) == HOLE).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png_of_every_mode_is_read(mode: str) -> None:
    assert (read(encode(paint(HOLE, mode))) == HOLE).all()


def test_path_is_read(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(encode(paint(HOLE, "L")))
    assert (read(tmp_path / "mask.png") == HOLE).all()


def test_jpeg_noise_goes_away() -> None:
    hole = np.zeros((64, 64), dtype=bool)
    hole[13:42, 21:47] = True
    data = encode(paint(hole, "L"), "JPEG", quality=30)
    assert len(np.unique(np.asarray(Image.open(io.BytesIO(data))))) > 2, "the test needs a noisy mask"
    assert (read(data) == hole).all()


def test_half_of_white_is_hole_and_less_is_known() -> None:
    assert read(np.array([[0, 1, 127, 128, 255]], np.uint8)).tolist() == [[False, False, False, True, True]]
    assert read(np.array([[2, 32767, 32768]], np.uint16)).tolist() == [[False, False, True]]
    assert read(np.array([[0, 0.49, 0.5]])).tolist() == [[False, False, True]]
    grey = np.repeat(np.array([[127, 128]], np.uint8)[..., None], 3, axis=2)
    assert read(grey).tolist() == [[False, True]]
    assert read(np.full((1, 1, 3), 0.5)).tolist() == [[True]]


def test_sixteen_bit_png_is_read_at_sixteen_bits() -> None:
    levels = np.array([[0, 32767, 32768, 65535]], np.uint16)
    assert read(encode(Image.fromarray(levels))).tolist() == [[False, False, True, True]]


def test_threshold_moves() -> None:
    levels = np.array([[25, 26, 229, 230]], np.uint8)
    assert read(levels, threshold=0.1).tolist() == [[False, True, True, True]]
    assert read(levels, threshold=0.9).tolist() == [[False, False, False, True]]


def test_colours_count_by_luma() -> None:
    colours = np.array([[[0, 255, 0], [255, 0, 0], [0, 0, 255], [255, 255, 0]]], np.uint8)
    assert read(colours).tolist() == [[True, False, False, True]]


@pytest.mark.parametrize("kind", [bool, np.uint8, np.uint16, np.int64, np.float32])
def test_zeros_and_ones_of_any_type_are_taken_as_they_are(kind: type) -> None:
    assert (read(HOLE.astype(kind)) == HOLE).all()
    assert (read(HOLE.astype(kind)[..., None]) == HOLE).all()


def test_wide_integers_span_eight_or_sixteen_bits() -> None:
    assert read(np.array([[127, 128]], np.int64)).tolist() == [[False, True]]
    assert read(np.array([[128, 40000]], np.int32)).tolist() == [[False, True]]


def test_transparent_counts_as_black_unless_alpha_is_the_mask() -> None:
    image = np.array(
        [[[255, 255, 255, 0], [255, 255, 255, 127], [255, 255, 255, 128], [0, 0, 0, 255]]], np.uint8
    )
    assert read(image).tolist() == [[False, False, True, False]]
    assert read(image, from_alpha=True).tolist() == [[True, True, False, False]]
    assert read(Image.fromarray(image), from_alpha=True).tolist() == [[True, True, False, False]]
    assert read(encode(Image.fromarray(image)), from_alpha=True).tolist() == [[True, True, False, False]]


def test_colour_is_read_with_tolerance() -> None:
    image = np.array([[[255, 0, 255], [250, 4, 255], [249, 0, 255], [255, 255, 255]]], np.uint8)
    assert read(image, color="#ff00ff").tolist() == [[True, False, False, False]]
    assert read(image, color="#F0F", tolerance=5).tolist() == [[True, True, False, False]]
    assert read(image.astype(np.uint16) * 257, color="#f0f", tolerance=5).tolist() == [
        [True, True, False, False]
    ]
    assert read(np.array([[9, 8]], np.uint8), color="#080808").tolist() == [[False, True]]


def test_invert_comes_last() -> None:
    assert (read(HOLE, invert=True) == ~HOLE).all()
    image = np.array([[[255, 0, 255], [0, 0, 0]]], np.uint8)
    assert read(image, color="#f0f", invert=True).tolist() == [[False, True]]


def test_result_is_no_view_of_the_source() -> None:
    source = HOLE.copy()
    read(source)[...] = True
    assert (source == HOLE).all()


def test_size_mismatch_names_both_sizes_and_can_be_resized() -> None:
    with pytest.raises(InputError, match=r"mask is 3×2 .* picture is 6×4"):
        read(HOLE, size=(4, 6))
    assert (read(HOLE, size=(4, 6), resize=True) == HOLE.repeat(2, axis=0).repeat(2, axis=1)).all()
    assert (read(HOLE, size=(2, 3)) == HOLE).all()


@settings(deadline=None)
@given(masks, st.integers(1, 20), st.integers(1, 20))
def test_resizing_takes_the_nearest_pixel(mask: np.ndarray, height: int, width: int) -> None:
    mask = mask[
        : (mask.shape[0] - 1) // 2 * 2 + 1, : (mask.shape[1] - 1) // 2 * 2 + 1
    ]  # odd: no centre lies on a border
    image = Image.fromarray(mask.astype(np.uint8) * 255).resize((width, height), Image.Resampling.NEAREST)
    assert (resize_nearest(mask, height, width) == (np.asarray(image) > 0)).all()


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (np.zeros((2, 2, 5)), {}, "2×2×5"),
        (np.zeros(4), {}, "not 4"),
        (np.zeros((0, 3), np.uint8), {}, "no pixels"),
        (np.array([[0.0, 255.0]]), {}, "spans 0 to 255"),
        (np.array([[0.0, np.nan]]), {}, r"lies in \[0, 1\]"),
        (np.array([[-1, 0]]), {}, "spans -1 to 0"),
        (np.array([[1 << 20]]), {}, "0 to 65535"),
        (np.array([["a"]]), {}, "booleans, integers or floats"),
        (HOLE, {"threshold": 0}, "threshold 0 "),
        (HOLE, {"threshold": 1.5}, "threshold 1.5"),
        (HOLE, {"from_alpha": True}, "no alpha"),
        (HOLE, {"from_alpha": True, "color": "#fff"}, "not both"),
        (HOLE, {"color": "red"}, "'red' is not a colour"),
        (HOLE, {"color": "#ff00f"}, "'#ff00f' is not a colour"),
        (HOLE, {"color": "#fff", "tolerance": 256}, "tolerance 256"),
        (b"no picture", {}, "picture"),
        (Path("missing.png"), {}, "missing.png"),
    ],
)
def test_what_is_no_mask_is_refused(source: object, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(source, **options)


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


def test_growing_by_less_than_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="-1"):
        grow(HOLE, -1)


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
