"""What pictures have in common is found, and divided out where it is half transparent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.pictures.prints import add_watermark, paint

from infilling import masks
from infilling.errors import InputError
from infilling.pictures.mask_files import read_mask
from infilling.pictures.picture import Picture
from infilling.pictures.watermark import divide_watermark, find_watermark


@pytest.mark.parametrize(("kind", "alpha"), [("text", 1.0), ("logo", 0.25), ("grid", 0.5)])
def test_marks_are_found(kind: str, alpha: float) -> None:
    pictures, truth, _, _ = add_watermark(1, 6, alpha, kind)
    found = find_watermark([Picture(each) for each in pictures])
    assert found[truth].mean() >= 0.9
    assert truth[found].mean() >= 0.8


def test_a_grey_mark_is_found_by_what_it_hides() -> None:
    """A mark as bright as the pictures are on average has no step in their mean."""
    _, truth, cover, clean = add_watermark(4, 8, 0.4, "logo")
    mean = np.mean([each[truth].mean(axis=0) for each in clean], axis=0)
    found = find_watermark([Picture(paint(each, cover, mean)) for each in clean])
    assert found[truth].mean() >= 0.9
    assert truth[found].mean() >= 0.8


def test_pictures_with_nothing_in_common_have_none() -> None:
    *_, clean = add_watermark(1, 8)
    assert not find_watermark([Picture(each) for each in clean]).any()


def test_what_is_half_transparent_is_divided_out() -> None:
    pictures, truth, _, clean = add_watermark(2, 6, 0.5, "text")
    divided, left = divide_watermark([Picture(each) for each in pictures])
    assert not left.any()
    for before, after, expected in zip(pictures, divided, clean, strict=True):
        np.testing.assert_array_equal(after.pixels[0, :50], before[0, :50])
        errors = [np.abs(each[truth].astype(int) - expected[truth]).mean() for each in (before, after.pixels)]
        assert errors[1] < 0.25 * errors[0], errors


def test_what_is_opaque_is_left_to_be_filled() -> None:
    pictures, truth, _, _ = add_watermark(1, 5, 1.0, "logo")
    divided, left = divide_watermark([Picture(each) for each in pictures])
    assert left[truth].mean() > 0.95
    np.testing.assert_array_equal(divided[0].pixels, pictures[0])


def test_too_few_and_different_sizes_are_refused() -> None:
    plain = Picture(np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(InputError, match="5 pictures or more"):
        find_watermark([plain] * 4)
    with pytest.raises(InputError, match="30×20, 30×21: sort them by size"):
        find_watermark([plain] * 4 + [Picture(np.zeros((21, 30, 3), np.uint8))])
    assert not find_watermark([plain] * 5).any()


def test_a_folder_on_the_command_line(tmp_path: Path, infill: Any) -> None:
    pictures, truth, _, clean = add_watermark(1, 5, 0.5, "logo")
    (tmp_path / "in").mkdir()
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(tmp_path / "in" / f"{number}.png", dpi=(300, 300))
    ran = infill("mask", "watermark", tmp_path / "in")
    assert ran.code == 0, ran.err
    assert read_mask(tmp_path / "in.mask.png")[truth].mean() > 0.95
    assert masks.watermark(tmp_path / "in", grow=0)[truth].mean() > 0.95
    ran = infill("mask", "watermark", tmp_path / "in", "--unblend", tmp_path / "clean")
    assert ran.code == 0, ran.err
    assert ran.lines == [str(tmp_path / "clean")]
    with Image.open(tmp_path / "clean" / "0.png") as image:
        assert np.abs(np.asarray(image)[truth].astype(int) - clean[0][truth]).mean() < 15
        assert round(image.info["dpi"][0]) == 300
    assert infill("mask", "watermark", tmp_path / "in", "--unblend", tmp_path / "in").code == 2
    assert infill("mask", "dust", tmp_path / "in" / "0.png", "--unblend", tmp_path / "x").code == 2


def test_the_mark_is_where_pictures_vary_less() -> None:
    pictures, truth, cover, _ = add_watermark(3, 6, 0.5, "logo")
    dark = [np.rint(each * (1 - cover[..., None])).astype(np.uint8) for each in add_watermark(3, 6)[3]]
    for marked in (pictures, dark):
        found = find_watermark([Picture(each) for each in marked])
        assert found[truth].mean() >= 0.9
        assert truth[found].mean() >= 0.8
