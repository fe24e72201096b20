"""Thin holes and scattered pixels: as good as the biharmonic equation, with nothing but the known pixels."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from skimage.data import astronaut
from skimage.restoration import inpaint_biharmonic

from infilling import InfillingWarning, fill
from infilling.filling.smooth import fill_smoothly, fill_thin, find_thin

Pixels = NDArray[np.uint8]
PHOTO: Pixels = np.asarray(astronaut())[60:200, 160:300]


def psnr(filled: Pixels, truth: Pixels, hole: NDArray[np.bool_]) -> float:
    return float(10 * np.log10(255**2 / np.square(filled.astype(float) - truth)[hole].mean()))


def lose(photo: Pixels, share: float) -> tuple[Pixels, NDArray[np.bool_]]:
    hole = np.random.default_rng(0).random(photo.shape[:2]) < share
    return np.where(hole[..., None], 0, photo).astype(np.uint8), hole


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3])
def test_dead_pixels_are_far_above_telea(data_dir: Path, share: float) -> None:
    names = ("canyon", "pier", "planks-and-sea", "spacecraft")
    for photo in (PHOTO, *(cut(data_dir / "photos" / f"{name}.jpg") for name in names)):
        given, hole = lose(photo, share)
        telea = cv2.inpaint(given, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
        assert psnr(fill(given, hole), photo, hole) > psnr(telea, photo, hole) + 2


def test_dead_pixels_in_grain_get_the_mean_of_many() -> None:
    """The mean of N neighbours is off by σ² (1 + 1/N); a plate, whose weights are larger, by 1.69 σ²."""
    grain = np.random.default_rng(2).normal(0, 20, (256, 256))
    image = (128 + grain).clip(0, 255).round().astype(np.uint8)
    hole = np.random.default_rng(3).random(image.shape) < 0.02
    error = np.square(fill(np.where(hole, 0, image).astype(np.uint8), hole).astype(float) - image)[
        hole
    ].mean()
    assert error < 1.2 * 20**2


def test_dead_pixels_follow_edges() -> None:
    """Of a diagonal edge, neighbours along it say what is there: a plate across it is off by 100 levels."""
    y, x = np.mgrid[:96, :96]
    image = np.where(x + y < 96, 40, 210).astype(np.uint8)
    hole = np.random.default_rng(4).random(image.shape) < 0.02
    filled = fill(np.where(hole, 0, image).astype(np.uint8), hole).astype(int)
    assert np.abs(filled - image)[5:-5, 5:-5].max() <= 2


def cut(path: Path) -> Pixels:
    with Image.open(path) as photo:
        left, top = photo.width // 2 - 100, photo.height // 2 - 100
        return np.asarray(photo.crop((left, top, left + 200, top + 200)).convert("RGB"))


@pytest.mark.parametrize("share", [0.6, 0.9, 0.99])
def test_scattered_pixels_are_no_worse_than_telea_and_stay_in_range(share: float) -> None:
    given, hole = lose(PHOTO, share)
    with pytest.warns(InfillingWarning, match="covers"):
        filled = fill(given, hole)
    telea = cv2.inpaint(given, hole.astype(np.uint8), 3, cv2.INPAINT_TELEA)
    assert psnr(filled, PHOTO, hole) > psnr(telea, PHOTO, hole)
    known = PHOTO[~hole]
    assert (filled >= known.min(axis=0)).all()
    assert (filled <= known.max(axis=0)).all()


def test_a_plate_is_the_solution_of_the_biharmonic_equation() -> None:
    _, hole = lose(PHOTO, 0.1)
    hole[:3] = hole[-3:] = hole[:, :3] = hole[:, -3:] = False  # scikit-image treats edges in another way
    image = PHOTO.astype(np.float32) / 255
    expected = inpaint_biharmonic(image, hole, channel_axis=-1)
    # Both are solutions where each hole pixel has whole surroundings; the rest agrees within 1 level or so.
    assert np.abs(fill_smoothly(image, hole) - expected)[hole].mean() < 0.5 / 255


def test_a_slope_continues() -> None:
    rows, columns = np.mgrid[:30, :40]
    slope = (0.2 + 0.01 * rows + 0.005 * columns)[..., None].repeat(3, axis=2).astype(np.float32)
    hole = np.random.default_rng(1).random((30, 40)) < 0.2
    hole[:3] = hole[-3:] = hole[:, :3] = hole[:, -3:] = False
    np.testing.assert_allclose(fill_smoothly(slope, hole), slope, atol=2e-4)


def test_what_the_hole_holds_plays_no_part() -> None:
    image, hole = PHOTO.astype(np.float32) / 255, np.zeros(PHOTO.shape[:2], bool)
    hole[10:12, 10:60] = True
    other = np.where(hole[..., None], np.float32(7), image)
    np.testing.assert_array_equal(fill_smoothly(image, hole), fill_smoothly(other, hole))


def test_lines_and_specks_are_thin_and_the_corners_of_a_block_are_not() -> None:
    drawn = np.zeros((60, 80), np.uint8)
    cv2.circle(drawn, (25, 30), 12, 1, -1)
    disc = drawn > 0
    cv2.line(drawn, (0, 59), (79, 0), 1, 1)
    drawn[50:52, 70:72] = 1
    thin = find_thin(drawn > 0)
    assert not (thin & disc).any()
    assert thin[50:52, 70:72].all()
    assert thin[0:10, 60:80].sum() == (drawn[0:10, 60:80] > 0).sum()


@pytest.mark.parametrize(("height", "width"), [(1, 9), (2, 2), (9, 1), (300, 140)])
def test_pictures_of_any_size_and_more_than_a_tile(height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (height, width, 1), dtype=np.uint8)
    hole = rng.random((height, width)) < 0.3
    hole[0, 0] = False
    before, left = pixels.copy(), hole.copy()
    fill_thin(pixels, left)
    np.testing.assert_array_equal(pixels[~hole], before[~hole])
    np.testing.assert_array_equal(left, hole & ~find_thin(hole))


def test_a_line_over_a_photograph_is_closed() -> None:
    """A scratch of 2 px: better than texture and network, and than Telea."""
    drawn = np.zeros(PHOTO.shape[:2], np.uint8)
    cv2.line(drawn, (0, 20), (139, 120), 1, 2)
    hole = drawn > 0
    given = np.where(hole[..., None], 0, PHOTO).astype(np.uint8)
    telea = cv2.inpaint(given, drawn, 3, cv2.INPAINT_TELEA)
    assert psnr(fill(given, hole), PHOTO, hole) > psnr(telea, PHOTO, hole) + 1
