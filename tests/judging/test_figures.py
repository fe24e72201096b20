"""Differences with their errors against resampling and plain formulas, figures that do not count, tables."""

import math
from dataclasses import replace

import numpy as np
import pytest

from infilling.judging import figures
from infilling.judging.figures import Table
from infilling.judging.judge import Part
from infilling.judging.results import Difference, Judged, Row
from infilling.judging.rows import make_notes


def pair(values: np.ndarray, weights: np.ndarray | None = None) -> dict[str, tuple[float, float]]:
    """Picture → terms of a mean, or of a ratio with these denominators."""
    weights = np.ones(len(values)) if weights is None else weights
    return {
        str(place): (value, weight) for place, (value, weight) in enumerate(zip(values, weights, strict=True))
    }


def test_differences_are_taken_picture_by_picture() -> None:
    """Hard pictures are hard for both: only the spread of the gains counts."""
    rng = np.random.default_rng(2)
    hard, gains = rng.normal(20, 5, 200), rng.normal(0.5, 1, 200)
    found = figures.estimate_difference(pair(hard + gains), pair(hard) | {"elsewhere": (99.0, 1.0)})
    assert found is not None
    assert found.mean == pytest.approx(gains.mean())
    assert found.margin == pytest.approx(1.96 * gains.std(ddof=1) / math.sqrt(200))
    assert figures.estimate_difference(pair(hard), {"elsewhere": (1.0, 1.0)}) is None


def test_the_error_of_a_ratio_is_what_resampling_gives() -> None:
    """A paired bootstrap over the pictures, of Σ / Σ of both engines."""
    rng = np.random.default_rng(3)
    weights = rng.gamma(2, 100, 300)
    first, second = weights * rng.normal(0.6, 0.1, 300), weights * rng.normal(0.1, 0.05, 300)
    found = figures.estimate_difference(pair(first, weights), pair(second, weights))
    assert found is not None
    assert found.mean == pytest.approx((first.sum() - second.sum()) / weights.sum())
    draws = rng.integers(0, 300, (4000, 300))
    resampled = (first[draws].sum(1) - second[draws].sum(1)) / weights[draws].sum(1)
    assert found.margin == pytest.approx(1.96 * resampled.std(), rel=0.05)


def test_few_pictures_have_no_error_and_flat_ones_no_ratio() -> None:
    found = figures.estimate_difference({"a": (3.0, 1.0)}, {"a": (1.0, 1.0)})
    assert found is not None
    assert found.mean == 2
    assert math.isnan(found.margin)
    assert figures.estimate_difference({"a": (3.0, 0.0)}, {"a": (1.0, 0.0)}) is None
    assert figures.show_difference(found, 2) == "+2.00"
    assert figures.show_difference(Difference(-0.004, 0.1), 2) == "+0.00 ± 0.10"
    assert figures.show_difference(Difference(-1.239, 0.1), 2) == "−1.24 ± 0.10"
    assert figures.show_difference(None, 2) == "–"


def make_row(engine: str, **values: float) -> Row:
    return Row(engine, engine, 2, 0, 0.1, values, {}, {})


def test_pictures_that_one_engine_did_not_fill_do_not_count() -> None:
    def judge(engine: str, name: str, value: float) -> Judged:
        return Judged(engine, name, "", 0.2, "10-20%", 0.1, {"mae": value}, {"mae": (value, 1.0)})

    judged = [judge("telea", "a", 0.2), judge("telea", "b", 0.9), judge("mine", "a", 0.1)]
    rows = figures.add_differences([make_row("telea", mae=0.55), make_row("mine", mae=0.1)], judged)
    assert rows[0].differences == {}
    assert rows[1].differences["mae"].mean == pytest.approx(-0.1), "−0.45 is what other pictures would say"


def test_a_figure_without_sums_has_a_difference_and_no_error() -> None:
    rows = figures.add_differences([make_row("telea", fid=50.0), make_row("mine", fid=40.0)], [])
    assert rows[1].differences["fid"].mean == -10
    assert math.isnan(rows[1].differences["fid"].margin)


def test_a_judge_that_taught_proves_nothing() -> None:
    """The figure is marked, loses its place, and a note says why; others are untouched."""
    honest, pupil = (
        make_row("honest", psnr=20.0, lpips_like=0.8),
        make_row("pupil", psnr=21.0, lpips_like=0.5),
    )
    pupil = replace(pupil, taught_by=("squeezenet",))
    third = make_row("third", psnr=19.0, lpips_like=0.7)
    table = figures.make_table([honest, pupil, third], "**{}**")
    assert table.header[:3] == ("engine", "PSNR", "lpips_like")
    assert [line[1:3] for line in table.lines] == [
        ("20.00", "0.8000"),
        ("**21.00**", "0.5000 (taught)"),
        ("19.00", "**0.7000**"),
    ]
    notes = list(map(str, make_notes({"squeezenet"}, Part(), [honest, pupil, third])))
    assert any(note.startswith("no independent lpips_like for pupil: ") for note in notes)
    other = replace(pupil, taught_by=("efficientnet",))
    assert figures.find_best([honest, other])["lpips_like"] == {"pupil"}


def test_cells_cannot_break_a_markdown_table() -> None:
    text = Table(("a", "b"), (("x|y", "1"),), title="T", before="Before.", after="After.").to_markdown()
    assert text == "## T\n\nBefore.\n\n| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n\nAfter.\n"
