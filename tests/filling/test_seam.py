"""Seams: a drift of colour goes, a fill that fits stays, and nothing outside the hole changes."""

import numpy as np
import pytest
from skimage.data import astronaut

from infilling.filling.classical import ClassicalEngine
from infilling.filling.pipeline import fill_picture
from infilling.filling.seam import match_seam
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Floats, Picture

IMAGE = (np.asarray(astronaut())[100:228, 180:308] / 255).astype(np.float32)
HOLE = np.zeros((128, 128), bool)
HOLE[40:90, 30:85] = True


def rms(values: Floats) -> float:
    return float(np.sqrt(np.square(values[HOLE]).mean()))


@pytest.mark.parametrize("drift", [(0.1, 0.1, 0.1), (0.04, -0.06, 0.0)])
def test_a_drift_of_colour_goes(drift: tuple[float, float, float]) -> None:
    filled = IMAGE + np.float32(drift)
    matched = match_seam(IMAGE, filled, HOLE)
    assert rms(matched - IMAGE) < 0.3 * rms(filled - IMAGE)
    np.testing.assert_array_equal(matched[~HOLE], filled[~HOLE])


def test_a_drift_that_changes_along_the_seam_goes_too() -> None:
    ramp = np.linspace(-0.1, 0.1, 128, dtype=np.float32)[None, :, None]
    filled = IMAGE + ramp
    assert rms(match_seam(IMAGE, filled, HOLE) - IMAGE) < 0.35 * rms(filled - IMAGE)


@pytest.mark.parametrize("texture", ["photograph", "noise"])
def test_a_fill_that_fits_stays(texture: str) -> None:
    noise = np.random.default_rng(0).normal(0.5, 0.05, IMAGE.shape).astype(np.float32)
    image = IMAGE if texture == "photograph" else noise
    assert rms(match_seam(image, image, HOLE) - image) < 1.5 / 255


def test_what_lies_under_the_hole_and_outside_the_fill_plays_no_part() -> None:
    filled = IMAGE + np.float32(0.05)
    blind = match_seam(np.where(HOLE[..., None], np.float32(9), IMAGE), filled, HOLE)
    other = match_seam(IMAGE, np.where(HOLE[..., None], filled, np.float32(9)), HOLE)
    expected = match_seam(IMAGE, filled, HOLE)
    np.testing.assert_array_equal(blind[HOLE], expected[HOLE])
    np.testing.assert_array_equal(other[HOLE], expected[HOLE])


def test_a_step_by_hand() -> None:
    # Known and filled are flat, so no slope foretells a step. About the one hole pixel lie the steps 0.1 and
    # 0.3 in three channels; their mean is taken twice, weighted by how far they are from 0, then from it.
    image = np.float32([0.6, 0.6, 0.0, 0.8, 0.8])[None, :, None].repeat(3, axis=2)
    filled = np.full((1, 5, 3), 0.5, np.float32)
    mean = 0.0
    for _ in range(2):
        low, high = ((1 + (step - mean) ** 2 / 0.08**2) ** -2 for step in (0.1, 0.3))
        mean = (0.1 * low + 0.3 * high) / (low + high)
    error = ((0.01 * low + 0.09 * high) / (low + high) - mean**2) / 2
    matched = match_seam(image, filled, np.array([[False, False, True, False, False]]))
    assert matched[0, 2] == pytest.approx(0.5 + mean * (1 - 2 * error / mean**2), abs=1e-5)


def test_a_slope_that_goes_on_over_the_seam_is_no_step() -> None:
    slope = np.linspace(0, 1, 128, dtype=np.float32)[None, :, None].repeat(128, axis=0).repeat(3, axis=2)
    assert rms(match_seam(slope, slope, HOLE) - slope) < 1e-4


def test_without_a_known_neighbour_the_fill_stays() -> None:
    filled = IMAGE + np.float32(0.1)
    assert match_seam(IMAGE, filled, np.ones_like(HOLE)) is filled


def test_the_pipeline_matches_what_drifts_and_leaves_the_rest_bit_for_bit() -> None:
    pixels = np.rint(IMAGE * 255).astype(np.uint8)

    def drift(image: Floats, mask: Floats) -> Floats:
        true = IMAGE.transpose(2, 0, 1)[None]
        return np.asarray(true + np.float32([0.1, 0.0, -0.1])[None, :, None, None])

    engine = ClassicalEngine("drifting", drift, SizeRule(working_size=256))
    raw, matched = (
        fill_picture(Picture(pixels), HOLE, engine, detail=detail).pixels for detail in (False, True)
    )
    errors = [np.abs(result.astype(int) - pixels)[HOLE].mean() for result in (raw, matched)]
    assert errors[1] < 0.35 * errors[0]
    np.testing.assert_array_equal(matched[~HOLE], pixels[~HOLE])
