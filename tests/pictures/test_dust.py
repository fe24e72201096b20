"""Dust on ten prints is found; what is larger, plain or clean is left alone."""

import time

import numpy as np
import pytest
from PIL import Image
from tests.pictures.prints import add_dust, load, make_print

from infilling.errors import InputError
from infilling.pictures.dust import find_dust
from infilling.pictures.mask import grow
from infilling.pictures.picture import Picture


def test_specks_and_hairs_are_found_on_ten_prints() -> None:
    scores = []
    for seed in range(10):
        photo, truth = add_dust(seed)
        found = find_dust(Picture(photo))
        scores.append(((found & truth).sum() / found.sum(), (found & truth).sum() / truth.sum()))
    precision, recall = np.mean(scores, axis=0)
    assert precision >= 0.6, scores
    assert recall >= 0.8, scores


def test_clean_prints_stay_nearly_clean() -> None:
    shares = [find_dust(Picture(make_print(seed)[0])).mean() for seed in range(7)]
    assert np.mean(shares) < 0.003, shares


def draw_stars() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A dark sky with discs of 10 px across, and specks of 3; where each is."""
    pixels = np.random.default_rng(0).integers(30, 38, (200, 300, 1), np.uint8).repeat(3, axis=2)
    rows, columns = np.mgrid[:200, :300]
    stars, specks = np.zeros((2, 200, 300), bool)
    for x in range(30, 290, 60):
        stars |= (rows - 60) ** 2 + (columns - x) ** 2 <= 5**2
        specks |= (rows - 140) ** 2 + (columns - x) ** 2 <= 1.5**2
    pixels[stars | specks] = 240
    return pixels, stars, specks


def test_what_is_larger_than_the_largest_speck_is_spared() -> None:
    pixels, stars, specks = draw_stars()
    every = find_dust(Picture(pixels))
    assert every[stars].mean() > 0.95
    assert every[specks].mean() > 0.95
    small = find_dust(Picture(pixels), max_size=6)
    assert not small[stars].any()
    assert small[specks].mean() > 0.95
    assert not small[~grow(stars | specks, 2)].any()


def test_light_and_dark_colour_and_16_bits_are_seen_alike() -> None:
    pixels, *_ = draw_stars()
    found = find_dust(Picture(pixels))
    np.testing.assert_array_equal(find_dust(Picture(255 - pixels)), found)
    np.testing.assert_array_equal(find_dust(Picture(pixels[..., :1])), found)
    np.testing.assert_array_equal(find_dust(Picture(pixels.astype(np.uint16) * 257)), found)


def test_faint_specks_need_more_sensitivity() -> None:
    pixels, _, specks = draw_stars()
    pixels[specks] = 70
    assert not find_dust(Picture(pixels))[specks].any()
    assert find_dust(Picture(pixels), sensitivity=4)[specks].mean() > 0.9


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 50, 3), (50, 1, 1), (3, 3, 3)])
def test_tiny_pictures_have_none(shape: tuple[int, ...]) -> None:
    assert not find_dust(Picture(np.full(shape, 90, np.uint8))).any()


@pytest.mark.parametrize("options", [{"max_size": 0}, {"sensitivity": 0}])
def test_numbers_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="must be above 0"):
        find_dust(Picture(np.zeros((9, 9, 3), np.uint8)), **options)


def test_twelve_megapixels_take_no_longer_than_a_moment() -> None:
    pixels = np.asarray(Image.fromarray(load("coffee")).resize((4000, 3000)))
    start = time.process_time()
    find_dust(Picture(pixels))
    assert time.process_time() - start < 10  # 1.5 s alone
