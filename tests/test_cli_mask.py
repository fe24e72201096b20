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


def test_what_cannot_be_marked_says_why(photo: Path, infill: Any, tmp_path: Path) -> None:
    assert infill("mask", "color", "pink", photo).code == 3
    Image.new("RGB", (4, 4)).save(tmp_path / "opaque.png")
    ran = infill("mask", "alpha", tmp_path / "opaque.png")
    assert ran.code == 3
    assert "no alpha channel" in ran.err
