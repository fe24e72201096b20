"""Figures of several engines side by side: which is best, how far apart they are, how they are printed."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from infilling.judging.metrics import ABSENT, GROUPS, METRICS, sort_metrics
from infilling.judging.results import Difference, Judged, Row, Terms
from infilling.pictures.picture import Doubles

BASELINE = "telea"  # the engine that others are compared with; without it, the first that has figures
CONFIDENT = 1.96  # standard errors to each side that hold 95 % of a normal distribution
NOT_ABLE = "n/a"  # shown for an engine without figures
TAUGHT = "(taught)"  # shown behind a figure whose network taught the engine

PictureTerms = Mapping[str, Terms]  # picture → its terms of a ratio


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        header: headings of the columns.
        lines: cells, one tuple per line, each as long as the header.
        title: heading above it, or "".
        before: paragraphs above it, separated by blank lines.
        after: paragraphs below it.
    """

    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    title: str = ""
    before: str = ""
    after: str = ""

    def to_markdown(self) -> str:
        """Return the table as Markdown, cells escaped."""
        rule = ("---", *["---:"] * (len(self.header) - 1))
        grid = "".join(map(_to_markdown_line, (self.header, rule, *self.lines)))
        heading = f"## {self.title}" if self.title else ""
        return "\n\n".join(filter(None, (heading, self.before, grid.strip(), self.after))) + "\n"


def _to_markdown_line(cells: Iterable[str]) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |\n"


def list_notes(notes: Iterable[object]) -> str:
    """Return notes as a Markdown list; "" without notes."""
    return "".join(f"- {note}\n" for note in notes)


def find_metrics(rows: Iterable[Row]) -> list[str]:
    """Name the metrics that some engine has a value of, in the order of `METRICS`."""
    return sort_metrics(set().union(*(row.values for row in rows)))


def group_metrics(names: Iterable[str]) -> dict[str, list[str]]:
    """Sort metrics into the groups of the report: title → names, without empty groups."""
    titles = list(GROUPS.values())

    def find_title(name: str) -> str:
        return GROUPS[METRICS[name].group]

    ordered = sorted(names, key=lambda name: titles.index(find_title(name)))
    return {title: list(members) for title, members in groupby(ordered, find_title)}


def is_taught(row: Row, name: str) -> bool:
    """Say whether the network behind a figure taught the engine, so that the figure proves nothing."""
    return METRICS[name].network in row.taught_by


def find_best(rows: Sequence[Row]) -> dict[str, set[str]]:
    """Name the engines with the best value of each metric as it is shown.

    Metrics with a single value have no best one. A figure whose network taught the engine does not compete.
    """
    best = {}
    for name in find_metrics(rows):
        scores = _score_engines(rows, name)
        if len(scores) > 1:
            top = max(scores.values())
            best[name] = {engine for engine, score in scores.items() if score == top}
    return best


def _score_engines(rows: Sequence[Row], name: str) -> dict[str, float]:
    """Return engine → how good its figure is as shown, of those whose figure is known and counts."""
    metric = METRICS[name]
    scores = {}
    for row in rows:
        value = row.get(name)
        if not math.isnan(value) and not is_taught(row, name):
            scores[row.engine] = metric.goodness(round(value, metric.digits))
    return scores


def find_baseline(rows: Iterable[Row]) -> Row | None:
    """Return the row that the others are compared with; None where there is no other."""
    able = [row for row in rows if row.pictures]
    if len(able) < 2:
        return None
    able.sort(key=lambda row: row.source != BASELINE)
    return able[0]


def estimate_difference(mine: PictureTerms, theirs: PictureTerms) -> Difference | None:
    """Estimate the difference of two ratios Σ numerators / Σ denominators, picture by picture.

    A mean is such a ratio with denominators of 1: its margin comes from the standard error of the differences
    of each picture. For other ratios the error is linearised (the delta method).

    Returns:
        The difference over the pictures of both; None where they share none.

    >>> estimate_difference({"a": (21.0, 1.0), "b": (23.0, 1.0)}, {"a": (20.0, 1.0), "b": (20.0, 1.0)})
    Difference(mean=2.0, margin=1.96)
    """
    shared = [name for name in mine if name in theirs]
    if not shared:
        return None
    terms = np.array([(*mine[name], *theirs[name]) for name in shared])  # (pictures, 4)
    numerators, denominators = terms[:, ::2].T, terms[:, 1::2].T  # each (2, pictures)
    totals = denominators.sum(1, keepdims=True)
    if not totals.all():
        return None
    ratios = numerators.sum(1, keepdims=True) / totals
    # By how much each picture moves each ratio, times the number of pictures.
    influence = (numerators - ratios * denominators) / denominators.mean(1, keepdims=True)
    mean = float(ratios[0, 0] - ratios[1, 0])
    count = len(shared)
    if count == 1:
        return Difference(mean, math.nan)
    error = (influence[0] - influence[1]).std(ddof=1) / math.sqrt(count)
    return Difference(mean, float(CONFIDENT * error))


