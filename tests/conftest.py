"""Fixtures that more than one room's tests use."""

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of photographs, shards and feature weights; they are never part of the project."""
    folder = Path(os.environ.get("INFILLING_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}: set INFILLING_TEST_DATA")
    return folder


@dataclass(frozen=True)
class Ran:
    """What a command left: its exit code, and what it wrote."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        """Stdout as lines of text."""
        return self.out.decode().splitlines()


@pytest.fixture
def infill(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """`infill("fill", path, …, stdin=b"")` runs the command line in this process."""
    from infilling.cli import main
    from infilling.filling import fill

    def run(*args: object, stdin: bytes = b"") -> Ran:
        fill._open_once.cache_clear()  # a command starts with no engine open
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with monkeypatch.context() as patch:
            patch.setenv("INFILLING_VERBOSE", "")
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
            patch.setattr(sys, "stdout", out)
            patch.setattr(sys, "stderr", err)
            with pytest.raises(SystemExit) as left:
                main([str(arg) for arg in args])
        return Ran(left.value.code or 0, out.buffer.getvalue(), err.buffer.getvalue().decode())

    return run
