"""The table of mask helpers: one entry is a command, a function, a finder of folders and of the server."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from infilling import masks
from infilling.errors import InputError
from infilling.filling.batch import batch
from infilling.filling.finders import Finder, find_mask, parse_finder
from infilling.filling.mask_helpers import HELPERS
from infilling.pictures.mask import grow
from infilling.pictures.mask_files import read_mask
from infilling.pictures.picture import Picture, from_array

ROOT = Path(__file__).resolve().parents[2]


def draw_scan(seed: int = 0) -> np.ndarray:
    """Soft shapes and grain with two scratches."""
    rng = np.random.default_rng(seed)
    x = np.arange(300) / 50
    pixels = 130 + 30 * np.sin(x)[:, None] + rng.normal(0, 3, (200, 300, 3))
    pixels[20:180, 60:63] = 250
    pixels[20:180, 240:243] = 10
    return np.clip(pixels, 0, 255).astype(np.uint8)


def test_the_defaults_are_those_of_the_functions() -> None:
    for name, helper in HELPERS.items():
        parameters = inspect.signature(helper.find).parameters
        for option in helper.options:
            if option.name in parameters and option.default is not ...:
                default = parameters[option.name].default
                assert default in (option.default, inspect.Parameter.empty), f"{name}: {option.name}"
        assert helper.help.endswith(".")


def test_a_box_limits_where_it_is_looked_for() -> None:
    picture = Picture(draw_scan())
    both = find_mask("scratches", picture)
    assert both[100, 61]
    assert both[100, 241]
    left = find_mask("scratches", picture, box=(30, 0, 60, 200))
    assert left[100, 61]
    assert not left[:, 100:].any()
    assert not find_mask("scratches", picture, box=(100, 0, 100, 200)).any()
    with pytest.raises(InputError, match="outside the picture"):
        find_mask("scratches", picture, box=(400, 0, 9, 9))


def test_points_move_with_the_box() -> None:
    pixels = np.full((300, 400, 3), 90, np.uint8)
    pixels[220:260, 300:360] = (200, 60, 40)
    found = find_mask("object", Picture(pixels), box=(280, 200, 110, 90), points=[(330, 240)])
    truth = (pixels == (200, 60, 40)).all(axis=2)
    assert (found & truth).sum() > 0.95 * (found | truth).sum()
    with pytest.raises(InputError, match="330,20 is outside the box"):
        find_mask("object", Picture(pixels), box=(280, 200, 110, 90), points=[(330, 20)])


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("scrathces", {}, "no mask helper 'scrathces'; did you mean scratches"),
        ("scratches", {"widht": 3}, "no option 'widht'; did you mean width"),
        ("scratches", {"width": 0}, "give 1 or more"),
        ("color", {}, "give a text"),
        ("object", {"points": 5}, "give points"),
    ],
)
def test_what_cannot_be_looked_for(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        find_mask(name, Picture(np.zeros((20, 20, 3), np.uint8)), **options)


def test_texts_name_a_helper_with_its_options() -> None:
    assert parse_finder("scratches") == Finder("scratches")
    given = {"width": 5, "sensitivity": 0.5, "grow": 3}
    assert parse_finder("scratches:width=5,sensitivity=0.5,grow=3") == Finder("scratches", given)
    for text, words in [
        ("scratch", "did you mean scratches"),
        ("scratches:wide=5", "no option 'wide'"),
        ("scratches:width=x", "give a whole number"),
    ]:
        with pytest.raises(InputError, match=words):
            parse_finder(text)


# -- Python --------------------------------------------------------------------------------------------------


def test_the_module_has_a_function_for_each_helper(tmp_path: Path) -> None:
    assert dir(masks) == sorted(HELPERS)
    pixels = draw_scan()
    expected = find_mask("scratches", Picture(pixels))
    Image.fromarray(pixels).save(tmp_path / "scan.png")
    images = [pixels, Image.fromarray(pixels), from_array(pixels), tmp_path / "scan.png"]
    images += [str(tmp_path / "scan.png"), (tmp_path / "scan.png").read_bytes()]
    for image in images:
        np.testing.assert_array_equal(masks.scratches(image), expected)
    np.testing.assert_array_equal(grow(masks.scratches(pixels, grow=0), 2), masks.scratches(pixels, grow=2))
    assert masks.color(np.zeros((4, 4, 3), np.uint8), "#000").all()
    assert str(inspect.signature(masks.color)) == "(image, value, *, tolerance=0, box=None, grow=0)"
    assert "tolerance: " in str(masks.color.__doc__)
    with pytest.raises(AttributeError, match="no attribute 'scratch'"):
        masks.scratch  # noqa: B018
    with pytest.raises(TypeError, match="widht"):
        masks.scratches(pixels, widht=3)


# -- folders -------------------------------------------------------------------------------------------------


def test_a_folder_is_filled_where_a_helper_finds_something(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pixels = draw_scan()
    Image.fromarray(pixels).save(tmp_path / "in" / "a.png")
    Image.fromarray(np.full((50, 60, 3), 120, np.uint8)).save(tmp_path / "in" / "clean.png")
    finished = batch(tmp_path / "in", tmp_path / "out", mask_helpers=["scratches:grow=2"], engine="push-pull")
    assert finished.counts == {"filled": 1, "unchanged": 1}
    filled = np.asarray(Image.open(tmp_path / "out" / "a.png"))
    found = masks.scratches(pixels, grow=2)
    np.testing.assert_array_equal(filled[~found], pixels[~found])
    assert np.abs(filled[100, 61].astype(int) - pixels[100, 55]).max() < 15
    clean = (tmp_path / "in" / "clean.png").read_bytes()
    assert (tmp_path / "out" / "clean.png").read_bytes() == clean
    args = tmp_path / "in", tmp_path / "out"
    again = batch(*args, mask_helpers=["scratches:grow=2"], engine="push-pull")
    assert again.counts == {"skipped": 2}
    other = batch(*args, mask_helpers=["scratches:grow=3"], engine="push-pull")
    assert "skipped" not in other.counts


def test_helpers_and_masks_do_not_go_together(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(InputError, match="not both"):
        batch(tmp_path / "in", tmp_path / "out", masks=tmp_path, mask_helpers=["scratches"])


# -- the recipe ----------------------------------------------------------------------------------------------


@pytest.fixture
def recipe() -> Iterator[Any]:
    """The command line with the helper of docs/how-to/add-a-mask-helper.md."""
    text = (ROOT / "docs" / "how-to" / "add-a-mask-helper.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    try:
        for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            exec(compile(code, "add-a-mask-helper.md", "exec"), names)
        yield importlib.reload(importlib.import_module("infilling.cli.mask")).app
    finally:
        HELPERS.pop("burnt", None)
        importlib.reload(importlib.import_module("infilling.cli.mask"))


def test_a_helper_made_by_the_recipe_is_everywhere(recipe: Any, tmp_path: Path) -> None:
    pixels = np.full((40, 50, 3), 100, np.uint8)
    pixels[10:20, 10:20] = 255
    pixels[30:35, 30:35] = 240
    Image.fromarray(pixels).save(tmp_path / "a.png")
    ran = CliRunner().invoke(recipe, ["burnt", str(tmp_path / "a.png")])
    assert ran.exit_code == 0, ran.output
    np.testing.assert_array_equal(read_mask(tmp_path / "a.mask.png"), (pixels == 255).all(axis=2))
    wider = masks.burnt(pixels, level=230)
    np.testing.assert_array_equal(wider, (pixels >= 230).all(axis=2))
    assert parse_finder("burnt:level=230").find(Picture(pixels)).sum() == wider.sum()
    assert "--level" in CliRunner().invoke(recipe, ["burnt", "--help"]).output
