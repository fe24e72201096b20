"""Every format both ways, against Pillow, OpenCV and tifffile; every lossless one bit for bit."""

import io
import itertools
import struct

import cv2
import numpy as np
import PIL
import pytest
from PIL import Image
from tests.pictures.pixels import RNG, draw, join, save, swap

from infilling.errors import InputError
from infilling.pictures.files import decode, encode
from infilling.pictures.picture import Picture, from_array

GREYLESS = ("WEBP",) if PIL.__version__ >= "13" else ("WEBP", "AVIF")  # formats that bring grey back as RGB


def read_with_opencv(data: bytes) -> np.ndarray:
    return swap(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


def measure_psnr(found: np.ndarray, expected: np.ndarray) -> float:
    return -10 * np.log10(max(np.mean((found.astype(float) - expected) ** 2), 1e-9) / 255**2)


# -- round trips --------------------------------------------------------------------------------------------

LOSSLESS = [
    *itertools.product(("PNG", "TIFF"), (8, 16), (1, 2, 3, 4)),
    *itertools.product(("BMP",), (8,), (1, 3, 4)),
    *itertools.product(("WEBP",), (8,), (3, 4)),
]


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (70, 1), (131, 67)])
@pytest.mark.parametrize(("format", "bits", "channels"), LOSSLESS)
def test_round_trip_is_exact(format, bits, channels, size):
    picture = from_array(draw(*size, channels, bits))
    wanted = Picture(picture.pixels, picture.alpha, format=format, lossless=True)
    found = decode(encode(wanted))
    assert found.format == format
    assert found.pixels.dtype == wanted.pixels.dtype
    assert np.array_equal(join(found), join(wanted))


@pytest.mark.parametrize(
    ("format", "bits", "channels"),
    # but for TIFF of 8 bits with alpha, which OpenCV multiplies into the colours
    sorted({*itertools.product(("PNG", "TIFF"), (8, 16), (1, 3, 4))} - {("TIFF", 8, 4)}),
)
def test_opencv_reads_what_we_write(format, bits, channels):
    array = draw(70, 61, channels, bits)
    assert np.array_equal(read_with_opencv(encode(from_array(array), format)), array)


@pytest.mark.parametrize("bits", [8, 16])
def test_opencv_reads_our_grey_with_alpha(bits):
    array = draw(70, 61, 2, bits)
    found = read_with_opencv(encode(from_array(array), "PNG"))
    assert np.array_equal(found, array[..., [0, 0, 0, 1]])


def test_opencv_reads_our_bmp_with_alpha():
    array = draw(9, 7, 4)
    assert np.array_equal(read_with_opencv(encode(from_array(array), "BMP")), array)


def test_arrays_are_ours_to_write_on():
    for format in ("PNG", "TIFF", "JPEG"):
        for bits in (8, 16):
            assert decode(encode(from_array(draw(5, 4, 3, bits)), format)).pixels.flags.writeable


def test_encode_leaves_the_pixels_alone():
    array = draw(70, 61, 4, 16)
    before = array.copy()
    for format in ("PNG", "TIFF", "WEBP", "AVIF", "BMP"):
        encode(from_array(array), format)
    assert np.array_equal(array, before)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "BMP", "AVIF"])
def test_sixteen_bits_become_eight_by_rounding(format):
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
    rounded = np.rint(every / 257).astype(np.uint8)
    assert encode(Picture(every), format) == encode(Picture(rounded), format)


# -- lossy formats ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossy_formats_stay_close(format, channels):
    smooth = cv2.GaussianBlur(draw(64, 80, 3), (9, 9), 3)[..., :channels]
    found = decode(encode(Picture(smooth), format))
    assert found.format == format
    assert found.pixels.shape == (64, 80, 3 if format in GREYLESS else channels)
    assert measure_psnr(found.pixels, smooth) > 38


