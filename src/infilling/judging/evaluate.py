"""Judges engines: pictures × fixed holes × engines → figures.

    sources → picture, hole → engine, through the pipeline that users get → metrics → sums → rows

A picture's hole follows from the kind of holes, the seed, its name and its size alone: not from the engines,
nor from the other pictures, nor from the number of processes. Pictures are judged in chunks of a fixed size
whose sums are added in order, so that any number of processes gives the same figures to the last bit.
"""

import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from infilling.errors import ConfigError, DataError, InfillingError, ModelError
from infilling.judging.contenders import HoleSpec, find_contenders
from infilling.judging.judge import SECONDS, Judge, Part, Plan, make_hole
from infilling.judging.metrics import METRICS, Sums
from infilling.judging.results import Cell, Evaluation, Example, Failure, Left, Row
from infilling.learning import sources
from infilling.learning.sources import Item
from infilling.machine import share_cores
from infilling.pictures.holes import AREA_BINS
from infilling.version import VERSION

CHUNK = 50
"""Pictures that one process judges at a time."""

EXAMPLES = 3
"""How many of the best, the median and the worst pictures are shown."""

RANKED_BY = "hole_psnr"
WEIGHTS = {
    "squeezenet": "a feature file (--features)",
    "lpips": "the weights of LPIPS (--lpips)",
    "inception": "the weights of Inception-v3 (--fid)",
}

Paths = str | Path | Sequence[str | Path]
Progress = Callable[[int, int], None]
"""Called with the number of pictures judged, and of all."""


