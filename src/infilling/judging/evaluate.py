"""Judge engines: pictures × fixed holes × engines → figures.

    sources → picture, hole → engine, through the pipeline that users get → metrics → sums → rows

The hole of a picture depends on the kind of holes, the seed, its name and its size alone: not on the engines,
the other pictures or the number of processes. Pictures are judged in chunks of a fixed size whose sums are
added in order, so that any number of processes gives the same figures to the last bit.
"""

import multiprocessing
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from infilling.errors import DataError, InfillingError
from infilling.judging import rows as sums
from infilling.judging.engines import find_engines
from infilling.judging.judge import Judge, Part, import_networks, make_hole
from infilling.judging.metrics import RANKED_BY
from infilling.judging.results import Evaluation, Example, Row
from infilling.judging.settings import EvaluationSettings
from infilling.learning import picture_sources
from infilling.learning.picture_items import Item
from infilling.version import VERSION

CHUNK = 50  # pictures that one process judges at a time
EXAMPLES = 3  # number of best, of median and of worst pictures that are shown

T = TypeVar("T")
Paths = str | Path | Sequence[str | Path]
Progress = Callable[[int, int], None]  # called with the number of pictures judged, and of all


def evaluate(
    engines: Sequence[str | Path], settings: EvaluationSettings, report: Progress | None = None
) -> Evaluation:
    """Judge engines on the same pictures with the same holes.

    Args:
        engines: names in the table of engines, ONNX files, RUN folders.
        settings: the pictures, the holes, and what judges.
        report: called with the number of pictures judged, and of all.

    Raises:
        DataError: no pictures, or none that can be read.
        ModelError: an unknown engine, a file that is no model or not that feature network, or no engine that
            filled a picture.
        DependencyError: feature files were given and torch is not installed.
        ConfigError: no engines.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    items = pick_items(settings.data, settings.count)
    found = find_engines(engines, settings)
    make_hole(settings, items[0].name)  # an unknown kind of holes ends the evaluation here
    judge, part = Judge(settings, found), Part()
    for done in _judge_all(judge, items):
        part.add(done)
        if report:
            report(part.seen, len(items))
    rows = sums.make_rows(found, part)
    return Evaluation(
        settings=_describe_settings(settings, part)
        | {
            "started": f"{started:%Y-%m-%d %H:%M:%S} UTC",
            "minutes": round((time.perf_counter() - clock) / 60, 2),
        },
        rows=rows,
        judged=tuple(part.judged),
        failures=tuple(part.failures),
        left=tuple(part.left),
        notes=tuple(sums.make_notes(settings.networks, part, rows)),
        examples=tuple(_find_examples(judge, part, rows, items)),
    )


def list_paths(paths: Paths) -> tuple[str, ...]:
    """Return one path or several as a tuple of texts."""
    return (str(paths),) if isinstance(paths, (str, Path)) else tuple(map(str, paths))


def find_networks(
    features: Paths | None, lpips: Paths | None, fid: str | Path | None
) -> dict[str, tuple[str, ...]]:
    """Return kind of feature network → its files, as `EvaluationSettings.networks` has them.

    Args:
        features: feature files: SqueezeNet's for `lpips_like` and `fid_like`, EfficientNet-Lite's for
            `lpips_lite`, or both.
        lpips: the weights of LPIPS, one or two files; see `networks`.
        fid: the weights of FID's Inception-v3.

    Raises:
        ModelError: a feature file holds no feature network, or two hold the same.
        DependencyError: feature files were given and torch is not installed.
    """
    networks: dict[str, tuple[str, ...]] = {}
    if features:
        networks |= import_networks().recognise_features(list_paths(features))
    if lpips:
        networks["lpips"] = list_paths(lpips)
    if fid:
        networks["inception"] = list_paths(fid)
    return networks


def pick_items(data: Sequence[str], count: int | None) -> list[Item]:
    """List the pictures, or `count` of them at even distances.

    A name that two sources share gets its file's name in front.

    Raises:
        DataError: no pictures.
    """
    items, cut = picture_sources.list_items(picture_sources.find_sources(data))
    if not items:
        raise DataError(f"no pictures in {', '.join(data)}" + (f": {cut[0].reason}" if cut else ""))
    names = Counter(item.name for item in items)
    for place, item in enumerate(items):
        if names[item.name] > 1:
            items[place] = replace(item, name=f"{item.file}:{item.name}")
    return spread(items, count)


def spread(items: Sequence[T], count: int | None) -> list[T]:
    """Return `count` items at even distances, the first among them; all if there are fewer, or for None."""
    total = len(items)
    count = total if count is None else min(count, total)
    return [items[index * total // count] for index in range(count)]


def _describe_settings(settings: EvaluationSettings, part: Part) -> dict[str, Any]:
    """Return what was judged on what, as plain values for JSON."""
    holes = settings.holes
    return {
        "data": list(settings.data),
        "pictures": part.seen - len(part.left),
        "holes": dict(holes) if isinstance(holes, Mapping) else str(holes),
        "seed": settings.seed,
        "size": settings.size,
        "fingerprint": part.fingerprint(),
        "networks": {kind: list(files) for kind, files in settings.networks.items()},
        "jobs": settings.jobs,
        "threads": settings.threads_each,
        "version": VERSION,
    }


# ---- processes ---------------------------------------------------------------------------------------------

_judge: Judge  # the judge of a worker process


def _open_judge(judge_arguments: tuple[Any, ...]) -> None:
    global _judge
    _judge = Judge(*judge_arguments)


def _judge_chunk(items: Sequence[Item]) -> Part:
    return _judge.judge(items)


def _judge_all(judge: Judge, items: Sequence[Item]) -> Iterator[Part]:
    """Judge chunk by chunk, here or in processes; yield the parts in the order of the pictures."""
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    jobs = min(judge.settings.jobs, len(chunks))
    if jobs == 1:
        yield from map(judge.judge, chunks)
        return
    fresh = multiprocessing.get_context("spawn")  # a fork would copy locks that inference threads hold
    arguments = (judge.settings, judge.engines)
    with ProcessPoolExecutor(jobs, fresh, _open_judge, (arguments,)) as pool:
        try:
            yield from pool.map(_judge_chunk, chunks)
        except BrokenProcessPool as error:
            raise InfillingError(
                "a judging process died, perhaps for lack of memory: try fewer jobs"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


# ---- pictures to look at -----------------------------------------------------------------------------------


def _find_examples(judge: Judge, part: Part, rows: Sequence[Row], items: Sequence[Item]) -> Iterator[Example]:
    """Fill some pictures once more to show them: best, median and worst of the last engine with figures."""
    last = [row.engine for row in rows if row.pictures][-1]
    figures: dict[str, dict[str, float]] = defaultdict(dict)
    for judged in part.judged:
        figures[judged.name][judged.engine] = judged.values[RANKED_BY]
    of_last = {name: values[last] for name, values in figures.items() if last in values}
    chosen = list(_choose_examples(of_last))
    opened = judge.open_named(items, [name for _, name in chosen])
    for title, name in chosen:
        if name in opened:  # it could be opened a moment ago
            results = judge.fill_again(figures[name], name, *opened[name])
            yield Example(title, name, *opened[name], results, figures[name])


def _choose_examples(figures: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    """Yield why each picture is shown, and its name, from the figures of one engine."""
    names = sorted(figures, key=lambda name: -figures[name])
    few = min(EXAMPLES, -(-len(names) // 3))
    for title, start in (("best", 0), ("median", (len(names) - few) // 2), ("worst", len(names) - few)):
        for name in names[start : start + few]:
            yield title, name
