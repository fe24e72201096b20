"""Random holes: what each maker promises, and that a seed always gives the same masks."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.measure import label

from infilling.errors import InputError
from infilling.pictures.hole_shapes import FREEFORM_BINS
from infilling.pictures.holes import HOLES, area_bin, find_maker, make_holes, parse_mix
from infilling.pictures.mask import bounding_box

SEED = 7


def draw(
    spec: object, count: int, height: int = 128, width: int = 128, seed: int = SEED, **options: object
) -> np.ndarray:
    return make_holes(spec, np.random.default_rng(seed), count, height, width, **options)


# -- all makers ----------------------------------------------------------------------------------------------

# Eight masks of 128×96 from seed 7. If one of these changes, results published with a seed are lost.
FINGERPRINTS = {
    "center": "28f3d59ff7352896",
    "block": "6d294119a07641d4",
    "freeform": "f4e73047d05b142e",
    "large": "38ec229a19fce99d",
    "lama-thin": "885860535855b7d1",
    "lama-medium": "01314da0eed1a7d2",
    "lama-thick": "b978f4bbe274586f",
    "lama-train": "b8cb5b476ae0cb8d",
    "deepfill": "c53880ec9f078c49",
}


@pytest.mark.parametrize("name", HOLES)
def test_a_seed_gives_the_same_masks_everywhere(name: str) -> None:
    masks = draw(name, 8, 128, 96)
    assert hashlib.sha256(np.packbits(masks).tobytes()).hexdigest()[:16] == FINGERPRINTS[name]


@pytest.mark.parametrize("name", HOLES)
def test_fewer_masks_are_the_first_of_more(name: str) -> None:
    assert (draw(name, 3) == draw(name, 9)[:3]).all()
    assert name == "center" or not (draw(name, 9) == draw(name, 9, seed=8)).all()


@pytest.mark.parametrize("name", HOLES)
@pytest.mark.parametrize(("height", "width"), [(128, 128), (31, 77), (200, 50), (28, 28), (9, 9)])
def test_any_size_works_and_leaves_hole_and_known(name: str, height: int, width: int) -> None:
    masks = draw(name, 12, height, width)
    assert masks.shape == (12, height, width)
    assert masks.dtype == bool
    assert masks.any(axis=(1, 2)).all()
    assert not masks.all(axis=(1, 2)).any()


@pytest.mark.parametrize("name", sorted(set(HOLES) - {"freeform", "large"}))
def test_a_line_of_pixels_works(name: str) -> None:
    assert draw(name, 4, 1, 40).any(axis=(1, 2)).all()
    assert draw(name, 4, 40, 1).any(axis=(1, 2)).all()


@pytest.mark.parametrize(("name", "low", "high"), [("freeform", 0.05, 0.5), ("large", 0.3, 0.9)])
def test_strokes_and_boxes_keep_to_their_areas_in_a_line(name: str, low: float, high: float) -> None:
    areas = draw(name, 40, 1, 100).mean(axis=(1, 2))
    assert ((areas > low) & (areas <= high)).all()


def test_no_masks_are_no_error() -> None:
    assert draw("block", 0).shape == (0, 128, 128)


def test_makers_of_the_table_can_be_called() -> None:
    masks = make_holes("block", np.random.default_rng(SEED), 5, 128, 128)
    assert (masks == draw("block", 5)).all()


# -- center and block ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(256, 256), (128, 64), (4, 4), (7, 9)])
def test_center_is_exactly_half_of_each_side(height: int, width: int) -> None:
    (mask,) = draw("center", 1, height, width)
    box = bounding_box(mask)
    assert (box.height, box.width) == (height // 2, width // 2)
    assert mask.sum() == box.height * box.width
    assert abs(2 * box.y + box.height - height) <= 1
    assert abs(2 * box.x + box.width - width) <= 1


def test_center_of_256_is_the_middle_128() -> None:
    expected = np.zeros((256, 256), dtype=bool)
    expected[64:192, 64:192] = True
    assert (draw("center", 1, 256, 256)[0] == expected).all()


def test_block_is_one_box_with_uniform_sides_and_places() -> None:
    masks = draw("block", 4000)
    boxes = np.array([bounding_box(mask) for mask in masks])
    assert (boxes[:, 2] * boxes[:, 3] == masks.sum(axis=(1, 2))).all(), "each is a full box"
    for place, side in ((boxes[:, 0], boxes[:, 2]), (boxes[:, 1], boxes[:, 3])):
        counts = np.bincount(side, minlength=65)
        assert counts[:32].sum() == 0
        assert counts.size == 65
        check_uniform(counts[32:])
        # Placed uniformly: (place + u) / (128 - side + 1), u in the pixel, is uniform in [0, 1).
        share = (place + 0.5) / (129 - side)
        check_uniform(np.histogram(share, 10, (0, 1))[0])
    assert abs(np.corrcoef(boxes[:, 2], boxes[:, 3])[0, 1]) < 0.05


def check_uniform(counts: np.ndarray) -> None:
    """Pearson's chi-squared within five standard deviations of its mean."""
    expected = counts.sum() / counts.size
    freedom = counts.size - 1
    assert ((counts - expected) ** 2 / expected).sum() < freedom + 5 * np.sqrt(2 * freedom), counts


