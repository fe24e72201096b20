"""Figures of several engines side by side: which is best, how far apart they are, how they are printed."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from infilling.judging.metrics import ABSENT, GROUPS, METRICS
from infilling.judging.results import Difference, Judged, Row, Terms

BASELINE = "telea"  # the engine that others are compared with; without it, the first that has figures
CONFIDENT = 1.96  # standard errors to each side that hold 95 % of a normal distribution
NOT_ABLE = "n/a"  # shown for an engine without figures
TAUGHT = "(taught)"  # shown behind a figure whose network taught the engine


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
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        header, *lines = [[cell.replace("|", "\\|") for cell in line] for line in (self.header, *self.lines)]
        grid = "".join(f"| {' | '.join(line)} |\n" for line in (header, rule, *lines))
        heading = f"## {self.title}\n" if self.title else ""
        paragraphs = (
            heading,
            f"{self.before}\n" if self.before else "",
            grid,
            self.after and f"{self.after}\n",
        )
        return "\n".join(part for part in paragraphs if part)


def find_metrics(rows: Iterable[Row]) -> list[str]:
    """Name the metrics that some engine has a value of, in the order of `METRICS`."""
    present = {name for row in rows for name in row.values}
    return [name for name in METRICS if name in present]


def group_metrics(names: Iterable[str]) -> dict[str, list[str]]:
    """Sort metrics into the groups of the report: title → names, without empty groups."""
    names = list(names)
    grouped = {title: [name for name in names if METRICS[name].group == key] for key, title in GROUPS.items()}
    return {title: members for title, members in grouped.items() if members}


def is_taught(row: Row, name: str) -> bool:
    """Say whether the network behind a figure taught the engine, so that the figure proves nothing."""
    return METRICS[name].network in row.taught_by


def find_best(rows: Sequence[Row]) -> dict[str, set[str]]:
    """Name the engines with the best value of each metric as it is shown.

    Metrics with a single value have no best one. A figure whose network taught the engine does not compete.
    """
    best = {}
    for name in find_metrics(rows):
        metric = METRICS[name]
        values = {row.engine: row.values.get(name, math.nan) for row in rows if not is_taught(row, name)}
        scores = {
            engine: metric.goodness(round(value, metric.digits))
            for engine, value in values.items()
            if not math.isnan(value)
        }
        if len(scores) > 1:
            best[name] = {engine for engine, score in scores.items() if score == max(scores.values())}
    return best


def find_baseline(rows: Iterable[Row]) -> Row | None:
    """Return the row that the others are compared with; None where there is no other."""
    able = [row for row in rows if row.pictures]
    if len(able) < 2:
        return None
    return next((row for row in able if row.source == BASELINE), able[0])


def estimate_difference(mine: Mapping[str, Terms], theirs: Mapping[str, Terms]) -> Difference | None:
    """Estimate the difference of two ratios Σ numerators / Σ denominators, picture by picture.

    A mean is such a ratio with denominators of 1: its margin comes from the standard error of the differences
    of each picture. For other ratios the error is linearised (the delta method).

    Args:
        mine: picture → its terms for the first engine.
        theirs: the same for the second engine.

    Returns:
        The difference over the pictures of both; None where they share none.

    >>> estimate_difference({"a": (21.0, 1.0), "b": (23.0, 1.0)}, {"a": (20.0, 1.0), "b": (20.0, 1.0)})
    Difference(mean=2.0, margin=1.96)
    """
    shared = [name for name in mine if name in theirs]
    if not shared:
        return None
    ratios = []
    influence = np.zeros(len(shared))  # by how much each picture moves the difference, times their number
    for side, sign in ((mine, 1), (theirs, -1)):
        numerators, denominators = np.array([side[name] for name in shared]).T
        if not denominators.any():
            return None
        ratios.append(numerators.sum() / denominators.sum())
        influence += sign * (numerators - ratios[-1] * denominators) / denominators.mean()
    count = len(shared)
    deviation = influence.std(ddof=1) if count > 1 else math.nan
    return Difference(float(ratios[0] - ratios[1]), float(CONFIDENT * deviation / math.sqrt(count)))


def add_differences(rows: Sequence[Row], judged: Iterable[Judged]) -> tuple[Row, ...]:
    """Return the rows with their differences from the baseline.

    Metrics that are no ratio of sums, such as a Fréchet distance, get a difference without a margin.
    """
    baseline = find_baseline(rows)
    if baseline is None:
        return tuple(rows)
    terms: dict[tuple[str, str], dict[str, Terms]] = {}
    for each in judged:
        for name, pair in each.terms.items():
            terms.setdefault((each.engine, name), {})[each.name] = pair

    def compare_rows(row: Row, name: str) -> Difference:
        plain = Difference(row.values[name] - baseline.values[name], math.nan)
        mine, theirs = (terms.get((each.engine, name), {}) for each in (row, baseline))
        return estimate_difference(mine, theirs) or plain

    def compare_all(row: Row) -> dict[str, Difference]:
        names = [name for name in baseline.values if name in row.values]
        return {name: compare_rows(row, name) for name in names}

    return tuple(row if row is baseline else replace(row, differences=compare_all(row)) for row in rows)


def show_difference(difference: Difference | None, digits: int) -> str:
    """Format a difference as "+0.22 ± 0.05", or without the margin where there is none."""
    if difference is None or math.isnan(difference.mean):
        return ABSENT
    rounded = round(difference.mean, digits) or 0.0  # no −0.00
    mean = f"{rounded:+.{digits}f}".replace("-", "−")
    return mean if math.isnan(difference.margin) else f"{mean} ± {difference.margin:.{digits}f}"


def show_figure(row: Row, name: str) -> str:
    """Format the figure of an engine; a figure whose network taught the engine is marked."""
    text = METRICS[name].show(row.values.get(name, math.nan))
    return f"{text} {TAUGHT}" if is_taught(row, name) and text != ABSENT else text


def show_seconds(seconds: float) -> str:
    """Format a duration with two significant digits, never in powers of ten."""
    if math.isnan(seconds):
        return ABSENT
    return f"{seconds:.{max(0, 1 - math.floor(math.log10(seconds)))}f}" if seconds > 0 else "0"


def make_table(rows: Sequence[Row], mark: str = "{}") -> Table:
    """Return the figures, one line per engine.

    Args:
        rows: one per engine.
        mark: format of the best value of a column, such as "**{}**".
    """
    names, best = find_metrics(rows), find_best(rows)
    lines = []
    for row in rows:
        marks = [mark if row.engine in best.get(name, ()) else "{}" for name in names]
        cells = [mark.format(show_figure(row, name)) for mark, name in zip(marks, names, strict=True)]
        pictures = str(row.pictures) if row.pictures else NOT_ABLE
        lines.append((row.engine, *cells, show_seconds(row.seconds), pictures))
    labels = [METRICS[name].label for name in names]
    return Table(("engine", *labels, "s/picture", "pictures"), tuple(lines))


def make_differences(rows: Sequence[Row]) -> Table | None:
    """Return the differences from the baseline, one line per engine; None where there is no baseline."""
    baseline = find_baseline(rows)
    if baseline is None:
        return None
    names = find_metrics([baseline])
    lines = [
        (row.engine, *(show_difference(row.differences.get(name), METRICS[name].digits) for name in names))
        for row in rows
        if row.differences
    ]
    return Table(
        header=(f"against {baseline.engine}", *(METRICS[name].label for name in names)),
        lines=tuple(lines),
        before=f"Differences from {baseline.engine} over the pictures that both filled; ± is the 95 % "
        "confidence interval of a mean difference, picture by picture.",
    )
