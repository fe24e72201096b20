"""The plan of crops, and that a crop cut and restored lies where it was."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infilling.errors import InputError, ModelError
from infilling.pictures.frame import Region, SizeRule, plan
from infilling.pictures.holes import make_holes
from infilling.pictures.mask import Box, bounding_box, components
from infilling.pictures.picture import from_float, to_float

RULES = [
    SizeRule(),
    SizeRule(multiple_of=8),
    SizeRule(multiple_of=8, working_size=32),
    SizeRule(working_size=21),
    SizeRule(fixed_size=16),
    SizeRule(fixed_size=16, holes="block"),
    SizeRule(multiple_of=4, fixed_size=24, holes="center"),
    SizeRule(multiple_of=8, working_size=16, holes="block"),
]


def make_mask(height: int, width: int, share: float, blocks: int, seed: int) -> np.ndarray:
    """Some specks and some blocks, never the whole picture."""
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < share
    for _ in range(blocks):
        top, left = rng.integers(0, height), rng.integers(0, width)
        mask[top : top + rng.integers(1, height + 1), left : left + rng.integers(1, width + 1)] = True
    mask[rng.integers(0, height), rng.integers(0, width)] = False
    return mask


sides = st.one_of(st.integers(1, 12), st.integers(40, 120))
masks = st.builds(
    make_mask, sides, sides, st.sampled_from([0, 0.01, 0.3]), st.integers(0, 3), st.integers(0, 1 << 30)
)


def make_pixels(
    height: int, width: int, channels: int = 3, kind: type = np.uint8, seed: int = 0
) -> np.ndarray:
    top = np.iinfo(kind).max
    return np.random.default_rng(seed).integers(0, top + 1, (height, width, channels)).astype(kind)


def box_mask(height: int, width: int, *boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((height, width), dtype=bool)
    for x, y, wide, tall in boxes:
        mask[y : y + tall, x : x + wide] = True
    return mask


def find_scale(region: Region) -> float:
    return region.frame.height / region.size[0]


# -- what holds for every plan -------------------------------------------------------------------------------


@settings(max_examples=120, deadline=None)
@given(masks, st.sampled_from(RULES), st.sampled_from([0.5, 1.0, 2.0]))
def test_every_plan_covers_the_mask_with_crops_that_fit(
    mask: np.ndarray, rule: SizeRule, context: float
) -> None:
    height, width = mask.shape
    covered = np.zeros(mask.shape, dtype=int)
    for region in plan(mask, rule, context=context):
        frame, core, box = region.frame, region.core, region.box
        assert region.hole.shape == (core.height, core.width)
        assert region.hole.any()
        covered[core.slices] += region.hole
        assert 0 <= core.y - frame.y <= core.y - frame.y + core.height <= frame.height
        assert 0 <= core.x - frame.x <= core.x - frame.x + core.width <= frame.width
        assert (box.x, box.y) == (max(frame.x, 0), max(frame.y, 0))
        assert box.x + box.width == min(frame.x + frame.width, width)
        assert box.y + box.height == min(frame.y + frame.height, height)
        assert all(side % rule.multiple_of == 0 for side in region.size)
        assert region.size[0] <= frame.height
        assert region.size[1] <= frame.width
        if rule.fixed_size:
            assert region.size == (rule.fixed_size, rule.fixed_size)
        elif rule.working_size:
            limit = -(-rule.working_size // rule.multiple_of) * rule.multiple_of
            assert max(region.size) <= limit
        else:
            assert region.size == (frame.height, frame.width)
    assert (covered == mask).all(), "each hole pixel in one region, and nothing else"


@settings(max_examples=30, deadline=None)
@given(masks, st.sampled_from(RULES))
def test_a_plan_is_the_same_every_time(mask: np.ndarray, rule: SizeRule) -> None:
    one, other = plan(mask, rule), plan(mask.copy(), rule)
    assert [(r.box, r.frame, r.size, r.core) for r in one] == [
        (r.box, r.frame, r.size, r.core) for r in other
    ]


@settings(max_examples=60, deadline=None)
@given(masks, st.sampled_from(RULES), st.sampled_from([1, 3]), st.sampled_from([np.uint8, np.uint16]))
def test_cuts_hide_the_hole_and_come_back_the_right_size(
    mask: np.ndarray, rule: SizeRule, channels: int, kind: type
) -> None:
    pixels = make_pixels(*mask.shape, channels, kind)
    other = np.where(mask[..., None], make_pixels(*mask.shape, channels, kind, seed=1), pixels)
    for region in plan(mask, rule):
        image, hole = region.cut(pixels, mask)
        assert image.shape == (1, 3, *region.size)
        assert hole.shape == (1, 1, *region.size)
        assert image.dtype == hole.dtype == np.float32
        assert set(np.unique(hole)) <= {0, 1}
        assert (image * hole == 0).all()
        assert image.min() >= 0
        assert image.max() <= 1
        for a, b in zip((image, hole), region.cut(other, mask), strict=True):
            assert (a == b).all(), "what lies under the hole changes nothing"
        assert region.restore(image).shape == (region.box.height, region.box.width, 3)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.sampled_from([np.uint8, np.uint16])
)
def test_cut_and_restored_is_the_picture_bit_for_bit(
    height: int, width: int, channels: int, kind: type
) -> None:
    pixels = make_pixels(height, width, channels, kind)
    mask = np.zeros((height, width), dtype=bool)
    for rule in (SizeRule(), SizeRule(multiple_of=8), SizeRule(fixed_size=48)):
        planned = mask.copy()
        planned[height // 2, width // 2] = True
        if planned.all():
            continue
        (region,) = plan(planned, rule)
        restored = region.restore(region.cut(pixels, mask)[0])
        assert (from_float(restored, kind) == pixels[region.box.slices]).all()


def test_beyond_the_edge_lies_the_mirror_image_with_its_mask() -> None:
    pixels, mask = make_pixels(10, 7), box_mask(10, 7, (0, 4, 2, 3))
    (region,) = plan(mask, SizeRule(fixed_size=20))
    image, hole = region.cut(pixels, mask)
    padding = ((5, 5), (6, 7))
    expected = np.pad(to_float(pixels) * ~mask[..., None], (*padding, (0, 0)), mode="symmetric")
    assert (image[0].transpose(1, 2, 0) == expected).all()
    assert (hole[0, 0] == np.pad(mask, padding, mode="symmetric")).all()


# -- reduced crops -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tall", "wide"), [(300, 300), (301, 260), (640, 333)])
def test_reduced_crop_is_the_area_average(tall: int, wide: int) -> None:
    pixels = make_pixels(tall, wide)
    nothing = np.zeros((tall, wide), dtype=bool)
    region = Region(
        Box(0, 0, wide, tall), Box(0, 0, wide, tall), (96, 128), Box(0, 0, 1, 1), np.ones((1, 1), bool)
    )
    image, hole = region.cut(pixels, nothing)
    expected = cv2.resize(to_float(pixels), (128, 96), interpolation=cv2.INTER_AREA)
    assert np.abs(image[0].transpose(1, 2, 0) - expected).max() < 1e-5
    assert not hole.any()


def test_reduced_mask_is_hole_wherever_a_hole_is_touched() -> None:
    mask = np.random.default_rng(2).random((97, 131)) < 0.01
    region = Region(Box(0, 0, 131, 97), Box(0, 0, 131, 97), (40, 55), Box(0, 0, 1, 1), np.ones((1, 1), bool))
    image, hole = region.cut(np.full((97, 131, 3), 255, np.uint8), mask)
    expected = np.zeros((40, 55), dtype=bool)
    for y, x in np.argwhere(mask):
        rows = [row for row in range(40) if row * 97 < (y + 1) * 40 and (row + 1) * 97 > y * 40]
        columns = [
            column for column in range(55) if column * 131 < (x + 1) * 55 and (column + 1) * 131 > x * 55
        ]
        expected[np.ix_(rows, columns)] = True
    assert (hole[0, 0] == expected).all()
    assert np.abs(image[0, :, ~expected] - 1).max() < 1e-6


def test_thinly_spread_known_pixels_still_count() -> None:
    mask = np.ones((60, 60), dtype=bool)
    mask[::3, ::3] = False
    pixels = np.where(mask[..., None], 0, 200).astype(np.uint8).repeat(3, axis=2)
    region = Region(Box(0, 0, 60, 60), Box(0, 0, 60, 60), (15, 15), Box(0, 0, 60, 60), mask)
    image, hole = region.cut(pixels, mask)
    assert not hole.all()
    assert np.abs(image[:, :, hole[0, 0] == 0] - 200 / 255).max() < 1e-5


def test_reduced_and_enlarged_again_nothing_moves() -> None:
    rows, columns = np.mgrid[:333, :471]
    pixels = (5000 + 60 * rows + 80 * columns)[..., None].astype(np.uint16)
    mask = box_mask(333, 471, (130, 90, 210, 160))
    (region,) = plan(mask, SizeRule(multiple_of=8, working_size=128))
    assert find_scale(region) > 2
    image, _ = region.cut(pixels, np.zeros_like(mask))
    restored = region.restore(image)[..., 0] * 65535
    inside = (slice(20, -20), slice(20, -20))  # the enlargement of a slope bends at its edges
    assert np.abs(restored - pixels[region.box.slices][..., 0])[inside].max() < 5, "of 60 and 80 a pixel"


def test_a_reduced_side_is_rounded_up_in_whole_numbers() -> None:
    (region,) = plan(box_mask(97, 40, (5, 20, 30, 60)), SizeRule(working_size=21))
    assert (region.frame.height, region.size[0]) == (97, 21)


def test_what_is_wanted_is_restored_as_it_is_in_the_whole_and_the_rest_is_0() -> None:
    mask = box_mask(300, 400, (150, 100, 120, 110))
    (region,) = plan(mask, SizeRule(multiple_of=8, working_size=64))
    filled = np.random.default_rng(0).random((1, 3, *region.size), dtype=np.float32)
    whole, wanted = region.restore(filled), Box(40, 30, 71, 53)
    part = region.restore(filled, wanted)
    np.testing.assert_allclose(part[wanted.slices], whole[wanted.slices], rtol=0, atol=1e-5)
    part[wanted.slices] = 0
    assert not part.any()


# -- which crops ---------------------------------------------------------------------------------------------

NETWORK = SizeRule(multiple_of=8, working_size=256)


def test_small_hole_is_seen_at_full_resolution_with_its_size_around() -> None:
    (region,) = plan(box_mask(1000, 1500, (700, 300, 80, 60)), NETWORK)
    assert region.size == (256, 256)
    assert region.frame == Box(612, 202, 256, 256)
    assert region.core == Box(700, 300, 80, 60)


def test_hole_at_the_border_is_seen_with_more_on_its_other_side() -> None:
    (region,) = plan(box_mask(1000, 1500, (1440, 0, 60, 60)), NETWORK)
    assert region.frame == region.box == Box(1244, 0, 256, 256)


def test_large_solid_hole_is_seen_reduced_with_its_size_around() -> None:
    (region,) = plan(box_mask(3000, 4000, (1000, 1200, 500, 400)), NETWORK)
    assert region.frame == Box(500, 650, 1500, 1500)
    assert region.size == (256, 256)


def test_engine_without_a_size_sees_the_hole_and_its_context_unreduced() -> None:
    (region,) = plan(box_mask(3000, 4000, (1000, 1200, 500, 400)), SizeRule())
    assert region.frame == region.box == Box(500, 800, 1500, 1200)
    assert region.size == (1200, 1500)


def test_picture_smaller_than_the_crop_is_seen_whole() -> None:
    (region,) = plan(box_mask(100, 150, (20, 20, 70, 70), (130, 3, 5, 5)), NETWORK)
    assert region.box == Box(0, 0, 150, 100)
    assert region.size == (104, 152)


def test_near_holes_share_a_crop_and_far_ones_do_not() -> None:
    assert len(plan(box_mask(2000, 2000, (500, 500, 30, 30), (560, 510, 30, 30)), NETWORK)) == 1
    assert len(plan(box_mask(2000, 2000, (500, 500, 30, 30), (900, 510, 30, 30)), NETWORK)) == 2


def test_near_large_holes_are_joined() -> None:
    mask = box_mask(3000, 3000, (500, 500, 400, 400), (950, 500, 400, 400), (2300, 2300, 300, 300))
    assert [region.core for region in plan(mask, NETWORK)] == [
        Box(500, 500, 850, 400),
        Box(2300, 2300, 300, 300),
    ]


@pytest.mark.parametrize("rule", [NETWORK, SizeRule(fixed_size=128), SizeRule(fixed_size=128, holes="block")])
def test_scratches_across_the_picture_stay_at_full_resolution(rule: SizeRule) -> None:
    drawn = np.zeros((1500, 2000), dtype=np.uint8)
    cv2.line(drawn, (0, 0), (1999, 1499), 1, 3)
    cv2.line(drawn, (0, 1200), (1999, 300), 1, 2)
    cv2.polylines(drawn, [np.array([[300, 0], [500, 700], [450, 1499]])], False, 1, 4)
    regions = plan(drawn.astype(bool), rule)
    assert {find_scale(region) for region in regions} == {1.0}
    assert sum(region.core.height * region.core.width for region in regions) < drawn.size / 2


def test_a_lamp_post_is_filled_at_full_resolution_across_its_width() -> None:
    regions = plan(box_mask(3000, 2000, (800, 100, 60, 2900)), NETWORK)
    assert {find_scale(region) for region in regions} == {1.0}
    assert {(region.core.x, region.core.width) for region in regions} == {(800, 60)}


def test_thousands_of_specks_take_a_few_crops() -> None:
    rng = np.random.default_rng(4)
    mask = np.zeros((1500, 2000), dtype=bool)
    mask[rng.integers(0, 1500, 3000), rng.integers(0, 2000, 3000)] = True
    regions = plan(mask, NETWORK)
    # A crop of 256 px fills at most the 192 px in its middle: 8 × 11 crops if they lay in a grid.
    assert 60 < len(regions) < 130
    assert {find_scale(region) for region in regions} == {1.0}


@pytest.mark.parametrize(("side", "gap"), [(44, 12), (33, 1), (42, 1), (57, 1), (40, 20), (20, 1), (90, 24)])
def test_rows_of_holes_are_not_seen_over_and_over(side: int, gap: int) -> None:
    """A crop for each would have 4 to 14 times the picture's pixels."""
    mask = np.zeros((1000, 1200), dtype=bool)
    for top in range(0, 1000, side + gap):
        for left in range(0, 1200, side + gap):
            mask[top : top + side, left : left + side] = True
    regions = plan(mask, SizeRule(multiple_of=8, working_size=128))
    assert sum(region.size[0] * region.size[1] for region in regions) <= 4 * mask.size
    assert sum(int(region.hole.sum()) for region in regions) == mask.sum()


