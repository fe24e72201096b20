"""How one engine stands on one kind of holes, judged once: figures, per-picture figures, pictures to look at.

A standing is kept as two files, `NAME.json` and `NAME.png`, with a key of all that it follows from: the
engine's file, the pictures and holes (the fingerprint of the judging), the feature files. It is read back
where the key is the same, and judged anew where it is not.
"""

import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from infilling.errors import DataError, ModelError
from infilling.filling.engine import ENGINES
from infilling.judging import evaluate as judging
from infilling.judging.contenders import Contender, HoleSpec, find_contenders
from infilling.judging.judge import Judge, Plan
from infilling.judging.results import Cell, Example, Failure, Left, Mask, Pixels, Row
from infilling.learning.sources import Item
from infilling.machine import share_cores
from infilling.pictures import holes
from infilling.storage import make_folder, write_atomic
from infilling.version import VERSION

PICTURES = 10
"""The same for every engine, at even distances among those that are judged."""

JUDGED_BY = "hole_psnr"


@dataclass(frozen=True)
class Jury:
    """What engines are judged on, and with: as `evaluate` takes it."""

    data: tuple[str, ...]
    seed: int = 7
    count: int | None = None
    size: int = 128
    features: str | None = None
    lpips: tuple[str, ...] = ()
    fid: str | None = None
    threads: int | None = None
    jobs: int = 1
    device: str = "auto"

    def networks(self) -> dict[str, tuple[str, ...]]:
        """Feature files by kind of network."""
        files = {"squeezenet": (self.features,), "lpips": self.lpips, "inception": (self.fid,)}
        return {kind: tuple(file for file in given if file) for kind, given in files.items() if any(given)}


@dataclass(frozen=True)
class Course:
    """One kind of holes in all pictures.

    Attributes:
        kind: of holes.
        fingerprint: of pictures and holes, as an evaluation has it.
        pictures: how many there are.
        items: all of them, in order.
        shown: names of those that every engine is shown with.
    """

    kind: str
    fingerprint: str
    pictures: int
    items: tuple[Item, ...]
    shown: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Standing:
    """What one engine did on a course.

    Attributes:
        row: its figures; `reason` says why it has none.
        scores: picture → hole PSNR in dB.
        results: picture → what it made of it, of those that are shown.
        notes: of its evaluation.
    """

    row: Row
    scores: Mapping[str, float]
    results: Mapping[str, Pixels]
    notes: tuple[str, ...] = ()


Progress = Callable[[int, int], None]


def stand(
    name: str, engine: str, jury: Jury, course: Course, folder: Path, *, progress: Progress | None = None
) -> Standing:
    """Judges an engine on a course, or reads what was found before.

    Args:
        name: how the row is called, and the files.
        engine: a name in the table of engines, an ONNX file, or a RUN folder.
        jury: what it is judged with.
        course: what it is judged on.
        folder: where standings of this course are kept.
        progress: told about pictures judged, and of how many.

    Raises:
        ModelError, DependencyError, StorageError: as `evaluate`.
    """
    [contender] = find_contenders([engine], course.kind, threads=jury.threads, device=jury.device)
    if reason := contender.reason or _find_limit(contender, jury, course):
        return Standing(make_absent(name, engine, reason), {}, {})
    key = _make_key(contender, jury, course)
    if known := _read(folder, name, key):
        return known
    try:
        standing = _judge(name, engine, jury, course, progress)
    except ModelError as error:  # it failed on every picture
        return Standing(make_absent(name, engine, str(error)), {}, {})
    _write(folder, name, key, standing)
    return standing


