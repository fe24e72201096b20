"""Repeats: offsets are the pitches that patterns were drawn with, and what is predicted is what was there."""

import numpy as np
import pytest
from skimage.data import astronaut, coffee

from infilling.filling.repeats import _correlate, _is_alike, find_offsets, predict

ROWS, COLUMNS = np.mgrid[:240, :300]
HOLE = np.zeros(ROWS.shape, bool)
HOLE[90:150, 110:190] = True
PATTERNS = {
    "stripes": COLUMNS % 9 < 4,
    "grid": (ROWS % 21 < 2) | (COLUMNS % 17 < 1),
    "hatching": (ROWS + 2 * COLUMNS) % 22 < 9,
    "bricks": (ROWS % 14 < 2) | ((COLUMNS + ROWS // 14 % 2 * 15) % 30 < 2),
    "edge along the rim": ROWS >= 90,
    "edges along both rims": (ROWS >= 90) & (ROWS < 150),
    "random bars": np.repeat(np.random.default_rng(5).random(100) < 0.5, 3)[COLUMNS],
}


def draw(name: str, noise: float = 0) -> np.ndarray:
    values = 0.2 + 0.6 * PATTERNS[name] + np.random.default_rng(0).normal(0, noise, ROWS.shape)
    return values.astype(np.float32)[..., None].repeat(3, axis=2)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_is_predicted_exactly(name: str) -> None:
    image = draw(name)
    found = predict(np.where(HOLE[..., None], np.float32(0.5), image), HOLE)
    assert found is not None
    assert found.is_exact
    np.testing.assert_array_equal(found.image, image)


@pytest.mark.parametrize("name", PATTERNS)
def test_under_grain_a_pattern_is_exact_and_off_by_the_grain_of_two_places(name: str) -> None:
    grain = 0.015
    image = draw(name, noise=grain)
    found = predict(np.where(HOLE[..., None], np.float32(0.5), image), HOLE)
    assert found is not None
    assert found.is_exact
    error = (found.image - image)[HOLE]
    assert np.sqrt(np.square(error).mean()) == pytest.approx(grain * 2**0.5, rel=0.1)


def test_a_grid_that_grows_darker_on_all_sides_is_not_exact() -> None:
    light = 1 - np.square(ROWS / 240 - 0.5) - np.square(COLUMNS / 300 - 0.5)
    image = draw("grid", noise=0.01) * light.astype(np.float32)[..., None]
    found = predict(image, HOLE)
    assert found is None or not found.is_exact


def test_offsets_are_multiples_of_the_pitch_and_errors_those_of_the_noise() -> None:
    offsets, errors = find_offsets(draw("grid", noise=0.01), HOLE)
    assert len(offsets)
    assert not (offsets % (21, 17)).any()
    np.testing.assert_allclose(np.sqrt(errors), 0.01 * 2**0.5, rtol=0.1)


def test_a_large_pattern_is_found_at_half_the_size_and_refined() -> None:
    image = np.kron(draw("bricks")[:, :, 0], np.ones((3, 3), np.float32))[1:, 2:, None].repeat(3, axis=2)
    hole = np.kron(HOLE, np.ones((3, 3), bool))[1:, 2:]
    found = predict(image, hole)
    assert found is not None
    np.testing.assert_array_equal(found.image, image)


@pytest.mark.parametrize("photo", [astronaut, coffee])
def test_nothing_repeats_in_a_photograph_or_in_noise(photo) -> None:
    image = photo()[100:340, 100:400].astype(np.float32) / 255
    assert predict(image, HOLE) is None
    assert predict(np.random.default_rng(0).random(image.shape, np.float32), HOLE) is None
    assert predict(np.full_like(image, 0.5), HOLE) is None


@pytest.mark.parametrize(("pitch", "slope"), [(140, 0.2), (170, 0.4)])
def test_faint_waves_do_not_bring_light_from_elsewhere(pitch: int, slope: float) -> None:
    """Waves of 24 px repeat; at some of their multiples the light is another by 0.1 and more."""
    along = 2 * np.pi * (ROWS + 0.3 * COLUMNS)
    light = 0.3 + 0.15 * np.sin(along / pitch) + slope * np.square(COLUMNS / 300)
    image = (light + 0.04 * np.sin(along / 24)).astype(np.float32)[..., None].repeat(3, axis=2)
    found = predict(image, HOLE)
    assert found is None or np.abs(found.image - image).max() < 0.06


@pytest.mark.parametrize("grain", [0, 0.006])
@pytest.mark.parametrize("pattern", ["stripes", "bricks"])
def test_what_repeats_under_uneven_light_is_copied_with_the_light(pattern: str, grain: float) -> None:
    light = 0.2 - 0.25 * np.square(COLUMNS / 300 - 0.4) - 0.15 * np.square(ROWS / 240 - 0.5)
    truth = 0.5 * draw(pattern) + light[..., None].astype(np.float32)
    noise = np.random.default_rng(0).normal(0, grain, truth.shape).astype(np.float32)
    found = predict(truth + noise, HOLE)
    assert found is not None
    assert found.is_exact
    assert np.sqrt(np.square(found.image - truth)[HOLE].mean()) < 0.006 + 1.5 * grain


def test_crumbs_in_which_no_window_is_known_are_not_predicted() -> None:
    for side in (8, 10, 24):
        hole = np.zeros((side, side + 10), bool)
        hole[side // 2 :, 3:-3] = True
        image = np.random.default_rng(side).random((*hole.shape, 3), np.float32)
        assert predict(image, hole) is None


def test_a_hole_without_surroundings_is_not_predicted() -> None:
    assert predict(draw("stripes"), np.ones_like(HOLE)) is None


@pytest.mark.parametrize("side", [120, 128, 200])
def test_nothing_is_predicted_of_strips_too_thin_to_compare(side: int) -> None:
    """Blocks with 12 px between them: no known pixel has all of its surroundings."""
    hole = (np.arange(side) % 56 < 44)[:, None] & (np.arange(side) % 56 < 44)
    image = np.random.default_rng(0).random((side, side, 3), np.float32)
    predict(image, hole)
    assert not _correlate(image, hole, is_whole=True).any()


def test_nothing_is_said_to_be_alike_where_no_two_known_pixels_are_compared() -> None:
    image, hole = draw("stripes"), np.ones_like(HOLE)
    hole[:, :9] = False
    assert _is_alike(image, hole, np.array([3, 0]))
    assert not _is_alike(image, hole, np.array([0, 9]))
