"""The public interface: its names, its page in the docs, its example, and what importing it costs."""

import ast
import doctest
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import infilling

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
HEAVY = ["torch", "onnxruntime", "fastapi", "cv2", "skimage", "numpy", "PIL"]


def loaded_after(code: str) -> set[str]:
    """Names of the heavy modules that a fresh interpreter has loaded after running `code`."""
    tell = f"; import json, sys; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code + tell], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_loads_nothing_heavy() -> None:
    assert loaded_after("import infilling") == set()
    assert loaded_after("from infilling import InputError") == set()


@pytest.mark.parametrize(("engine", "runtime"), [("default", {"onnxruntime"}), ("push-pull", set())])
def test_filling_loads_no_framework_and_a_runtime_for_networks_alone(engine: str, runtime: set[str]) -> None:
    options = f"boxes=[(1, 1, 2, 2)], engine={engine!r}"
    code = f"import numpy, infilling; infilling.fill(numpy.zeros((8, 8), 'uint8'), {options})"
    assert loaded_after(code) == {"numpy", "PIL"} | runtime


def test_opening_a_network_reports_to_nobody(tmp_path: Path) -> None:
    ours = ("CI", "ORT_DISABLE_TELEMETRY")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": ""}
    script = "import infilling; infilling.open_engine('default')"
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert not list(tmp_path.iterdir())


def test_every_public_name_is_there_and_no_other() -> None:
    assert infilling.__all__ == sorted(set(infilling.__all__))
    for name in infilling.__all__:
        assert getattr(infilling, name) is not None, name
    assert set(infilling.__all__) <= set(dir(infilling))
    with pytest.raises(AttributeError, match="no attribute 'fil'"):
        infilling.__getattr__("fil")


def test_type_checkers_see_the_names_that_are_there() -> None:
    tree = ast.parse(Path(infilling.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen: dict[str, object] = {}
    for node in block.body:
        assert isinstance(node, ast.ImportFrom)
        module = importlib.import_module(str(node.module))
        seen |= {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}
    assert seen == {name: getattr(infilling, name) for name in infilling.__all__ if name != "__version__"}


def test_the_page_names_every_public_name() -> None:
    rows = re.findall(r"^\| name \|.*\n\|.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"^\| `(\w+)", row, re.MULTILINE)]
    assert sorted(named) == infilling.__all__


@pytest.mark.parametrize(
    "block", re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.S)
)
def test_the_code_on_the_page_runs(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save("photo.jpg")
    mask = np.zeros((48, 64), np.uint8)
    mask[10:20, 10:30] = 255
    Image.fromarray(mask).save("mask.png")
    exec(compile(block, "docs/api.md", "exec"), {})


def test_the_example_fills_a_picture(tmp_path: Path) -> None:
    Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(tmp_path / "photo.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[10:20, 10:30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "fill.py", "photo.png", "mask.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "photo.filled.png\n"
    filled = np.asarray(Image.open(tmp_path / "photo.filled.png"))
    assert (filled[mask == 0] == 90).all()
    assert np.abs(filled[mask > 0].astype(int) - 90).max() < 12


@pytest.mark.parametrize(
    "name", ["infilling", *(f"infilling.filling.{m}" for m in ("engine", "fill", "patches"))]
)
def test_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)
    names = {"np": np, **{key: getattr(infilling, key) for key in infilling.__all__}}
    result = doctest.testmod(module, extraglobs=names)
    assert result.attempted > 0
    assert result.failed == 0
