"""Pictures that break programs: tiny, transparent, turned, animated, grey, of a palette, for print."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from infilling.errors import InfillingWarning, InputError
from infilling.filling.fill import fill
from infilling.pictures.files import decode

BOX = [(3, 3, 5, 4)]
ENGINES = ["push-pull", "patch-synthesis", "telea", "biharmonic"]


def to_bytes(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def noise(mode: str, size: tuple[int, int] = (20, 14)) -> Image.Image:
    bands = len(mode) if mode in ("L", "LA", "RGB", "RGBA", "CMYK") else 3
    values = np.random.default_rng(4).integers(0, 256, (size[1], size[0], bands), np.uint8)
    if mode == "P":
        return Image.fromarray(values).quantize(16)
    return Image.fromarray(values[..., 0] if bands == 1 else values, mode)


def test_a_fully_transparent_picture_is_filled_and_stays_transparent() -> None:
    image = noise("RGBA")
    image.putalpha(0)
    result = decode(fill(to_bytes(image), boxes=BOX))
    assert result.alpha is not None
    assert not result.alpha.any()
    with pytest.raises(InputError, match="covers the whole picture"):
        fill(to_bytes(image), mask_from_alpha=True)


def test_a_hole_under_partial_alpha_keeps_that_alpha() -> None:
    image = noise("RGBA")
    before = np.asarray(image)
    result = decode(fill(to_bytes(image), boxes=BOX))
    assert result.alpha is not None
    np.testing.assert_array_equal(result.alpha, before[..., 3])
    known = np.ones(before.shape[:2], bool)
    known[3:7, 3:8] = False
    np.testing.assert_array_equal(result.pixels[known], before[known][:, :3])
    assert (result.pixels[~known] != before[~known][:, :3]).any()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [(1, 9), (9, 1), (2, 2), (1, 2)])
def test_the_smallest_pictures_are_filled(engine: str, size: tuple[int, int]) -> None:
    pixels = np.full((size[1], size[0], 3), 120, np.uint8)
    hole = np.zeros(pixels.shape[:2], bool)
    hole[-1, -1] = True
    result = fill(pixels, hole, engine)
    assert np.abs(result.astype(int) - 120).max() <= 2  # OpenCV's own rounding


@pytest.mark.filterwarnings("ignore:nothing is marked")
def test_one_pixel_has_nothing_to_be_filled_from() -> None:
    one = to_bytes(noise("RGB", (1, 1)))
    assert fill(one, np.zeros((1, 1), bool)) == one
    with pytest.raises(InputError, match="nothing is left to fill from"):
        fill(one, boxes=[(0, 0, 1, 1)])


def test_an_animated_gif_is_refused_and_a_still_one_filled() -> None:
    frames = [noise("P"), noise("P").transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    with pytest.raises(InputError, match=r"animat|frames"):
        fill(to_bytes(frames[0], "GIF", save_all=True, append_images=frames[1:]), boxes=BOX)
    assert decode(fill(to_bytes(frames[0], "GIF"), boxes=BOX)).format == "PNG"


@pytest.mark.filterwarnings("ignore:its CMYK became RGB")
@pytest.mark.parametrize(
    ("mode", "format", "channels"), [("L", "PNG", 1), ("P", "PNG", 3), ("CMYK", "JPEG", 3)]
)
def test_grey_palette_and_print_colours(mode: str, format: str, channels: int) -> None:
    source = to_bytes(noise(mode), format)
    before, after = decode(source), decode(fill(source, boxes=BOX))
    assert (after.format, after.pixels.shape) == (format, (14, 20, channels))
    known = np.ones((14, 20), bool)
    known[3:7, 3:8] = False
    if format == "PNG":
        np.testing.assert_array_equal(after.pixels[known], before.pixels[known])


def test_a_colour_profile_goes_along() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = to_bytes(noise("RGB"), icc_profile=profile)
    assert decode(fill(source, boxes=BOX)).icc == profile


def test_a_wide_gamut_goes_along_and_no_colour_is_converted() -> None:
    # sRGB's profile with a red primary far beyond it: X, Y and Z are 16.16 numbers, 8 bytes into the tag.
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    entry = profile.index(b"rXYZ")
    tag = int.from_bytes(profile[entry + 4 : entry + 8], "big")
    for index, value in enumerate((0.7977, 0.2880, 0.0)):  # ProPhoto's
        profile[tag + 8 + 4 * index : tag + 12 + 4 * index] = round(value * 65536).to_bytes(4, "big")
    source = to_bytes(noise("RGB"), icc_profile=bytes(profile))
    after = decode(fill(source, boxes=BOX))
    assert after.icc == bytes(profile)
    known = np.ones((14, 20), bool)
    known[3:7, 3:8] = False
    np.testing.assert_array_equal(after.pixels[known], np.asarray(noise("RGB"))[known])


@pytest.mark.parametrize("turn", range(1, 9))
def test_boxes_count_in_the_picture_as_it_is_seen(turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    source = to_bytes(noise("RGB"), exif=exif)
    before, after = decode(source), decode(fill(source, boxes=BOX))
    changed = (before.pixels != after.pixels).any(axis=2)
    assert before.pixels.shape[:2] == ((14, 20) if turn < 5 else (20, 14))
    assert not np.delete(changed, range(3, 8), axis=1).any()
    assert changed[3:7, 3:8].mean() > 0.9


def test_a_soft_mask_mixes_the_fill_in() -> None:
    pixels = np.random.default_rng(5).integers(0, 255, (40, 60, 3), np.uint8)
    weight = np.zeros((40, 60), np.uint8)
    weight[10:30, 20:40] = 255
    weight[10:30, 38:40] = [170, 85]
    soft = fill(pixels, weight, "push-pull", soft_mask=True).astype(int)
    hard = fill(pixels, weight > 0, "push-pull").astype(int)
    share = (weight / 255)[..., None]
    expected = pixels + share * (hard - pixels)
    assert np.abs(soft - expected).max() <= 0.5 + 1e-6
    assert (soft[weight == 0] == pixels[weight == 0]).all()


def test_a_soft_eraser_leaves_nothing_half_transparent() -> None:
    pixels = np.random.default_rng(5).integers(90, 110, (60, 60, 4), np.uint8)
    distance = np.hypot(*(np.mgrid[:60, :60] - 30))
    pixels[..., 3] = np.clip((distance - 8) * 30, 0, 255)
    assert ((pixels[..., 3] > 0) & (pixels[..., 3] < 255)).any()
    assert (fill(pixels, engine="push-pull", mask_from_alpha=True)[..., 3] == 255).all()


def test_a_mask_of_the_stored_frame_is_turned_with_the_picture() -> None:
    stored = np.random.default_rng(6).integers(0, 255, (30, 50, 3), np.uint8)
    hole = np.zeros((30, 50), bool)
    hole[4:10, 5:20] = True
    for turn in (3, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = turn
        data = to_bytes(Image.fromarray(stored), exif=exif)
        with pytest.raises(InputError, match="EXIF orientation"):
            fill(data, hole, "push-pull")
        result = decode(fill(data, hole, "push-pull", mask_frame="stored")).pixels
        changed = (result != decode(data).pixels).any(axis=2)
        quarters = {3: 2, 6: 3, 8: 1}[turn]
        assert (changed <= np.rot90(hole, quarters)).all()
        assert changed.sum() > 0.9 * hole.sum()


def test_cmyk_that_becomes_rgb_is_said_once_it_is_written() -> None:
    data = to_bytes(noise("CMYK"), "JPEG")
    with pytest.warns(InfillingWarning, match="its CMYK became RGB"):
        fill(data, boxes=BOX, engine="push-pull")
    assert decode(data).warnings
