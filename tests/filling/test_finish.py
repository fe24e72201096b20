"""Finishing: flat stays flat, copies stay exact, stripes along the rim are no drift, grey stays grey."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.data import astronaut

from infilling import fill

Pixels = NDArray[np.uint8]

# Holes in boards and logos do end on edges.
pytestmark = pytest.mark.filterwarnings("ignore:the mask ends on the edge")


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


@pytest.mark.parametrize("side", [4, 5, 8, 16, 32])
@pytest.mark.parametrize("size", [(130, 150), (260, 300)])
def test_checkerboards_are_exact(side: int, size: tuple[int, int]) -> None:
    y, x = np.mgrid[: size[0], : size[1]]
    image = np.where((y // side + x // side) % 2, 220, 40).astype(np.uint8)[..., None].repeat(3, 2)
    hole = block(image.shape, size[1] // 3 + 1, size[0] // 3 + 3, size[1] // 4, size[0] // 4)
    np.testing.assert_array_equal(fill(image, hole), image)


@pytest.mark.parametrize("scale", [1, 4])  # hard outlines, and smooth ones
@pytest.mark.parametrize("side", [48, 128, 200])
def test_a_logo_gets_no_colours_that_it_has_not(side: int, scale: int) -> None:
    large = Image.new("RGB", (100 * scale, 100 * scale), (255, 255, 255))
    pen = ImageDraw.Draw(large)
    pen.ellipse([10 * scale, 10 * scale, 90 * scale, 90 * scale], fill=(220, 40, 30))
    pen.ellipse([25 * scale, 25 * scale, 75 * scale, 75 * scale], fill=(255, 255, 255))
    pen.rectangle([45 * scale, 30 * scale, 55 * scale, 95 * scale], fill=(20, 60, 160))
    resample = Image.Resampling.LANCZOS if scale > 1 else Image.Resampling.NEAREST
    image = np.asarray(large.resize((side, side), resample))
    for left, top, width, height in ((5, 40, 15, 20), (35, 35, 30, 30), (40, 10, 20, 15)):
        hole = block(image.shape, *(side * part // 100 for part in (left, top, width, height)))
        colours = {tuple(pixel) for pixel in image[~hole].tolist()}
        assert {tuple(pixel) for pixel in fill(image, hole)[hole].tolist()} <= colours


@pytest.mark.parametrize("grain", [1, 3, 8])
@pytest.mark.parametrize("side", [64, 101, 300])
def test_a_plain_colour_with_grain_gets_no_stain(side: int, grain: int) -> None:
    """Values beyond five deviations, and means over the hole beyond half a level, would be a stain."""
    for colour in ((200, 40, 60), (50, 60, 200), (128, 128, 128)):
        noise = np.random.default_rng(0).normal(0, grain, (side, side, 3))
        image = np.clip(colour + noise, 0, 255).round().astype(np.uint8)
        hole = block(image.shape, side // 4, side // 3, side // 3, side // 3)
        filled = fill(image, hole)[hole].astype(float)
        assert np.abs(filled - colour).max() <= 5 * grain + 1
        np.testing.assert_allclose(filled.mean(axis=0), colour, atol=0.5 + grain / 8)


ROWS, COLUMNS = np.mgrid[:300, :400]
STRIPES = {
    "table rows": np.where((ROWS // 20) % 2, 255, 228),
    "ruled paper": np.where(ROWS % 24 < 2, 150, 245),
    "pinstripes": np.where(ROWS % 6 < 3, 200, 70),
    "thin grid": np.where((ROWS % 17 < 1) | (COLUMNS % 17 < 1), 60, 235),
    "fence": np.where((COLUMNS % 40 < 8) | (ROWS % 80 < 6), 90, 200),
    "an edge along the rim": np.where(ROWS < 103, 80, 200),
    "stripes in a slope of light": np.where(ROWS // 20 % 2, 255, 200) - COLUMNS * 0.2,
    "bar code": np.where(np.repeat(np.random.default_rng(0).random(200) < 0.5, 2) & (ROWS >= 0), 20, 245),
}


@pytest.mark.parametrize(
    ("name", "grain"),
    [
        ("table rows", 1),
        ("bar code", 1),
        ("bar code", 3),
        ("an edge along the rim", 1),
        ("stripes in a slope of light", 3),
    ],
)
def test_stripes_along_the_rim_are_no_drift(name: str, grain: int) -> None:
    values = STRIPES[name] + np.random.default_rng(1).normal(0, grain, (300, 400))
    image = np.clip(values, 0, 255).round().astype(np.uint8)[..., None].repeat(3, 2)
    hole = block(image.shape, 153, 103, 100, 80)
    exact = psnr(fill(image, hole, "patch-synthesis"), image, hole)
    assert psnr(fill(image, hole), image, hole) > exact - 1


@pytest.mark.parametrize("margin", [0, 40, 156])
def test_grey_stays_grey(margin: int) -> None:
    """Also beside a coloured margin, be it 4 px from the hole."""
    photo = np.asarray(astronaut())[:300, 100:400]
    image = photo.mean(axis=2).astype(np.uint8)[..., None].repeat(3, 2)
    image[:, :margin] = (200, 40, 90)
    for size in (20, 90):
        hole = block(image.shape, 160, 120, size, size)
        filled = fill(image, hole)[hole]
        assert (filled == filled[:, :1]).all()
