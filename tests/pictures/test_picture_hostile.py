"""What must not be believed: sizes, damaged bytes, other files, many threads at once."""

import gc
import io
import os
import struct
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from infilling.errors import ConfigError, InfillingError, InputError, TooLargeError
from infilling.pictures import readers
from infilling.pictures.files import decode, encode
from infilling.pictures.picture import Picture, from_array
from infilling.pictures.sniffing import sniff

RNG = np.random.default_rng(11)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def save(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def make_files() -> dict[str, list[bytes]]:
    """Small valid files of every format and of many kinds, 40×30, by format."""
    slope = np.add.outer(np.arange(40) * 5, np.arange(30) * 3)[..., None]
    array = np.clip(slope + RNG.integers(0, 20, (40, 30, 4)), 0, 255).astype(np.uint8)
    deep = array.astype(np.uint16) * 257
    rgba = Image.fromarray(array)
    rgb, grey = rgba.convert("RGB"), rgba.convert("L")
    palette, exif = rgb.quantize(16), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Some Camera"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:06 07:08:09"
    rich = {"exif": exif.tobytes(), "icc_profile": SRGB}
    sixteen = [from_array(deep[..., :channels]) for channels in (1, 2, 3, 4)]
    return {
        "PNG": [save(image, "PNG", **rich) for image in (grey.convert("1"), grey, rgb, rgba)]
        + [save(palette, "PNG", transparency=3), *(encode(picture, "PNG") for picture in sixteen)],
        "JPEG": [save(image, "JPEG", **rich) for image in (grey, rgb)]
        + [save(rgb, "JPEG", progressive=True), save(rgb.convert("CMYK"), "JPEG")],
        "WEBP": [
            save(rgb, "WEBP", **rich),
            save(rgba, "WEBP", **rich),
            save(rgba, "WEBP", lossless=True),
            save(rgb, "WEBP"),
        ],
        "TIFF": [
            save(image, "TIFF", **rich)
            for image in (grey.convert("1"), grey, rgb, palette, rgb.convert("CMYK"))
        ]
        + [
            save(rgb, "TIFF", compression=name)
            for name in ("tiff_lzw", "packbits", "jpeg", "tiff_adobe_deflate")
        ]
        + [encode(picture, "TIFF") for picture in sixteen],
        "BMP": [save(image, "BMP") for image in (grey.convert("1"), grey, palette, rgb)]
        + [encode(from_array(array), "BMP")],
        "AVIF": [save(rgb, "AVIF", speed=10, quality=95, **rich), save(rgba, "AVIF", speed=10, quality=95)],
        "GIF": [save(grey, "GIF"), save(palette, "GIF", transparency=3)],
    }


FILES = make_files()


def test_the_files_are_good():
    for format, files in FILES.items():
        for data in files:
            assert sniff(data) == format
            assert decode(data).pixels.size in (1200, 3600)


# -- mutated files ------------------------------------------------------------------------------------------

EDITS = st.lists(
    st.tuples(
        st.sampled_from(["set", "set", "flip", "cut", "insert", "extreme", "end"]),
        st.sampled_from([True, False, False, False]),  # within the first 64 bytes, or anywhere
        st.integers(0, 1 << 20),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\1")


def mutate(data: bytes, edits: list[tuple[str, bool, int, bytes]]) -> bytes:
    edited = bytearray(data)
    for kind, in_header, number, new in edits:
        place = number % max(min(len(edited), 64 if in_header else len(edited)), 1)
        if kind == "set":
            edited[place : place + len(new)] = new
        elif kind == "flip" and edited:
            edited[place] ^= 1 << number % 8
        elif kind == "cut":
            del edited[place : place + new[0] % 20]
        elif kind == "insert":
            edited[place:place] = new
        elif kind == "extreme":
            edited[place : place + 4] = EXTREMES[number % 4]
        elif kind == "end" and not in_header:
            del edited[place:]
    return bytes(edited)


def attack(format: str, examples: int, monkeypatch: pytest.MonkeyPatch) -> float:
    """Decode so many mutated files, which may raise nothing but InfillingError.

    Returns:
        The share of them that got past the header: to the check of the size that it promises, and through it.
    """
    passed: list[bool] = []
    check_size = readers.check_size

    def count(size: tuple[int, int], limit: int, bits: int = 32) -> None:
        check_size(size, limit, bits)
        passed[-1] = True

    monkeypatch.setattr(readers, "check_size", count)

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(st.sampled_from(FILES[format]), EDITS)
    def decode_mutated(data: bytes, edits: list[tuple[str, bool, int, bytes]]) -> None:
        passed.append(False)
        try:
            picture = decode(mutate(data, edits), max_pixels=1_000_000)
        except InfillingError as error:
            complaint = str(error)
        else:
            complaint = ""
            assert picture.pixels.dtype in (np.uint8, np.uint16)
            assert decode(encode(picture, "PNG")).pixels.shape == picture.pixels.shape
        assert "\n" not in complaint

    decode_mutated()
    return sum(passed) / len(passed)


@pytest.mark.parametrize("format", FILES)
def test_mutated_files_raise_nothing_of_their_own(format, monkeypatch):
    assert attack(format, 60, monkeypatch) > 0  # how many differs with the modules that hypothesis sees


@pytest.mark.faults
@pytest.mark.parametrize("format", FILES)
def test_many_mutated_files_raise_nothing_of_their_own(format, monkeypatch):
    assert attack(format, 2000, monkeypatch) >= 0.2


@pytest.mark.parametrize("format", FILES)
def test_every_file_cut_short_is_said_to_be(format):
    for data in FILES[format][5 if format == "TIFF" else 0 :]:  # the first of these end in what is no pixel
        for share in (0.3, 0.6, 0.9):
            with pytest.raises(InputError, match=r"truncated|damaged") as caught:
                decode(data[: int(len(data) * share)])
            assert "\n" not in str(caught.value)


# -- other files --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"some text",
        b"%PDF-1.7",
        b"<svg/>",
        b"\0",
        b"\x89PNG",
        b"RIFF\0\0\0\0WAVE",
    ],
)
def test_other_files_are_named_as_such(data, tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        decode(path)
    assert str(caught.value).startswith(f"{path}: not a picture that can be read (PNG, JPEG, WEBP,")


def test_missing_empty_folder_and_strange_sources(tmp_path):
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    for source, words in (
        (tmp_path / "missing.png", "missing.png: no such file"),
        (empty, "empty.png: empty"),
        (tmp_path, "is a folder; name a file in it"),
        (Path("a\0b"), "cannot be read"),
        (b"", "empty: the file has no bytes"),
        (7, "source 7 cannot be used: give the bytes of a file, or its path"),
    ):
        with pytest.raises(InputError) as caught:
            decode(source)
        assert words in str(caught.value)


def test_the_name_does_not_matter(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(FILES["PNG"][2])
    assert decode(path).format == "PNG"


# -- limits -------------------------------------------------------------------------------------------------


def claim(format: str, width: int, height: int) -> bytes:
    """A file whose header promises this size."""
    data = bytearray(FILES[format][-1] if format != "JPEG" else FILES[format][1])
    if format == "PNG":
        import zlib

        struct.pack_into(">II", data, 16, width, height)
        struct.pack_into(">I", data, 29, zlib.crc32(bytes(data[12:29])))
    elif format == "JPEG":
        struct.pack_into(">HH", data, data.index(b"\xff\xc0") + 5, height, width)
    elif format == "BMP":
        struct.pack_into("<ii", data, 18, width, height)
    elif format == "GIF":
        struct.pack_into("<HH", data, 6, width, height)
    elif format == "WEBP":
        struct.pack_into("<HH", data, data.index(b"\x9d\x01\x2a") + 3, width, height)
    elif format == "TIFF":
        start = struct.unpack_from("<I", data, 4)[0]
        struct.pack_into("<I", data, start + 2 + 8, width)
        struct.pack_into("<I", data, start + 2 + 12 + 8, height)
    return bytes(data)


@pytest.mark.parametrize(
    ("format", "width", "height"),
    [
        ("PNG", 100_000, 100_000),
        ("TIFF", 100_000, 100_000),
        ("BMP", 100_000, 100_000),
        ("JPEG", 65_000, 65_000),
        ("GIF", 65_000, 65_000),
        ("WEBP", 16_383, 16_383),
    ],
)
def test_too_many_pixels_are_refused_by_the_header(format, width, height):
    with pytest.raises(InputError) as caught:
        decode(claim(format, width, height))
    assert f"{width * height:,} pixels, more than the limit of 200,000,000" in str(caught.value)


@pytest.mark.parametrize("format", FILES)
def test_limit_is_exact(format):
    assert decode(FILES[format][0], max_pixels=1200)
    with pytest.raises(InputError, match=r"is 1,200 pixels, more than the limit of 1,199"):
        decode(FILES[format][0], max_pixels=1199)


def test_limit_from_the_environment(monkeypatch):
    data = FILES["PNG"][0]
    monkeypatch.setenv("INFILLING_MAX_PIXELS", "1199")
    with pytest.raises(InputError, match="limit of 1,199"):
        decode(data)
    assert decode(data, max_pixels=1200)
    for wrong in ("many", "0", "-1", "1e6"):
        monkeypatch.setenv("INFILLING_MAX_PIXELS", wrong)
        with pytest.raises(ConfigError, match=f"INFILLING_MAX_PIXELS='{wrong}'"):
            decode(data)


@pytest.mark.parametrize("format", FILES)
def test_pillows_own_limit_neither_warns_nor_hinders(format, monkeypatch):
    """Beyond it Pillow warns, beyond twice it raises: at 89 and 179 million pixels, less than ours."""
    limit = 601 if format in ("WEBP", "GIF") else 10  # these two cannot do without the second
    for data in FILES[format]:
        with monkeypatch.context() as patch:
            patch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
            assert decode(data).pixels.size


def test_pillows_own_limit_is_said_where_it_hinders(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(TooLargeError, match="a frame in it has more pixels than Pillow opens"):
        decode(claim("GIF", 1, 1))  # its frame is larger than its canvas


def test_a_large_jpeg_is_decoded_without_needless_copies():
    data = save(Image.new("RGB", (4000, 3000), "teal"), "JPEG")
    gc.collect()
    tracemalloc.start()
    picture = decode(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.1 * picture.pixels.nbytes


# -- the host -----------------------------------------------------------------------------------------------


def test_odd_exif_warns_nobody():
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A camera with a long name", 6
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    place = block.index(struct.pack(">HH", 0x010F, 2)) + 4
    odd = block[:place] + struct.pack(">I", 1_000_000) + block[place + 4 :]
    image = Image.new("RGB", (16, 8))
    with pytest.warns(UserWarning, match="corrupt|larger|Truncated"):  # so Pillow alone would
        Image.open(io.BytesIO(save(image, "JPEG", exif=b"Exif\0\0" + odd))).getexif().get(0x0112)
    for format in ("JPEG", "PNG", "WEBP", "AVIF"):
        data = save(image, format, exif=exif.tobytes()) if format == "AVIF" else b""
        data = (
            data.replace(block[:place], odd[:place]) if data else save(image, format, exif=b"Exif\0\0" + odd)
        )
        picture = decode(data)
        for target in ("JPEG", "PNG", "WEBP", "AVIF", "TIFF"):
            assert decode(encode(picture, target)).pixels.shape == picture.pixels.shape


def test_many_threads_at_once_leave_no_trace():
    work = [(format, data) for format, files in FILES.items() for data in files] * 4
    expected = {data: decode(data) for _, data in work}
    filters, limit = list(warnings.filters), Image.MAX_IMAGE_PIXELS

    def run(item: tuple[str, bytes]) -> bool:
        picture, reference = decode(item[1]), expected[item[1]]
        again = decode(encode(picture, "TIFF"))
        return np.array_equal(picture.pixels, reference.pixels) and np.array_equal(
            again.pixels, reference.pixels
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, work))
    assert list(warnings.filters) == filters
    assert limit == Image.MAX_IMAGE_PIXELS


def test_open_files_are_closed(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(encode(Picture(np.zeros((4, 4, 3), np.uint8)), "TIFF"))
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    for _ in range(20):
        decode(path)
    after = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    assert after <= before
