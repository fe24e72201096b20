"""Picture itself: shapes, floats, arrays, Pillow images, and formats by name."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from infilling.errors import InputError
from infilling.pictures.files import decode, decode_ahead, encode, from_pil, to_pil
from infilling.pictures.picture import WRITABLE, Picture, find_format, from_array, from_float, to_float


def make_samples(*shape: int, dtype: type = np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


@pytest.mark.parametrize(
    ("pixels", "alpha", "words"),
    [
        (np.zeros((4, 5), np.uint8), None, "must be (H, W, 1) or (H, W, 3)"),
        (np.zeros((4, 5, 2), np.uint8), None, "must be (H, W, 1) or (H, W, 3)"),
        (np.zeros((0, 5, 3), np.uint8), None, "at least 1×1"),
        (np.zeros((4, 5, 3), np.float32), None, "uint8 or uint16, not float32"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.uint8), "alpha must be (4, 5) uint8"),
        (np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint16), "not (4, 5) uint16"),
    ],
)
def test_picture_refuses_arrays_that_are_none(pixels, alpha, words):
    with pytest.raises(InputError) as caught:
        Picture(pixels, alpha)
    assert words in str(caught.value)


def test_with_pixels_keeps_all_else():
    picture = Picture(make_samples(4, 5, 3), make_samples(4, 5), icc=b"i", exif=b"e", xmp=b"x", format="TIFF")
    other = picture.with_pixels(make_samples(4, 5, 3, seed=1))
    assert (other.width, other.height) == (5, 4)
    assert not np.array_equal(other.pixels, picture.pixels)
    assert other.alpha is picture.alpha
    assert (other.icc, other.exif, other.xmp, other.format) == (b"i", b"e", b"x", "TIFF")
    with pytest.raises(InputError):
        picture.with_pixels(make_samples(5, 4, 3))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_floats_and_back_are_exact_for_every_value(dtype):
    every = np.arange(np.iinfo(dtype).max + 1).astype(dtype).reshape(-1, 16, 1)
    floats = to_float(every)
    assert floats.shape == (*every.shape[:2], 3)
    assert floats.dtype == np.float32
    assert (floats.min(), floats.max()) == (0, 1)
    assert np.array_equal(from_float(floats, dtype), np.repeat(every, 3, axis=2))


@given(st.lists(st.floats(-2, 3), min_size=1, max_size=50))
def test_from_float_rounds_then_clips(values):
    values = np.array(values, np.float32)
    expected = [min(max(round(float(v * np.float32(255))), 0), 255) for v in values]  # round: half to even
    assert from_float(values).tolist() == expected


def test_from_float_leaves_its_argument_alone_and_refuses_nan():
    values = np.array([0.1, 0.2], np.float32)
    from_float(values)
    assert values.tolist() == np.array([0.1, 0.2], np.float32).tolist()
    with pytest.raises(InputError, match="NaN"):
        from_float(np.array([0.1, np.nan], np.float32))


@pytest.mark.parametrize(
    ("channels", "colours", "has_alpha"), [(1, 1, False), (2, 1, True), (3, 3, False), (4, 3, True)]
)
def test_from_array_by_channels(channels, colours, has_alpha):
    array = make_samples(4, 5, channels, dtype=np.uint16)
    picture = from_array(array)
    assert np.array_equal(picture.pixels, array[..., :colours])
    assert (picture.alpha is not None) == has_alpha
    if has_alpha:
        assert np.array_equal(picture.alpha, array[..., -1])


def test_from_array_takes_two_dimensions_and_refuses_floats():
    grey = make_samples(4, 5)
    assert np.array_equal(from_array(grey).pixels[..., 0], grey)
    with pytest.raises(InputError, match="uint8 or uint16, not float64"):
        from_array(np.zeros((4, 5, 3)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "CMYK", "YCbCr", "I;16"])
def test_from_pil_agrees_with_pillows_own_conversion(mode):
    rgb = Image.fromarray(make_samples(9, 7, 3))
    image = Image.fromarray(make_samples(9, 7, dtype=np.uint16)) if mode == "I;16" else rgb.convert(mode)
    picture = from_pil(image)
    target = {"1": "L", "P": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}.get(mode, mode)
    expected = np.asarray(image.convert(target) if target != mode else image)
    found = picture.pixels if picture.alpha is None else np.dstack([picture.pixels, picture.alpha])
    assert np.array_equal(found.squeeze(), expected)


def test_pil_keeps_what_belongs_to_the_picture_and_does_not_turn():
    image = Image.fromarray(make_samples(9, 7, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.info |= {"exif": exif.tobytes(), "dpi": (300, 300), "xmp": b"<x/>"}
    picture = from_pil(image)
    assert (picture.width, picture.height) == image.size
    again = to_pil(picture)
    assert np.array_equal(np.asarray(again), np.asarray(image))
    assert again.getexif()[0x0112] == 6
    assert (again.info["dpi"], again.info["xmp"]) == ((300, 300), b"<x/>")


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_to_pil_gives_the_same_mode_back(mode):
    image = Image.fromarray(make_samples(9, 7, 4)).convert(mode)
    again = to_pil(from_pil(image))
    assert again.mode == mode
    assert again.tobytes() == image.tobytes()


def test_pil_refuses_what_cannot_be_held():
    with pytest.raises(InputError, match="mode F"):
        from_pil(Image.new("F", (3, 3)))
    with pytest.raises(InputError, match="16-bit colour"):
        to_pil(Picture(make_samples(3, 3, 3, dtype=np.uint16)))
    assert to_pil(Picture(make_samples(3, 3, 1, dtype=np.uint16))).mode == "I;16"


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("png", "PNG"),
        (".JPG", "JPEG"),
        ("a/b.c/photo.tif", "TIFF"),
        (Path("x.webp"), "WEBP"),
        ("AVIF", "AVIF"),
    ],
)
def test_find_format(name, format):
    assert find_format(name) == format
    assert find_format(format) == format


def test_find_format_names_the_near_one():
    with pytest.raises(InputError, match=r"did you mean \.jpg"):
        find_format("photo.jepg")
    with pytest.raises(InputError) as caught:
        encode(Picture(make_samples(2, 2, 3)), "gif")
    assert all(format in str(caught.value) for format in WRITABLE)


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_encode_refuses_a_quality_outside_its_range(quality):
    with pytest.raises(InputError, match=f"quality {quality} is not in 1 to 100"):
        encode(Picture(make_samples(2, 2, 3)), "jpeg", quality=quality)


def test_what_is_decoded_ahead_is_what_decode_gives(tmp_path: Path):
    picture = Picture(make_samples(40, 50, 3))
    (tmp_path / "a.png").write_bytes(encode(picture))
    decode_ahead(tmp_path / "a.png")
    ahead, again = decode(tmp_path / "a.png"), decode(tmp_path / "a.png")
    assert np.array_equal(ahead.pixels, picture.pixels)
    assert not np.shares_memory(ahead.pixels, again.pixels)


def test_a_file_that_changed_is_not_what_was_decoded_ahead(tmp_path: Path):
    decode_ahead(tmp_path / "missing.bmp")
    first, second = Picture(make_samples(4, 5, 3)), Picture(make_samples(4, 5, 3, seed=1))
    (tmp_path / "a.bmp").write_bytes(encode(first, "BMP"))
    decode_ahead(tmp_path / "a.bmp")
    (tmp_path / "a.bmp").write_bytes(encode(second, "BMP"))
    assert np.array_equal(decode(tmp_path / "a.bmp").pixels, second.pixels)


def test_errors_met_ahead_are_those_of_decode(tmp_path: Path):
    data = encode(Picture(make_samples(40, 50, 3)))[:-2000]
    (tmp_path / "cut.png").write_bytes(data)
    decode_ahead(tmp_path / "cut.png")
    for _ in range(2):
        with pytest.raises(InputError, match=r"cut\.png: damaged or truncated PNG"):
            decode(tmp_path / "cut.png")
