"""Sums over pictures as rows of figures, and the notes that go with them."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any

from infilling.errors import DataError, ModelError
from infilling.judging import figures, metrics
from infilling.judging.engines import JudgedEngine
from infilling.judging.judge import SECONDS, Part
from infilling.judging.metrics import METRICS, Sums
from infilling.judging.results import Cell, Note, Row
from infilling.learning.picture_items import refuse_unreadable
from infilling.pictures.holes import AREA_BINS

# Kind of feature network → the weights that a report asks for where its figures are absent.
WEIGHTS = {
    "squeezenet": "a feature file (--features; see `infill models download squeezenet`)",
    "lpips": "the weights of LPIPS (--lpips)",
    "inception": "the weights of Inception-v3 (--fid)",
}
BINS = [*(f"{low}-{high}%" for low, high in AREA_BINS), "other"]  # as `area_bin` names them


def make_rows(engines: Sequence[JudgedEngine], part: Part) -> tuple[Row, ...]:
    """Compute every figure of every engine.

    Raises:
        DataError: no picture could be read.
        ModelError: no engine filled any.
    """
    if len(part.left) == part.seen:
        raise refuse_unreadable(part.seen, part.left)
    rows = [_make_row(engine, part) for engine in engines]
    if not any(row.pictures for row in rows):
        reasons = "; ".join(f"{row.engine}: {row.reason}" for row in rows)
        raise ModelError(f"no engine filled a picture: {reasons}")
    return figures.add_differences(rows, part.judged)


def _make_row(engine: JudgedEngine, part: Part) -> Row:
    label = engine.label
    failed = part.list_failures(label)
    sums = part.get_sums(label)
    values, _ = _compute_figures(sums)
    reason = engine.reason
    if failed and not sums:
        reason = f"failed on every picture: {failed[0].reason}"
    return Row(
        engine=label,
        source=engine.asked,
        pictures=_count_pictures(sums),
        failures=len(failed),
        seconds=metrics.ratio(sums.get(SECONDS, {})),
        values=values,
        bins=_compute_groups(part, label, "bin", BINS.index),
        groups=_compute_groups(part, label, "class"),
        reason=reason,
        digest=engine.digest,
        taught_by=engine.taught_by,
    )


def _compute_figures(sums: Mapping[str, Sums]) -> tuple[dict[str, float], dict[str, str]]:
    """Return metric → figure, and metric → why it has none, such as a Fréchet distance of few pictures."""
    values, reasons = {}, {}
    for name in metrics.sort_metrics(sums):
        try:
            values[name] = METRICS[name].compute(sums[name])
        except DataError as error:
            reasons[name] = str(error)
    return values, reasons


def _count_pictures(sums: Mapping[str, Sums]) -> int:
    return int(sums[SECONDS]["denominator"][0]) if sums else 0


def _compute_groups(
    part: Part, label: str, kind: str, order: Callable[[str], Any] | None = None
) -> dict[str, Cell]:
    """Compute every bin or every class of an engine, sorted by what `order` makes of their names."""
    cells = {}
    for (engine, of, group), sums in part.sums.items():
        if (engine, of) == (label, kind):
            cells[group] = Cell(_count_pictures(sums), _compute_figures(sums)[0])
    return {group: cells[group] for group in sorted(cells, key=order)}


def make_notes(networks: Container[str], part: Part, rows: Sequence[Row]) -> Iterator[Note]:
    """Yield what a reader must know about the figures."""
    for kind, weights in WEIGHTS.items():
        if kind not in networks:
            absent = [name for name, metric in METRICS.items() if metric.network == kind]
            yield Note(f"no {' or '.join(absent)} without {weights}")
    for row in rows:
        yield from _note_row(row, part)
    if part.left:
        first = part.left[0]
        count = f"{len(part.left)} of {part.seen} pictures"
        yield Note(f"{count} could not be read, first {first.name}: {first.reason}")


def _note_row(row: Row, part: Part) -> Iterator[Note]:
    """Yield what a reader must know about the figures of one engine."""
    sums = part.get_sums(row.engine)
    _, reasons = _compute_figures({name: sums[name] for name in sums.keys() - row.values.keys()})
    for name, reason in reasons.items():
        yield Note(f"no {name}", (row.engine,), reason)
    taught = [name for name in row.values if figures.is_taught(row, name)]
    if taught:
        reason = f"it was taught by {' and '.join(row.taught_by)}, which judges here; read other figures"
        yield Note(f"no independent {' or '.join(taught)}", (row.engine,), reason)
    if row.reason:
        yield Note("no figures", (row.engine,), row.reason)
    elif row.failures:
        first = part.list_failures(row.engine)[0]
        failed = f"{row.engine} failed on {row.failures} pictures, first {first.name}: {first.reason}"
        yield Note(f"{failed}; its figures are over the others")
