"""TIFFs of data: every band, tag and missing value stays; compared with tifffile."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile

from infilling.errors import InputError
from infilling.filling.fill import fill
from infilling.pictures.files import decode_raster
from infilling.pictures.rasters import write_raster

BOX = [(20, 20, 15, 12)]
GEO = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 4600000.0, 0.0), True),
    (34735, "H", 8, (1, 1, 0, 1, 1024, 0, 1, 1), True),
]


def make_bands(count: int, dtype: type) -> np.ndarray:
    y, x = np.mgrid[:60, :80]
    bands = np.stack([(k + 1) * (3 * y + 2 * x) % 251 for k in range(count)], axis=-1).astype(dtype)
    return bands * 3 if np.dtype(dtype).itemsize > 1 else bands


def write(bands: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, bands, metadata=None, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.uint16, np.int16, np.uint32, np.int32, np.float32, np.float64]
)
@pytest.mark.parametrize("count", [1, 2, 4, 6, 8])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_known_values_of_every_band_stay(dtype: type, count: int, planar: str, order: str) -> None:
    bands = make_bands(count, dtype)
    if count == 1:
        data = write(bands[..., 0], photometric="minisblack", byteorder=order)
    else:
        given = np.moveaxis(bands, -1, 0) if planar == "separate" else bands
        data = write(given, photometric="minisblack", planarconfig=planar, byteorder=order)
    result = fill(data, boxes=BOX, engine="mean")
    found, expected = (tifffile.imread(io.BytesIO(each)) for each in (result, data))
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    if planar == "separate" and count > 1:
        found, expected = np.moveaxis(found, 0, -1), np.moveaxis(expected, 0, -1)
    hole = np.zeros((60, 80), bool)
    hole[20:32, 20:35] = True
    np.testing.assert_array_equal(found[~hole], expected[~hole])
    assert (found[hole] != expected[hole]).any()


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("tile", [None, (32, 16)])
@pytest.mark.parametrize("predictor", [None, True])
def test_tiles_strips_and_predictors_are_read(
    compression: str | None, tile: object, predictor: object
) -> None:
    if predictor and not compression:
        return
    bands = make_bands(4, np.int16)
    how = {"compression": compression, "predictor": predictor, "planarconfig": "contig"}
    how |= {"tile": tile} if tile else {"rowsperstrip": 7}
    data = write(bands, photometric="minisblack", **how)
    raster = decode_raster(data)
    assert raster is not None
    np.testing.assert_array_equal(raster.bands, bands)
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(write_raster(raster))), bands)


def test_rgb_with_a_further_band_keeps_its_tags(tmp_path: Path) -> None:
    bands = make_bands(4, np.uint16)
    tags = [*GEO, (42113, "s", 0, "0", True), (270, "s", 0, "a field", True)]
    path = tmp_path / "field.tif"
    path.write_bytes(write(bands, photometric="rgb", extrasamples=[0], extratags=tags, resolution=(300, 300)))
    out = fill(path, boxes=BOX, engine="push-pull")
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(out) as after:
        for code in (33550, 33922, 34735, 42113, 270, 262, 282, 338):
            assert after.pages[0].tags[code].value == before.pages[0].tags[code].value


def test_nodata_is_no_source_and_stays_unless_it_is_marked() -> None:
    bands = make_bands(2, np.int16) % 100 + 50
    bands[30:50, 10:60] = -9999
    tags = [(42113, "s", 0, "-9999", True)]
    data = write(bands, photometric="minisblack", planarconfig="contig", extratags=tags)
    marked = tifffile.imread(io.BytesIO(fill(data, boxes=BOX, engine="push-pull")))
    hole = np.zeros((60, 80), bool)
    hole[20:32, 20:35] = True
    np.testing.assert_array_equal(marked[~hole], bands[~hole])
    assert (marked[hole] >= 50).all()
    whole = tifffile.imread(io.BytesIO(fill(data, engine="push-pull")))
    missing = bands == -9999
    assert (whole[missing] >= 50).all()
    np.testing.assert_array_equal(whole[~missing], bands[~missing])


def test_what_is_not_read_is_named() -> None:
    data = write(make_bands(4, np.uint16), photometric="rgb", extrasamples=[0], compression="zlib")
    assert decode_raster(data) is not None
    with pytest.raises(InputError, match="a TIFF of data stays one"):
        fill(data, boxes=BOX, engine="mean", format="png")
    packed = bytearray(data)
    place = packed.index(b"\x03\x01\x03\0\x01\0\0\0\x08\0")
    packed[place + 8] = 5
    with pytest.raises(InputError, match=r"compression 5 .* is not supported; save it uncompressed"):
        fill(bytes(packed), boxes=BOX, engine="mean")
