"""Pasting: hole pixels change, all others stay bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infilling.errors import ModelError
from infilling.pictures.blend import paste, sum_window
from infilling.pictures.frame import Region, SizeRule, plan
from infilling.pictures.mask import Box

RULES = [SizeRule(), SizeRule(multiple_of=8, working_size=16), SizeRule(fixed_size=24, holes="block")]


def make_region(height: int, width: int, core: Box) -> Region:
    """A region that shows the whole picture and fills a box."""
    whole = Box(0, 0, width, height)
    return Region(whole, whole, (height, width), core, np.ones((core.height, core.width), dtype=bool))


def make_mask(region: Region) -> np.ndarray:
    mask = np.zeros((region.box.height, region.box.width), dtype=bool)
    mask[region.core.slices] = region.hole
    return mask


@settings(max_examples=120, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from([1, 3]),
    st.sampled_from([np.uint8, np.uint16]),
    st.sampled_from([0.02, 0.4, 0.9]),
    st.sampled_from(RULES),
    st.sampled_from([0, 3]),
    st.integers(0, 1 << 30),
)
def test_known_pixels_stay_bit_for_bit_and_the_hole_is_filled(
    height: int, width: int, channels: int, kind: type, share: float, rule: SizeRule, feather: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, np.iinfo(kind).max, (height, width, channels), endpoint=True).astype(kind)
    mask = rng.random((height, width)) < share
    mask[rng.integers(0, height), rng.integers(0, width)] = False
    before, left, result = pixels.copy(), mask.copy(), pixels
    for region in plan(mask, rule):
        image, _ = region.cut(result, left)
        # Out of range, as networks are, and everywhere else than the picture.
        filled = rng.normal(0.5, 0.5, image.shape).astype(np.float32)
        last = result
        result = paste(last, region.restore(filled), left, region, feather=feather)
        changed = np.zeros_like(mask)
        changed[region.core.slices] = region.hole
        assert (result[~changed] == last[~changed]).all()
        region.close(left)
    assert not left.any()
    assert result.dtype == kind
    assert (result[~mask] == before[~mask]).all()
    assert (pixels == before).all(), "the caller's picture is not written to"


@pytest.mark.parametrize(("kind", "top"), [(np.uint8, 255), (np.uint16, 65535)])
def test_values_are_rounded_then_clipped(kind: type, top: int) -> None:
    region = make_region(1, 8, Box(1, 0, 6, 1))
    values = np.array([0, -0.2, 0, 10.4 / top, 10.6 / top, 1.0, 1.7, 0], np.float32)
    filled = values[None, :, None].repeat(3, axis=2)
    result = paste(np.full((1, 8, 3), 7, kind), filled, make_mask(region), region)
    assert result[0, :, 2].tolist() == [7, 0, 0, 10, 11, top, top, 7]


def test_grey_takes_the_mean_of_the_channels() -> None:
    region = make_region(1, 3, Box(1, 0, 1, 1))
    filled = np.zeros((1, 3, 3), np.float32)
    filled[0, 1] = [30 / 255, 60 / 255, 90 / 255]
    result = paste(np.zeros((1, 3, 1), np.uint8), filled, make_mask(region), region)
    assert result[0, :, 0].tolist() == [0, 60, 0]


def test_patch_lands_in_its_place() -> None:
    mask = np.zeros((300, 400), dtype=bool)
    mask[200:220, 310:340] = True
    (region,) = plan(mask, SizeRule(multiple_of=8, working_size=64))
    assert region.box != Box(0, 0, 400, 300)
    rows, columns = np.mgrid[:300, :400]
    wanted = np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=2)
    filled = (wanted[region.box.slices] / 255).astype(np.float32)
    result = paste(np.zeros((300, 400, 3), np.uint8), filled, mask, region)
    assert (result[mask] == wanted[mask]).all()


def test_pixels_filled_before_are_left_alone() -> None:
    region = make_region(4, 4, Box(1, 1, 2, 2))
    mask = make_mask(region)
    mask[1, 1] = False
    result = paste(np.zeros((4, 4, 3), np.uint8), np.ones((4, 4, 3), np.float32), mask, region)
    assert (result[..., 0] > 0).sum() == 3
    assert result[1, 1, 0] == 0


def test_it_can_write_into_the_picture_itself() -> None:
    region = make_region(4, 4, Box(1, 1, 2, 2))
    pixels = np.zeros((4, 4, 3), np.uint8)
    assert paste(pixels, np.ones((4, 4, 3), np.float32), make_mask(region), region, out=pixels) is pixels
    assert pixels.sum() == 4 * 3 * 255


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_engine_that_breaks_is_named_and_nothing_is_written(value: float) -> None:
    region = make_region(4, 4, Box(1, 1, 2, 2))
    pixels, filled = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 0.5, np.float32)
    filled[2, 2] = value
    with pytest.raises(ModelError, match="NaN or infinity"):
        paste(pixels, filled, make_mask(region), region, out=pixels)
    assert not pixels.any()


# -- feather -------------------------------------------------------------------------------------------------


def test_feather_takes_a_step_in_colour_from_the_seam() -> None:
    """A fill that is right but for its colour: the step at the seam goes, the middle stays."""
    region = make_region(60, 60, Box(10, 10, 40, 40))
    pixels = np.full((60, 60, 3), 100, np.uint8)
    filled = np.full((60, 60, 3), 140 / 255, np.float32)
    result = paste(pixels, filled, make_mask(region), region, feather=8)
    along = result[30, 10:31, 0].astype(int)
    assert along[0] <= 105, "no step at the seam"
    assert (np.diff(along) >= 0).all()
    assert np.diff(along).max() <= 6, "and none further in"
    assert (along[9:] == 140).all(), "8 px in, the fill is as it was"


def test_feather_leaves_a_fill_alone_that_fits() -> None:
    region = make_region(40, 40, Box(12, 9, 15, 18))
    pixels = np.full((40, 40, 3), 100, np.uint8)
    fit = paste(pixels, np.full((40, 40, 3), 100 / 255, np.float32), make_mask(region), region, feather=5)
    assert (fit == pixels).all()


def test_feather_matches_to_known_pixels_only() -> None:
    """Next to another hole that is still open, its content plays no part."""
    region = make_region(30, 30, Box(10, 10, 8, 8))
    mask = make_mask(region)
    mask[10:18, 18:26] = True
    filled = np.full((30, 30, 3), 0.5, np.float32)
    pixels = np.full((30, 30, 3), 128, np.uint8)
    other = pixels.copy()
    other[10:18, 18:26] = 255
    one, two = (paste(picture, filled, mask, region, feather=4) for picture in (pixels, other))
    assert (one[region.core.slices] == two[region.core.slices]).all()


@pytest.mark.parametrize(
    ("shape", "reach"), [((9, 14, 2), 3), ((20, 3, 4), 0), ((5, 6, 1), 8), ((1, 1, 3), 2)]
)
def test_sums_of_windows_are_those_of_their_values(shape: tuple[int, int, int], reach: int) -> None:
    values = np.random.default_rng(0).random(shape).astype(np.float32)
    rows, columns = (np.abs(np.subtract.outer(*[np.arange(side)] * 2)) <= reach for side in shape[:2])
    expected = np.einsum("yr,xc,rck->yxk", rows, columns, values.astype(np.float64))
    np.testing.assert_allclose(sum_window(values, reach), expected, rtol=1e-5)