def evaluate(
    data: Paths,
    *,
    engines: Sequence[str | Path],
    holes: HoleSpec = "block",
    seed: int = 7,
    features: str | Path | None = None,
    lpips: Paths = (),
    fid: str | Path | None = None,
    count: int | None = None,
    size: int = 128,
    out: str | Path | None = None,
    threads: int | None = None,
    jobs: int = 1,
    device: str = "auto",
    report: Progress | None = None,
) -> Evaluation:
    """Judges engines on the same pictures with the same holes.

    Args:
        data: folders, tar shards, IDX files, one or several.
        engines: names in the table of engines, ONNX files, RUN folders.
        holes: as `pictures.holes.make` takes them.
        seed: of the holes.
        features: SqueezeNet's weights, for `lpips_like` and `fid_like`.
        lpips: the weights of LPIPS, one or two files; see `networks`.
        fid: the weights of FID's Inception-v3.
        count: judge so many pictures, spread evenly over all; None: all.
        size: side in pixels; the short side is resized to it and the middle cut out.
        out: folder for `report.json`, `per-image.csv` and `report.html`; None writes nothing.
        threads: of each process; None: all there are, shared by the processes.
        jobs: processes.
        device: as `open_engine` takes it; feature networks run on the CPU.
        report: told about progress.

    Raises:
        DataError: no pictures, or none that can be read.
        ModelError: an unknown engine, a file that is no model or not that feature network, or no engine that
            filled a picture.
        DependencyError: feature files were given and torch is not installed.
        ConfigError: no engines, or a number that makes no sense.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    _check(seed=seed, count=count, size=size, threads=threads, jobs=jobs)
    items = pick_items(data, count)
    threads = threads or share_cores(jobs)
    networks = {"squeezenet": features, "lpips": lpips, "inception": fid}
    plan = Plan(
        contenders=find_contenders(engines, holes, threads=threads, device=device),
        networks={kind: tuple(map(str, _listed(files))) for kind, files in networks.items() if files},
        holes=holes,
        seed=seed,
        size=size,
        threads=threads,
        device=device,
    )
    make_hole(plan, items[0].name)  # a kind of holes that is none ends here
    judge, part = Judge(plan), Part()
    for done in _judge_all(judge, items, jobs):
        part.add(done)
        if report:
            report(part.seen, len(items))
    rows = _make_rows(plan, part)
    evaluation = Evaluation(
        settings={
            "data": [str(path) for path in _listed(data)],
            "pictures": part.seen - len(part.left),
            "holes": dict(holes) if isinstance(holes, Mapping) else str(holes),
            "seed": seed,
            "size": size,
            "fingerprint": part.fingerprint(),
            "networks": {kind: list(files) for kind, files in plan.networks.items()},
            "jobs": jobs,
            "threads": threads,
            "version": VERSION,
            "started": f"{started:%Y-%m-%d %H:%M:%S} UTC",
            "minutes": round((time.perf_counter() - clock) / 60, 2),
        },
        rows=rows,
        judged=tuple(part.judged),
        failures=tuple(part.failures),
        left=tuple(part.left),
        notes=tuple(_make_notes(plan, part, rows)),
        examples=tuple(_find_examples(judge, part, rows, items)),
    )
    if out is not None:
        from infilling.judging.report import write

        write(evaluation, Path(out))
    return evaluation


def _check(*, seed: int, count: int | None, size: int, threads: int | None, jobs: int) -> None:
    given = {"seed": seed, "count": count, "size": size, "threads": threads, "jobs": jobs}
    for name, value in given.items():
        low = {"seed": 0, "size": 16}.get(name, 1)
        if value is not None and value < low:
            raise ConfigError(f"{name} must be at least {low}, not {value}")


def _listed(paths: Paths) -> list[str | Path]:
    return [paths] if isinstance(paths, (str, Path)) else list(paths)


def pick_items(data: Paths, count: int | None) -> list[Item]:
    """Lists the pictures, or `count` of them at even distances. A name in two sources gets the file's too.

    Raises:
        DataError: no pictures.
    """
    items, cut = sources.list_items(sources.find(_listed(data)))
    if not items:
        raise DataError(f"no pictures in {data}" + (f": {cut[0].reason}" if cut else ""))
    names = Counter(item.name for item in items)
    items = [
        replace(item, name=f"{item.file}:{item.name}") if names[item.name] > 1 else item for item in items
    ]
    if count is None or count >= len(items):
        return items
    return [items[index * len(items) // count] for index in range(count)]


# ---- processes ---------------------------------------------------------------------------------------------

_judge: Judge  # of a worker process


def _start(plan: Plan) -> None:
    global _judge
    _judge = Judge(plan)


def _work(items: Sequence[Item]) -> Part:
    return _judge.judge(items)


def _judge_all(judge: Judge, items: Sequence[Item], jobs: int) -> Iterator[Part]:
    """Judges chunk by chunk, here or in processes; parts come in the order of the pictures."""
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    if jobs == 1 or len(chunks) == 1:
        yield from map(judge.judge, chunks)
        return
    fresh = multiprocessing.get_context("spawn")  # a fork would copy locks that inference threads hold
    with ProcessPoolExecutor(min(jobs, len(chunks)), fresh, _start, (judge.plan,)) as pool:
        try:
            yield from pool.map(_work, chunks)
        except BrokenProcessPool as error:
            raise InfillingError(
                "a judging process died, perhaps for want of memory: try fewer jobs"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


# ---- sums into rows ----------------------------------------------------------------------------------------


def _make_rows(plan: Plan, part: Part) -> tuple[Row, ...]:
    """Computes every figure of every engine.

    Raises:
        DataError: no picture could be read.
        ModelError: no engine filled any.
    """
    if len(part.left) == part.seen:
        first = part.left[0]
        raise DataError(f"none of {part.seen} pictures can be read: {first.name}: {first.reason}")
    rows = []
    for contender in plan.contenders:
        label = contender.label
        failed = [failure for failure in part.failures if failure.engine == label]
        sums = part.sums.get((label, "all", ""))
        cell = _compute(sums) if sums else Cell(0, {})
        reason = contender.reason
        if not sums and not reason:
            reason = f"failed on every picture: {failed[0].reason}"
        rows.append(
            Row(
                engine=label,
                source=contender.asked,
                pictures=cell.pictures,
                failures=len(failed),
                seconds=_mean(sums[SECONDS]) if sums else float("nan"),
                values=cell.values,
                bins=_compute_groups(part, label, "bin"),
                groups=_compute_groups(part, label, "class"),
                reason=reason,
            )
        )
    if not any(row.pictures for row in rows):
        reasons = "; ".join(f"{row.engine}: {row.reason}" for row in rows)
        raise ModelError(f"no engine filled a picture: {reasons}")
    return tuple(rows)


def _compute(sums: Mapping[str, Sums]) -> Cell:
    """Computes the figures of a group; one that cannot be (a Fréchet distance of few pictures) is absent."""
    values = {}
    for name, metric in METRICS.items():
        if name in sums:
            try:
                values[name] = metric.compute(sums[name])
            except DataError:
                continue
    return Cell(int(sums[SECONDS]["denominator"][0]), values)


def _mean(sums: Sums) -> float:
    return float(sums["numerator"][0] / sums["denominator"][0])


def _compute_groups(part: Part, label: str, kind: str) -> dict[str, Cell]:
    """Computes every bin, in the order of areas, or every class, in the order of names."""
    order = [f"{low}-{high}%" for low, high in AREA_BINS]
    found = sorted(
        (group for engine, of, group in part.sums if (engine, of) == (label, kind)),
        key=lambda group: (order.index(group) if group in order else len(order), group),
    )
    return {group: _compute(part.sums[label, kind, group]) for group in found}


def _make_notes(plan: Plan, part: Part, rows: Sequence[Row]) -> Iterator[str]:
    """Says what a reader would miss."""
    for kind, weights in WEIGHTS.items():
        if kind not in plan.networks:
            absent = " or ".join(name for name, metric in METRICS.items() if metric.network == kind)
            yield f"no {absent} without {weights}"
    for row in rows:
        sums = part.sums.get((row.engine, "all", ""), {})
        for name in [name for name in METRICS if name in sums and name not in row.values]:
            try:
                METRICS[name].compute(sums[name])
            except DataError as error:
                yield f"no {name} for {row.engine}: {error}"
        if row.reason:
            yield f"no figures for {row.engine}: {row.reason}"
        elif row.failures:
            first = next(failure for failure in part.failures if failure.engine == row.engine)
            yield (
                f"{row.engine} failed on {row.failures} pictures, first {first.name}: {first.reason}; "
                "its figures are over the others"
            )
    if part.left:
        yield f"{len(part.left)} pictures could not be read, first {part.left[0].name}: {part.left[0].reason}"


def _find_examples(judge: Judge, part: Part, rows: Sequence[Row], items: Sequence[Item]) -> Iterator[Example]:
    """Fills some pictures once more to look at: best, median and worst of the last engine with figures."""
    last = [row.engine for row in rows if row.pictures][-1]
    figures: dict[str, dict[str, float]] = {}
    for judged in part.judged:
        figures.setdefault(judged.name, {})[judged.engine] = judged.values[RANKED_BY]
    ranked = sorted(
        (name for name in figures if last in figures[name]), key=lambda name: -figures[name][last]
    )
    some = min(EXAMPLES, -(-len(ranked) // 3))
    by_name = {item.name: item for item in items}
    for title, start in (("best", 0), ("median", (len(ranked) - some) // 2), ("worst", len(ranked) - some)):
        for name in ranked[start : start + some]:
            opened = judge.open_item(by_name[name])
            if isinstance(opened, Left):  # the file was there a moment ago
                continue
            fills = {engine: judge.try_fill(engine, name, *opened) for engine in figures[name]}
            results = {engine: fill[0] for engine, fill in fills.items() if not isinstance(fill, Failure)}
            yield Example(title, name, *opened, results, figures[name])