def test_scratches_stay_sharp_beside_a_torn_corner_and_come_first() -> None:
    torn = box_mask(1500, 2000, (0, 0, 700, 600))
    scratch = np.zeros((1500, 2000), dtype=np.uint8)
    cv2.line(scratch, (900, 0), (1900, 1499), 1, 3)
    cv2.line(scratch, (200, 1300), (1999, 100), 1, 3)  # its box overlaps the torn corner's
    cv2.circle(scratch, (350, 900), 2, 1, -1)
    *fine, coarse = plan(torn | scratch.astype(bool), NETWORK)
    assert coarse.core == bounding_box(torn)
    assert coarse.hole.all()
    assert find_scale(coarse) > 2
    assert len(fine) > 5
    assert {find_scale(region) for region in fine} == {1.0}


def test_context_can_be_chosen() -> None:
    (region,) = plan(box_mask(3000, 3000, (1000, 1000, 400, 400)), SizeRule(), context=0.5)
    assert region.frame == Box(800, 800, 800, 800)


def test_empty_mask_has_no_regions() -> None:
    assert plan(np.zeros((5, 5), dtype=bool), NETWORK) == []


def test_all_hole_is_refused() -> None:
    with pytest.raises(InputError, match="nothing is left to fill from"):
        plan(np.ones((5, 5), dtype=bool), NETWORK)