def make_course(kind: str, jury: Jury) -> Course:
    """Looks at all pictures and their holes once.

    Raises:
        DataError: no pictures, or none that can be read.
        InputError: holes that are none.
    """
    items = judging.pick_items(jury.data, jury.count)
    part = Judge(make_plan((), kind, jury)).judge(items)
    unread = {left.name for left in part.left}
    good = [item for item in items if item.name not in unread]
    if not good:
        raise DataError(
            f"none of {len(items)} pictures can be read: {part.left[0].name}: {part.left[0].reason}"
        )
    few = min(PICTURES, len(good))
    shown = tuple(good[index * len(good) // few].name for index in range(few))
    return Course(kind, part.fingerprint(), len(good), tuple(items), shown)


def make_plan(contenders: tuple[Contender, ...], kind: HoleSpec, jury: Jury) -> Plan:
    """What a `Judge` needs to fill pictures as the evaluation did; without feature networks."""
    threads = jury.threads or share_cores(jury.jobs)
    return Plan(contenders, {}, kind, jury.seed, jury.size, threads, jury.device)


def open_pictures(course: Course, names: Sequence[str], jury: Jury) -> dict[str, tuple[Pixels, Mask]]:
    """Opens some pictures of a course: name → original, hole."""
    return _open(Judge(make_plan((), course.kind, jury)), course, names)


def fill_pictures(engine: str, course: Course, names: Sequence[str], jury: Jury) -> dict[str, Pixels]:
    """Fills some pictures of a course; those that the engine cannot are left out."""
    contenders = find_contenders([engine], course.kind, threads=jury.threads, device=jury.device)
    judge = Judge(make_plan(contenders, course.kind, jury))
    fills = {
        name: judge.try_fill(contenders[0].label, name, *opened)
        for name, opened in _open(judge, course, names).items()
    }
    return {name: fill[0] for name, fill in fills.items() if not isinstance(fill, Failure)}


def make_examples(course: Course, standings: Mapping[str, Standing], jury: Jury) -> tuple[Example, ...]:
    """The pictures that every engine is shown with."""
    return tuple(
        Example(
            title=course.kind,
            name=name,
            target=target,
            mask=mask,
            results={who: each.results[name] for who, each in standings.items() if name in each.results},
            values={who: each.scores[name] for who, each in standings.items() if name in each.scores},
        )
        for name, (target, mask) in open_pictures(course, course.shown, jury).items()
    )


def make_absent(name: str, engine: str, reason: str) -> Row:
    """Makes the row of an engine that has no figures, and says why."""
    return Row(name, engine, 0, 0, math.nan, {}, {}, {}, reason)


def _open(judge: Judge, course: Course, names: Sequence[str]) -> dict[str, tuple[Pixels, Mask]]:
    by_name = {item.name: item for item in course.items}
    opened = {name: judge.open_item(by_name[name]) for name in names}
    return {name: each for name, each in opened.items() if not isinstance(each, Left)}


def _find_limit(contender: Contender, jury: Jury, course: Course) -> str | None:
    """Says why an engine cannot fill such holes: moved into its centre, they would not be the same holes."""
    rule = contender.open(jury.threads, jury.device).size_rule
    if rule.holes == "center" and set(holes.parse(course.kind)) != {"center"}:
        return f"fills the centre only, not {course.kind} holes"
    return None


def _judge(name: str, engine: str, jury: Jury, course: Course, progress: Progress | None) -> Standing:
    found = judging.evaluate(
        jury.data,
        engines=[engine],
        holes=course.kind,
        seed=jury.seed,
        features=jury.features,
        lpips=jury.lpips,
        fid=jury.fid,
        count=jury.count,
        size=jury.size,
        threads=jury.threads,
        jobs=jury.jobs,
        device=jury.device,
        report=progress,
    )
    if found.settings["fingerprint"] != course.fingerprint:
        raise DataError("the pictures changed while they were judged: start again")
    return Standing(
        row=replace(found.rows[0], engine=name),
        scores={judged.name: judged.values[JUDGED_BY] for judged in found.judged},
        results=fill_pictures(engine, course, course.shown, jury),
        notes=found.notes,
    )


# ---- kept on disk ------------------------------------------------------------------------------------------


def _make_key(contender: Contender, jury: Jury, course: Course) -> dict[str, Any]:
    """All that a standing follows from."""
    model = contender.source
    return {
        "engine": model if model in ENGINES or not Path(model).is_file() else _digest(model),
        "holes": course.kind,
        "fingerprint": course.fingerprint,
        "networks": {kind: [_digest(file) for file in files] for kind, files in jury.networks().items()},
        "device": jury.device,
        "shown": list(course.shown),
        "version": VERSION,
    }


def _digest(file: str) -> str:
    """SHA-256 of a file, or its name where there is none: whoever needs it says so better."""
    try:
        with Path(file).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return file


def _write(folder: Path, name: str, key: dict[str, Any], standing: Standing) -> None:
    """Keeps a standing; the pictures one below the other in a PNG, the figures last, so they are whole."""
    make_folder(folder)
    if standing.results:
        data = io.BytesIO()
        Image.fromarray(np.concatenate(list(standing.results.values()))).save(data, "PNG")
        write_atomic(folder / f"{name}.png", data.getvalue())
    content = {
        "key": key,
        "row": asdict(standing.row),
        "scores": standing.scores,
        "results": list(standing.results),
        "notes": standing.notes,
    }
    write_atomic(folder / f"{name}.json", (json.dumps(content) + "\n").encode())


def _read(folder: Path, name: str, key: dict[str, Any]) -> Standing | None:
    """Reads a standing back; None where there is none with this key, or it is damaged."""
    try:
        content = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        if content["key"] != key:
            return None
        row, names = content["row"], content["results"]
        for groups in ("bins", "groups"):
            row[groups] = {label: Cell(**cell) for label, cell in row[groups].items()}
        results: dict[str, Pixels] = {}
        if names:
            with Image.open(folder / f"{name}.png") as image:
                results = dict(zip(names, np.split(np.asarray(image), len(names)), strict=True))
        return Standing(Row(**row), content["scores"], results, tuple(content["notes"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None