@pytest.mark.parametrize("format", ["WEBP", "AVIF"])
def test_lossy_formats_keep_alpha(format):
    array = cv2.GaussianBlur(draw(64, 80, 4), (9, 9), 3)
    found = decode(encode(from_array(array), format))
    assert measure_psnr(found.alpha, array[..., 3]) > 38


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "AVIF"])
def test_quality_orders_sizes(format):
    picture = from_array(draw(64, 80, 3))
    sizes = [len(encode(picture, format, quality=quality)) for quality in (5, 40, 75, 98)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[-1] / 2


def test_jpeg_refuses_alpha_that_shows_and_drops_alpha_that_does_not():
    array = draw(8, 8, 4)
    with pytest.raises(InputError, match="JPEG has no transparency"):
        encode(from_array(array), "JPEG")
    opaque = Picture(array[..., :3], np.full((8, 8), 255, np.uint8))
    assert encode(opaque, "JPEG") == encode(Picture(array[..., :3]), "JPEG")
    with pytest.raises(InputError, match="JPEG has no transparency"):
        encode(Picture(array[..., :3].astype(np.uint16), np.full((8, 8), 65000, np.uint16)), "JPEG")


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("quality", [30, 77, 95])
def test_jpeg_keeps_its_tables_and_subsampling(quality, subsampling):
    source = save(Image.fromarray(draw(48, 64, 3)), "JPEG", quality=quality, subsampling=subsampling)
    again = encode(decode(source))
    before, after = Image.open(io.BytesIO(source)), Image.open(io.BytesIO(again))
    assert after.quantization == before.quantization
    assert [layer[1:3] for layer in after.layer] == [layer[1:3] for layer in before.layer]
    assert len(again) == pytest.approx(len(source), rel=0.05)
    chosen = Image.open(io.BytesIO(encode(decode(source), quality=50)))
    reference = Image.open(io.BytesIO(save(Image.new("RGB", (8, 8)), "JPEG", quality=50)))
    assert chosen.quantization == reference.quantization


def test_a_video_behind_a_jpeg_is_named_also_where_no_xmp_does() -> None:
    data = save(Image.new("RGB", (16, 16)), "JPEG")
    assert decode(data).warnings == ()
    assert decode(data + b"\0\0\0\x18ftypmp42" + bytes(12)).warnings == (
        "its motion photo's video is not kept",
    )


def test_a_jpeg_with_a_second_picture_behind_it_is_its_first():
    frames = [Image.fromarray(draw(16, 16, 3)) for _ in range(2)]
    data = save(frames[0], "MPO", save_all=True, append_images=frames[1:])
    found = decode(data)
    assert found.format == "JPEG"
    assert np.array_equal(found.pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def test_lossless_webp_stays_lossless_and_lossy_stays_lossy():
    image = Image.fromarray(draw(48, 64, 4))
    assert decode(save(image, "WEBP", lossless=True, exact=True)).lossless
    assert not decode(save(image, "WEBP", quality=80)).lossless
    exact = decode(save(image, "WEBP", lossless=True, exact=True))
    assert np.array_equal(join(exact), np.asarray(image))


def test_sides_too_long_are_one_line():
    wide = Picture(np.zeros((1, 70_000, 3), np.uint8))
    for format in ("JPEG", "WEBP"):
        with pytest.raises(InputError, match=f"cannot write 70000×1 as {format}"):
            encode(wide, format)
    assert decode(encode(wide, "PNG")).width == 70_000


# -- 8 bits against Pillow ----------------------------------------------------------------------------------

MODES = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"],
    "JPEG": ["L", "RGB", "CMYK"],
    "WEBP": ["RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB"],
    "GIF": ["1", "L", "P"],
    "AVIF": ["RGB", "RGBA"],
}
EXPECTED = {"1": "L", "P": "RGB", "CMYK": "RGB", "YCbCr": "RGB"}


@pytest.mark.parametrize(("format", "mode"), [(format, mode) for format in MODES for mode in MODES[format]])
def test_decode_agrees_with_pillow(format, mode):
    image = Image.fromarray(draw(150, 90, 4 if mode.endswith("A") else 3)).convert(mode)
    data = save(image, format)
    opened = Image.open(io.BytesIO(data))
    expected = np.asarray(
        opened.convert("RGB" if format == "GIF" and mode == "P" else EXPECTED.get(mode, mode))
    )
    found = decode(data)
    assert found.format == ("PNG" if format == "GIF" else format)
    assert np.array_equal(join(found).squeeze(), expected)


def test_large_pictures_are_copied_out_whole():
    array = draw(500, 700, 3)  # more than is copied in one piece
    assert np.array_equal(decode(encode(from_array(array), "PNG")).pixels, array)


@pytest.mark.parametrize("format", ["PNG", "GIF"])
def test_palette_transparency_becomes_alpha(format):
    indices = RNG.integers(0, 4, (9, 7)).astype(np.uint8)
    image = Image.fromarray(indices).convert("P")
    palette = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    image.putpalette(palette.tobytes())
    found = decode(save(image, format, transparency=2))
    assert np.array_equal(found.alpha, np.where(indices == 2, 0, 255))
    assert np.array_equal(found.pixels[indices != 2], palette[indices][indices != 2])


def make_png(
    depth: int, colour_type: int, rows: bytes, width: int, height: int, transparent: bytes = b""
) -> bytes:
    """A PNG by hand, for the kinds that no library here writes. `rows` without filter bytes."""
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    length = len(rows) // height
    lines = b"".join(b"\0" + rows[length * y : length * (y + 1)] for y in range(height))
    parts = [
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)),
    ]
    parts += [chunk(b"tRNS", transparent)] if transparent else []
    return b"".join([*parts, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")])


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_transparent_grey_of_few_bits(depth):
    top = 2**depth - 1
    values = np.arange(16).reshape(2, 8) % (top + 1)
    bits = "".join(f"{value:0{depth}b}" for value in values.ravel())
    rows = int(bits, 2).to_bytes(len(bits) // 8, "big")
    found = decode(make_png(depth, 0, rows, 8, 2, struct.pack(">H", 1)))
    assert np.array_equal(found.pixels[..., 0], values * (255 // top))
    assert np.array_equal(found.alpha, np.where(values == 1, 0, 255))


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)])
def test_transparent_colour_of_sixteen_bits(colour_type, channels):
    array = draw(9, 7, channels, 16)
    array[2:4, 3:5] = array[0, 0]
    array[5, 5] = array[0, 0] ^ 1  # differs in the lowest bit: not transparent
    transparent = array[0, 0].astype(">u2").tobytes()
    data = make_png(16, colour_type, array.astype(">u2").tobytes(), 7, 9, transparent)
    found = decode(data)
    assert np.array_equal(found.pixels, array)
    assert np.array_equal(found.alpha == 0, (array == array[0, 0]).all(axis=2))
    reference = read_with_opencv(data)
    if reference.shape[2] == 4:
        assert np.array_equal(found.alpha, reference[..., 3])


def test_bmp_of_16_and_32_bits_agree_with_opencv_and_pillow():
    header = struct.pack("<IiiHHIIiiII", 40, 3, -2, 1, 16, 3, 16, 0, 0, 0, 0) + struct.pack(
        "<3I", 0xF800, 0x7E0, 0x1F
    )
    pixels = struct.pack("<8H", 0xFFFF, 0, 0xF800, 0, 0x7E0, 0x1F, 0x1234, 0)
    data = b"BM" + struct.pack("<IHHI", 14 + len(header) + 16, 0, 0, 14 + len(header)) + header + pixels
    assert np.array_equal(decode(data).pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    assert decode(data).pixels[0].tolist() == [[255, 255, 255], [0, 0, 0], [255, 0, 0]]


# -- CMYK ---------------------------------------------------------------------------------------------------


def make_cmyk_profile() -> bytes:
    """A profile (ICC.1:2001, lut8): paper is white, full cyan alone is L*=50 grey, all else is black."""
    table = np.zeros((2, 2, 2, 2, 3), np.uint8)
    table[..., 1:] = 128  # a* = b* = 0
    table[0, 0, 0, 0, 0], table[1, 0, 0, 0, 0] = 255, 128
    ramp = np.arange(256, dtype=np.uint8).tobytes()
    identity = struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel())
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + 4 * ramp + table.tobytes() + 3 * ramp
    length = 128 + 4 + 12 + len(lut)
    header = struct.pack(">I4sI4s4s4s", length, bytes(4), 0x02100000, b"prtr", b"CMYK", b"Lab ")
    header += (
        struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp")
        + bytes(28)
        + struct.pack(">3i", 63190, 65536, 54061)
    )
    return header.ljust(128, b"\0") + struct.pack(">I4sII", 1, b"A2B0", 144, len(lut)) + lut


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk_goes_through_its_profile_which_is_dropped(format):
    inks = np.zeros((16, 48, 4), np.uint8)
    inks[:, 16:32, 0] = 255
    inks[:, 32:] = 255
    data = save(Image.fromarray(inks, "CMYK"), format, icc_profile=make_cmyk_profile())
    found = decode(data)
    assert found.icc is None
    assert found.pixels.shape == (16, 48, 3)
    # L* = 50 is a luminance of 0.1842, which sRGB writes as 119.
    for column, level in ((8, 255), (24, 119), (40, 0)):
        assert np.abs(found.pixels[8, column].astype(int) - level).max() <= 2
    assert decode(encode(found)).pixels.shape == (16, 48, 3)


@pytest.mark.parametrize("profile", [None, make_cmyk_profile()[:200], b"CMYK" * 10])
def test_cmyk_without_a_profile_that_works_is_taken_simply(profile):
    inks = draw(16, 16, 4)
    options = {"icc_profile": profile} if profile else {}
    data = save(Image.fromarray(inks, "CMYK"), "TIFF", **options)
    assert np.array_equal(decode(data).pixels, np.asarray(Image.fromarray(inks, "CMYK").convert("RGB")))


# -- 16 bits ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_png_of_16_bits_agrees_with_opencv(channels):
    array = draw(70, 61, channels, 16)
    data = cv2.imencode(".png", swap(array))[1].tobytes()
    found = decode(data)
    assert found.pixels.dtype == np.uint16
    assert np.array_equal(join(found), read_with_opencv(data))
    assert np.array_equal(join(found), array)


def test_interlaced_png_of_16_bits():
    """Adam7 by hand, unfiltered: seven small pictures."""
    import zlib

    passes = [
        (0, 0, 8, 8),
        (0, 4, 8, 8),
        (4, 0, 8, 4),
        (0, 2, 4, 4),
        (2, 0, 4, 2),
        (0, 1, 2, 2),
        (1, 0, 2, 1),
    ]
    for colour_type, channels in ((0, 1), (2, 3), (4, 2), (6, 4)):
        array = draw(13, 11, channels, 16)
        lines = b""
        for top, left, down, across in passes:
            part = array[top::down, left::across].astype(">u2")
            lines += b"".join(b"\0" + row.tobytes() for row in part if part.shape[1])
        data = bytearray(make_png(16, colour_type, b"\0" * 13, 11, 13))
        data[28] = 1
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
        body = zlib.compress(lines)
        tail = struct.pack(">I", len(body)) + b"IDAT" + body + struct.pack(">I", zlib.crc32(b"IDAT" + body))
        found = decode(bytes(data[:33]) + tail + struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND")))
        assert np.array_equal(join(found), array)


# -- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "AVIF"])
def test_animations_are_refused(format):
    frames = [Image.fromarray(draw(16, 16, 3)) for _ in range(2)]
    data = save(frames[0], format, save_all=True, append_images=frames[1:], duration=100)
    with pytest.raises(InputError, match=f"an animated {format}; give one of its frames"):
        decode(data)