@pytest.mark.parametrize(("height", "width", "shortest", "longest"), [(256, 256, 64, 128), (64, 400, 16, 32)])
def test_block_scales_with_the_shorter_side(height: int, width: int, shortest: int, longest: int) -> None:
    boxes = np.array([bounding_box(mask) for mask in draw("block", 1500, height, width)])
    for side in (boxes[:, 2], boxes[:, 3]):
        assert (side.min(), side.max()) == (shortest, longest)


# -- freeform ------------------------------------------------------------------------------------------------


def test_freeform_areas_fall_evenly_into_the_bins() -> None:
    masks = draw("freeform", 1000, 64, 64)
    areas = 100 * masks.sum(axis=(1, 2)) / 64**2
    counts = np.array([((areas > low) & (areas <= high)).sum() for low, high in FREEFORM_BINS])
    assert counts.sum() == 1000, "no area outside all bins"
    check_uniform(counts)
    # Inside a bin, no half is left out.
    for low, high in FREEFORM_BINS:
        inside = areas[(areas > low) & (areas <= high)]
        assert 0.2 < (inside > (low + high) / 2).mean() < 0.8


def test_freeform_refuses_a_picture_too_small_for_its_bins() -> None:
    with pytest.raises(InputError, match="2×1 is too small for freeform"):
        draw("freeform", 50, 1, 2)


# -- protocols of others -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("lama-thin", 0.2, 0.35), ("lama-medium", 0.15, 0.3), ("lama-thick", 0.2, 0.35)],
)
def test_lama_masks_cover_at_most_half(name: str, low: float, high: float) -> None:
    areas = draw(name, 250).mean(axis=(1, 2))
    assert areas.max() <= 0.5
    assert low < areas.mean() < high


def test_lama_boxes_are_0_3_against_strokes_1() -> None:
    """So 23 % of the masks are boxes: three boxes change the rows at most six times, strokes far oftener."""
    masks = draw("lama-thick", 600)
    changes = (masks[:, 1:] != masks[:, :-1]).any(axis=2).sum(axis=1)
    assert 0.18 < (changes <= 6).mean() < 0.30


def test_lama_train_goes_over_half_too() -> None:
    areas = draw("lama-train", 400).mean(axis=(1, 2))
    assert areas.max() > 0.5


def test_lama_lengths_scale_with_the_size() -> None:
    small, large = (draw("lama-thin", 80, side, side).mean(axis=(1, 2)).mean() for side in (128, 256))
    assert abs(small - large) < 0.05


def test_deepfill_strokes_are_one_to_three_bands() -> None:
    masks = draw("deepfill", 300)
    groups = np.array([label(mask, connectivity=2).max() for mask in masks])
    assert groups.min() == 1
    assert groups.max() == 3
    areas = masks.mean(axis=(1, 2))
    assert 0.1 < areas.mean() < 0.25
    # Flipped at random, they favour no side.
    assert abs(masks[:, :64].mean() - masks[:, 64:].mean()) < 0.03
    assert abs(masks[:, :, :64].mean() - masks[:, :, 64:].mean()) < 0.03


# -- folders, mixes, limits ----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, columns in (("a.png", slice(0, 4)), ("deep/b.png", slice(6, 8))):
        mask = np.zeros((4, 8), dtype=np.uint8)
        mask[:, columns] = 255
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(mask).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no mask")
    return tmp_path


