"""`infill mask`: what it marks goes straight into `infill fill`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from infilling.pictures import mask as masks
from infilling.pictures.mask_files import read_mask

HOLE = np.zeros((60, 80), bool)
HOLE[20:40, 30:50] = True


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(90, 110, (60, 80, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[HOLE] = (255, 0, 255, 0)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("how", [("color", "#ff00ff"), ("color", "#fa05fa", "--tolerance", "5"), ("alpha",)])
def test_colour_and_transparency_become_masks(photo: Path, infill: Any, how: tuple[str, ...]) -> None:
    kind, *rest = how
    ran = infill("mask", kind, *rest[:1], photo, *rest[1:])
    path = photo.with_name("photo.mask.png")
    assert (ran.code, ran.lines) == (0, [str(path)])
    assert "8.33% of the picture is marked" in ran.err
    np.testing.assert_array_equal(read_mask(path), HOLE)
    assert infill("fill", photo, "--mask", path).code == 0
    with Image.open(photo.with_name("photo.filled.png")) as image:
        filled = np.asarray(image)
    assert (filled[HOLE][:, :3] < 130).all()


def test_masks_can_be_grown_and_named(photo: Path, infill: Any, tmp_path: Path) -> None:
    out = tmp_path / "other.png"
    ran = infill("mask", "alpha", "-", "--grow", "3", "--out", out, stdin=photo.read_bytes())
    assert ran.lines == [str(out)]
    np.testing.assert_array_equal(read_mask(out), masks.grow(HOLE, 3))
    assert infill("mask", "alpha", "-", stdin=photo.read_bytes()).code == 2


def test_scratches_are_marked_and_repaired(tmp_path: Path, infill: Any) -> None:
    y, x = np.mgrid[:200, :300] / 50
    clean = (130 + 30 * np.sin(x) + 20 * np.cos(y)).astype(np.uint8)
    image = Image.fromarray(clean)
    ImageDraw.Draw(image).line([(10, 30), (280, 170)], fill=250, width=3)
    image.save(tmp_path / "scan.png")
    assert infill("mask", "scratches", tmp_path / "scan.png").code == 0
    mask = tmp_path / "scan.mask.png"
    assert infill("fill", tmp_path / "scan.png", "--mask", mask, "--engine", "push-pull").code == 0
    with Image.open(tmp_path / "scan.filled.png") as image:
        repaired = np.asarray(image).astype(int)
    assert np.abs(repaired - clean).max() <= 12


def test_what_is_not_there_is_said(photo: Path, infill: Any, tmp_path: Path) -> None:
    assert infill("mask", "color", "pink", photo).code == 3
    Image.new("RGB", (4, 4)).save(tmp_path / "opaque.png")
    ran = infill("mask", "alpha", tmp_path / "opaque.png")
    assert ran.code == 0
    assert "nothing found (alpha)" in ran.err


def test_masks_are_combined_and_shown(photo: Path, infill: Any, tmp_path: Path) -> None:
    left = np.zeros(HOLE.shape, np.uint8)
    left[:, :40] = 255
    Image.fromarray(left).save(tmp_path / "left.png")
    out, preview = tmp_path / "m.png", tmp_path / "seen.jpg"
    for option, expected in [
        ("--add", HOLE | (left > 0)),
        ("--subtract", HOLE & (left == 0)),
        ("--intersect", HOLE & (left > 0)),
    ]:
        ran = infill("mask", "alpha", photo, "-o", out, option, tmp_path / "left.png", "--preview", preview)
        assert ran.code == 0, ran.err
        np.testing.assert_array_equal(read_mask(out), expected)
        seen = np.asarray(Image.open(preview)).astype(int)
        assert (seen[expected][:, 0] - seen[expected][:, 1] > 90).mean() > 0.9
        assert "score" in ran.err
    Image.new("L", (5, 5)).save(tmp_path / "small.png")
    assert infill("mask", "alpha", photo, "-o", out, "--add", tmp_path / "small.png").code == 3


def test_a_box_is_where_to_look(photo: Path, infill: Any, tmp_path: Path) -> None:
    ran = infill("mask", "alpha", photo, "--box", "0,0,40,30")
    assert ran.code == 0
    expected = HOLE.copy()
    expected[30:], expected[:, 40:] = False, False
    np.testing.assert_array_equal(read_mask(photo.with_name("photo.mask.png")), expected)
    assert infill("mask", "alpha", photo, "--box", "0,0,40").code == 2
    assert infill("mask", "alpha", photo, "--box", "100,100,9,9").code == 3


def test_nothing_found_is_said_and_no_black_mask_is_written(tmp_path: Path, infill: Any) -> None:
    Image.new("RGB", (64, 48), (120, 110, 100)).save(tmp_path / "plain.png")
    ran = infill("mask", "scratches", tmp_path / "plain.png", "--preview", tmp_path / "seen.png")
    assert (ran.code, ran.lines) == (0, [])
    assert "nothing found" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["plain.png"]
    (tmp_path / "plain.mask.png").write_bytes(b"old")
    assert "is from before" in infill("mask", "scratches", tmp_path / "plain.png").err


def test_a_mask_that_is_named_is_written_black_where_nothing_is_found(tmp_path: Path, infill: Any) -> None:
    """So that the fill that reads it next says that nothing is marked, and not that there is no file."""
    Image.new("RGB", (64, 48), (120, 110, 100)).save(tmp_path / "plain.png")
    mask = tmp_path / "mask.png"
    ran = infill("mask", "scratches", tmp_path / "plain.png", "-o", mask)
    assert (ran.code, ran.lines) == (0, [str(mask)])
    assert "nothing found" in ran.err
    assert not np.asarray(Image.open(mask)).any()
    ran = infill("fill", tmp_path / "plain.png", "--mask", mask, "-e", "mean")
    assert "nothing is marked" in ran.err
    assert (tmp_path / "plain.filled.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


def test_a_thing_is_marked_by_a_point(tmp_path: Path, infill: Any) -> None:
    pixels = np.full((90, 120, 3), 90, np.uint8)
    pixels[30:60, 40:80] = (200, 60, 40)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    ran = infill("mask", "object", tmp_path / "a.png", "--point", "60,45", "--background", "5,5")
    assert ran.code == 0, ran.err
    found = read_mask(tmp_path / "a.mask.png")
    assert found[32:58, 42:78].all()
    assert found.sum() < 1400
    assert infill("mask", "object", tmp_path / "a.png", "--point", "60").code == 2
    assert infill("mask", "object", tmp_path / "a.png").code == 3


def test_a_scan_is_restored_in_one_go(tmp_path: Path, infill: Any) -> None:
    y, x = np.mgrid[:200, :300] / 50
    clean = (130 + 30 * np.sin(x) + 20 * np.cos(y)).astype(np.uint8)
    image = Image.fromarray(clean)
    ImageDraw.Draw(image).line([(10, 30), (280, 170)], fill=250, width=3)
    image.save(tmp_path / "scan.png", dpi=(300, 300))
    ran = infill("restore", tmp_path / "scan.png", "--engine", "push-pull")
    assert ran.code == 0, ran.err
    assert ran.lines == [str(tmp_path / "scan.restored.png"), str(tmp_path / "scan.mask.png")]
    with Image.open(tmp_path / "scan.restored.png") as restored:
        assert np.abs(np.asarray(restored).astype(int) - clean).max() <= 12
        assert round(restored.info["dpi"][0]) == 300
    found = read_mask(tmp_path / "scan.mask.png")
    given, after = (np.asarray(Image.open(tmp_path / f"scan{end}.png")) for end in ("", ".restored"))
    np.testing.assert_array_equal(given[~found], after[~found])
    assert infill("restore", tmp_path / "scan.png", "--find", "scrathces").code == 3
    assert infill("restore", tmp_path / "scan.png", "--out", tmp_path / "scan.png").code == 3


def test_a_clean_scan_comes_back_byte_for_byte(tmp_path: Path, infill: Any) -> None:
    Image.new("RGB", (64, 48), (120, 110, 100)).save(tmp_path / "plain.jpg")
    ran = infill("restore", tmp_path / "plain.jpg", "--engine", "mean")
    assert ran.lines == [str(tmp_path / "plain.restored.jpg")]
    assert "nothing found" in ran.err
    assert (tmp_path / "plain.restored.jpg").read_bytes() == (tmp_path / "plain.jpg").read_bytes()
    assert not (tmp_path / "plain.mask.png").exists()


def test_a_mask_that_leaves_out_all_that_was_found_says_so(photo: Path, infill: Any, tmp_path: Path) -> None:
    Image.new("L", (80, 60), 255).save(tmp_path / "all.png")
    out = tmp_path / "m.png"
    ran = infill("mask", "alpha", photo, "-o", out, "--subtract", tmp_path / "all.png")
    assert (ran.code, ran.lines) == (0, [str(out)])
    assert "nothing is marked" in ran.err
    assert not read_mask(out).any()
