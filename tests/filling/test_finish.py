"""Finishing: flat stays flat, copies stay exact, stripes along the rim are no drift, grey stays grey."""

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import astronaut

from infilling import fill

Pixels = NDArray[np.uint8]


def block(shape: tuple[int, ...], x: int, y: int, width: int, height: int) -> NDArray[np.bool_]:
    hole = np.zeros(shape[:2], bool)
    hole[y : y + height, x : x + width] = True
    return hole


def psnr(filled: Pixels, truth: Pixels, hole: NDArray[np.bool_]) -> float:
    return float(10 * np.log10(255**2 / max(np.square(filled.astype(float) - truth)[hole].mean(), 1e-9)))


@pytest.mark.parametrize("engine", ["default", "fidelity"])
@pytest.mark.parametrize(("side", "size"), [(24, 8), (64, 16), (128, 40), (512, 128)])
def test_a_plain_colour_stays_plain(engine: str, side: int, size: int) -> None:
    for colour in ((200, 30, 30), (40, 160, 60), (250, 200, 20), (255, 255, 255), (0, 0, 0)):
        image = np.full((side, side, 3), colour, np.uint8)
        hole = block(image.shape, (side - size) // 2, (side - size) // 2, size, size)
        assert np.abs(fill(image, hole, engine).astype(int) - colour).max() <= 2


def test_a_drawing_in_flat_colours_has_no_stains() -> None:
    """Two colours meet in the hole: whatever the outline, every pixel has one of the two."""
    image = np.full((96, 96, 3), (250, 250, 250), np.uint8)
    image[:, 48:] = (20, 60, 200)
    hole = block(image.shape, 30, 34, 36, 30)
    colours = {tuple(pixel) for pixel in fill(image, hole)[hole].tolist()}
    assert colours <= {(250, 250, 250), (20, 60, 200)}


@pytest.mark.parametrize("side", [4])
def test_checkerboards_are_exact(side: int) -> None:
    y, x = np.mgrid[:260, :300]
    image = np.where((y // side + x // side) % 2, 220, 40).astype(np.uint8)[..., None].repeat(3, 2)
    hole = block(image.shape, 101, 90, 80, 70)
    np.testing.assert_array_equal(fill(image, hole), image)


ROWS, COLUMNS = np.mgrid[:300, :400]
STRIPES = {
    "table rows": np.where((ROWS // 20) % 2, 255, 228),
    "ruled paper": np.where(ROWS % 24 < 2, 150, 245),
    "pinstripes": np.where(ROWS % 6 < 3, 200, 70),
    "bar code": np.where(np.repeat(np.random.default_rng(0).random(200) < 0.5, 2) & (ROWS >= 0), 20, 245),
}


@pytest.mark.parametrize("name", ["table rows", "bar code"])
def test_stripes_along_the_rim_are_no_drift(name: str) -> None:
    values = STRIPES[name] + np.random.default_rng(1).normal(0, 1, (300, 400))
    image = np.clip(values, 0, 255).round().astype(np.uint8)[..., None].repeat(3, 2)
    hole = block(image.shape, 153, 103, 100, 80)
    exact = psnr(fill(image, hole, "patch-synthesis"), image, hole)
    assert psnr(fill(image, hole), image, hole) > exact - 1


@pytest.mark.parametrize("margin", [0, 40])
def test_grey_stays_grey(margin: int) -> None:
    """Also beside a coloured margin far from the hole."""
    photo = np.asarray(astronaut())[:300, 100:400]
    image = photo.mean(axis=2).astype(np.uint8)[..., None].repeat(3, 2)
    image[:, :margin] = (200, 40, 90)
    for size in (20, 90):
        hole = block(image.shape, 160, 120, size, size)
        filled = fill(image, hole)[hole]
        assert (filled == filled[:, :1]).all()
