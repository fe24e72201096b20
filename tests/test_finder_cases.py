"""The benchmark of mask helpers: damage is where its truth says, and masks are scored by pixels."""

import importlib
import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))  # as Python does for a script
finders = importlib.import_module("finders")
cases = importlib.import_module("finder_cases")
sys.path.pop()


def test_dust_is_drawn_where_the_truth_says() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (320, 240), (120, 130, 120)).save(stream, "JPEG", quality=95)
    photos = cases.Photos([stream.getvalue()], [io.BytesIO(stream.getvalue())])
    case = cases.make_dust(photos, np.random.default_rng(0))
    changed = np.abs(case.pictures[0].astype(int) - case.clean[0]).mean(axis=2)
    assert case.truth.any()
    assert changed[case.truth].mean() > 40
    assert changed[~case.truth].mean() < 3


def test_a_case_is_scored_by_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = np.zeros((10, 10), bool)
    truth[:2] = True
    found = np.zeros((10, 10), bool)
    found[1:5] = True
    monkeypatch.setattr(finders, "find_mask", lambda *args, **options: found)
    picture = np.zeros((10, 10, 3), np.uint8)
    recall, precision, clean, _ = finders.score("dust", cases.Case([picture], truth, [picture]))
    assert (recall, precision, clean) == (0.5, 0.25, 0.4)
