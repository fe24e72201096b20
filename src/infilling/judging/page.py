"""HTML pages of reports: one file each, which loads nothing, in light and dark."""

import base64
import io
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jinja2 import Environment
from PIL import Image

from infilling.judging import charts, figures
from infilling.judging.charts import Chart, Line
from infilling.judging.metrics import ABSENT, METRICS, RANKED_BY
from infilling.judging.results import Evaluation, Pixels, Row
from infilling.pictures.mask import Mask
from infilling.templates import make_environment

SHOWN_FAILURES = 50  # failures that the page lists; report.json has all


@dataclass(frozen=True)
class FigureCell:
    """A figure in the table, with a bar for its difference from the baseline.

    Attributes:
        text: the figure.
        is_best: whether it is the best of its column.
        is_taught: whether its network taught the engine.
        change: the difference as text; "" for none.
        kind: "good", "bad" or "same", where the difference is within its error.
        left: left edge of the bar in per cent of the track, whose middle is no difference.
        width: width of the bar in per cent.
    """

    text: str
    is_best: bool
    is_taught: bool
    change: str = ""
    kind: str = "same"
    left: float = 50
    width: float = 0


def render_evaluation(evaluation: Evaluation) -> str:
    """Return the page of an evaluation: figures, curves per area bin, pictures, classes, notes."""
    return render_template("evaluation.html", evaluation=evaluation, shown_failures=SHOWN_FAILURES)


def render_template(template: str, **values: Any) -> str:
    """Render one of the room's templates; all values are escaped."""
    return ENVIRONMENT.get_template(template).render(**values)


def rank_classes(row: Row) -> list[str]:
    """Name the classes of a row, the easiest in hole PSNR first; empty where there is but one."""
    if len(row.groups) < 2:
        return []
    return sorted(row.groups, key=lambda group: -row.get_group(group, RANKED_BY))


def list_cells(rows: Sequence[Row]) -> dict[str, list[FigureCell]]:
    """Return engine → its figures, in the order of the groups of metrics."""
    best, baseline = figures.find_best(rows), figures.find_baseline(rows)
    cells: dict[str, list[FigureCell]] = {row.engine: [] for row in rows}
    for name in list_metrics(rows):
        gains = _find_gains(rows, baseline, name)
        for row in rows:
            is_best = row.engine in best.get(name, ())
            cells[row.engine].append(_make_cell(row, name, is_best, gains))
    return cells


def list_metrics(rows: Sequence[Row]) -> list[str]:
    """Name the metrics in the order of their groups."""
    groups = figures.group_metrics(figures.find_metrics(rows))
    return [name for members in groups.values() for name in members]


def _make_cell(row: Row, name: str, is_best: bool, gains: Mapping[str, float]) -> FigureCell:
    metric, difference = METRICS[name], row.differences.get(name)
    text, is_taught = metric.show(row.get(name)), figures.is_taught(row, name)
    if difference is None or row.engine not in gains:
        return FigureCell(text, is_best, is_taught)
    share = max(-1.0, min(1.0, gains[row.engine] / _find_full_bar(gains)))
    change = figures.show_difference(difference, metric.digits)
    kind = _find_kind(row, name, share)
    return FigureCell(text, is_best, is_taught, change, kind, min(50, 50 * (1 + share)), 50 * abs(share))


def _find_full_bar(gains: Mapping[str, float]) -> float:
    """Return the gain that fills a bar: one engine that is far off must not make all other bars vanish."""
    *_, second, largest = sorted(map(abs, gains.values()))
    return min(largest, 3 * second) or largest or 1.0


def _find_kind(row: Row, name: str, share: float) -> str:
    """Say whether a gain is good, bad, or proves nothing: taught, too small to be shown, within its error."""
    mean, margin = row.differences[name]
    is_small = not round(mean, METRICS[name].digits) or abs(mean) <= margin
    if is_small or figures.is_taught(row, name):
        return "same"
    return "good" if share > 0 else "bad"


def _find_gains(rows: Iterable[Row], baseline: Row | None, name: str) -> dict[str, float]:
    """Return how much better than the baseline each engine is, the baseline (0) among them."""
    if baseline is None:
        return {}
    goodness = METRICS[name].goodness
    gains = {row.engine: goodness(row.get(name)) - goodness(baseline.get(name)) for row in rows}
    return {engine: gain for engine, gain in gains.items() if not math.isnan(gain)}


