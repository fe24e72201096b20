"""Masks from files, images and arrays: every way in, and what is said about masks that mark nothing."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from infilling.errors import InfillingWarning, InputError
from infilling.pictures.mask_files import read_mask, read_soft_mask

HOLE = np.array([[False, True, True], [False, False, True]])
SPOT = np.zeros((12, 16), np.uint8)
SPOT[4:9, 5:11] = 1


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def paint(hole: np.ndarray, mode: str) -> Image.Image:
    """White on black in a Pillow mode."""
    return Image.fromarray(hole.astype(np.uint8) * 255).convert(mode)


# -- read ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F"])
def test_pillow_image_of_every_mode_is_read_mask(mode: str) -> None:
    image = paint(HOLE, mode)
    if mode == "F":
        image = Image.fromarray(HOLE.astype(np.float32))
    assert (read_mask(image) == HOLE).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_png_of_every_mode_is_read_mask(mode: str) -> None:
    assert (read_mask(encode(paint(HOLE, mode))) == HOLE).all()


def test_path_is_read_mask(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(encode(paint(HOLE, "L")))
    assert (read_mask(tmp_path / "mask.png") == HOLE).all()


def test_jpeg_noise_goes_away() -> None:
    hole = np.zeros((64, 64), dtype=bool)
    hole[13:42, 21:47] = True
    data = encode(paint(hole, "L"), "JPEG", quality=30)
    assert len(np.unique(np.asarray(Image.open(io.BytesIO(data))))) > 2, "the test needs a noisy mask"
    assert (read_mask(data) == hole).all()


def test_half_of_white_is_hole_and_less_is_known() -> None:
    assert read_mask(np.array([[0, 1, 127, 128, 255]], np.uint8)).tolist() == [
        [False, False, False, True, True]
    ]
    assert read_mask(np.array([[2, 32767, 32768]], np.uint16)).tolist() == [[False, False, True]]
    assert read_mask(np.array([[0, 0.49, 0.5]])).tolist() == [[False, False, True]]
    grey = np.repeat(np.array([[127, 128]], np.uint8)[..., None], 3, axis=2)
    assert read_mask(grey).tolist() == [[False, True]]
    assert read_mask(np.full((1, 1, 3), 0.5)).tolist() == [[True]]


def test_sixteen_bit_png_is_read_at_sixteen_bits() -> None:
    levels = np.array([[0, 32767, 32768, 65535]], np.uint16)
    assert read_mask(encode(Image.fromarray(levels))).tolist() == [[False, False, True, True]]


def test_threshold_moves() -> None:
    levels = np.array([[25, 26, 229, 230]], np.uint8)
    assert read_mask(levels, threshold=0.1).tolist() == [[False, True, True, True]]
    assert read_mask(levels, threshold=0.9).tolist() == [[False, False, False, True]]


def test_colours_count_by_luma() -> None:
    colours = np.array([[[0, 255, 0], [255, 0, 0], [0, 0, 255], [255, 255, 0]]], np.uint8)
    assert read_mask(colours).tolist() == [[True, False, False, True]]


@pytest.mark.parametrize("kind", [bool, np.uint8, np.uint16, np.int64, np.float32])
def test_zeros_and_ones_of_any_type_are_taken_as_they_are(kind: type) -> None:
    assert (read_mask(HOLE.astype(kind)) == HOLE).all()
    assert (read_mask(HOLE.astype(kind)[..., None]) == HOLE).all()


def test_wide_integers_span_eight_or_sixteen_bits() -> None:
    assert read_mask(np.array([[127, 128]], np.int64)).tolist() == [[False, True]]
    assert read_mask(np.array([[128, 40000]], np.int32)).tolist() == [[False, True]]


def test_transparent_counts_as_black_unless_alpha_is_the_mask() -> None:
    image = np.array(
        [[[255, 255, 255, 0], [255, 255, 255, 127], [255, 255, 255, 128], [0, 0, 0, 255]]], np.uint8
    )
    assert read_mask(image).tolist() == [[False, False, True, False]]
    assert read_mask(image, from_alpha=True).tolist() == [[True, True, True, False]]
    assert read_mask(Image.fromarray(image), from_alpha=True).tolist() == [[True, True, True, False]]
    assert read_mask(encode(Image.fromarray(image)), from_alpha=True).tolist() == [[True, True, True, False]]


def test_colour_is_read_with_tolerance() -> None:
    image = np.array([[[255, 0, 255], [250, 4, 255], [249, 0, 255], [255, 255, 255]]], np.uint8)
    assert read_mask(image, color="#ff00ff").tolist() == [[True, False, False, False]]
    assert read_mask(image, color="#F0F", tolerance=5).tolist() == [[True, True, False, False]]
    assert read_mask(image.astype(np.uint16) * 257, color="#f0f", tolerance=5).tolist() == [
        [True, True, False, False]
    ]
    assert read_mask(np.array([[9, 8]], np.uint8), color="#080808").tolist() == [[False, True]]


def test_invert_comes_last() -> None:
    assert (read_mask(HOLE, invert=True) == ~HOLE).all()
    image = np.array([[[255, 0, 255], [0, 0, 0]]], np.uint8)
    assert read_mask(image, color="#f0f", invert=True).tolist() == [[False, True]]


def test_result_is_no_view_of_the_source() -> None:
    source = HOLE.copy()
    read_mask(source)[...] = True
    assert (source == HOLE).all()


def test_size_mismatch_names_both_sizes_and_can_be_resized() -> None:
    with pytest.raises(InputError, match=r"mask is 3×2 .* picture is 6×4"):
        read_mask(HOLE, size=(4, 6))
    assert (read_mask(HOLE, size=(4, 6), resize=True) == HOLE.repeat(2, axis=0).repeat(2, axis=1)).all()
    assert (read_mask(HOLE, size=(2, 3)) == HOLE).all()


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        (np.zeros((2, 2, 5)), {}, "2×2×5"),
        (np.zeros(4), {}, "not 4"),
        (np.zeros((0, 3), np.uint8), {}, "no pixels"),
        (np.array([[0.0, 7.0, 255.0]]), {}, "spans 0 to 255"),
        (np.array([[0.0, np.nan]]), {}, r"is in \[0, 1\]"),
        (np.array([[-1, 0]]), {}, "spans -1 to 0"),
        (np.array([[1 << 20]]), {}, "0 to 65535"),
        (np.array([["a"]]), {}, "booleans, integers or floats"),
        ([[1, 2], [3]], {}, "cannot make a mask of list"),
        (object(), {}, "not object"),
        (HOLE, {"threshold": 0}, "threshold 0 "),
        (HOLE, {"threshold": 1.5}, "threshold 1.5"),
        (HOLE, {"from_alpha": True}, "no alpha"),
        (HOLE, {"from_alpha": True, "color": "#fff"}, "not both"),
        (HOLE, {"color": "red"}, "'red' is not a colour"),
        (HOLE, {"color": "#ff00f"}, "'#ff00f' is not a colour"),
        (HOLE, {"color": "#fff", "tolerance": 256}, "tolerance 256"),
        (b"no picture", {}, "the mask: not a picture"),
        (Path("missing.png"), {}, "missing.png"),
    ],
)
def test_what_is_no_mask_is_refused(source: object, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_mask(source, **options)


# -- one rule for what is bright -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "levels",
    [
        SPOT,
        SPOT * 2,
        SPOT * 255,
        10 + SPOT * 30,
        np.dstack([SPOT * 255, SPOT * 0, SPOT * 0]),
        np.dstack([SPOT * 0, SPOT * 0, SPOT * 255, SPOT * 255]),
        SPOT.astype(np.uint16) * 255,
    ],
    ids=["labels-1", "labels-2", "white", "two-greys", "red", "blue-layer", "16-bit"],
)
def test_of_two_values_the_brighter_is_hole_on_every_way_in(levels: np.ndarray, tmp_path: Path) -> None:
    image = Image.fromarray(levels)
    (tmp_path / "mask.png").write_bytes(encode(image))
    ways = [levels, image, encode(image), tmp_path / "mask.png", str(tmp_path / "mask.png"), levels.tolist()]
    np.testing.assert_array_equal(read_mask(io.BytesIO(encode(image))), SPOT > 0)
    for source in ways:
        np.testing.assert_array_equal(read_mask(source), SPOT > 0)
        np.testing.assert_array_equal(read_mask(source, invert=True), SPOT == 0)


@pytest.mark.parametrize("kind", [np.int64, np.uint32, np.float32, np.float64])
def test_two_values_of_any_size_are_taken(kind: type) -> None:
    np.testing.assert_array_equal(read_mask(SPOT.astype(kind) * 1_000_000), SPOT > 0)


def test_a_threshold_counts_also_for_two_values() -> None:
    assert read_mask(SPOT * np.uint8(200), threshold=0.5).sum() == SPOT.sum()
    with pytest.raises(InputError, match=r"nowhere reaches 50% of white: .* has 39.2%"):
        read_mask(SPOT * np.uint8(100), threshold=0.5)


def test_a_mask_that_is_nowhere_bright_enough_is_refused() -> None:
    paint = Image.new("RGB", (64, 64))
    ImageDraw.Draw(paint).ellipse((10, 10, 50, 40), fill=(255, 0, 0))
    smooth = paint.resize((48, 48), Image.Resampling.BILINEAR)
    for source in (smooth, encode(smooth), np.asarray(smooth), encode(paint, "JPEG")):
        with pytest.raises(InputError, match="marks something, but nowhere reaches 50% of white"):
            read_mask(source)
    assert read_mask(smooth, threshold=0.25).any()


def test_black_paint_on_a_transparent_layer_is_refused_in_words_that_help() -> None:
    layer = np.dstack([SPOT * 0, SPOT * 0, SPOT * 0, SPOT * 255])
    with pytest.raises(InputError, match="black where it is opaque"):
        read_mask(layer)
    np.testing.assert_array_equal(read_mask(layer, from_alpha=True, invert=True), SPOT > 0)


def test_a_black_mask_marks_nothing() -> None:
    assert not read_mask(SPOT * 0).any()
    assert not read_mask(np.full((4, 4, 4), 255, np.uint8), from_alpha=True).any()


# -- soft masks ----------------------------------------------------------------------------------------------


def test_a_soft_mask_gives_its_greys_as_weights() -> None:
    greys = np.array([[0, 3, 51, 204, 255]], np.uint8)
    weights = [[0, 0, 0.2, 0.8, 1]]
    np.testing.assert_allclose(read_soft_mask(greys), weights, atol=1e-6)
    np.testing.assert_allclose(read_soft_mask(encode(Image.fromarray(greys))), weights, atol=1e-6)
    np.testing.assert_allclose(read_soft_mask(255 - greys, invert=True), weights, atol=1e-6)
    layer = np.dstack([greys, 255 - greys])
    np.testing.assert_allclose(read_soft_mask(layer, from_alpha=True), weights, atol=1e-6)
    assert not read_soft_mask(greys * 0).any()


# -- colours in the file's own depth -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.int32, np.float32, np.uint16])
def test_a_tiff_of_data_is_read_like_the_array_that_it_holds(kind: type, tmp_path: Path) -> None:
    hole = np.zeros((20, 30), bool)
    hole[4:9, 5:11] = True
    Image.fromarray(hole.astype(kind)).save(tmp_path / "mask.tif")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.tif"), hole)
    np.testing.assert_array_equal(read_mask((tmp_path / "mask.tif").read_bytes()), hole)


def test_a_picture_with_a_painted_hole_is_told_from_a_mask() -> None:
    painted = np.random.default_rng(0).integers(40, 200, (30, 40, 3), np.uint8)
    painted[5:9, 5:9] = 255, 0, 255
    with pytest.warns(InfillingWarning, match="give the colour"):
        read_mask(painted)
    assert read_mask(painted, color="#f0f").sum() == 16


def test_a_colour_is_exact_in_sixteen_bits() -> None:
    image = np.zeros((1, 4, 3), np.uint16)
    image[0, :, 0] = [65535, 65534, 65535 - 257, 0x1234]
    assert read_mask(image, color="#ff0000").tolist() == [[True, False, False, False]]
    assert read_mask(image, color="#ff0000", tolerance=1).tolist() == [[True, True, True, False]]
    assert read_mask(image, color="#123400000000").tolist() == [[False, False, False, True]]
    assert read_mask(image, color="#ffff00000000", tolerance=1).tolist() == [[True, True, False, False]]
    with pytest.raises(InputError, match="tolerance 256 is outside 0 to 255"):
        read_mask(image, color="#ff0000", tolerance=256)


# -- the frame that a mask was drawn on ----------------------------------------------------------------------


def test_a_mask_of_the_stored_frame_is_named_and_turned() -> None:
    for turn, size in ((3, (12, 16)), (6, (16, 12)), (8, (16, 12))):
        with pytest.raises(InputError, match=f"EXIF orientation {turn} turns it by .*frame .*'stored'"):
            read_mask(SPOT, size=size, turn=turn)
        with pytest.raises(InputError, match="frame"):
            read_mask(SPOT, size=size, turn=turn, resize=True)
        quarters = {3: 2, 6: 3, 8: 1}[turn]
        turned = read_mask(SPOT, size=size, turn=turn, frame="stored")
        np.testing.assert_array_equal(turned, np.rot90(SPOT, quarters) > 0)
    np.testing.assert_array_equal(read_mask(SPOT, size=(12, 16), turn=3, frame="seen"), SPOT > 0)


def test_a_mask_that_fits_in_one_way_only_needs_no_frame() -> None:
    assert read_mask(SPOT, size=(12, 16), turn=6).sum() == SPOT.sum()
    even = SPOT | SPOT[::-1, ::-1]
    np.testing.assert_array_equal(read_mask(even, size=(12, 16), turn=3), even > 0)


def test_files_that_are_closed_or_of_text_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(encode(Image.fromarray(SPOT)))
    with path.open("rb") as closed:
        pass
    with pytest.raises(InputError, match="the mask's file cannot be read"):
        read_mask(closed)
    with path.open("wb") as writing, pytest.raises(InputError, match="the mask's file cannot be read"):
        read_mask(writing)
    with pytest.raises(InputError, match="open it for bytes"):
        read_mask(io.StringIO("mask.png"))  # type: ignore[arg-type]
