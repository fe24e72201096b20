"""Ghosts: the warning at a rim, and `grow="auto"`, on every surface."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import infilling
from infilling.errors import InputError
from infilling.filling.options import FillOptions
from infilling.pictures.files import from_pil
from infilling.pictures.mask import grow

HINT = "the mask ends on the edge of what it covers: --grow 2 would take in the rim"
ENGINE = "push-pull"

photo = np.random.default_rng(0).integers(100, 116, (96, 96, 3)).astype(np.uint8)
y, x = np.mgrid[:96, :96]
thing = (y - 45) ** 2 + (x - 50) ** 2 <= 20**2
photo[thing] = (230, 60, 40)
tight = ~grow(~thing, 2)


def save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def run(*words: object) -> str:
    """Run a command in a process of its own, where warnings are no errors; return what it says."""
    command = [sys.executable, "-m", "infilling", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def error(filled: np.ndarray) -> float:
    """Return how far the fill is from the surroundings' mean, where the thing was."""
    return float(abs(filled[thing].astype(float) - 107.5).mean())


def test_a_tight_mask_is_a_warning_in_python() -> None:
    with pytest.warns(infilling.InfillingWarning, match=HINT):
        plain = infilling.fill(photo, tight, ENGINE)
    with pytest.warns(infilling.InfillingWarning, match=HINT):
        assert infilling.fill(Image.fromarray(photo), tight, ENGINE, grow=1).size == (96, 96)
    with pytest.warns(infilling.InfillingWarning, match=HINT):
        floats = infilling.fill(photo / np.float32(255), tight, ENGINE)
    assert floats.dtype == np.float32
    found = infilling.fill(photo, tight, ENGINE, grow="auto")
    np.testing.assert_array_equal(found, infilling.fill(photo, tight, ENGINE, grow=2))
    assert error(found) < 5 < error(plain) / 2


def test_a_mask_that_fits_is_grown_by_nothing() -> None:
    for hole in (thing, grow(thing, 3)):
        fitting = infilling.fill(photo, hole, ENGINE)
        np.testing.assert_array_equal(infilling.fill(photo, hole, ENGINE, grow="auto"), fitting)


def test_missing_values_have_no_rim() -> None:
    gaps = np.where(tight[..., None], np.nan, photo / np.float32(255)).astype(np.float32)
    filled = infilling.fill(gaps, engine=ENGINE, grow="auto")
    np.testing.assert_array_equal(filled, infilling.fill(gaps, engine=ENGINE))
    np.testing.assert_array_equal(infilling.fill(gaps, tight, ENGINE, grow="auto"), filled)


def test_a_picture_is_filled_by_auto_too() -> None:
    picture = from_pil(Image.fromarray(photo))
    engine = infilling.open_engine(ENGINE)
    found = infilling.fill_picture(picture, tight, engine, grow="auto")
    np.testing.assert_array_equal(found.pixels, infilling.fill_picture(picture, tight, engine, grow=2).pixels)


@pytest.mark.parametrize("value", ["wide", "", "Auto", 1.5, np.array(["auto"])])
def test_other_words_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match="give a whole number or 'auto'") as refused:
        FillOptions(grow=value)
    assert refused.value.field == "grow"


def test_the_command_line_and_folders(tmp_path: Path, infill: Any) -> None:
    (tmp_path / "in").mkdir()
    source, mask = save(tmp_path / "in" / "a.png", photo), save(tmp_path / "mask.png", tight)
    target = tmp_path / "b.png"
    words = ("fill", source, "-m", mask, "-e", ENGINE, "--out", target)
    assert run(*words) == f"warning: {HINT}\n"
    assert run(*words, "--grow", "auto", "--overwrite") == ""
    assert "'auto'" in infill(*words, "--grow", "wide", "--overwrite").err
    expected = infilling.fill(photo, tight, ENGINE, grow=2)
    np.testing.assert_array_equal(np.asarray(Image.open(target)), expected)
    for wanted, warnings in ((0, [HINT]), ("auto", [])):
        out = tmp_path / f"out-{wanted}"
        run("batch", tmp_path / "in", out, "-m", mask, "-e", ENGINE, "--grow", wanted)
        [line] = map(json.loads, (out / "results.jsonl").read_text().splitlines())
        assert line.get("warnings", []) == warnings
    np.testing.assert_array_equal(np.asarray(Image.open(out / "a.png")), expected)
