"""Writes an evaluation down: JSON for programs, CSV per picture, tables for people, a page with pictures."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infilling.judging import metrics
from infilling.judging.metrics import METRICS
from infilling.judging.results import Evaluation, Row
from infilling.storage import make_folder, write_atomic

BASELINE = "telea"
"""What others are compared with, where it was judged; else the first engine that has figures."""

ABSENT = "–"


def write(evaluation: Evaluation, folder: Path) -> None:
    """Writes `report.json`, `per-image.csv` and `report.html`, each whole or not at all.

    Raises:
        StorageError: the folder cannot be made or written to.
    """
    from infilling.judging.page import render

    make_folder(folder)
    for name, text in (
        ("per-image.csv", to_csv(evaluation)),
        ("report.html", render(evaluation)),
        ("report.json", to_json(evaluation)),
    ):
        write_atomic(folder / name, text.encode())


def make_table(evaluation: Evaluation, mark: str = "{}") -> tuple[list[str], list[list[str]]]:
    """Gives the figures as a header and one line per engine, all as text.

    Args:
        evaluation: what to tell.
        mark: how the best value of a column is written, such as "**{}**".
    """
    names = find_metrics(evaluation)
    best = find_best(evaluation)
    header = ["engine", *(METRICS[name].label for name in names), "s/picture", "pictures"]
    lines = []
    for row in evaluation.rows:
        cells = []
        for name in names:
            text = show(name, row.values.get(name, math.nan))
            cells.append(mark.format(text) if row.engine in best.get(name, ()) else text)
        lines.append(
            [row.engine, *cells, show_seconds(row.seconds), f"{row.pictures}" if row.pictures else "n/a"]
        )
    return header, lines


def to_markdown(evaluation: Evaluation) -> str:
    """Gives the figures as a Markdown table, the best of each column bold, with the notes below it."""
    header, lines = make_table(evaluation, "**{}**")
    rule = ["---", *["---:"] * (len(header) - 1)]
    text = "".join("| " + " | ".join(line) + " |\n" for line in (header, rule, *lines))
    return text + "".join(f"\n- {note}" for note in evaluation.notes) + ("\n" if evaluation.notes else "")


def to_json(evaluation: Evaluation) -> str:
    """Gives everything but the pictures as JSON; NaN becomes null."""
    content = {
        "settings": evaluation.settings,
        "metrics": {
            name: {
                key: getattr(METRICS[name], key) for key in ("label", "unit", "higher_is_better", "summary")
            }
            for name in find_metrics(evaluation)
        },
        "rows": [asdict(row) for row in evaluation.rows],
        "failures": [asdict(failure) for failure in evaluation.failures],
        "left_out": [asdict(left) for left in evaluation.left],
        "notes": evaluation.notes,
    }
    return json.dumps(_without_nan(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(evaluation: Evaluation) -> str:
    """Gives one line per engine and picture; an empty cell where there is no figure."""
    names = [name for name in METRICS if any(name in judged.values for judged in evaluation.judged)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["engine", "picture", "class", "area", "area_bin", "seconds", *names])
    for judged in evaluation.judged:
        values = [judged.values.get(name, math.nan) for name in names]
        cells = [
            "" if math.isnan(value) else f"{value:.6g}" for value in (judged.area, judged.seconds, *values)
        ]
        writer.writerow([judged.engine, judged.name, judged.group, cells[0], judged.area_bin, *cells[1:]])
    return text.getvalue()


def find_metrics(evaluation: Evaluation) -> list[str]:
    """Names the metrics that some engine has a value of, in the order of the table of metrics."""
    return [name for name in METRICS if any(name in row.values for row in evaluation.rows)]


def find_best(evaluation: Evaluation) -> dict[str, set[str]]:
    """Names the engines with the best value of each metric, as it is shown; none where only one has any."""
    best = {}
    for name in find_metrics(evaluation):
        digits = METRICS[name].digits
        values = {
            row.engine: metrics.goodness(name, round(row.values[name], digits))
            for row in evaluation.rows
            if not math.isnan(row.values.get(name, math.nan))
        }
        if len(values) > 1:
            best[name] = {engine for engine, value in values.items() if value == max(values.values())}
    return best


def find_baseline(evaluation: Evaluation) -> Row | None:
    """Finds the row that the others are compared with; None where there is no other."""
    rows = [row for row in evaluation.rows if row.pictures]
    if len(rows) < 2:
        return None
    return next((row for row in rows if row.source == BASELINE), rows[0])


def show(name: str, value: float) -> str:
    """Writes a value with the digits of its metric."""
    return ABSENT if math.isnan(value) else f"{value:.{METRICS[name].digits}f}"


def show_seconds(seconds: float) -> str:
    """Writes a duration with two digits that count, never in powers of ten."""
    if math.isnan(seconds):
        return ABSENT
    return f"{seconds:.{max(0, 1 - math.floor(math.log10(seconds)))}f}" if seconds > 0 else "0"


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
