"""The leaderboard: every system trained for the same minutes, and every engine judged on the same holes.

    configs → training runs ────────┐
    engines of the table ───────────┴→ scores, per kind of holes → leaderboard.html, leaderboard.md

It continues where it was stopped: runs are in `OUT/runs`, scores in `OUT/judged`, and what is there and still
follows from the same files is not made again.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

from infilling.errors import ConfigError, InfillingError
from infilling.filling.engine import ENGINES, name_engine
from infilling.judging import figures, losses, page, scores
from infilling.judging import leaderboard_tables as tables
from infilling.judging import training_runs as runs
from infilling.judging.engines import find_engines
from infilling.judging.leaderboard_results import Entry, HoleResults, Leaderboard, rank_engines
from infilling.judging.networks import open_feature_network
from infilling.judging.results import Evaluation, Note
from infilling.judging.scenes import rank_scenes
from infilling.judging.scores import EngineScores, HoleSet
from infilling.judging.settings import EvaluationSettings
from infilling.judging.training_runs import TrainingResult, TrainingRun, TrainingSettings
from infilling.learning import config as configs
from infilling.learning import run_folder
from infilling.learning.process_state import STOP_SIGNALS
from infilling.learning.progress import Progress
from infilling.storage import make_folder, write_atomic
from infilling.version import VERSION

FILES = ("leaderboard.html", "leaderboard.md")  # what is written
HOLES = ("center", "block", "freeform")
SCENES_BY = "block"  # holes that rank scenes, if judged: every picture has one of about the same size


class TrainingStopped(InfillingError):
    """A signal ended a training, which was saved first."""

    def __init__(self, name: str, signal: str) -> None:
        super().__init__(f"{signal} while {name} was learning; saved: the same command continues from here")
        self.exit_code = STOP_SIGNALS[signal]


@dataclass(frozen=True)
class Listener:
    """Functions that are called with the progress.

    Attributes:
        progress: called with what is being done, and the share of it that is done, from 0 to 1.
        say: called with a line about what has been done.
    """

    progress: Callable[[str, float], None] = lambda text, share: None
    say: Callable[[str], None] = lambda text: None


SILENT = Listener()


def make_leaderboard(
    files: Iterable[str | Path],
    training: TrainingSettings,
    judging: EvaluationSettings,
    out: str | Path,
    *,
    engines: Sequence[str] | None = None,
    holes: Sequence[str] = HOLES,
    scenes: str | None = None,
    scene_count: int | None = None,
    listener: Listener = SILENT,
) -> Leaderboard:
    """Train, judge, and write `leaderboard.html` and `leaderboard.md`.

    Args:
        files: configs, one row each: `FILE` or `NAME=FILE`.
        training: what systems learn from, and for how long.
        judging: what all are judged on; never pictures that were learned from. Its `holes` are ignored.
        out: the folder; runs and scores that are there are used.
        engines: other engines: names in the table, ONNX files, RUN folders; None: all of the table.
        holes: kinds of holes, a table each.
        scenes: the row whose figures rank the classes; None: the best that was trained. Without classes, or
            where it has no figures, there is no such part.
        scene_count: number of pictures judged for that; None: all.
        listener: called with the progress.

    Raises:
        TrainingStopped: a signal ended a training.
        ConfigError: a config, a name or a number that does not fit, or a run of another config in the way.
        InfillingError: as `train` and `evaluate`.
    """
    out = Path(out)
    engines = list(ENGINES if engines is None else engines)
    _check_arguments(engines, holes, judging, training.minutes)
    trained = runs.find_runs(files, training, out=out, size=judging.size)
    rows = _name_rows(trained, engines)
    if scenes is not None and scenes not in rows:
        raise ConfigError(f"there is no row {scenes!r} to rank scenes by; take one of {', '.join(rows)}")
    started = datetime.now(UTC)

    # -- train, then judge every row on every kind of holes
    make_folder(out)  # before hours of training
    results = _train_all(trained, listener)
    judges = [
        _Judging(rows, results, replace(judging, holes=kind), out / "judged" / kind, listener)
        for kind in holes
    ]
    judged = {judge.hole_set.kind: judge.judge_all() for judge in judges}
    order = list(rank_engines(judged.values()))
    by_kind = [_make_results(judge.hole_set, judged[judge.hole_set.kind], order) for judge in judges]

    # -- rank the classes of pictures by one row
    kind = SCENES_BY if SCENES_BY in holes else holes[0]
    ranked_by = scenes or _find_best_trained(order, results, judged[kind])
    settings = replace(judging, holes=kind, networks={}, count=scene_count)
    judge = _Judging(rows, {}, settings, out / "judged" / f"scenes {kind}", listener)
    board = Leaderboard(
        entries=_make_entries(order, trained, results),
        results=tuple(by_kind),
        scenes=rank_scenes(ranked_by, rows, judge.hole_set, judge) if ranked_by else None,
        settings=_describe_settings(training, [each.hole_set for each in judges], results, started),
        notes=(*_note_training(results), *merge_notes({each.kind: _list_notes(each) for each in by_kind})),
    )
    write_leaderboard(board, out)
    return board


def write_leaderboard(board: Leaderboard, out: Path) -> None:
    """Write the page and the tables.

    Raises:
        StorageError: they cannot be written.
    """
    make_folder(out)
    html = page.render_template("leaderboard.html", board=board, tables=tables, losses=losses)
    for name, text in zip(FILES, (html, tables.to_markdown(board)), strict=True):
        write_atomic(out / name, text.encode())


def _check_arguments(
    engines: Sequence[str], holes: Sequence[str], judging: EvaluationSettings, minutes: float
) -> None:
    """Find out before hours of training what would end them in an error."""
    if not minutes > 0:
        raise ConfigError(f"minutes must be more than 0, not {minutes:g}")
    if not holes or len(set(holes)) < len(holes):
        raise ConfigError(f"name kinds of holes, each once, not {', '.join(holes) or 'none'}")
    for kind in holes:
        if set(kind) & set("/\\"):
            raise ConfigError(f"{kind!r} cannot name a folder of scores: take a hole maker or a mix")
        scores.make_hole_set(replace(judging, holes=kind, count=1))
    for kind, files in judging.networks.items():
        open_feature_network(kind, files)
    if engines:
        find_engines(engines, replace(judging, holes=holes[0]))


def _name_rows(trained: Iterable[TrainingRun], engines: Iterable[str]) -> dict[str, str]:
    """Return the name of each row → what `find_engines` takes."""
    named = [(row.name, str(row.folder)) for row in trained]
    named += [(name_engine(engine), engine) for engine in engines]
    rows: dict[str, str] = {}
    for name, engine in named:
        if name in rows:
            raise ConfigError(f"two rows are called {name}: write NAME=FILE, or leave one out")
        rows[name] = engine
    if not rows:
        raise ConfigError("nothing to judge: name configs or engines")
    return rows


def _train_all(trained: Iterable[TrainingRun], listener: Listener) -> dict[str, TrainingResult]:
    results = {}
    for row in trained:
        result = runs.train_run(row, partial(_report_training, listener, row.name))
        if result.ended_by in STOP_SIGNALS:
            raise TrainingStopped(row.name, result.ended_by)
        seen = f"{result.steps:,} steps, {result.images_seen:,} pictures, ended by {result.ended_by}"
        listener.say(f"{row.name}: {seen}" + (f": {result.reason}" if result.reason else ""))
        results[row.name] = result
    return results


def _report_training(listener: Listener, name: str, progress: Progress) -> None:
    activity = progress.note or progress.activity or f"step {progress.step:,}"
    listener.progress(f"{name} learns: {activity}", progress.share)


@dataclass(frozen=True)
class _Judging:
    """Judges a row by its name on one hole set; a row whose training failed has no figures."""

    rows: Mapping[str, str]
    results: Mapping[str, TrainingResult]
    settings: EvaluationSettings
    folder: Path
    listener: Listener

    @cached_property
    def hole_set(self) -> HoleSet:
        """The pictures and their holes."""
        return scores.make_hole_set(self.settings)

    def judge_all(self) -> dict[str, EngineScores]:
        """Return the scores of every row."""
        return {name: self(name) for name in self.rows}

    def __call__(self, name: str) -> EngineScores:
        engine, result = self.rows[name], self.results.get(name)
        if result and result.reason:
            return scores.make_absent(name, engine, f"training failed: {result.reason}")

        def report(done: int, total: int) -> None:
            self.listener.progress(f"{name} on {self.hole_set.kind}: {done:,} of {total:,}", done / total)

        return scores.judge_once(name, engine, self.hole_set, self.folder, progress=report)


def _find_best_trained(
    order: Iterable[str], results: Mapping[str, TrainingResult], judged: Mapping[str, EngineScores]
) -> str | None:
    """Return the best row that was trained here and has figures; None without one."""
    able = (name for name in order if name in results and judged[name].judged)
    return next(able, None)


def _make_results(hole_set: HoleSet, found: Mapping[str, EngineScores], order: Iterable[str]) -> HoleResults:
    ranked = {name: found[name] for name in order}
    judged = chain.from_iterable(each.judged for each in ranked.values())
    evaluation = Evaluation(
        settings={"holes": hole_set.kind, "pictures": hole_set.pictures, "fingerprint": hole_set.fingerprint},
        rows=figures.add_differences([each.row for each in ranked.values()], judged),
        notes=tuple(chain.from_iterable(each.notes for each in ranked.values())),
        examples=scores.make_examples(hole_set, ranked),
    )
    return HoleResults(hole_set.kind, ranked, evaluation)


def _make_entries(
    order: Iterable[str], trained: Iterable[TrainingRun], results: Mapping[str, TrainingResult]
) -> tuple[Entry, ...]:
    learned = {}
    for row in trained:
        curves = losses.summarise(run_folder.read_stats(row.folder))
        system = configs.config_to_tree(row.config)["system"]
        learned[row.name] = Entry(row.name, system, row.cost, results[row.name], curves)
    return tuple(learned.get(name) or Entry(name) for name in order)


def _note_training(results: Mapping[str, TrainingResult]) -> Iterable[str]:
    """Yield what makes trainings differ."""
    devices = runs.list_devices(results)
    if len(devices) > 1:
        yield f"not all were trained on the same device: {'; '.join(devices)}"
    minutes = {result.limits["max_minutes"] for result in results.values()}
    if len(minutes) > 1:
        shown = ", ".join(f"{each:g}" for each in sorted(minutes))
        yield f"not all were trained for the same time: {shown} minutes"
    for name, result in results.items():
        if result.ended_by != "max_minutes":
            yield f"{name} was ended by {result.ended_by} after {result.seconds / 60:.1f} minutes"


def _list_notes(results: HoleResults) -> list[Note]:
    """Return the notes on one kind of holes: engines without figures first."""
    absent = [Note("n/a", (row.engine,), row.reason) for row in results.evaluation.rows if row.reason]
    return [*absent, *results.evaluation.notes]


def merge_notes(notes: Mapping[str, Iterable[Note]]) -> list[str]:
    """Say once what is true of several engines, or of several kinds of holes.

    >>> few = "few pictures"
    >>> merge_notes({"block": [Note("no fid", ("a",), few), Note("no fid", ("b",), few)], "center": []})
    ['block: no fid for a, b: few pictures']
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for kind, each in notes.items():
        engines: dict[tuple[str, str], tuple[str, ...]] = defaultdict(tuple)
        for note in dict.fromkeys(each):
            engines[note.text, note.reason] += note.engines
        for (text, reason), names in engines.items():
            kinds[str(Note(text, names, reason))].append(kind)
    merged = []
    for line, where in kinds.items():
        merged.append(line if len(where) == len(notes) else f"{', '.join(where)}: {line}")
    return merged


def _describe_settings(
    training: TrainingSettings,
    hole_sets: Sequence[HoleSet],
    results: Mapping[str, TrainingResult],
    started: datetime,
) -> dict[str, Any]:
    """Return what was trained and judged on what, as plain values."""
    settings = hole_sets[0].settings
    return {
        "learned from": list(training.data),
        "minutes each": training.minutes,
        "trained on": runs.list_devices(results),
        "changed": list(training.overrides),
        "judged on": list(settings.data),
        "pictures": max(each.pictures for each in hole_sets),
        "size": settings.size,
        "holes": [each.kind for each in hole_sets],
        "seed": settings.seed,
        "fingerprints": {each.kind: each.fingerprint for each in hole_sets},
        "version": VERSION,
        "written": f"{started:%Y-%m-%d %H:%M} UTC",
    }


def choose_teacher(networks: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return the feature file that losses read: EfficientNet's if given, so that SqueezeNet only judges."""
    files = networks.get("efficientnet") or networks.get("squeezenet")
    return files[0] if files else None
