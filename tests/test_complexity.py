"""The script that counts branches and lines, on a file counted by hand."""

import doctest
import importlib.util
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "complexity.py"
SOURCE = '''"""A module."""

LIMIT = 3 if True else 4  # outside of functions: not counted


def first(values):
    """A docstring
    of two lines.
    """
    # a comment
    total = sum(
        value
        for value in values
        if value and value > 1
    )
    if total > LIMIT or not values:
        return [None]
    elif total:
        for value in values:
            print(value)
    return total if total else 0


class Shape:
    @property
    def area(self):
        def inner():
            """Nested."""
            assert self
            return 1

        try:
            return inner()
        except ValueError:
            return 0
'''


def test_branches_and_lines_are_those_counted_by_hand(tmp_path: Path) -> None:
    """`first`: for, if, and, if, or, elif, for, and a conditional expression; `area`: assert and except."""
    (tmp_path / "shape.py").write_text(SOURCE)
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, "--files"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[2:] == [
        f"| shape.py | {len(SOURCE.splitlines())} | 12 | 10 | 8.3 |",
        f"| in all | {len(SOURCE.splitlines())} | 12 | 10 | 8.3 |",
        "| shape.py:6 first | 16 | 7 | 8 | 11.4 |",
        "| shape.py:26 Shape.area | 10 | 5 | 2 | 4.0 |",
    ]


def test_its_examples_run() -> None:
    spec = importlib.util.spec_from_file_location("complexity", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["complexity"] = module
    spec.loader.exec_module(module)
    result = doctest.testmod(module, extraglobs={"ast": module.ast})
    assert (result.failed, result.attempted > 0) == (0, True)
