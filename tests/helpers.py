"""Scripts as modules, and folders of drawn pictures, for the tests of more than one room."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


def load_script(path: str) -> ModuleType:
    """Import a script of the project, by its path below the root, as Python runs it."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str((ROOT / path).parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def draw_pictures(folder: Path, count: int, size: tuple[int, int], grid: int = 4) -> Path:
    """Draw pictures of smooth colours into a folder, from a grid of so many random ones a side.

    Args:
        folder: the folder, which is returned.
        count: number of pictures; their names are 00.png and on.
        size: (width, height) in pixels.
        grid: random colours a side.
    """
    rng = np.random.default_rng(0)
    for number in range(count):
        small = rng.integers(0, 256, (grid, grid, 3), dtype=np.uint8)
        Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(folder / f"{number:02}.png")
    return folder