@pytest.mark.parametrize(
    "values",
    [
        {"multiple_of": 0},
        {"working_size": -1},
        {"fixed_size": 30, "multiple_of": 8},
        {"holes": "stripes"},
    ],
)
def test_size_rules_that_make_no_sense_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        SizeRule(**values)


# -- engines that fill one hole ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("holes", "side", "rule"),
    [
        ("block", 128, SizeRule(fixed_size=128, holes="block")),
        ("center", 256, SizeRule(fixed_size=256, holes="center")),
        ("center", 128, SizeRule(multiple_of=8, working_size=128)),
        ("freeform", 256, SizeRule(multiple_of=8, working_size=256)),
    ],
)
def test_a_training_picture_is_seen_whole_once(holes: str, side: int, rule: SizeRule) -> None:
    pixels = make_pixels(side, side)
    for mask in make_holes(holes, np.random.default_rng(7), 60, side, side):
        (region,) = plan(mask, rule)
        image, hole = region.cut(pixels, mask)
        assert (hole[0, 0] == mask).all()
        assert (image[0].transpose(1, 2, 0) == to_float(pixels) * ~mask[..., None]).all()


@settings(max_examples=60, deadline=None)
@given(masks)
def test_center_engine_finds_the_hole_in_its_central_half(mask: np.ndarray) -> None:
    for region in plan(mask, SizeRule(fixed_size=32, holes="center")):
        _, hole = region.cut(make_pixels(*mask.shape), mask)
        assert hole.any()
        hole[:, :, 8:24, 8:24] = 0
        assert not hole.any()


def test_block_engine_sees_other_holes_covered_with_the_mean() -> None:
    mask = box_mask(128, 128, (20, 20, 40, 40), (80, 70, 36, 44))
    pixels = make_pixels(128, 128)
    first, second = plan(mask, SizeRule(fixed_size=128, holes="block"))
    image, hole = first.cut(pixels, mask)
    assert bounding_box(hole[0, 0] > 0) == first.core == Box(20, 20, 40, 40)
    mean = to_float(pixels)[~mask].mean(axis=0)
    assert np.abs(image[0, :, 70:114, 80:116] - mean[:, None, None]).max() < 1e-5
    left = mask.copy()
    first.close(left)
    image, hole = second.cut(pixels, left)
    assert components(hole[0, 0] > 0) == [Box(80, 70, 36, 44)]
    assert (image[0, :, 20:60, 20:60].transpose(1, 2, 0) == to_float(pixels)[20:60, 20:60]).all(), (
        "filled by now"
    )
