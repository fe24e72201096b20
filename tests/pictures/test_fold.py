"""Creases on ten prints are found; what crosses only a part of the picture is left alone."""

import time

import numpy as np
import pytest
from PIL import Image, ImageDraw
from tests.pictures.prints import add_fold, load, make_print

from infilling.errors import InputError
from infilling.pictures import fold
from infilling.pictures.fold import find_fold
from infilling.pictures.picture import Picture


@pytest.mark.slow
def test_creases_are_found_on_ten_prints() -> None:
    scores = []
    for seed in range(10):
        photo, truth = add_fold(seed)
        found = find_fold(Picture(photo))
        scores.append(((found & truth).sum() / max(1, found.sum()), (found & truth).sum() / truth.sum()))
    precision, recall = np.mean(scores, axis=0)
    assert recall >= 0.7, scores
    assert precision >= 0.6, scores


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 6])  # 4 has masts from edge to edge
def test_clean_prints_have_none(seed: int) -> None:
    assert not find_fold(Picture(make_print(seed)[0])).any()


def draw_bands(ends: list[tuple[int, int, int, int]]) -> np.ndarray:
    """Bands of 12 px on a plain ground with an edge and some noise, (300, 400, 3) uint8."""
    image = Image.new("RGB", (400, 300), (110, 100, 90))
    ImageDraw.Draw(image).rectangle((250, 0, 400, 300), fill=(160, 150, 140))
    for x, y, other_x, other_y in ends:
        ImageDraw.Draw(image).line((x, y, other_x, other_y), fill=(230, 225, 220), width=12)
    noise = np.random.default_rng(0).normal(0, 3, (300, 400, 1))
    return np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)


@pytest.mark.slow
def test_several_creases_in_every_direction() -> None:
    plain = draw_bands([])
    for ends in (
        [(0, 60, 400, 90)],
        [(0, 200, 400, 140)],
        [(80, 0, 60, 300)],
        [(0, 60, 400, 70), (190, 0, 200, 300)],
    ):
        pixels = draw_bands(ends)
        truth = (pixels.astype(int) - plain > 40).all(axis=2)
        found = find_fold(Picture(pixels))
        assert found[truth].mean() > 0.85, ends
        assert truth[found].mean() > 0.7, ends


def test_what_ends_within_the_picture_is_no_crease() -> None:
    assert not find_fold(Picture(draw_bands([]))).any()  # an edge
    assert not find_fold(Picture(draw_bands([(0, 100, 200, 110)]))).any()


def test_depth_and_tiny_pictures() -> None:
    pixels = draw_bands([(0, 60, 400, 90)])
    found = find_fold(Picture(pixels))
    np.testing.assert_array_equal(find_fold(Picture(pixels.astype(np.uint16) * 257)), found)
    for shape in ((1, 1, 1), (1, 50, 3), (50, 1, 1), (9, 9, 3)):
        assert not find_fold(Picture(np.full(shape, 90, np.uint8))).any()
    with pytest.raises(InputError, match="must be above 0"):
        find_fold(Picture(pixels), sensitivity=0)


def test_sums_along_lines_are_those_of_each_line() -> None:
    values = np.random.default_rng(1).random((20, fold.SIDE)).astype(np.float32)
    sums = fold._sum_lines(values)
    assert sums.shape == (20 + 2 * fold.SIDE, fold.SIDE)
    for row in range(20):
        np.testing.assert_allclose(sums[fold.SIDE + row, 0], values[row].sum(), rtol=1e-5)
    # A line of SIDE - 1 rows down meets the first and the last row of 20 in the first 20 columns alone.
    diagonal = sum(values[x, x] for x in range(20))
    np.testing.assert_allclose(sums[fold.SIDE, fold.SIDE - 1], diagonal, rtol=1e-5)


def test_twelve_megapixels_take_no_longer_than_a_moment() -> None:
    pixels = np.asarray(Image.fromarray(load("coffee")).resize((4000, 3000)))
    start = time.process_time()
    find_fold(Picture(pixels))
    assert time.process_time() - start < 10  # 1 s alone
