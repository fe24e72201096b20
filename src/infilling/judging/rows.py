"""Sums over pictures as rows of figures, and the notes that go with them."""

from collections.abc import Container, Iterator, Mapping, Sequence

from infilling.errors import DataError, ModelError
from infilling.judging import figures, metrics
from infilling.judging.engines import JudgedEngine
from infilling.judging.judge import SECONDS, Part
from infilling.judging.metrics import METRICS, Sums
from infilling.judging.results import Cell, Note, Row
from infilling.pictures.holes import AREA_BINS

# Kind of feature network → the weights that a report asks for where its figures are absent.
WEIGHTS = {
    "squeezenet": "a feature file (--features; see `infill models download squeezenet`)",
    "lpips": "the weights of LPIPS (--lpips)",
    "inception": "the weights of Inception-v3 (--fid)",
}
_BINS = [f"{low}-{high}%" for low, high in AREA_BINS]


def make_rows(engines: Sequence[JudgedEngine], part: Part) -> tuple[Row, ...]:
    """Compute every figure of every engine.

    Raises:
        DataError: no picture could be read.
        ModelError: no engine filled any.
    """
    if len(part.left) == part.seen:
        first = part.left[0]
        raise DataError(f"none of {part.seen} pictures can be read: {first.name}: {first.reason}")
    rows = [_make_row(engine, part) for engine in engines]
    if not any(row.pictures for row in rows):
        reasons = "; ".join(f"{row.engine}: {row.reason}" for row in rows)
        raise ModelError(f"no engine filled a picture: {reasons}")
    return figures.add_differences(rows, part.judged)


def _make_row(engine: JudgedEngine, part: Part) -> Row:
    label = engine.label
    failed = [failure for failure in part.failures if failure.engine == label]
    sums = part.sums.get((label, "all", ""), {})
    cell = _compute(sums)
    reason = engine.reason
    if failed and not sums:
        reason = f"failed on every picture: {failed[0].reason}"
    return Row(
        engine=label,
        source=engine.asked,
        pictures=cell.pictures,
        failures=len(failed),
        seconds=metrics.ratio(sums.get(SECONDS, {})),
        values=cell.values,
        bins=_compute_groups(part, label, "bin"),
        groups=_compute_groups(part, label, "class"),
        reason=reason,
        digest=engine.digest,
        taught_by=engine.taught_by,
    )


def _compute(sums: Mapping[str, Sums]) -> Cell:
    """Compute the figures of a group; one that cannot be (a Fréchet distance of few pictures) is absent."""
    if not sums:
        return Cell(0, {})
    values = {}
    for name in [name for name in METRICS if name in sums]:
        try:
            values[name] = METRICS[name].compute(sums[name])
        except DataError:
            continue
    return Cell(int(sums[SECONDS]["denominator"][0]), values)


def _compute_groups(part: Part, label: str, kind: str) -> dict[str, Cell]:
    """Compute every bin, in the order of areas, or every class, in the order of names."""
    found = [group for engine, of, group in part.sums if (engine, of) == (label, kind)]
    found.sort(key=lambda group: (_BINS.index(group) if group in _BINS else len(_BINS), group))
    return {group: _compute(part.sums[label, kind, group]) for group in found}


def make_notes(networks: Container[str], part: Part, rows: Sequence[Row]) -> Iterator[Note]:
    """Yield what a reader must know about the figures."""
    for kind, weights in WEIGHTS.items():
        if kind not in networks:
            absent = " or ".join(name for name, metric in METRICS.items() if metric.network == kind)
            yield Note(f"no {absent} without {weights}")
    for row in rows:
        yield from _note_row(row, part)
    if part.left:
        first = part.left[0]
        yield Note(f"{len(part.left)} pictures could not be read, first {first.name}: {first.reason}")


def _note_row(row: Row, part: Part) -> Iterator[Note]:
    """Yield what a reader must know about the figures of one engine."""
    yield from _note_absent(row, part.sums.get((row.engine, "all", ""), {}))
    taught = [name for name in row.values if figures.is_taught(row, name)]
    if taught:
        reason = f"it was taught by {' and '.join(row.taught_by)}, which judges here; read other figures"
        yield Note(f"no independent {' or '.join(taught)}", (row.engine,), reason)
    if row.reason:
        yield Note("no figures", (row.engine,), row.reason)
    elif row.failures:
        yield _note_failures(row, part)


def _note_absent(row: Row, sums: Mapping[str, Sums]) -> Iterator[Note]:
    """Yield why figures that were summed up could not be computed."""
    for name in [name for name in METRICS if name in sums and name not in row.values]:
        try:
            METRICS[name].compute(sums[name])
        except DataError as error:
            yield Note(f"no {name}", (row.engine,), str(error))


def _note_failures(row: Row, part: Part) -> Note:
    first = next(failure for failure in part.failures if failure.engine == row.engine)
    return Note(
        f"{row.engine} failed on {row.failures} pictures, first {first.name}: {first.reason}; "
        "its figures are over the others"
    )
