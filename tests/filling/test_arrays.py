"""Sensor data: any type, range and number of channels; NaN is hole; what is known stays as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from infilling.errors import InfillingWarning, InputError
from infilling.filling.fill import fill
from infilling.filling.fills import fills
from infilling.pictures.files import decode, encode
from infilling.pictures.picture import Picture

HOLE = np.zeros((20, 24), bool)
HOLE[6:14, 8:18] = True


def make(dtype: Any, low: float, high: float, channels: int | None = None, seed: int = 3) -> NDArray[Any]:
    shape = (*HOLE.shape, channels) if channels else HOLE.shape
    values = np.random.default_rng(seed).random(shape) * (high - low) + low
    return values.astype(dtype)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([np.int8, np.int16, np.int32, np.uint32, np.int64, np.float16, np.float32, np.float64]),
    st.sampled_from([None, 1, 2, 3, 5, 7]),
    st.sampled_from([(-100, 100), (3, 3.5), (0, 90), (-5, -4), (0.2, 0.25)]),
    st.sampled_from(["push-pull", "default"]),
)
def test_type_range_and_known_values_are_kept(
    dtype: Any, channels: int | None, span: tuple[float, float], engine: str
) -> None:
    assert_kept(make(dtype, *span, channels), engine)


@pytest.mark.parametrize("engine", ["push-pull", "default"])
@pytest.mark.parametrize("span", [(1000, 1100), (0, 65536), (7, 8)])
def test_sixteen_bits_keep_to_the_part_of_their_range_that_is_known(
    span: tuple[int, int], engine: str
) -> None:
    assert_kept(make(np.uint16, *span, 3), engine)
    assert_kept(make(np.uint16, *span), engine)


def assert_kept(array: NDArray[Any], engine: str) -> None:
    before = array.copy()
    result = fill(array, HOLE, engine=engine, bands=True)
    assert (result.dtype, result.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(array, before)
    np.testing.assert_array_equal(result[~HOLE], array[~HOLE])
    known = array[~HOLE]
    assert known.min() <= result.min()
    assert result.max() <= known.max()


def test_nan_is_hole_without_a_mask() -> None:
    array = make(np.float32, 200, 300)
    gaps = np.where(HOLE, np.float32(np.nan), array)
    result = fill(gaps)
    assert np.isfinite(result).all()
    np.testing.assert_array_equal(result, fill(array, HOLE))


def test_nan_beside_a_mask_is_hole_too() -> None:
    array = make(np.float64, 0, 1, 3)
    array[0, 0] = np.nan
    result = fill(array, HOLE)
    assert np.isfinite(result).all()
    known = ~HOLE
    known[0, 0] = False
    np.testing.assert_array_equal(result[known], array[known])


def test_what_one_channel_misses_is_filled_in_that_channel_only() -> None:
    array = make(np.float32, 0, 4000, 6)
    array[10, 10, 4] = np.nan
    result = fill(array)
    missing = np.isnan(array)
    assert missing.sum() == 1
    np.testing.assert_array_equal(result[~missing], array[~missing])
    assert 0 <= result[10, 10, 4] <= 4000


def test_grow_widens_gaps() -> None:
    array = make(np.float32, 0, 1)
    array[10, 10] = np.nan
    changed = fill(array, grow=2) != array
    assert changed.sum() == 13  # a disc of radius 2


def test_a_ramp_of_temperatures_goes_on_across_the_gap() -> None:
    ramp = np.broadcast_to(np.linspace(-40, 60, 24), HOLE.shape).copy()
    gaps = np.where(HOLE, np.nan, ramp)
    result = fill(gaps, engine="biharmonic")
    assert np.abs(result - ramp).max() < 0.5


def test_channels_are_filled_alike_alone_and_together() -> None:
    array = make(np.uint16, 0, 60000, 5)
    together = fill(array, HOLE, engine="push-pull", bands=True)
    alone = np.dstack([fill(array[..., band], HOLE, engine="push-pull") for band in range(5)])
    assert np.abs(together.astype(int) - alone).max() <= 1


def test_all_four_channels_are_data_if_asked() -> None:
    array = make(np.uint8, 0, 255, 4)
    np.testing.assert_array_equal(fill(array, HOLE)[..., 3], array[..., 3])
    assert (fill(array, HOLE, bands=True)[HOLE] != array[HOLE]).any(axis=0).all()


def test_infinity_must_be_marked() -> None:
    array = make(np.float32, 0, 9)
    array[0, 0] = np.inf
    with pytest.raises(InputError, match="mark what is infinite"):
        fill(array, HOLE)


def test_nothing_known_is_refused() -> None:
    with pytest.raises(InputError, match="covers the whole picture"):
        fill(np.full((4, 4), np.nan))


# -- files ---------------------------------------------------------------------------------------------------


def test_npy_files_are_filled(tmp_path: Path, infill: Any) -> None:
    array = make(np.float32, -3, 12, 5)
    array[HOLE] = np.nan
    np.save(tmp_path / "scan.npy", array)
    ran = infill("fill", tmp_path / "scan.npy")
    assert ran.lines == [str(tmp_path / "scan.filled.npy")]
    np.testing.assert_array_equal(np.load(tmp_path / "scan.filled.npy"), fill(array))
    ran = infill("fill", tmp_path / "scan.npy", "--box", "0,0,3,3", "--out", tmp_path / "other.npy")
    assert ran.code == 0
    assert np.isfinite(np.load(tmp_path / "other.npy")).all()


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_npy_files_that_are_none_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.npy"):
        fill(tmp_path / "bad.npy")


def test_npy_files_with_objects_are_never_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(InputError, match="not an array"):
        fill(tmp_path / "objects.npy")


def test_an_array_has_no_format(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 4)))
    with pytest.raises(InputError, match="stays an array"):
        fill(tmp_path / "a.npy", boxes=[(0, 0, 1, 1)], format="png")


@pytest.mark.parametrize("channels", [1, 3])
def test_tiff_of_16_bits_stays_exact_on_the_command_line(tmp_path: Path, infill: Any, channels: int) -> None:
    pixels = make(np.uint16, 0, 65535, channels)
    (tmp_path / "scan.tif").write_bytes(encode(Picture(pixels, format="TIFF")))
    ran = infill("fill", tmp_path / "scan.tif", "--box", "8,6,10,8")
    assert ran.lines == [str(tmp_path / "scan.filled.tif")]
    result = decode(tmp_path / "scan.filled.tif")
    assert (result.format, result.pixels.dtype) == ("TIFF", np.uint16)
    np.testing.assert_array_equal(result.pixels[~HOLE], pixels[~HOLE])
    assert (result.pixels[HOLE] != pixels[HOLE]).mean() > 0.9


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [(np.uint8, 300), (np.uint8, -9999), (np.int16, 0.5), (np.uint16, float("inf")), (np.int8, float("nan"))],
)
def test_a_nodata_that_the_type_cannot_hold_wraps_round_to_no_other_value(dtype: Any, nodata: float) -> None:
    """300 is 44 in eight bits, and -9999 is 241: both are data."""
    image = np.full(HOLE.shape, 44 if nodata == 300 else 0, dtype)
    image[0, 0] = 100
    filled = fill(image, HOLE, "push-pull", nodata=nodata)
    np.testing.assert_array_equal(filled[~HOLE], image[~HOLE])
    assert filled[HOLE].max() <= image[1, 1]


def test_whole_numbers_of_64_bits_are_compared_exactly() -> None:
    """As a float, 2^63 - 1 is 2^63, which the type does not hold."""
    image = np.where(HOLE, 2**63 - 1, 7)
    np.testing.assert_array_equal(fill(image, engine="push-pull", nodata=2**63 - 1), np.full(HOLE.shape, 7))


@pytest.mark.parametrize("only", [["mask"], np.array(3), b"mask", [[0, 1]], np.array("mask")])
@pytest.mark.parametrize("door", [fill, fills])
def test_what_is_no_mask_is_refused_by_the_name_of_its_argument(door: Any, only: Any) -> None:
    image = make(np.float32, 0, 1)
    for mask in (None, HOLE):
        with pytest.raises(InputError, match="'only'") as caught:
            door(image, mask, "push-pull", only=only)
        assert caught.value.field == "only"


def test_several_fills_take_a_mask_as_only() -> None:
    image = np.where(HOLE, np.nan, make(np.float32, 0, 1))
    other = np.roll(HOLE, 6, axis=0)
    [filled] = fills(image, engine="push-pull", only=other, count=1)
    np.testing.assert_array_equal(np.isnan(filled), HOLE & ~other)


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 13])
def test_channels_first_are_recognised_whatever_their_number(channels: int) -> None:
    with pytest.raises(InputError, match=r"channels first.*moveaxis"):
        fill(np.zeros((channels, 20, 24)), HOLE, "push-pull")


RAMP = np.arange(80.0)[None, :, None] + np.array([10, 20, 30, 40])


@pytest.mark.parametrize("missing", ["masked", "nodata"])
def test_a_last_channel_with_missing_values_is_filled_too(missing: str) -> None:
    """Red, green, blue and near infrared: the fourth was left as it was, with nothing said."""
    array = np.broadcast_to(RAMP, (40, 80, 4)).astype(np.int16)
    options = {}
    if missing == "masked":
        array = np.ma.MaskedArray(array)
        array[10:20, 30:40] = np.ma.masked
    else:
        array[10:20, 30:40], options = -9999, {"nodata": -9999}
    filled = fill(array, None, engine="push-pull", **options)
    np.testing.assert_array_equal(filled, fill(array, None, engine="push-pull", bands=True, **options))
    assert not np.ma.getmaskarray(filled).any()
    np.testing.assert_allclose(np.asarray(filled, float)[15, 35], RAMP[0, 35], atol=2)


@pytest.mark.parametrize("least", [np.nan, -1.0, 2.0])
def test_a_last_channel_that_does_not_look_like_alpha_is_kept_with_a_warning(least: float) -> None:
    array = np.broadcast_to(RAMP / 200, (40, 80, 4)).astype(np.float32)
    array[0, 0, 3] = least
    hole = np.zeros((40, 80), bool)
    hole[10:20, 30:40] = True
    with pytest.warns(InfillingWarning, match="the last of 4 channels is kept as alpha.*bands=True"):
        filled = fill(array, hole, engine="push-pull")
    np.testing.assert_array_equal(filled[..., 3], array[..., 3])


def test_the_result_of_an_array_is_not_given_a_pictures_name(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((20, 30)))
    with pytest.raises(InputError, match=r"a\.png: an array stays an array: .* ending in \.npy"):
        fill(tmp_path / "a.npy", boxes=[(5, 5, 6, 6)], engine="push-pull", out=tmp_path / "a.png")
    assert fill(tmp_path / "a.npy", boxes=[(5, 5, 6, 6)], engine="push-pull", out=tmp_path / "b.npy").exists()
