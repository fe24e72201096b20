"""Rim of a hole: a mask that ends on the edge of what it covers."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from infilling.pictures import holes
from infilling.pictures.mask import Mask, grow
from infilling.pictures.rim import MOST_RIM, measure_rim

FINE = 4  # drawn so many times larger, so that edges are soft
PHOTOS = ("astronaut", "coffee", "chelsea", "rocket", "camera", "brick")


def load_photo(name: str) -> np.ndarray:
    pixels = getattr(data, name)()
    return pixels[..., :3] if pixels.ndim == 3 else pixels[..., None]


def cover(photo: np.ndarray, shape: str, place: tuple[int, ...], colour: tuple[int, ...]) -> tuple:
    """Draw a thing; return the picture with it, and (H, W) the share of each pixel that it covers."""
    height, width = photo.shape[:2]
    image = Image.new("L", (width * FINE, height * FINE))
    draw, corners = ImageDraw.Draw(image), [FINE * each for each in place]
    if shape == "stamp":
        draw.text(corners[:2], "98 7", font=ImageFont.load_default(size=corners[2]), fill=255)
    else:
        getattr(draw, shape)(corners, fill=255)
    share = np.asarray(image.resize((width, height), Image.Resampling.BOX))[..., None] / 255
    return np.rint(photo * (1 - share) + np.array(colour) * share).astype(np.uint8), share[..., 0]


def shrink(mask: Mask, pixels: int) -> Mask:
    return ~grow(~mask, pixels)


THINGS = {
    "ellipse on a table": ("coffee", "ellipse", (60, 40, 160, 120), (30, 30, 160)),
    "card on grass": ("grass", "rectangle", (200, 200, 270, 320), (230,)),
    "ball on a suit": ("astronaut", "ellipse", (20, 300, 90, 420), (240, 240, 240)),
    "bold stamp": ("rocket", "stamp", (400, 330, 90), (255, 140, 30)),
    "large stamp": ("chelsea", "stamp", (220, 200, 80), (255, 160, 60)),
}


@pytest.mark.parametrize("short", [0, 1, 2, 3])
@pytest.mark.parametrize("thing", THINGS)
def test_the_rim_is_as_wide_as_the_mask_is_short(thing: str, short: int) -> None:
    name, *drawing = THINGS[thing]
    pixels, share = cover(load_photo(name), *drawing)
    rim = measure_rim(pixels, shrink(share > 0.02, short))
    assert abs(rim - short) <= 1
    assert (rim > 0) == (short > 0)


@pytest.mark.parametrize("thing", THINGS)
def test_a_margin_of_two_pixels_has_no_rim(thing: str) -> None:
    name, *drawing = THINGS[thing]
    pixels, share = cover(load_photo(name), *drawing)
    assert measure_rim(pixels, grow(share > 0.02, 2)) == 0


def test_the_soft_pixels_of_a_thin_stamp_are_a_rim() -> None:
    pixels, share = cover(load_photo("astronaut"), "stamp", (362, 476, 24), (255, 140, 30))
    assert measure_rim(pixels, share >= 0.5) == 1


def test_holes_anywhere_in_photographs_end_on_no_edge() -> None:
    rng, found = np.random.default_rng(3), []
    for name in PHOTOS:
        photo = load_photo(name)
        for kind in ("block", "freeform"):
            masks = holes.make_holes(kind, rng, 10, *photo.shape[:2], max_area=0.2)
            found += [measure_rim(photo, mask) for mask in masks]
    assert np.mean(np.array(found) > 0) < 0.05


def test_16_bits_and_floats_have_the_same_rim() -> None:
    pixels, share = cover(load_photo("coffee"), "ellipse", (60, 40, 160, 120), (30, 30, 160))
    hole = shrink(share > 0.02, 2)
    assert measure_rim(pixels.astype(np.uint16) * 257, hole) == measure_rim(pixels, hole) == 2
    assert measure_rim(pixels.astype(np.float32) / 255, hole) == 2


def test_what_is_unseen_says_nothing() -> None:
    pixels, share = cover(load_photo("coffee"), "ellipse", (60, 40, 160, 120), (30, 30, 160))
    hole = shrink(share > 0.02, 2)
    assert measure_rim(pixels, hole, unseen=hole) == 0


@pytest.mark.parametrize("wide", [MOST_RIM, MOST_RIM + 1, 20])
def test_what_is_far_larger_than_the_hole_is_no_rim(wide: int) -> None:
    pixels = np.zeros((90, 90, 1), np.uint8)
    pixels[20:70, 20:70] = 200
    hole = np.zeros((90, 90), bool)
    hole[20 + wide : 70 - wide, 20 + wide : 70 - wide] = True
    assert measure_rim(pixels, hole) == (wide if wide <= MOST_RIM else 0)


@pytest.mark.parametrize("hole", [np.zeros((9, 9), bool), np.ones((9, 9), bool), np.eye(9, dtype=bool)])
def test_holes_without_a_rim_to_look_at(hole: Mask) -> None:
    assert measure_rim(np.zeros((9, 9, 3), np.uint8), hole) == 0


def test_a_slope_is_no_rim() -> None:
    y, x = np.mgrid[:96, :96]
    hole = np.zeros((96, 96), bool)
    hole[30:60, 20:70] = True
    cone = np.hypot(y - 45, x - 45)[..., None]
    for steepness in (2, 4, 5):
        assert measure_rim(np.rint(250 - cone * steepness).clip(0, 255).astype(np.uint8), hole) == 0


@pytest.mark.parametrize("cell", [4, 8, 16, 32])
def test_holes_in_a_board_have_no_rim(cell: int) -> None:
    board = ((np.indices((400, 400)) // cell).sum(axis=0) % 2 * 200 + 20).astype(np.uint8)[..., None]
    masks = holes.make_holes("block", np.random.default_rng(cell), 8, 400, 400)
    assert not any(measure_rim(board, mask) for mask in masks)
