"""Sources: copies come from where they may, through every door, and never from what is to be avoided."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import infilling
from infilling.filling.options import FillOptions
from infilling.filling.pyramid import Level, build_pyramid, build_sources, halve_source
from infilling.filling.sources import find_window, read_sources
from infilling.pictures.mask import Box

Pixels = NDArray[np.uint8]
Bools = NDArray[np.bool_]

ENGINES = ("default", "patch-synthesis")


def draw_two_textures(height: int, width: int) -> Pixels:
    """Reddish noise in the left half, greenish noise in the right one."""
    noise = np.random.default_rng(3).integers(0, 60, (height, width, 1))
    left = np.arange(width)[None, :, None] < width // 2
    return (np.where(left, (150, 20, 20), (20, 150, 20)) + noise).astype(np.uint8)


def box(shape: tuple[int, ...], x: int, y: int, width: int, height: int) -> Bools:
    mask = np.zeros(shape[:2], bool)
    mask[y : y + height, x : x + width] = True
    return mask


def is_green(pixels: Pixels) -> Bools:
    return pixels[..., 1].astype(int) > pixels[..., 0].astype(int)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("height", "width"), [(96, 120), (200, 300)])
def test_texture_comes_from_the_source_alone(engine: str, height: int, width: int) -> None:
    image = draw_two_textures(height, width)
    hole = box(image.shape, width // 8, height // 3, width // 4, height // 3)
    right = box(image.shape, width // 2, 0, width, height)
    assert not is_green(infilling.fill(image, hole, engine))[hole].any()
    filled = infilling.fill(image, hole, engine, source=right)
    assert is_green(filled)[hole].all()
    np.testing.assert_array_equal(filled[~hole], image[~hole])
    assert len(np.unique(filled[hole], axis=0)) > 20  # it is texture
    np.testing.assert_array_equal(infilling.fill(image, hole, engine, avoid=~right), filled)


def test_what_is_avoided_is_not_copied() -> None:
    """A yellow block beside the hole would be continued into it."""
    image = draw_two_textures(200, 240)
    image[:, :120] = image[:, 120:]
    image[60:140, 40:90] = (250, 240, 10)
    hole = box(image.shape, 90, 60, 60, 80)
    yellow = box(image.shape, 36, 56, 54, 88)
    filled = infilling.fill(image, hole, "patch-synthesis", avoid=yellow)
    assert (filled[hole][:, 0] < 200).all()


def test_a_source_far_from_the_hole_is_found() -> None:
    image = np.zeros((64, 3000, 3), np.uint8) + np.random.default_rng(0).integers(60, 90, (64, 3000, 1))
    image = image.astype(np.uint8)
    image[:, 2900:, 1] += 120
    hole = box(image.shape, 20, 20, 30, 30)
    source = box(image.shape, 2900, 0, 100, 64)
    assert find_window(Box(20, 20, 30, 30), source).width > 2880
    for engine in ENGINES:
        filled = infilling.fill(image, hole, engine, source=source)
        assert (filled[hole][:, 1].astype(int) - filled[hole][:, 0] > 90).all()


def test_data_of_any_range_take_a_source() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(5, 1, (80, 120))
    values[:, 60:] += 900
    hole = box(values.shape, 20, 20, 20, 20)
    filled = infilling.fill(values, hole, "patch-synthesis", source=box(values.shape, 60, 0, 60, 80))
    assert (filled[hole] > 800).all()
    np.testing.assert_array_equal(filled[~hole], values[~hole])


def test_every_door_gives_the_same_bytes(tmp_path: Path, infill) -> None:  # type: ignore[no-untyped-def]
    image = draw_two_textures(96, 120)
    hole, source = box(image.shape, 12, 30, 30, 30), box(image.shape, 60, 0, 60, 96)
    (tmp_path / "in").mkdir()
    for name, pixels in (("in/photo", image), ("hole", hole), ("source", source)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    photo = tmp_path / "in" / "photo.png"
    options = ["--source", tmp_path / "source.png", "--seed", 5]
    ran = infill("fill", photo, "-m", tmp_path / "hole.png", "-o", tmp_path / "one.png", *options)
    assert ran.code == 0, ran.err
    ran = infill("batch", tmp_path / "in", tmp_path / "out", "-m", tmp_path / "hole.png", *options)
    assert ran.code == 0, ran.err
    expected = infilling.fill(photo.read_bytes(), hole, source=source, seed=5)
    assert (tmp_path / "one.png").read_bytes() == expected
    assert (tmp_path / "out" / "photo.png").read_bytes() == expected
    again = infill("batch", tmp_path / "in", tmp_path / "out", "-m", tmp_path / "hole.png", *options)
    assert "1 skipped" in again.err
    Image.fromarray(~source).save(tmp_path / "source.png")  # the content counts, not the name
    again = infill("batch", tmp_path / "in", tmp_path / "out", "-m", tmp_path / "hole.png", *options)
    assert "1 filled" in again.err


@pytest.mark.parametrize(
    ("engine", "options", "text"),
    [
        ("push-pull", {"source": np.ones((40, 50), bool)}, "push-pull copies no texture"),
        ("default", {"source": np.ones((40, 50), bool), "detail": False}, "without detail"),
        ("default", {"source": np.zeros((40, 50), bool)}, "nothing to copy from"),
        ("default", {"avoid": np.ones((40, 50), bool)}, "nothing to copy from"),
        ("default", {"source": np.ones((41, 50), bool)}, "source: "),
        ("default", {"source": "no-such.png"}, "source: "),
        ("default", {"source": 3}, "source 3 cannot be used: give a mask"),
    ],
)
def test_what_cannot_be_a_source_is_refused(engine: str, options: dict[str, object], text: str) -> None:
    image = draw_two_textures(40, 50)
    with pytest.raises(infilling.InputError, match=text) as caught:
        infilling.fill(image, box(image.shape, 10, 10, 9, 9), engine, **options)
    assert caught.value.field in options


def test_transparent_pixels_are_no_source() -> None:
    image = draw_two_textures(96, 120)
    alpha = np.full((96, 120), 255, np.uint8)
    alpha[:, 90:] = 0
    image[:, 90:] = (250, 250, 10)
    hole, source = box(image.shape, 12, 30, 30, 30), box(image.shape, 60, 0, 60, 96)
    filled = infilling.fill(np.dstack([image, alpha]), hole, source=source)
    assert is_green(filled)[hole].all()
    assert (filled[hole][:, 0] < 120).all()


def test_options_hold_one_mask_once_they_are_read() -> None:
    hole = box((20, 30), 0, 0, 5, 5)
    options = FillOptions(source=box((20, 30), 0, 0, 20, 20), avoid=box((20, 30), 10, 0, 20, 20))
    read = read_sources(options, hole, infilling.open_engine("patch-synthesis"))
    np.testing.assert_array_equal(read.source, box((20, 30), 0, 0, 10, 20) & ~hole)
    assert read.avoid is None
    plain = FillOptions()
    assert read_sources(plain, hole, infilling.open_engine("push-pull")) is plain
    assert dataclasses.replace(plain, seed=4).seed == 4


def test_a_block_of_a_halved_source_is_whole() -> None:
    source = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
    np.testing.assert_array_equal(halve_source(source), [[False, True], [True, True]])


def test_a_pyramid_ends_where_its_source_does() -> None:
    image, hole = np.zeros((256, 256, 3), np.float32), box((256, 256), 96, 96, 64, 64)
    source = box((256, 256), 0, 0, 30, 30)
    pyramid = build_pyramid(image, hole, 3)
    sources = build_sources(pyramid, source, 3)
    assert 1 <= len(sources) == len(pyramid) < len(build_pyramid(image, hole, 3))
    for (pixels, gap), allowed in zip(pyramid, sources, strict=True):
        level = Level(pixels, gap, 3, allowed)
        assert len(level.sources) >= 64
        y, x = level.to_yx(level.sources)
        assert allowed is not None
        for down in (-3, 3):
            assert allowed[y + down, x + down].all()
