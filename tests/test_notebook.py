"""The notebook in examples/ runs from its first cell to its last, and what it shows is a picture."""

import ast
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import infilling
from infilling.errors import InputError

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell, and return the value of its last line, as a notebook shows it."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    return None if last is None else eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(EXAMPLES / "pictures", tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((EXAMPLES / "tour.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    names: dict[str, Any] = {}
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] for cell in cells)
    shown = [run_cell("".join(cell["source"]), names) for cell in cells]
    for place in (0, 2):
        image = Image.open(io.BytesIO(shown[place]._repr_png_()))
        assert (image.format, image.width > image.height) == ("PNG", True)
    assert len(shown[1]) >= 1
    assert [output for output, _ in shown[3]] == ["coffee.jpg", "cat.jpg"]


def test_before_and_after_are_shown_around_what_changed(tmp_path: Path) -> None:
    before = np.full((300, 400, 3), 90, np.uint8)
    after = before.copy()
    after[100:120, 200:220] = (200, 0, 0)
    whole = infilling.compare(before, before)
    part = infilling.compare(before, after)
    part.save(tmp_path / "seen.jpg")
    with Image.open(tmp_path / "seen.jpg") as image:
        assert image.format == "JPEG"
    colours = np.asarray(Image.open(io.BytesIO(part._repr_png_())))
    assert ((colours == (200, 0, 0)).all(axis=2)).mean() > 0.005
    assert not (np.asarray(Image.open(io.BytesIO(whole._repr_png_()))) == (200, 0, 0)).all(axis=2).any()
    with pytest.raises(InputError, match="differ in size"):
        infilling.compare(before, before[:50])
