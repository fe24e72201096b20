"""Scratches are found; plain things, edges and dots are not."""

import numpy as np
import pytest
from PIL import Image, ImageDraw
from skimage import data

from infilling.errors import InputError
from infilling.pictures.mask import grow
from infilling.pictures.picture import Samples
from infilling.pictures.scratches import find_scratches


def make_print(seed: int = 0) -> Samples:
    """Soft shapes and grain, as in a scan of an old print."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:240, :320] / 60
    soft = 145 + 20 * np.sin(x + 0.7 * y) + 20 * np.cos(1.3 * y)
    soft[:, 200:] -= 30  # an edge
    return np.clip(soft + rng.normal(0, 4, soft.shape), 0, 255).astype(np.uint8)[..., None]


def draw_line(points: list[tuple[int, int]], width: int) -> np.ndarray:
    image = Image.new("L", (320, 240))
    ImageDraw.Draw(image).line(points, fill=1, width=width)
    return np.asarray(image, dtype=bool)


LINES = {
    "upright": [(60, 10), (66, 220)],
    "flat": [(10, 40), (300, 52)],
    "slanting": [(20, 200), (280, 30)],
    "bent": [(20, 20), (80, 60), (150, 130), (240, 220)],
}


@pytest.mark.parametrize("points", LINES.values(), ids=LINES)
@pytest.mark.parametrize("width", [1, 3, 5])
@pytest.mark.parametrize("value", [15, 245])
def test_scratches_are_found(points: list[tuple[int, int]], width: int, value: int) -> None:
    pixels, line = make_print(), draw_line(points, width)
    pixels[line] = value
    found = find_scratches(pixels)
    assert (found & line).sum() > 0.85 * line.sum()
    assert (found & ~grow(line, 3)).sum() < 0.1 * found.sum()


def test_a_print_without_scratches_stays_clean() -> None:
    assert find_scratches(make_print()).mean() < 0.001


def test_specks_and_broad_bars_are_no_scratches() -> None:
    pixels = make_print()
    pixels[::40, ::40] = 255
    pixels[100:130] = 250
    assert find_scratches(pixels).mean() < 0.002


def test_colour_and_16_bits_are_seen_alike() -> None:
    pixels = make_print()
    pixels[draw_line(LINES["slanting"], 3)] = 245
    found = find_scratches(pixels)
    np.testing.assert_array_equal(find_scratches(np.repeat(pixels, 3, axis=2)), found)
    np.testing.assert_array_equal(find_scratches(pixels.astype(np.uint16) * 257), found)


def test_margin_widens_what_is_found() -> None:
    pixels = make_print()
    pixels[draw_line(LINES["flat"], 2)] = 245
    bare = find_scratches(pixels, margin=0)
    np.testing.assert_array_equal(find_scratches(pixels, margin=3), grow(bare, 3))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 50, 3), (50, 1, 1)])
def test_tiny_pictures_have_none(shape: tuple[int, ...]) -> None:
    assert not find_scratches(np.full(shape, 90, np.uint8)).any()


@pytest.mark.parametrize("options", [{"width": 0}, {"length": 0}, {"sensitivity": 0}])
def test_numbers_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="must be above 0"):
        find_scratches(make_print(), **options)  # type: ignore[arg-type]


def make_film(seed: int, contrast: float) -> tuple[Samples, np.ndarray]:
    """A large print with three lines from top to bottom, nearer to white by a share; two are close."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:448, :448] / 60
    soft = 130 + 25 * np.sin(x + rng.uniform(0, 6)) + 25 * np.cos(1.3 * y + rng.uniform(0, 6))
    soft[rng.integers(100, 300) :, rng.integers(100, 300) :] -= 30  # edges
    soft += rng.normal(0, 4, soft.shape)
    line = np.zeros(soft.shape, dtype=bool)
    start, lean = rng.integers(20, 400), rng.uniform(-4, 4)
    for first in (start, start + 10, (start + 200) % 430):
        columns = np.rint(first + lean * y[:, 0] * 60 / 448).astype(int)
        for step in range(2):
            line[np.arange(448), np.clip(columns + step, 0, 447)] = True
    soft[line] += contrast * (255 - soft[line])
    return np.clip(soft, 0, 255).astype(np.uint8)[..., None], line


@pytest.mark.parametrize(("contrast", "turned"), [(0.1, False), (0.2, True), (0.3, False)])
def test_faint_scratches_along_a_film_are_found_on_ten_prints(contrast: float, turned: bool) -> None:
    recalls, precisions = [], []
    for seed in range(10):
        pixels, line = make_film(seed, contrast)
        found = find_scratches(pixels.swapaxes(0, 1) if turned else pixels)
        found = found.T if turned else found
        recalls.append((found & line).sum() / line.sum())
        precisions.append((found & grow(line, 3)).sum() / max(1, found.sum()))
    assert np.mean(recalls) >= 0.8
    assert np.mean(precisions) >= 0.6


def test_ten_clean_prints_stay_clean() -> None:
    assert np.mean([find_scratches(make_film(seed, 0)[0]).mean() for seed in range(10)]) < 0.003


@pytest.mark.parametrize(
    ("photograph", "most"), [("astronaut", 0.003), ("coffee", 0.015)]
)  # with a shiny rim
def test_outlines_of_things_are_no_scratches(photograph: str, most: float) -> None:
    assert find_scratches(getattr(data, photograph)()).mean() < most


def test_strong_scratches_may_bend() -> None:
    image = Image.fromarray(data.astronaut())
    lines = Image.new("L", image.size)
    path = [(30 + 4 * step, 60 + 3 * step + step * step / 40) for step in range(100)]
    ImageDraw.Draw(lines).line(path, 255, 2)
    truth = np.asarray(lines) > 0
    scan = np.where(truth[..., None], np.uint8(250), data.astronaut())
    found = find_scratches(scan)
    assert found[truth].mean() > 0.85
    assert grow(truth, 2)[found].mean() > 0.6


def test_lines_that_enclose_areas_are_a_drawing() -> None:
    court = Image.new("L", (900, 600), 100)
    for box in ((80, 60, 820, 540), (80, 130, 820, 470), (300, 130, 600, 470)):
        ImageDraw.Draw(court).rectangle(box, outline=240, width=4)
    grain = np.random.default_rng(0).normal(0, 4, (600, 900))
    pixels = np.clip(np.asarray(court) + grain, 0, 255).astype(np.uint8)[..., None]
    assert find_scratches(pixels).mean() < 0.003


def test_a_bright_rim_between_unlike_sides_is_no_scratch() -> None:
    pixels = make_print()
    pixels[:, 160:] = np.clip(pixels[:, 160:].astype(int) - 60, 0, 255).astype(np.uint8)
    pixels[:, 158:161] = 245
    assert not find_scratches(pixels)[:, 150:170].any()


def test_a_row_of_parallel_lines_is_texture() -> None:
    pixels = make_print()
    pixels[:, ::16] = 245
    assert find_scratches(pixels).mean() < 0.003
