"""Transparent pixels: never a source, and partly transparent ones count by their alpha."""

import numpy as np
import pytest

from infilling.filling.engine import open_engine
from infilling.filling.pipeline import fill_picture
from infilling.filling.visible import see_visible
from infilling.pictures.picture import Picture

ENGINES = ["default", "push-pull", "telea", "biharmonic", "patch-synthesis", "mean"]


def make_cut_out(dtype: type = np.uint8) -> tuple[Picture, np.ndarray]:
    """A light cloth in a disc with a soft edge, black where it is transparent; and a hole across the edge."""
    y, x = np.mgrid[:120, :160]
    alpha = np.clip((50 - np.hypot(y - 60, x - 60)) * 50, 0, 255).astype(np.uint8)
    cloth = np.random.default_rng(0).integers(160, 181, (120, 160, 3), np.uint8)
    pixels = np.where(alpha[..., None] > 0, cloth, 0).astype(np.uint8)
    hole = np.zeros((120, 160), dtype=bool)
    hole[50:80, 85:130] = True
    scale = 257 if dtype == np.uint16 else 1
    return Picture(pixels.astype(dtype) * scale, alpha.astype(dtype) * scale), hole


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_hole_across_an_outline_is_filled_from_what_is_visible(engine: str, dtype: type) -> None:
    picture, hole = make_cut_out(dtype)
    result = fill_picture(picture, hole, open_engine(engine))
    values = result.pixels[hole & (picture.alpha > 0)] / (257 if dtype == np.uint16 else 1)
    assert values.min() >= 150
    assert abs(values.mean() - 170) < 8
    np.testing.assert_array_equal(result.pixels[~hole], picture.pixels[~hole])
    np.testing.assert_array_equal(result.alpha, picture.alpha)


def test_the_colour_below_transparency_changes_nothing() -> None:
    picture, hole = make_cut_out()
    other = picture.pixels.copy()
    other[picture.alpha == 0] = (255, 0, 255)
    one, two = (
        fill_picture(Picture(pixels, picture.alpha), hole, open_engine("push-pull"))
        for pixels in (picture.pixels, other)
    )
    np.testing.assert_array_equal(one.pixels[hole], two.pixels[hole])


def test_partly_transparent_pixels_count_by_their_alpha() -> None:
    pixels = np.full((8, 32, 1), 100, np.uint8)
    alpha = np.full((8, 32), 255, np.uint8)
    pixels[:, 16], alpha[:, 16] = 200, 51
    nothing = np.zeros((8, 32), dtype=bool)
    seen, unseen = see_visible(Picture(pixels, alpha), nothing)
    assert ((seen[:, 16] >= 120) & (seen[:, 16] <= 135)).all()  # a fifth of its own 200, the rest about 100
    assert (seen[:, :16] == 100).all()
    assert unseen is not None
    assert not unseen.any()
    alpha[:, 16] = 204
    more, _ = see_visible(Picture(pixels, alpha), nothing)
    assert (more[:, 16] > seen[:, 16] + 30).all()


def test_what_is_opaque_or_wholly_transparent_is_taken_as_it_is() -> None:
    hole = np.zeros((8, 32), dtype=bool)
    hole[2:4, 3:9] = True
    pixels = np.random.default_rng(0).integers(0, 255, (8, 32, 3), np.uint8)
    for alpha in (None, np.full((8, 32), 255, np.uint8), np.zeros((8, 32), np.uint8)):
        seen, unseen = see_visible(Picture(pixels, alpha), hole)
        assert seen is pixels
        assert unseen is None


def test_a_large_picture_is_reduced_and_odd_sides_are_kept() -> None:
    pixels = np.full((2101, 2303, 1), 90, np.uint8)
    alpha = np.full((2101, 2303), 255, np.uint8)
    pixels[1000:, 1000:], alpha[1000:, 1000:] = 0, 0
    hole = np.zeros(alpha.shape, dtype=bool)
    hole[990:1010, 990:1010] = True
    seen, unseen = see_visible(Picture(pixels, alpha), hole)
    assert (seen[~hole] == 90).all()
    assert unseen is not None
    assert unseen[1015, 1015]
    assert not unseen[1100, 1100]
