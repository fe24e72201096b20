"""Write an evaluation: JSON for programs, CSV per picture, tables for people, a page with pictures."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from infilling.judging import figures
from infilling.judging.metrics import METRICS
from infilling.judging.results import Evaluation, Judged
from infilling.storage import make_folder, write_atomic

_COLUMNS = ["engine", "picture", "class", "area", "area_bin", "seconds"]


def write_report(evaluation: Evaluation, folder: Path) -> None:
    """Write `report.json`, `per-image.csv` and `report.html`, each whole or not at all.

    Raises:
        StorageError: the folder cannot be made or written to.
    """
    from infilling.judging.page import render_evaluation

    make_folder(folder)
    for name, text in (
        ("per-image.csv", to_csv(evaluation)),
        ("report.html", render_evaluation(evaluation)),
        ("report.json", to_json(evaluation)),
    ):
        write_atomic(folder / name, text.encode())


def to_markdown(evaluation: Evaluation) -> str:
    """Return the figures as Markdown, the best of each column bold: table, differences, notes."""
    tables = [figures.make_table(evaluation.rows, "**{}**"), figures.make_differences(evaluation.rows)]
    parts = [table.to_markdown() for table in tables if table]
    if evaluation.notes:
        parts.append("".join(f"- {note}\n" for note in evaluation.notes))
    return "\n".join(parts)


def to_json(evaluation: Evaluation) -> str:
    """Return everything but the pictures as JSON; NaN becomes null."""
    keys = ("label", "unit", "higher_is_better", "summary")
    names = figures.find_metrics(evaluation.rows)
    rows = [asdict(row) for row in evaluation.rows]
    for row, source in zip(rows, evaluation.rows, strict=True):
        row["differences"] = {name: each._asdict() for name, each in source.differences.items()}
    content = {
        "settings": evaluation.settings,
        "metrics": {name: {key: getattr(METRICS[name], key) for key in keys} for name in names},
        "rows": rows,
        "failures": [asdict(failure) for failure in evaluation.failures],
        "left_out": [asdict(left) for left in evaluation.left],
        "notes": list(map(str, evaluation.notes)),
    }
    return json.dumps(_drop_nan(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(evaluation: Evaluation) -> str:
    """Return one line per engine and picture; an empty cell where there is no figure."""
    present = {name for judged in evaluation.judged for name in judged.values}
    names = [name for name in METRICS if name in present]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_COLUMNS, *names])
    writer.writerows(_list_cells(judged, names) for judged in evaluation.judged)
    return text.getvalue()


def _list_cells(judged: Judged, names: list[str]) -> list[str]:
    values = [judged.area, judged.seconds, *(judged.values.get(name, math.nan) for name in names)]
    area, *rest = ["" if math.isnan(value) else f"{value:.6g}" for value in values]
    return [judged.engine, judged.name, judged.group, area, judged.area_bin, *rest]


def _drop_nan(value: Any) -> Any:
    """Return nested values with None in place of numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {key: _drop_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_drop_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
