"""Data in any unit: filled in the range of each hole's surroundings, whatever the rest of the frame holds."""

import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.data import astronaut

import infilling
import infilling.masks
from infilling.errors import InfillingError, InputError
from infilling.filling.arrays import EXACT
from infilling.filling.fill import fill
from infilling.filling.options import list_options
from infilling.filling.scales import MOST_PASSES, find_scales
from infilling.pictures.frame import SizeRule, plan

PLAIN = ["mean", "push-pull", "patch-synthesis", "default", "fidelity"]  # need no extra
ENGINES = [*PLAIN, "telea", "navier-stokes", "biharmonic"]
HOLE = np.zeros((40, 48), bool)
HOLE[10:22, 14:30] = True
HOLE[30, 5] = HOLE[4, 40] = True


def waves(seed: int = 0) -> np.ndarray:
    """A smooth field with noise, of mean 0 and values of about 1, float64."""
    y, x = np.mgrid[:40, :48]
    return np.sin(x / 7) * np.cos(y / 9) + np.random.default_rng(seed).normal(0, 0.1, x.shape)


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=6, deadline=None)
@given(power=st.floats(-15, 15), seed=st.integers(0, 9))
def test_the_unit_makes_no_difference(engine: str, power: float, seed: int) -> None:
    data, k = waves(seed), 10.0**power
    expected = fill(data, HOLE, engine)
    np.testing.assert_allclose(fill(data * k, HOLE, engine), expected * k, rtol=1e-9, atol=1e-9 * k)


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=6, deadline=None)
@given(offset=st.floats(-1e3, 1e3), seed=st.integers(0, 9))
def test_an_offset_makes_no_difference(engine: str, offset: float, seed: int) -> None:
    data = waves(seed)
    np.testing.assert_allclose(
        fill(data + offset, HOLE, engine), fill(data, HOLE, engine) + offset, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("engine", PLAIN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_and_offset_make_no_difference_over_thirty_orders(engine: str, dtype: Any) -> None:
    """Three colours, whose sums with the offset are exact in the type."""
    base = np.rint(64 * np.stack([waves(seed) for seed in range(3)], axis=2)).astype(dtype)
    expected = fill(base, HOLE, engine)
    for power in (-50, -25, 0, 25, 50):  # of two: 30 orders of magnitude, exactly
        unit = dtype(2.0**power)
        np.testing.assert_array_equal(fill(base * unit, HOLE, engine), expected * unit)
        for offset in (-70_000, 1000):
            moved = fill((base + offset) * unit, HOLE, engine) / unit
            assert np.abs(moved - offset - expected).max() <= 0.02  # a float32 near 70,000 has steps of 0.008


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [None, 3, 5])
def test_extreme_units_of_each_type(dtype: Any, channels: int | None) -> None:
    """At the ends of a type's range, subnormal numbers too, a fill has many values, all within range."""
    about = np.finfo(dtype)
    data = waves() if channels is None else np.stack([waves(seed) for seed in range(channels)], axis=2)
    for factor in (float(about.max) / 4, float(about.tiny)):
        scaled = (data * factor).astype(dtype)
        filled = fill(scaled, HOLE, "push-pull")
        known = scaled[~HOLE]
        assert np.isfinite(filled).all()
        assert known.min() <= filled.min() <= filled.max() <= known.max()
        assert len(np.unique(filled[HOLE])) > 50
    both = np.where(np.arange(40 * 48).reshape(40, 48) % 2, about.max, -about.max).astype(dtype)
    assert np.isfinite(fill(both, HOLE, "push-pull")).all()


@pytest.mark.parametrize("engine", ["mean", "push-pull", "telea", "biharmonic", "patch-synthesis", "default"])
def test_a_star_changes_nothing_that_it_does_not_touch(engine: str) -> None:
    rng = np.random.default_rng(1)
    sky = rng.normal(1000, 10, (120, 130)).astype(np.float32)
    dead = rng.random(sky.shape) < 0.01
    dead[40:60, 60:80] = False
    starry = sky.copy()
    y, x = np.mgrid[:120, :130]
    starry += 1e6 * np.exp(-((y - 50) ** 2 + (x - 70) ** 2) / 8).astype(np.float32)
    far = dead & (np.hypot(y - 50, x - 70) > 16)
    filled = fill(starry, dead, engine)
    assert np.abs(filled - 1000)[far].max() < 60
    np.testing.assert_array_equal(filled[~dead], starry[~dead])


@pytest.mark.parametrize("engine", ["push-pull", "default", "telea"])
@pytest.mark.parametrize("value", [-1e6, -0.5, 1e6])
def test_a_far_value_does_not_move_the_ends_that_a_fill_is_cut_off_at(engine: str, value: float) -> None:
    """In dark hair a fill goes below 0 unless it is cut off there, whatever a corner holds."""
    light = astronaut()[:300, :300].mean(axis=2) / 255
    hole = np.zeros(light.shape, bool)
    hole[140:170, 140:165] = True
    odd = light.copy()
    odd[280, 10] = value
    np.testing.assert_array_equal(fill(odd, hole, engine)[hole], fill(light, hole, engine)[hole])


def test_one_hot_pixel_near_by_changes_little() -> None:
    sky = np.random.default_rng(1).normal(1000, 10, (60, 60))
    dead = np.zeros(sky.shape, bool)
    dead[30, 30] = True
    hot = sky.copy()
    hot[30, 33] = 1e9
    for engine in ("push-pull", "default", "patch-synthesis"):
        assert abs(fill(hot, dead, engine)[30, 30] - fill(sky, dead, engine)[30, 30]) < 30


def test_a_hole_in_the_bright_and_one_in_the_dark_have_each_their_range() -> None:
    left, right = waves(1), 1e6 + 1e5 * waves(2)
    data = np.concatenate([left, right], axis=1)
    hole = np.zeros(data.shape, bool)
    hole[15:20, 10:15] = hole[15:20, 78:83] = True
    filled = fill(data, hole, "push-pull")
    dark, bright = hole.copy(), hole.copy()
    dark[:, 48:] = bright[:, :48] = False
    assert np.abs(filled - data)[dark].max() < 1
    assert np.abs(filled - data)[bright].max() < 1e5
    assert len(np.unique(filled[dark])) > 10


def test_flat_surroundings_give_their_value_whatever_lies_elsewhere() -> None:
    data = np.full((40, 48), 273.15, np.float32)
    data[0, 0] = 1e30
    for engine in ENGINES:
        np.testing.assert_array_equal(fill(data, HOLE, engine)[HOLE], np.float32(273.15))


def test_bands_have_units_of_their_own() -> None:
    kelvin, pascal = 280 + waves(1), 1e5 * (1 + waves(2) * 1e-3)
    both = np.stack([kelvin, pascal, kelvin, pascal, kelvin], axis=2)
    filled = fill(both, HOLE, "push-pull")
    np.testing.assert_array_equal(filled[..., 0], fill(kelvin, HOLE, "push-pull"))
    np.testing.assert_array_equal(filled[..., 1], fill(pascal, HOLE, "push-pull"))


def test_colours_share_a_range() -> None:
    grey = np.repeat(waves()[..., None], 3, axis=2)
    filled = fill(grey, HOLE, "push-pull")
    np.testing.assert_array_equal(filled[..., 0], filled[..., 2])


def test_passes_over_a_crop_are_bounded_and_cover_each_hole_once() -> None:
    """Dead pixels on a field over ten orders of magnitude."""
    y, x = np.mgrid[:100, :100]
    values = 10.0 ** (x / 10) * (1 + 0.01 * np.random.default_rng(0).normal(size=x.shape))
    values /= values.max()
    hole = (x % 5 == 2) & (y % 5 == 2)
    [region] = plan(hole, SizeRule())
    scales = list(find_scales(values[..., None], hole, region))
    assert 1 < len(scales) <= MOST_PASSES
    assert (sum(scale.hole.astype(int) for scale in scales) == region.hole).all()


# -- whole numbers -------------------------------------------------------------------------------------------


def test_whole_numbers_of_64_bits_are_exact_or_refused() -> None:
    for dtype, value in ((np.uint64, 2**64 - 1), (np.int64, -(2**63)), (np.int64, 2**53 + 1)):
        data = np.full((40, 48), value, dtype)
        np.testing.assert_array_equal(fill(data, HOLE, "push-pull"), data)
    times = np.int64(1_795_900_000_000_000_123) + np.arange(40 * 48, dtype=np.int64).reshape(40, 48)
    filled = fill(times, HOLE, "push-pull")
    np.testing.assert_array_equal(filled[~HOLE], times[~HOLE])
    assert times.min() <= filled.min() <= filled.max() <= times.max()
    assert np.abs(filled - times)[HOLE].max() < 1000
    wide = np.zeros((40, 48), np.int64)
    wide[0, 0] = EXACT
    with pytest.raises(
        InputError, match=r"span 0 to 9007199254740992: whole numbers further apart than 2\^53"
    ):
        fill(wide, HOLE, "push-pull")


# -- missing values ------------------------------------------------------------------------------------------


def test_a_masked_array_is_filled_where_it_is_masked() -> None:
    data = waves().astype(np.float32)
    masked = np.ma.masked_array(np.where(HOLE, np.float32(9.96921e36), data), HOLE, hard_mask=True)
    filled = fill(masked, engine="push-pull")
    assert isinstance(filled, np.ma.MaskedArray)
    assert not np.ma.getmaskarray(filled).any()
    np.testing.assert_array_equal(np.ma.getdata(filled), fill(data, HOLE, "push-pull"))
    assert np.ma.getmaskarray(masked).sum() == HOLE.sum()
    half = np.ma.masked_array(data.astype(np.float16), HOLE)  # cannot hold NumPy's own fill value
    assert fill(half, engine="push-pull").dtype == np.float16
    whole = np.ma.masked_array(data, np.ma.nomask)
    assert np.isfinite(fill(whole, HOLE, "push-pull")).all()


def test_nodata_is_hole_and_nothing_is_taken_from_it() -> None:
    for dtype, nodata in ((np.int16, -9999), (np.uint8, 0), (np.uint16, 65535), (np.float32, -3.4e38)):
        data = (100 + 20 * waves()).astype(dtype)
        given = np.where(HOLE, np.array(nodata).astype(dtype), data)
        filled = fill(given, engine="push-pull", nodata=nodata)
        np.testing.assert_array_equal(filled, fill(data, HOLE, "push-pull"))


def test_what_must_stay_missing_stays_missing() -> None:
    data = waves()
    cloud, land = np.zeros_like(HOLE), np.zeros_like(HOLE)
    cloud[10:20, 10:20] = land[10:20, 20:30] = True
    given = np.where(cloud | land, np.nan, data)
    for filled in (fill(given, cloud, "push-pull", only="mask"), fill(given, engine="push-pull", only=cloud)):
        assert np.isfinite(filled[cloud]).all()
        assert np.isnan(filled[land]).all()
        np.testing.assert_array_equal(filled[~cloud & ~land], data[~cloud & ~land])
        np.testing.assert_allclose(filled[cloud], fill(given, engine="push-pull")[cloud], atol=1e-3)
    masked = np.ma.masked_array(data, cloud | land)
    filled = fill(masked, cloud, "push-pull", only="mask")
    np.testing.assert_array_equal(np.ma.getmaskarray(filled), land)


def test_nodata_is_refused_for_a_picture() -> None:
    data = infilling.encode(infilling.Picture(np.zeros((8, 8, 3), np.uint8)))
    with pytest.raises(InputError, match="'nodata' is for arrays") as caught:
        fill(data, boxes=(1, 1, 2, 2), engine="mean", nodata=0)
    assert caught.value.field == "nodata"


def test_channels_first_is_named() -> None:
    with pytest.raises(InputError, match=r"channels first: give numpy\.moveaxis"):
        fill(np.zeros((3, 40, 48), np.float32), HOLE)


# -- types ---------------------------------------------------------------------------------------------------

FIELDS = [option.name for option in list_options()]

ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.floats(),
    st.text(max_size=8),
    st.binary(max_size=8),
    st.just("x" * 5000),
    st.just("a\0b"),
    st.complex_numbers(),
    st.sampled_from(
        [object(), [], [[1, 2], [3]], {}, (1, 2, 3), np.nan, np.array(3), np.array([object()]), int]
    ),
)


