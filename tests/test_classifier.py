"""The benchmark of a classifier on filled pictures: what it chooses and counts, and one small run of it."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers import load_script

from infilling.learning.picture_items import Item


@pytest.fixture(scope="module")
def classifier() -> ModuleType:
    return load_script("benchmarks/classifier.py")


def list_items(counts: dict[str, int]) -> list[Item]:
    return [Item(f"{name}/{n}", name, Path("x")) for name, count in counts.items() for n in range(count)]


def test_classes_with_the_most_pictures_are_taken(classifier: ModuleType) -> None:
    assert classifier.choose_classes(list_items({"a": 2, "b": 5, "c": 4, "d": 3}), 2) == ["b", "c"]


def test_of_equal_classes_some_are_taken_at_even_distances(classifier: ModuleType) -> None:
    equal = list_items(dict.fromkeys("abcdefgh", 3))
    assert classifier.choose_classes(equal, 4) == ["a", "c", "e", "g"]
    assert classifier.choose_classes([*equal, *list_items({"z": 9})], 3) == ["a", "e", "z"]
    assert classifier.choose_classes(equal, 20) == list("abcdefgh")


def test_the_table_says_what_was_brought_back(classifier: ModuleType) -> None:
    rows = [("originals", [0.8, 0.6], np.inf), ("holes", [0.4, 0.4], 9.0), ("telea", [0.5, 0.5], 20.126)]
    lines = classifier.write_table(rows).splitlines()
    assert lines[2] == "| originals | 70.0% ± 14.1% | – | – |"
    assert lines[4] == "| telea | 50.0% ± 0.0% | 33% | 20.13 |"


def test_psnr_is_of_the_hole_alone(classifier: ModuleType) -> None:
    target = np.zeros((1, 4, 4, 3), np.uint8)
    result = target + 255
    result[0, 1, 1] = 51
    mask = np.zeros((1, 4, 4), bool)
    mask[0, 1, 1] = True
    assert classifier.find_psnr(result, target, mask) == pytest.approx(-20 * np.log10(0.2))


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Three classes that differ in colour, so that a few steps tell them apart."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 16), ("test", 4)):
        for place, name in enumerate(("red", "green", "blue")):
            for number in range(count):
                pixels = rng.integers(0, 100, (128, 128, 3), dtype=np.uint8)
                pixels[..., place] += 120
                path = tmp_path / part / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return tmp_path


def test_a_small_run(classifier, scenes, monkeypatch, capsys) -> None:
    threads = torch.get_num_threads()
    few = ["--classes", "3", "--epochs", "4", "--seeds", "1", "--threads", "1", "--engine", "mean"]
    sources = ["--data", str(scenes / "train"), "--test", str(scenes / "test")]
    monkeypatch.setattr(sys, "argv", ["classifier.py", *sources, *few])
    monkeypatch.setattr(classifier, "BATCH", 8)
    try:
        classifier.main()
    finally:
        torch.set_num_threads(threads)
    said = capsys.readouterr().out
    assert "48 pictures to learn from, 12 to judge on: blue, green, red" in said
    rows = dict(re.findall(r"^\| (\S[^|]*) \| ([\d.]+)% ", said, re.MULTILINE))
    assert list(rows) == ["originals", "holes in one colour", "mean"]
    assert float(rows["originals"]) > 90
