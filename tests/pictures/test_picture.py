"""Picture itself: shapes, floats, arrays, Pillow images, formats by name, and writing files."""

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from infilling.errors import InputError, StorageError
from infilling.pictures.picture import (
    FORMATS,
    Picture,
    encode,
    find_format,
    from_array,
    from_float,
    from_pil,
    to_float,
    to_pil,
    write_atomic,
)


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
    assert all(format in str(caught.value) for format in FORMATS)


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_encode_refuses_a_quality_outside_its_range(quality):
    with pytest.raises(InputError, match=f"quality {quality} is not in 1 to 100"):
        encode(Picture(make_samples(2, 2, 3)), "jpeg", quality=quality)


class TestWriteAtomic:
    def test_writes_with_the_usual_permissions(self, tmp_path):
        plain = tmp_path / "plain"
        plain.write_bytes(b"")
        write_atomic(tmp_path / "new", b"data")
        assert (tmp_path / "new").read_bytes() == b"data"
        assert (tmp_path / "new").stat().st_mode == plain.stat().st_mode

    def test_replaces_and_keeps_permissions_and_links(self, tmp_path):
        target, link = tmp_path / "target", tmp_path / "link"
        target.write_bytes(b"old")
        target.chmod(0o640)
        link.symlink_to(target)
        write_atomic(link, b"new")
        assert link.is_symlink()
        assert target.read_bytes() == b"new"
        assert stat.S_IMODE(target.stat().st_mode) == 0o640
        assert sorted(os.listdir(tmp_path)) == ["link", "target"]

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_full_disk_leaves_the_old_file_and_nothing_else(self, tmp_path, monkeypatch, step):
        target = tmp_path / "target"
        target.write_bytes(b"old")

        def fail(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
        with pytest.raises(StorageError, match="No space left on device") as caught:
            write_atomic(target, b"new")
        assert str(target) in str(caught.value)
        assert target.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["target"]

    @pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="this system has no files without a name")
    def test_a_new_file_has_no_name_before_it_is_whole(self, tmp_path, monkeypatch):
        seen = []
        monkeypatch.setattr(os, "fsync", lambda _: seen.extend(os.listdir(tmp_path)))
        write_atomic(tmp_path / "new", b"data")
        assert (seen, os.listdir(tmp_path)) == ([], ["new"])

    @pytest.mark.parametrize("missing", ["O_TMPFILE", "link"])
    def test_systems_without_such_files_write_all_the_same(self, tmp_path, monkeypatch, missing):
        def refuse(*_, **__):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

        if missing == "link":
            monkeypatch.setattr(os, "link", refuse)
        else:
            monkeypatch.delattr(os, missing, raising=False)
        write_atomic(tmp_path / "new", b"data")
        assert os.listdir(tmp_path) == ["new"]
        assert (tmp_path / "new").read_bytes() == b"data"

    def test_a_missing_folder_and_a_folder_are_storage_errors(self, tmp_path):
        with pytest.raises(StorageError, match="No such file or directory"):
            write_atomic(tmp_path / "missing" / "a.png", b"data")
        with pytest.raises(StorageError, match="Is a directory"):
            write_atomic(tmp_path, b"data")

    def test_a_device_stays_a_device(self):
        write_atomic(Path(os.devnull), b"data")
        assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