ARRAYS: st.SearchStrategy[Any] = st.sampled_from(
    [
        np.zeros((12, 0, 3), np.uint8),
        np.zeros((1,) * 20),
        np.zeros((12, 12, 3, 1), np.uint8),
        np.full((12, 12), None),
        np.full((12, 12), "a"),
        np.full((12, 12), 1j),
        np.full((12, 12), np.nan),
        np.full((12, 12), np.inf),
        np.zeros((12, 12), "M8[s]"),
        np.zeros((12, 12), [("a", "i4")]),
        np.ma.masked_all((12, 12)),
        np.broadcast_to(np.float32(1), (2**40, 2)),
        Image.new("RGB", (0, 0)),
        Image.new("F", (3, 3)),
    ]
)


def list_entries(folder: Path) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """The public entries by name, each with arguments that it can use; the first is what it works on."""
    image, hole = np.zeros((12, 12, 3), np.uint8), np.zeros((12, 12), bool)
    hole[3:5, 3:5] = True
    picture, mean = infilling.Picture(image), infilling.open_engine("mean")
    data = infilling.encode(picture)
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "a.png").write_bytes(data)
    (folder / "mask.png").write_bytes(infilling.encode(infilling.Picture(image | hole[..., None])))
    usual: dict[str, Any] = {"image": image, "mask": hole, "engine": "mean"}
    options = dict.fromkeys(
        [*FIELDS, "threads", "device", "adapter", "max_pixels", "options", "nothing"], ...
    )
    fill_only = dict.fromkeys(["out", "patch_out", "bands"], ...)
    batch = {"source": folder / "in", "out": folder / "out", "masks": folder / "mask.png", "engine": "mean"}
    batch |= dict.fromkeys(["mask_helpers", "options", "count", "shard", "report", "device", "adapter"], ...)
    batch |= dict.fromkeys(["ray", "jobs", "timeout"], None)
    picks = {"threshold", "color", "tolerance", "invert", "size", "resize", "from_alpha", "turn", "frame"}
    fields = dict.fromkeys(["alpha", "icc", "exif", "xmp", "dpi", "format", "chunks"], ...)
    marks = {"image": image, "box": ..., "grow": ...}
    return {
        "fill": (infilling.fill, usual | options | fill_only),
        "fills": (infilling.fills, usual | {"count": 1, "sheet": ..., "doubt": ...} | options),
        "extend": (infilling.extend, {"image": image, "engine": "mean", "left": 2, "top": ..., "to": ...}),
        "batch": (infilling.batch, {**batch, "dry_run": True}),
        "fill_picture": (infilling.fill_picture, {"picture": picture, "mask": hole, "engine": mean}),
        "find_hole": (infilling.find_hole, {"picture": picture, "mask": hole, "options": ..., "boxes": ...}),
        "open_engine": (infilling.open_engine, {"name_or_path": "mean", "threads": ..., "device": ...}),
        "available": (infilling.available, {"name": "mean"}),
        "decode": (infilling.decode, {"source": data, "max_pixels": ..., "name": ...}),
        "encode": (infilling.encode, {"picture": picture, "format": "jpeg", "quality": 9}),
        "read_mask": (infilling.read_mask, {"source": hole, **dict.fromkeys(picks, ...)}),
        "compare": (infilling.compare, {"before": image, "after": image}),
        "Comparison": (infilling.Comparison, {"before": picture, "after": picture}),
        "Picture": (
            lambda **given: infilling.encode(infilling.Picture(**given)),
            {"pixels": image, **fields},
        ),
        "SizeRule": (infilling.SizeRule, dict.fromkeys(["multiple_of", "working_size", "fixed_size"], ...)),
        "FillOptions": (infilling.FillOptions, dict.fromkeys(FIELDS, ...)),
        "masks.dust": (infilling.masks.dust, {**marks, "max_size": ..., "sensitivity": ...}),
        "masks.object": (infilling.masks.object, {**marks, "points": [(3, 3)], "background": ...}),
        "masks.watermark": (infilling.masks.watermark, {**marks, "image": [image] * 5}),
    }