def add_differences(rows: Sequence[Row], judged: Iterable[Judged]) -> tuple[Row, ...]:
    """Return the rows with their differences from the baseline.

    Metrics that are no ratio of sums, such as a Fréchet distance, get a difference without a margin.
    """
    baseline = find_baseline(rows)
    if baseline is None:
        return tuple(rows)
    terms: dict[tuple[str, str], dict[str, Terms]] = defaultdict(dict)
    for each in judged:
        for name, pair in each.terms.items():
            terms[each.engine, name][each.name] = pair

    def compare_all(row: Row) -> Row:
        differences = {}
        for name in sort_metrics(baseline.values.keys() & row.values.keys()):
            plain = Difference(row.values[name] - baseline.values[name], math.nan)
            estimate = estimate_difference(terms[row.engine, name], terms[baseline.engine, name])
            differences[name] = estimate or plain
        return replace(row, differences=differences)

    return tuple(row if row is baseline else compare_all(row) for row in rows)


def show_difference(difference: Difference | None, digits: int) -> str:
    """Format a difference as "+0.22 ± 0.05", or without the margin where there is none."""
    if difference is None or math.isnan(difference.mean):
        return ABSENT
    rounded = round(difference.mean, digits) or 0.0  # no −0.00
    mean = f"{rounded:+.{digits}f}".replace("-", "−")
    return mean if math.isnan(difference.margin) else f"{mean} ± {difference.margin:.{digits}f}"


def show_figure(row: Row, name: str) -> str:
    """Format the figure of an engine; a figure whose network taught the engine is marked."""
    text = METRICS[name].show(row.get(name))
    return f"{text} {TAUGHT}" if is_taught(row, name) and text != ABSENT else text


def show_seconds(seconds: float) -> str:
    """Format a duration with two significant digits, never in powers of ten."""
    if math.isnan(seconds):
        return ABSENT
    if seconds <= 0:
        return "0"
    return f"{seconds:.{max(0, 1 - math.floor(math.log10(seconds)))}f}"


def make_table(rows: Sequence[Row], mark: str = "{}") -> Table:
    """Return the figures, one line per engine.

    Args:
        rows: one per engine.
        mark: format of the best value of a column, such as "**{}**".
    """
    best, names = find_best(rows), find_metrics(rows)
    lines = []
    for row in rows:
        cells = [row.engine]
        for name in names:
            is_best = row.engine in best.get(name, ())
            cells.append((mark if is_best else "{}").format(show_figure(row, name)))
        lines.append((*cells, show_seconds(row.seconds), str(row.pictures or NOT_ABLE)))
    return Table(("engine", *list_labels(names), "s/picture", "pictures"), tuple(lines))


def list_labels(names: Iterable[str]) -> list[str]:
    """Return the headings of metrics."""
    return [METRICS[name].label for name in names]


def make_differences(rows: Sequence[Row]) -> Table | None:
    """Return the differences from the baseline, one line per engine; None where there is no baseline."""
    baseline = find_baseline(rows)
    if baseline is None:
        return None
    names = find_metrics([baseline])
    lines = []
    for row in rows:
        cells = [show_difference(row.differences.get(name), METRICS[name].digits) for name in names]
        if row.differences:
            lines.append((row.engine, *cells))
    return Table(
        header=(f"against {baseline.engine}", *list_labels(names)),
        lines=tuple(lines),
        before=f"Differences from {baseline.engine} over the pictures that both filled; ± is the 95 % "
        "confidence interval of a mean difference, picture by picture.",
    )


def average_known(average: Callable[[Doubles], Any], values: Doubles) -> float:
    """Return the mean or median of the values that are numbers; NaN without any."""
    known = values[~np.isnan(values)]
    return float(average(known)) if known.size else math.nan