def test_folder_of_masks_is_drawn_from_evenly_and_resized(folder: Path) -> None:
    masks = draw(folder, 400, 6, 16)
    left, right = np.zeros((2, 6, 16), dtype=bool)
    left[:, :8] = right[:, 12:] = True
    lefts, rights = (masks == left).all(axis=(1, 2)), (masks == right).all(axis=(1, 2))
    assert (lefts | rights).all()
    check_uniform(np.array([lefts.sum(), rights.sum()]))
    assert (masks == draw(str(folder), 400, 6, 16)).all()
    assert (masks == draw("folder", 400, 6, 16, folder=folder)).all()


def test_folder_can_be_part_of_a_mix(folder: Path) -> None:
    masks = draw({"center": 1, str(folder): 1}, 300, 8, 8)
    assert 100 < sum((mask == draw("center", 1, 8, 8)[0]).all() for mask in masks) < 200


def test_a_maker_lists_its_folder_once_and_reads_a_file_once(folder: Path) -> None:
    """Which also lets it go to another process with what it has read."""
    maker = find_maker(folder)
    first = maker(np.random.default_rng(1), 50, 6, 16)
    assert (first == draw(folder, 50, 6, 16, seed=1)).all()
    for path in folder.rglob("*.png"):
        path.unlink()
    again = pickle.loads(pickle.dumps(maker))
    assert (again(np.random.default_rng(1), 50, 6, 16) == first).all()


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no mask files"):
        draw(tmp_path, 1)
    with pytest.raises(InputError, match="need the folder"):
        draw("folder", 1)
    with pytest.raises(InputError, match="not a folder"):
        draw("folder", 1, folder=tmp_path / "missing")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"bad\.png"):
        draw(tmp_path, 1)
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(tmp_path / "bad.png")
    with pytest.raises(InputError, match="hole, known pixels"):
        draw(tmp_path, 1)


def test_mix_follows_its_weights() -> None:
    masks = draw("0.75 center + 0.25 block", 1000)
    center = draw("center", 1)[0]
    assert 0.70 < (masks == center).all(axis=(1, 2)).mean() < 0.80
    assert (draw({"center": 3, "block": 1}, 50) == masks[:50]).all()


@pytest.mark.parametrize(
    ("spec", "shares"),
    [
        ("block", {"block": 1}),
        ("block + center", {"block": 0.5, "center": 0.5}),
        ("2 block+6 lama-thin", {"block": 0.25, "lama-thin": 0.75}),
        (".5 block + .5 block", {"block": 1}),
        ({"block": 1, "deepfill": 1}, {"block": 0.5, "deepfill": 0.5}),
    ],
)
def test_specs_become_shares(spec: object, shares: dict[str, float]) -> None:
    assert parse_mix(spec) == shares


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("blok", "did you mean block"),
        ("lama", "lama-thin"),
        ("xyz", "choose from center, block"),
        ("0 block + 1 center", "above 0"),
        ({"block": -1.0}, "above 0"),
        ({"block": float("nan")}, "above 0"),
        ({}, "no mix"),
        ("", "called ''"),
        ("0.5 block +", "no holes called ''"),
    ],
)
def test_bad_specs_are_refused(spec: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        draw(spec, 1)


def test_area_limits_hold() -> None:
    areas = draw("lama-train", 200, min_area=0.2, max_area=0.3).mean(axis=(1, 2))
    assert areas.min() >= 0.2
    assert areas.max() <= 0.3
    assert draw("center", 1, 10, 10, min_area=0.25, max_area=0.25).mean() == 0.25


def test_impossible_limits_end() -> None:
    with pytest.raises(
        InputError, match=r"none of 1000 masks from 'center' at 128×128 .* between 0.3 and 0.4"
    ):
        draw("center", 1, min_area=0.3, max_area=0.4)
    with pytest.raises(InputError, match=r"0\.4 to 0\.3"):
        draw("center", 1, min_area=0.4, max_area=0.3)
    with pytest.raises(InputError, match="hole, known pixels"):
        draw("center", 1, 1, 1)
    with pytest.raises(InputError, match="of 128×0"):
        draw("center", 1, 0, 128)


# -- bins ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pixels", "name"),
    [
        (0, "other"),
        (10, "other"),
        (11, "1-10%"),
        (100, "1-10%"),
        (101, "10-20%"),
        (600, "50-60%"),
        (601, "other"),
    ],
)
def test_area_bins_take_their_upper_end(pixels: int, name: str) -> None:
    mask = np.zeros(1000, dtype=bool)
    mask[:pixels] = True
    assert area_bin(mask.reshape(10, 100)) == name
