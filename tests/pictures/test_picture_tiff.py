"""TIFF in its many arrangements, against Pillow, OpenCV and tifffile."""

import io

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from tests.pictures.pixels import draw, join, save, swap

from infilling.errors import InputError
from infilling.pictures.files import decode, encode
from infilling.pictures.picture import from_array


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tifffile_reads_what_we_write(bits, channels):
    array = draw(333, 300, channels, bits)  # several strips
    found = tifffile.imread(io.BytesIO(encode(from_array(array), "TIFF")))
    assert np.array_equal(found.reshape(array.shape), array)


@pytest.mark.parametrize(
    "compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "group4", "jpeg"]
)
def test_tiff_compressions_agree_with_pillow(compression):
    image = Image.fromarray(draw(150, 90, 3)).convert("1" if compression == "group4" else "RGB")
    data = save(image, "TIFF", compression=compression)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("L" if compression == "group4" else "RGB"))
    assert np.array_equal(decode(data).pixels.squeeze(), expected)


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiff_of_16_bits_agrees_with_opencv(channels, compression):
    array = draw(70, 61, channels, 16)
    data = cv2.imencode(".tif", swap(array), [cv2.IMWRITE_TIFF_COMPRESSION, compression])[1].tobytes()
    found = decode(data)
    assert found.pixels.dtype == np.uint16
    assert np.array_equal(join(found), array)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize(
    ("channels", "planar"), [(1, "contig"), (3, "contig"), (3, "separate"), (4, "contig"), (4, "separate")]
)
def test_tiff_arrangements_that_tifffile_writes(bits, order, planar, compression, tile, channels):
    array = draw(70, 61, channels, bits)
    file = io.BytesIO()
    tifffile.imwrite(
        file,
        array[..., 0] if channels == 1 else np.moveaxis(array, 2, 0) if planar == "separate" else array,
        byteorder=order,
        planarconfig=planar if channels > 1 else None,
        photometric="minisblack" if channels == 1 else "rgb",
        extrasamples=["unassalpha"] if channels == 4 else None,
        compression=compression,
        predictor=compression is not None,
        tile=tile,
        rowsperstrip=None if tile else 9,
    )
    assert np.array_equal(join(decode(file.getvalue())), array)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib", "tiff_lzw", "packbits"])
def test_tiff_of_16_bit_grey_by_pillow(order, compression):
    array = draw(70, 61, 1, 16)
    if compression == "zlib":
        compression = "tiff_adobe_deflate"
    image = Image.frombytes(
        "I;16" if order == "<" else "I;16B", (61, 70), array.astype(f"{order}u2").tobytes()
    )
    assert np.array_equal(decode(save(image, "TIFF", compression=compression)).pixels, array)


def test_tiff_where_white_is_zero():
    for bits in (8, 16):
        array = draw(9, 7, 1, bits)
        file = io.BytesIO()
        tifffile.imwrite(file, array[..., 0], photometric="miniswhite")
        assert np.array_equal(decode(file.getvalue()).pixels, np.iinfo(array.dtype).max - array)


def test_tiff_with_alpha_multiplied_in_is_divided():
    straight = draw(70, 61, 4, 16)
    straight[..., 3] = np.maximum(straight[..., 3], 256)
    colour = np.rint(straight[..., :3] * (straight[..., 3:] / 65535)).astype(np.uint16)
    file = io.BytesIO()
    tifffile.imwrite(
        file, np.dstack([colour, straight[..., 3]]), photometric="rgb", extrasamples=["assocalpha"]
    )
    found = decode(file.getvalue())
    assert np.array_equal(found.alpha, straight[..., 3])
    # A step of 1 in what is stored is 65535 / alpha steps in what it stands for.
    error = np.abs(found.pixels.astype(int) - straight[..., :3].astype(int))
    assert (error <= 0.5 * 65535 / straight[..., 3:] + 1).all()


@pytest.mark.parametrize(
    ("array", "options", "words"),
    [
        (np.zeros((9, 7), np.float32), {}, "floating-point 32-bit"),
        (np.zeros((9, 7), np.int16), {}, "signed 16-bit samples is data"),
        (np.zeros((9, 7), np.uint32), {}, "32-bit samples"),
        (
            np.zeros((9, 7, 4), np.uint8),
            {"photometric": "rgb", "extrasamples": [0]},
            "4 bands, 1 beyond its 3",
        ),
        (np.zeros((3, 9, 7), np.uint8), {"photometric": "minisblack"}, "several pages"),
        (np.zeros((9, 7), np.uint8), {"bigtiff": True}, "BigTIFF"),
        (np.zeros((9, 7, 4), np.uint16), {"photometric": "separated"}, "neither grey nor RGB"),
    ],
)
def test_tiff_kinds_that_are_refused(array, options, words):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    with pytest.raises(InputError, match=words):
        decode(file.getvalue())


def test_a_tiff_with_a_thumbnail_is_one_page():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(draw(32, 24, 3), photometric="rgb")
        writer.write(draw(8, 6, 3), photometric="rgb", subfiletype=1)
    assert decode(file.getvalue()).pixels.shape == (32, 24, 3)
