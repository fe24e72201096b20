"""Lines are measured, and weighed up by a small network."""

import numpy as np
import pytest

from infilling.pictures.curves import Curves, trace_curves
from infilling.pictures.line_features import measure_lines
from infilling.pictures.picture import Array, Doubles
from infilling.pictures.ridges import measure_ridges
from infilling.pictures.scratch_network import ScratchNetwork, load_network


def measure(pixels: Array, *, dark: bool) -> tuple[Curves, dict[str, Doubles]]:
    """Measure the lines of a grey picture, (H, W) uint8, of 40 px and more."""
    every = trace_curves(measure_ridges(pixels, 7)[dark], 7, 1.0)
    curves = every.select(every.measure_lengths() >= 40)
    return curves, measure_lines(curves, every, pixels[..., None], dark=dark)


def draw_line(step: int) -> Array:
    """A level line of 100 px, 1 px wide and 60 greys above its ground, which is darker above it by a step."""
    pixels = np.random.default_rng(0).normal(100, 2, (120, 160))
    pixels[:60] -= step
    pixels[60, 30:130] += 60
    return np.rint(pixels).astype(np.uint8)


def test_a_straight_line_on_plain_ground_has_known_features() -> None:
    curves, known = measure(draw_line(0), dark=False)
    assert curves.count == 1
    assert np.exp(known["length"]) == pytest.approx(100, abs=16)  # the mean along a line ends later
    assert np.exp(known["reach"]) == pytest.approx(np.exp(known["length"]) / 120)
    assert known["ground"] == pytest.approx(100 / 255, abs=0.01)
    assert np.exp(known["bent"]) - 0.3 < 0.5  # px
    assert np.exp(known["step"]) - 0.03 == pytest.approx(0, abs=0.01)
    assert np.exp(known["coloured"]) - 0.05 == pytest.approx(0, abs=0.01)


def test_a_step_between_the_sides_is_a_share_of_the_height() -> None:
    _, known = measure(draw_line(30), dark=False)
    assert np.exp(known["step"]) - 0.03 == pytest.approx(30 / 60, abs=0.07)


def test_dark_lines_are_bright_lines_of_the_negative() -> None:
    pixels = draw_line(20)
    _, bright = measure(pixels, dark=False)
    curves, dark = measure(255 - pixels, dark=True)
    assert curves.count == 1
    for name, values in bright.items():
        np.testing.assert_allclose(dark[name], values, atol=0.1, err_msg=name)


def test_a_gap_in_a_line_is_listed_point_by_point() -> None:
    pixels = draw_line(0)
    pixels[60, 70:80] -= 60
    curves, _ = measure(pixels, dark=False)
    gaps = curves.list_gaps()
    assert curves.count == 1
    assert set(gaps.rows.tolist()) <= {59, 60, 61}
    assert set(range(30, 130)) <= {*gaps.columns.tolist(), *curves.columns.tolist()}
    assert len(gaps.rows) < 20


def test_the_network_weighs_what_is_measured() -> None:
    _, known = measure(draw_line(0), dark=False)
    assert set(load_network().features) == set(known)
    network = ScratchNetwork(
        features=("length", "step"),
        mean=np.array([1.0, 0.0]),
        deviation=np.array([2.0, 1.0]),
        first=np.array([[0.5, -1.0], [0.0, 1.0]]),
        bias=np.array([0.1, 0.0]),
        second=np.array([2.0, 3.0]),
        offset=-1.0,
    )
    scores = network.score({"length": np.array([3.0, 100.0]), "step": np.array([0.2, 0.0])})
    expected = [2 * np.tanh(0.5 - 0.2 + 0.1) + 3 * np.tanh(0.2) - 1, 2 * np.tanh(2.5 + 0.1) - 1]
    np.testing.assert_allclose(scores, expected)
