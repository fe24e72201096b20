"""Write an evaluation: JSON for programs, CSV per picture, tables for people, a page with pictures."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from infilling.judging import figures
from infilling.judging.metrics import METRICS, sort_metrics
from infilling.judging.results import Evaluation, Judged, Row
from infilling.storage import make_folder, write_atomic

_COLUMNS = ["engine", "picture", "class", "area", "area_bin", "seconds"]


def write_report(evaluation: Evaluation, folder: Path) -> None:
    """Write `report.json`, `per-image.csv` and `report.html`, each whole or not at all.

    Raises:
        StorageError: the folder cannot be made or written to.
    """
    from infilling.judging.page import render_evaluation

    make_folder(folder)
    write_atomic(folder / "per-image.csv", to_csv(evaluation).encode(errors="backslashreplace"))
    write_atomic(folder / "report.html", render_evaluation(evaluation).encode(errors="backslashreplace"))
    write_atomic(folder / "report.json", to_json(evaluation).encode(errors="backslashreplace"))


def to_markdown(evaluation: Evaluation) -> str:
    """Return the figures as Markdown, the best of each column bold: table, differences, notes."""
    tables = [figures.make_table(evaluation.rows, "**{}**"), figures.make_differences(evaluation.rows)]
    parts = [table.to_markdown() for table in tables if table]
    return "\n".join(filter(None, [*parts, figures.list_notes(evaluation.notes)]))


def to_json(evaluation: Evaluation) -> str:
    """Return everything but the pictures as JSON; NaN becomes null."""
    content = {
        "settings": evaluation.settings,
        "metrics": {name: _describe_metric(name) for name in figures.find_metrics(evaluation.rows)},
        "rows": list(map(_row_to_tree, evaluation.rows)),
        "failures": evaluation.failures,
        "left_out": [left._asdict() for left in evaluation.left],
        "notes": list(map(str, evaluation.notes)),
    }
    tree = to_jsonable_python(content, inf_nan_mode="null")
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"  # pydantic refuses names that are not UTF-8


def _describe_metric(name: str) -> dict[str, Any]:
    metric = METRICS[name]
    return {
        "label": metric.label,
        "unit": metric.unit,
        "higher_is_better": metric.higher_is_better,
        "summary": metric.summary,
    }


def _row_to_tree(row: Row) -> dict[str, Any]:
    differences = {name: each._asdict() for name, each in row.differences.items()}
    return vars(row) | {"differences": differences}


def to_csv(evaluation: Evaluation) -> str:
    """Return one line per engine and picture; an empty cell where there is no figure."""
    names = sort_metrics(set().union(*(judged.values for judged in evaluation.judged)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *names])
    writer.writerows(_list_cells(judged, names) for judged in evaluation.judged)
    return text.getvalue()


def _list_cells(judged: Judged, names: list[str]) -> list[str]:
    figures = [_show_number(judged.values.get(name, math.nan)) for name in names]
    front = [judged.engine, judged.name, judged.group, _show_number(judged.area), judged.area_bin]
    return [*front, _show_number(judged.seconds), *figures]


def _show_number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.6g}"
