"""Fixtures that more than one room's tests use."""

import os
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
