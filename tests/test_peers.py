"""The benchmark beside other packages: the parts of it that need none of them."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))  # as Python does for a script
peers = importlib.import_module("peers")
sys.path.pop()


def test_a_hole_has_as_much_picture_around_it_as_it_is_large() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        hole = peers.draw_hole(120, 200, rng)
        y, x = np.nonzero(hole)
        assert 7 - 2 <= np.ptp(x) + 1 <= 30 + 1
        assert x.min() >= np.ptp(x) - 1
        assert 200 - x.max() >= np.ptp(x) - 1
        assert y.min() >= np.ptp(y) - 1


def test_each_method_runs_in_a_process_and_what_fails_says_why(tmp_path: Path) -> None:
    picture = np.full((16, 16, 3), 200, np.uint8)
    hole = np.zeros((16, 16), bool)
    hole[4:8, 4:8] = True
    good = peers.Method("grey", "fill = lambda: np.where(mask[..., None], 128, image)", sys.executable)
    filled, seconds, memory = peers.fill(good, picture, hole, tmp_path, 60)
    assert (filled[hole] == 128).all()
    assert (filled[~hole] == 200).all()
    assert seconds > 0
    assert memory > 5
    bad = peers.Method("none", "import no_such_package", sys.executable)
    with pytest.raises(RuntimeError, match="no_such_package"):
        peers.fill(bad, picture, hole, tmp_path, 60)


def test_figures_are_those_of_the_hole_alone() -> None:
    truth = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    hole = np.zeros((40, 40), bool)
    hole[10:20, 10:20] = True
    spoiled = np.where(hole[..., None], truth, 0).astype(np.uint8)
    psnr, distance, energy = peers.measure(truth, hole, spoiled, None)
    assert psnr == pytest.approx(100)
    assert distance is None
    assert energy == pytest.approx(1)
    flat = np.where(hole[..., None], 128, truth).astype(np.uint8)
    psnr, _, energy = peers.measure(truth, hole, flat, None)
    error = np.square(truth[hole] / 255 - 128 / 255).mean()
    assert psnr == pytest.approx(-10 * np.log10(error), abs=0.01)
    assert energy == 0


def test_missing_peers_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert [method.name for method in peers.list_methods(None)] == [
        f"infilling {name}" for name in peers.OURS
    ]
    assert "--peers-python" in capsys.readouterr().out


def test_only_holes_that_all_filled_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    one, slow = peers.Figures(1, 100, 20, 0.5, 1), peers.Figures(9, 300, 10, 0.1, 1)
    peers.show({"ours": [one, slow], "theirs": [one, None]})
    lines = capsys.readouterr().out.splitlines()
    assert "of 1 holes" in lines[1]
    assert lines[-2] == "| ours | 1.00 | 1.00 | 100 MB | 20.00 dB | 0.500 | 1.00 | 0 |"
    assert lines[-1].endswith("| 1 |")
