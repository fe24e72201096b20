"""The example and the benchmark of photographs: the parts of them that need no photographs."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tests.helpers import load_script

from infilling.filling.engine import open_engine
from infilling.pictures.files import decode

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("show", ["show_scratches", "show_restored"])
def test_the_example_finds_its_damage_and_repairs_it(show: str) -> None:
    example = load_script("examples/photos.py")
    original = decode(ROOT / "examples/pictures/cat.jpg").pixels
    height, width = original.shape[:2]
    sheet = np.asarray(getattr(example, show)(open_engine("push-pull")))
    top, left, step = example.GAP + example.CAPTION, example.GAP, height + example.CAPTION + example.GAP
    scan = sheet[top : top + height, left : left + width].astype(int)
    repaired = sheet[top + step : top + step + height, left : left + width].astype(int)
    damaged = np.abs(scan - original).max(axis=2) > 40
    assert damaged.mean() > 0.005
    errors = [np.abs(one - original)[damaged].mean() for one in (scan, repaired)]
    assert errors[1] < 0.35 * errors[0]


def test_every_scene_has_its_hole_where_it_is_shown() -> None:
    example = load_script("examples/photos.py")
    for name, (shown, _) in example.SCENES.items():
        mask = example.make_mask(name, 2160, 3000)
        inside = mask[shown.slices].mean()
        assert 0.05 < inside < 0.6, name
        assert mask.sum() < 1.2 * mask[shown.slices].sum(), name


def test_the_benchmark_times_a_command_and_says_whether_its_bar_is_reached(tmp_path: Path) -> None:
    benchmark = load_script("benchmarks/photos.py")
    x, y, width, height = benchmark.find_box((512, 512), 128)
    assert (x, y, width, height) == (192, 192, 128, 128)
    Image.effect_noise(benchmark.SMALL, 40).convert("RGB").save(tmp_path / "small.png")
    command, warm = benchmark.fill_small(tmp_path, "push-pull", 1)
    assert (tmp_path / "out.png").is_file()
    assert float(command.measured.split(" s")[0]) > 0.1
    assert warm.reached == (float(warm.measured.removesuffix(" ms")) <= 300)


def test_a_command_that_fails_ends_the_benchmark() -> None:
    with pytest.raises(SystemExit, match=r"exit code [1-9]"):
        load_script("benchmarks/photos.py").run("fill", "nowhere.png", "--box", "1,1,2,2")


def test_a_row_says_what_is_reached_of_the_other_checkouts_seconds() -> None:
    benchmark = load_script("benchmarks/photos.py")
    cases = {case.name: case for case in benchmark.CASES}
    theirs = benchmark.summarize([benchmark.Run(9, 9, 900), benchmark.Run(4, 5, 800)])
    assert theirs == benchmark.Run(4, 5, 800)
    rows = {
        ours: benchmark.show_case(cases["person"], theirs, benchmark.Run(ours, 1, 901)) for ours in (1, 2, 3)
    }
    assert [row.split(" | ")[-1] for row in rows.values()] == [
        "goal, **over 900 MB** |",
        "must, **over 900 MB** |",
        "**missed**, **over 900 MB** |",
    ]
    assert "| 0.25 × | 0.5 × | 0.3 × |" in rows[1]
    endless = benchmark.Run(float("inf"), 1, 1)
    assert "| > 300 s | 7.00 s (processor 6.00 s), 5 MB |" in benchmark.show_case(
        cases["board"], endless, benchmark.Run(7, 6, 5)
    )


def test_the_person_of_the_benchmark_is_as_large_as_it_says() -> None:
    mask = np.asarray(load_script("benchmarks/photo_cases.py").draw_person()) > 0
    y, x = np.nonzero(mask)
    assert (np.ptp(x), np.ptp(y)) == (1000, 2000)
    assert mask.shape == (4000, 6000)


def test_stages_are_measured_by_wrapping_their_functions() -> None:
    benchmark = load_script("benchmarks/photos.py")
    for places in benchmark.STAGES.values():
        for module, path in places:
            owner = importlib.import_module(module)
            for name in path.split("."):
                owner = getattr(owner, name)
            assert callable(owner)
    spent: dict[str, float] = {}
    module = SimpleNamespace(work=lambda number: number + 1)
    sys.modules["worked"] = module  # type: ignore[assignment]
    try:
        benchmark.time_calls("work", "worked", "work", spent)
    finally:
        del sys.modules["worked"]
    assert module.work(1) == 2
    assert spent["work"] > 0
