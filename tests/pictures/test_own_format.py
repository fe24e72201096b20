"""The recipe of docs/how-to/add-an-image-format.md, followed in a copy of the package."""

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
from PIL import Image

import infilling

PACKAGE = Path(infilling.__file__).parent
PAGE = PACKAGE.parent.parent / "docs" / "how-to" / "add-an-image-format.md"
STEP = re.compile(r"# src/infilling/(?P<file>\S+), (?P<where>after|before): (?P<line>.+)\n(?P<code>[\s\S]*)")


def follow_recipe(package: Path) -> None:
    """Put each block of the page where its first line says."""
    blocks = re.findall(r"```python\n(.*?)\s*```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        step = STEP.fullmatch(textwrap.dedent("    " * (not block.startswith(" ")) + block))
        assert step, block
        path = package / step["file"]
        lines = path.read_text(encoding="utf-8").split("\n")
        [place] = [number for number, line in enumerate(lines) if line.strip() == step["line"]]
        lines.insert(place + (step["where"] == "after"), step["code"] + "\n")
        path.write_text("\n".join(lines), encoding="utf-8")


def test_a_format_added_by_the_recipe_is_filled_and_walked(tmp_path: Path) -> None:
    package = tmp_path / "infilling"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("weights", "__pycache__", "web"))
    follow_recipe(package)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels).save(tmp_path / "in" / "photo.ppm")

    words = ["batch", "in", "out", "--box", "10,10,8,8", "--engine", "mean"]
    done = subprocess.run(
        [sys.executable, "-m", "infilling", *words],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "photo.ppm") as image:
        assert image.format == "PPM"
        filled = np.asarray(image)
    hole = np.zeros((40, 60), bool)
    hole[10:18, 10:18] = True
    assert np.array_equal(filled[~hole], pixels[~hole])
    assert (filled[hole] != pixels[hole]).any()