def test_no_public_entry_is_left_out(tmp_path: Path) -> None:
    functions = {name for name in infilling.__all__ if name[0].islower()}
    assert functions <= set(list_entries(tmp_path))


@settings(max_examples=300, deadline=None)
@given(data=st.data(), odd=st.one_of(ODD, ARRAYS))
def test_every_public_entry_refuses_odd_values_in_its_own_words(
    data: st.DataObject, odd: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    entries = list_entries(tmp_path_factory.getbasetemp())
    entry, arguments = entries[data.draw(st.sampled_from(sorted(entries)))]
    name = data.draw(st.sampled_from(sorted(arguments)))
    given = {key: value for key, value in arguments.items() if value is not ...}
    with warnings.catch_warnings(), suppress(InfillingError):
        warnings.simplefilter("ignore")
        entry(**(given | {name: odd}))


def test_messages_quote_a_value_in_one_short_line_and_name_the_argument() -> None:
    image = np.zeros((12, 12), np.float32)
    for name in ("only", "seed", "threads", "device", "bands", "out", "max_pixels"):
        for odd in ({"a": np.zeros((30, 30))}, 1j, ("x" * 5000,)):
            with pytest.raises(InfillingError) as caught:
                fill(image, HOLE[:12, :12], "mean", **{name: odd})
            message = str(caught.value)
            assert name in message
            assert "\n" not in message
            assert len(message) < 200


def test_bytes_that_are_no_picture_are_refused_without_an_inner_name() -> None:
    for file in (b"", b"abc", infilling.encode(infilling.Picture(np.zeros((9, 9, 3), np.uint8)))[:40]):
        with pytest.raises(InputError, match=r"^(?!picture:)"):
            fill(file, boxes=(1, 1, 2, 2), engine="mean")


def test_a_hole_in_the_middle_of_what_stays_missing_is_filled_all_the_same() -> None:
    data = np.full((900, 900), np.nan)
    data[:20] = 7.0
    cloud = np.zeros(data.shape, bool)
    cloud[600:604, 600:604] = True
    filled = fill(data, cloud, "push-pull", only="mask")
    assert (filled[cloud] == 7.0).all()
    whole = fill(
        np.where(np.isnan(data), 0, data).astype(np.uint8), cloud, "push-pull", only="mask", nodata=0
    )
    assert (whole[cloud] == 7).all()


def test_nothing_is_taken_from_what_is_transparent_in_an_array() -> None:
    for dtype, top in ((np.uint8, 255), (np.float32, 1.0), (np.int32, 2**31 - 1)):
        image = np.full((40, 48, 4), top, dtype)
        image[..., :3] = np.array([200, 90, 40]) / 255 * (top if dtype != np.int32 else 255)
        image[:, 24:] = 0
        hole = np.zeros((40, 48), bool)
        hole[15:25, 14:24] = True
        filled = fill(image, hole, "push-pull")
        assert np.abs(filled[hole][:, :3].astype(float) - image[0, 0, :3]).max() <= top * 0.01
