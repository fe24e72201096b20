"""Selecting a thing by a click or a scribble, on cut-outs whose outline is known."""

import importlib.util
from functools import cache

import numpy as np
import pytest
from PIL import Image
from skimage import data

from infilling.errors import InputError
from infilling.pictures.picture import Picture, from_array
from infilling.pictures.select import select_object

BACKGROUNDS = ["coffee", "chelsea", "astronaut", "rocket"]
THINGS = ["brick", "grass", "gravel", "immunohistochemistry", "moon", "hubble_deep_field", "retina", "page"]


@cache
def load(name: str) -> np.ndarray:
    array = getattr(data, name)()
    return array if array.ndim == 3 else np.repeat(array[..., None], 3, axis=2)


def draw_blob(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A closed outline whose radius is a random sum of waves."""
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    radius = 1 + sum(rng.normal(0, 0.3 / k) * np.cos(k * angles + rng.random() * 7) for k in range(1, 7))
    radius = np.clip(radius, 0.3, None) / radius.max()
    y, x = np.mgrid[:height, :width]
    y, x = 2 * y / height - 1, 2 * x / width - 1
    return np.hypot(y, x) <= np.interp(np.arctan2(y, x) % (2 * np.pi), angles, radius, period=2 * np.pi)


def make_cut_out(number: int) -> tuple[Picture, np.ndarray, list[tuple[float, float]]]:
    """A textured thing on a photograph, where it is, and a scribble from side to side inside of it."""
    rng = np.random.default_rng(number)
    photo = load(BACKGROUNDS[number % 4]).copy()
    height, width = (int(side * rng.uniform(0.3, 0.5)) for side in photo.shape[:2])
    texture = Image.fromarray(load(THINGS[number % 7])).resize((width, height))
    top, left = (
        int(rng.uniform(0.1, 0.9) * (a - b)) for a, b in zip(photo.shape, (height, width), strict=False)
    )
    blob, truth = draw_blob(height, width, rng), np.zeros(photo.shape[:2], dtype=bool)
    truth[top : top + height, left : left + width] = blob
    photo[truth] = (np.asarray(texture) * rng.uniform(0.6, 1, 3))[blob]
    row = blob[height // 2]
    columns = np.flatnonzero(row)[:: max(1, row.sum() // 30)][3:-3]
    return from_array(photo), truth, [(left + x, top + height // 2) for x in columns]


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("has_opencv", [True, False])
def test_a_scribble_selects_the_thing(has_opencv: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not has_opencv:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    scores = []
    for number in range(20):
        picture, truth, scribble = make_cut_out(number)
        scores.append(overlap(select_object(picture, scribble), truth))
    assert np.mean(scores) >= (0.9 if has_opencv else 0.85), scores
    assert np.mean(np.array(scores) >= 0.8) >= (0.9 if has_opencv else 0.8), scores


def test_a_click_selects_a_plain_thing_and_clicks_on_the_background_take_away() -> None:
    pixels = np.full((300, 400, 3), 90, np.uint8) + np.random.default_rng(0).integers(
        0, 9, (300, 400, 1), np.uint8
    )
    truth = np.zeros((300, 400), dtype=bool)
    truth[60:220, 80:200] = True
    pixels[truth] = (200, 60, 40)
    assert overlap(select_object(Picture(pixels), [(120, 100)]), truth) > 0.97
    pixels[100:180, 200:300] = (200, 60, 40)
    narrow = select_object(Picture(pixels), [(120, 100)], background=[(280, 140), (280, 110), (220, 130)])
    assert not narrow[140, 280]
    assert narrow[100, 120]


def test_depth_grey_alpha_and_tiny_pictures() -> None:
    pixels = np.full((40, 60, 1), 1000, np.uint16)
    pixels[10:30, 20:45] = 50000
    truth = pixels[..., 0] > 2000
    assert overlap(select_object(Picture(pixels), [(30, 20)]), truth) > 0.95
    alpha = np.where(truth, 65535, 0).astype(np.uint16)
    assert not select_object(Picture(np.full_like(pixels, 999), alpha), [(30, 20)])[~truth].any()
    for shape in ((1, 1, 3), (1, 9, 3), (9, 1, 1)):
        assert select_object(Picture(np.zeros(shape, np.uint8)), [(0, 0)])[0, 0]


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "no point"),
        ([(60, 5)], "60,5 is outside"),
        ([(-1, 5)], "outside"),
        (["a"], "points are"),
        ([(1,)], "are"),
    ],
)
def test_points_that_cannot_be_used(points: list, words: str) -> None:
    with pytest.raises(InputError, match=words):
        select_object(Picture(np.zeros((40, 60, 3), np.uint8)), points)


def test_what_is_found_depends_little_on_the_size() -> None:
    """Twelve megapixels are reduced for the search; their outline is that of the small picture, enlarged."""
    small, truth, scribble = make_cut_out(0)
    size = 4000, round(4000 * small.height / small.width)
    scale = size[0] / small.width
    large = from_array(np.asarray(Image.fromarray(small.pixels).resize(size, Image.Resampling.BICUBIC)))
    found = select_object(large, [(scale * (x + 0.5), scale * (y + 0.5)) for x, y in scribble])
    reduced = np.asarray(Image.fromarray(found).resize((small.width, small.height)))
    assert overlap(reduced, select_object(small, scribble)) > 0.95
    assert overlap(reduced, truth) > 0.9
