"""The leaderboard: every system trained for the same minutes, and every engine judged on the same holes.

    configs → entrants → trainings ─┐
    engines of the table ───────────┴→ standings, per kind of holes → board → leaderboard.html, leaderboard.md

It goes on where it was stopped: runs stand in `OUT/runs`, standings in `OUT/judged`, and what is there and
still follows from the same files is not made again.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infilling.errors import ConfigError, InfillingError
from infilling.filling.engine import ENGINES
from infilling.judging import board as boards
from infilling.judging import losses, standings
from infilling.judging.board import Board, Entry, Round, Scene, Scenes
from infilling.judging.contenders import find_contenders
from infilling.judging.entrants import SIGNALS, Entrant, Tell, Training, find_entrants, train_entrant
from infilling.judging.networks import open_network
from infilling.judging.report import BASELINE
from infilling.judging.results import Cell, Evaluation, Example
from infilling.judging.standings import Course, Jury, Standing
from infilling.learning import config as configs
from infilling.learning import run
from infilling.storage import make_folder, write_atomic
from infilling.version import VERSION

HOLES = ("center", "block", "freeform")
SCENES_BY = "block"
"""The holes by which scenes are ranked, if they are among those judged: every picture has one of much the
same size."""

EXTREMES = 10
"""How many of the easiest and of the hardest scenes are shown with a picture."""

CODES = {"SIGINT": 130, "SIGTERM": 143}


class Stopped(InfillingError):
    """A signal ended a training, which was saved first."""

    def __init__(self, name: str, signal: str) -> None:
        super().__init__(f"{signal} while {name} was learning; saved: the same command goes on from here")
        self.exit_code = CODES[signal]


@dataclass(frozen=True)
class Learning:
    """What systems learn from, and how long.

    Attributes:
        data: folders, tar shards or IDX files.
        minutes: of training, for each.
        device: as `train.device` takes it.
        overrides: `a.b=c` for all rows, `NAME:a.b=c` for one.
    """

    data: tuple[str, ...]
    minutes: float
    device: str = "auto"
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listener:
    """Who is told how it goes: of training, of judging (what, pictures done, of how many), of the rest."""

    train: Tell = lambda name, progress: None
    judge: Callable[[str, int, int], None] = lambda what, done, total: None
    say: Callable[[str], None] = lambda text: None


def leaderboard(
    files: Iterable[str | Path],
    learning: Learning,
    jury: Jury,
    out: str | Path,
    *,
    engines: Sequence[str] | None = None,
    holes: Sequence[str] = HOLES,
    scenes: str | None = None,
    scene_count: int | None = None,
    listener: Listener | None = None,
) -> Board:
    """Trains, judges and writes `leaderboard.html` and `leaderboard.md`.

    Args:
        files: configs, one row each: `FILE` or `NAME=FILE`.
        learning: from what and how long.
        jury: on what all are judged; never pictures that were learned from.
        out: the folder; runs and standings that are there are used.
        engines: others to judge: names in the table, ONNX files, RUN folders; None: all of the table.
        holes: kinds of holes, a table each.
        scenes: the row whose figures rank the classes; None: the best that was trained. Without classes, or
            where it has no figures, there is no such part.
        scene_count: pictures judged for that; None: all there are.
        listener: told how it goes.

    Raises:
        Stopped: a signal ended a training.
        ConfigError: a config, a name or a number that does not fit, or a run of another config in the way.
        InfillingError: as `train` and `evaluate`.
    """
    out, listener = Path(out), listener or Listener()
    engines = list(ENGINES if engines is None else engines)
    _check(engines, holes, jury, learning.minutes)
    entrants = find_entrants(
        files,
        learning.overrides,
        data=learning.data,
        out=out,
        minutes=learning.minutes,
        size=jury.size,
        device=learning.device,
        features=jury.features,
    )
    rows = _name_rows(entrants, engines)
    if scenes is not None and scenes not in rows:
        raise ConfigError(f"there is no row {scenes!r} to rank scenes by; take one of {', '.join(rows)}")
    started = datetime.now(UTC)
    trainings = _train_all(entrants, listener)
    courses = {kind: standings.make_course(kind, jury) for kind in holes}
    judged = {
        kind: _judge_all(rows, trainings, jury, course, out / "judged" / kind, listener)
        for kind, course in courses.items()
    }
    order = boards.rank(judged)
    rounds = tuple(_make_round(courses[kind], judged[kind], order, jury) for kind in holes)
    entries = {entry.name: entry for entry in _make_entries(rows, entrants, trainings)}
    kind = SCENES_BY if SCENES_BY in holes else holes[0]
    by = scenes or next((name for name in order if name in trainings and judged[kind][name].scores), None)
    found = Board(
        entries=tuple(entries[name] for name in order),
        rounds=rounds,
        scenes=_rank_scenes(by, kind, rows, replace(jury, count=scene_count), out, listener),
        settings=_describe(learning, jury, holes, courses, trainings, started),
        notes=tuple(_make_notes(rounds, trainings)),
    )
    write(found, out)
    return found


def write(board: Board, out: Path) -> None:
    """Writes the page and the tables.

    Raises:
        StorageError: they cannot be written.
    """
    from infilling.judging import board_page, board_tables

    make_folder(out)
    write_atomic(out / "leaderboard.html", board_page.render(board).encode())
    write_atomic(out / "leaderboard.md", board_tables.to_markdown(board).encode())


def _check(engines: Sequence[str], holes: Sequence[str], jury: Jury, minutes: float) -> None:
    """Finds out before hours of training what would end them in an error."""
    if not minutes > 0:
        raise ConfigError(f"minutes must be more than 0, not {minutes:g}")
    if not holes or len(set(holes)) < len(holes):
        raise ConfigError(f"name kinds of holes, each once, not {', '.join(holes) or 'none'}")
    if bad := [kind for kind in holes if "/" in kind or "\\" in kind]:
        raise ConfigError(f"{bad[0]!r} cannot name a folder of standings: take a hole maker or a mix")
    for kind in holes:
        standings.make_course(kind, replace(jury, count=1))
    for kind, files in jury.networks().items():
        open_network(kind, files)
    if engines:
        find_contenders(engines, holes[0], threads=jury.threads, device=jury.device)


def _name_rows(entrants: Iterable[Entrant], engines: Iterable[str]) -> dict[str, str]:
    """Row → what `evaluate` takes."""
    rows: dict[str, str] = {}
    named = [(entrant.name, str(entrant.run)) for entrant in entrants]
    for name, engine in [*named, *((_shorten(engine), engine) for engine in engines)]:
        if name in rows:
            raise ConfigError(f"two rows are called {name}: write NAME=FILE, or leave one out")
        rows[name] = engine
    if not rows:
        raise ConfigError("nobody to judge: name configs or engines")
    return rows


def _shorten(engine: str) -> str:
    """The name of a row that was not trained here."""
    path = Path(engine)
    if engine in ENGINES or not path.exists():
        return engine
    return path.resolve().parent.name if path.stem == "model" else path.resolve().stem


def _train_all(entrants: Iterable[Entrant], listener: Listener) -> dict[str, Training]:
    trainings = {}
    for entrant in entrants:
        training = train_entrant(entrant, listener.train)
        if training.ended_by in SIGNALS:
            raise Stopped(entrant.name, training.ended_by)
        seen = f"{training.steps:,} steps, {training.images_seen:,} pictures, ended by {training.ended_by}"
        listener.say(f"{entrant.name}: {seen}" + (f": {training.reason}" if training.reason else ""))
        trainings[entrant.name] = training
    return trainings


def _judge_all(
    rows: Mapping[str, str],
    trainings: Mapping[str, Training],
    jury: Jury,
    course: Course,
    folder: Path,
    listener: Listener,
) -> dict[str, Standing]:
    found = {}
    for name, engine in rows.items():
        if name in trainings and (reason := trainings[name].reason):
            found[name] = Standing(standings.make_absent(name, engine, f"training failed: {reason}"), {}, {})
            continue
        what = f"{name} on {course.kind}"
        found[name] = standings.stand(
            name,
            engine,
            jury,
            course,
            folder,
            progress=lambda done, total, what=what: listener.judge(what, done, total),  # type: ignore[misc]
        )
    return found


def _make_round(course: Course, found: Mapping[str, Standing], order: Iterable[str], jury: Jury) -> Round:
    ranked = {name: found[name] for name in order}
    notes = dict.fromkeys(note for each in ranked.values() for note in each.notes)
    evaluation = Evaluation(
        settings={"holes": course.kind, "pictures": course.pictures, "fingerprint": course.fingerprint},
        rows=tuple(each.row for each in ranked.values()),
        judged=(),
        failures=(),
        left=(),
        notes=tuple(notes),
        examples=standings.make_examples(course, ranked, jury),
    )
    return Round(course.kind, ranked, evaluation)


def _make_entries(
    rows: Iterable[str], entrants: Iterable[Entrant], trainings: Mapping[str, Training]
) -> Iterable[Entry]:
    learned = {entrant.name: entrant for entrant in entrants}
    for name in rows:
        if name not in learned:
            yield Entry(name, {})
            continue
        entrant = learned[name]
        match = losses.summarise(run.read_stats(entrant.run))
        system = configs.to_tree(entrant.config)["system"]
        yield Entry(name, system, entrant.cost, trainings[name], match)


def _rank_scenes(
    by: str | None, kind: str, rows: Mapping[str, str], jury: Jury, out: Path, listener: Listener
) -> Scenes | None:
    """Judges one engine, and the baseline, on more pictures, class by class; None without classes."""
    if by is None:
        return None
    jury = replace(jury, features=None, lpips=(), fid=None)
    course = standings.make_course(kind, jury)
    names = list(dict.fromkeys([by, BASELINE] if BASELINE in rows else [by]))
    chosen = {name: rows[name] for name in names}
    found = _judge_all(chosen, {}, jury, course, out / "judged" / f"scenes {kind}", listener)
    groups: Mapping[str, Cell] = found[by].row.groups
    if len(groups) < 2:
        return None
    rival = boards.find_rival(found) if by != BASELINE else None
    theirs: Mapping[str, Cell] = found[rival].row.groups if rival else {}
    ranked = sorted(groups, key=lambda group: -boards.get_value(groups[group]))
    extremes = [
        group for place, group in enumerate(ranked) if place < EXTREMES or place >= len(ranked) - EXTREMES
    ]
    examples = _find_middles(by, rows[by], extremes, found[by], course, jury)
    return Scenes(
        engine=by,
        baseline=rival,
        kind=kind,
        pictures=found[by].row.pictures,
        ranked=tuple(
            Scene(
                group,
                groups[group].pictures,
                boards.get_value(groups[group]),
                boards.get_value(theirs[group]) if group in theirs else math.nan,
                examples.get(group),
            )
            for group in ranked
        ),
    )


def _find_middles(
    by: str, engine: str, groups: Iterable[str], found: Standing, course: Course, jury: Jury
) -> dict[str, Example]:
    """Fills the picture in the middle of each class once more, to look at."""
    middles: dict[str, str] = {}
    for group in groups:
        names = [item.name for item in course.items if item.label == group and item.name in found.scores]
        names.sort(key=lambda name: -found.scores[name])
        middles[group] = names[len(names) // 2]
    results = standings.fill_pictures(engine, course, list(middles.values()), jury)
    opened = standings.open_pictures(course, list(middles.values()), jury)
    return {
        group: Example(group, name, *opened[name], {by: results[name]}, {by: found.scores[name]})
        for group, name in middles.items()
        if name in opened and name in results
    }


def _make_notes(rounds: Sequence[Round], trainings: Mapping[str, Training]) -> Iterable[str]:
    devices = sorted({training.device for training in trainings.values()})
    if len(devices) > 1:
        yield f"not all were trained on the same device: {'; '.join(devices)}"
    minutes = sorted({training.limits["max_minutes"] for training in trainings.values()})
    if len(minutes) > 1:
        yield f"not all were trained for the same time: {', '.join(f'{each:g}' for each in minutes)} minutes"
    for name, training in trainings.items():
        if training.ended_by != "max_minutes":
            yield f"{name} was ended by {training.ended_by} after {training.seconds / 60:.1f} minutes"
    for each in rounds:
        absent: dict[str, list[str]] = {}
        for row in each.evaluation.rows:
            if row.reason:
                absent.setdefault(row.reason, []).append(row.engine)
        yield from (f"{each.kind}: n/a for {', '.join(who)}: {why}" for why, who in absent.items())
    kinds: dict[str, list[str]] = {}
    for each in rounds:
        for note in _join_notes(each):
            kinds.setdefault(note, []).append(each.kind)
    for note, where in kinds.items():
        yield note if len(where) == len(rounds) else f"{', '.join(where)}: {note}"


def _join_notes(each: Round) -> Iterable[str]:
    """Says once what was noted of several engines."""
    engines: dict[str, list[str]] = {}
    for note in each.evaluation.notes:
        who = next((name for name in each.standings if f" for {name}: " in note), None)
        engines.setdefault(note.replace(f" for {who}: ", " for {}: ") if who else note, []).append(who or "")
    return (note.replace("{}", ", ".join(who), 1) for note, who in engines.items())


def _describe(
    learning: Learning,
    jury: Jury,
    holes: Iterable[str],
    courses: Mapping[str, Course],
    trainings: Mapping[str, Training],
    started: datetime,
) -> dict[str, Any]:
    return {
        "learned from": list(learning.data),
        "minutes each": learning.minutes,
        "trained on": sorted({training.device for training in trainings.values()}),
        "changed": list(learning.overrides),
        "judged on": list(jury.data),
        "pictures": max(course.pictures for course in courses.values()),
        "size": jury.size,
        "holes": list(holes),
        "seed": jury.seed,
        "fingerprints": {kind: course.fingerprint for kind, course in courses.items()},
        "version": VERSION,
        "written": f"{started:%Y-%m-%d %H:%M} UTC",
    }