def number_colours(rows: Sequence[Row]) -> dict[str, int]:
    """Return engine → number of its colour: the last engine, the one in question, has the first."""
    return {row.engine: len(rows) - 1 - place for place, row in enumerate(rows)}


def list_bins(rows: Iterable[Row]) -> dict[str, int]:
    """Return area bin → number of its pictures, in order of area; empty where there is but one bin."""
    counts: dict[str, int] = {}
    for row in sorted(rows, key=lambda row: -len(row.bins)):
        for label, cell in row.bins.items():
            counts[label] = max(counts.get(label, 0), cell.pictures)
    return counts if len(counts) > 1 else {}


def label_bins(bins: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return the labels of area bins as they are shown, each with the number of its pictures."""
    return [(label.replace("-", "–"), f"{count:,}") for label, count in bins.items()]


def draw_bins(rows: Sequence[Row], *, top: str = "last") -> Iterator[tuple[str, str, Chart]]:
    """Yield title, direction and chart of each charted metric by area of the hole.

    Args:
        rows: one per engine.
        top: "last" or "first": whose line is uppermost.
    """
    bins = list_bins(rows)
    if not bins:
        return
    colours = number_colours(rows)
    order = [row for row in rows if row.bins]
    if top == "first":
        order.reverse()
    for name in list_metrics(rows):
        metric = METRICS[name]
        if not metric.charted:
            continue
        lines = []
        for row in order:
            values = [row.get_bin(label, name) for label in bins]
            lines.append(Line(row.engine, colours[row.engine], values))
        title = f"{metric.title} by area of the hole"
        chart = charts.draw_lines(label_bins(bins), lines, title=title, show=metric.show)
        yield metric.title, metric.direction, chart


def mark_hole(target: Pixels, mask: Mask) -> Pixels:
    """Return the picture with a chequered field in the hole."""
    rows, columns = np.indices(mask.shape) // 8
    field = np.where((rows + columns) % 2, 214, 170).astype(np.uint8)
    return np.where(mask[..., None], field[..., None], target)


def to_uri(pixels: Pixels, lossless: bool = True) -> str:
    """Return a picture as a `data:` address of a WebP."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "WEBP", lossless=lossless, quality=90)
    return f"data:image/webp;base64,{base64.b64encode(data.getvalue()).decode()}"


def to_plain(value: object) -> str:
    """Return a setting as text."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {to_plain(inner)}" for key, inner in value.items()) or "none"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def show_psnr(value: float) -> str:
    """Format a hole PSNR in dB."""
    return METRICS[RANKED_BY].show(value)


def show_mix(holes: object) -> str:
    """Format a kind of holes: a name, or "0.4 block + 0.6 freeform"."""
    if isinstance(holes, Mapping):
        return " + ".join(f"{weight:g} {name}" for name, weight in holes.items())
    return str(holes)


def find_top(rows: Sequence[Row], group: str) -> str | None:
    """Return the best hole PSNR of a class as it is shown; None where only one engine was judged."""
    values = [row.get_group(group, RANKED_BY) for row in rows]
    return show_psnr(float(np.nanmax(values))) if len(values) > 1 else None


def _make_environment() -> Environment:
    environment = make_environment("infilling.judging")
    environment.filters |= {
        "uri": to_uri,
        "plain": to_plain,
        "psnr": show_psnr,
        "mix": show_mix,
        "difference": figures.show_difference,
        "seconds": figures.show_seconds,
        "colour": charts.find_colour,
        "marker": charts.find_marker,
    }
    environment.globals |= {
        "METRICS": METRICS,
        "PLAIN": (ABSENT, figures.NOT_ABLE),
        "WIDTH": charts.WIDTH,
        "nan": math.nan,
    }
    functions: list[Callable[..., Any]] = [
        *(figures.find_baseline, figures.find_metrics, figures.group_metrics, draw_bins, find_top),
        *(list_cells, list_metrics, mark_hole, number_colours, rank_classes),
    ]
    environment.globals |= {function.__name__: function for function in functions}
    return environment


ENVIRONMENT = _make_environment()
