"""The recipe of docs/how-to/add-an-engine.md, followed; and the code in that of the fill options."""

import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from infilling.cli import app
from infilling.filling.engine import ENGINES
from infilling.filling.options import _option

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to"


def read_blocks(page: str) -> list[str]:
    text = (PAGES / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^( *)```python\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", code, flags=re.MULTILINE) for indent, code in blocks]


def test_an_engine_made_by_the_recipe_fills(tmp_path: Path) -> None:
    """From Python as an object, and on the command line by its name."""
    names: dict[str, Any] = {}
    define, use, register = read_blocks("add-an-engine.md")
    exec(compile(define, "add-an-engine.md", "exec"), names)
    exec(compile(use, "add-an-engine.md", "exec"), names)
    photo, filled = names["photo"], names["filled"]
    hole = np.zeros((64, 64), bool)
    hole[20:44, 20:44] = True
    np.testing.assert_array_equal(filled[~hole], photo[~hole])
    known = np.delete(photo[30], np.s_[20:44], axis=0)
    assert np.abs(filled[30, 32].astype(float) - known.mean(0)).max() <= 1
    try:
        exec(compile(register, "add-an-engine.md", "exec"), names)
        Image.fromarray(photo).save(tmp_path / "photo.png")
        paths = [str(tmp_path / "photo.png"), "--out", str(tmp_path / "filled.png")]
        app(["fill", *paths, "--box", "20,20,24,24", "--engine", "row-mean"], standalone_mode=False)
    finally:
        ENGINES.pop("row-mean", None)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "filled.png")), filled)


def test_the_field_of_the_recipe_is_an_option() -> None:
    [code] = read_blocks("add-a-fill-option.md")
    names: dict[str, Any] = {"_option": _option}
    exec(compile(code, "add-a-fill-option.md", "exec"), names)
    option = names["strength"].metadata["option"]
    assert (option.group, option.low, option.high) == ("result", 0, 1)
    assert option.help.endswith(".")
