"""Figures of one engine on one kind of holes, judged once and kept on disk.

Scores are two files, `NAME.json` and `NAME.png`, with a key of everything they depend on: the digest of the
engine's file, the pictures and holes (their fingerprint), the feature files. They are read back where the key
is the same, and judged again where it is not.
"""

import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
from PIL import Image

from infilling.errors import DataError, InputError, ModelError
from infilling.filling.session import digest_files
from infilling.judging import evaluate
from infilling.judging.engines import JudgedEngine, find_engines
from infilling.judging.evaluate import Progress
from infilling.judging.judge import Judge
from infilling.judging.metrics import RANKED_BY
from infilling.judging.results import Example, Judged, Note, Pixels, Row
from infilling.judging.settings import EvaluationSettings
from infilling.learning.picture_items import Item, refuse_unreadable
from infilling.pictures.mask import Mask
from infilling.storage import make_folder, parse_json, read_file, write_atomic
from infilling.version import VERSION

PICTURES = 10  # shown of every engine, at even distances among those that are judged


@dataclass(frozen=True)
class HoleSet:
    """One kind of holes in all pictures.

    Attributes:
        settings: what engines are judged with on it; `settings.holes` is the kind.
        fingerprint: digest of pictures and holes, as an evaluation has it.
        pictures: number of pictures that can be read.
        items: all pictures, in order.
        shown: names of those that every engine is shown with.
    """

    settings: EvaluationSettings
    fingerprint: str
    pictures: int
    items: tuple[Item, ...]
    shown: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The kind of holes."""
        return str(self.settings.holes)


@dataclass(frozen=True, eq=False)
class EngineScores:
    """What one engine did on a hole set.

    Attributes:
        row: its figures; `reason` says why it has none.
        judged: its figures on each picture.
        results: picture → its fill, of those that are shown.
        notes: notes of its evaluation.
    """

    row: Row
    judged: tuple[Judged, ...] = ()
    results: Mapping[str, Pixels] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    @cached_property
    def psnr(self) -> dict[str, float]:
        """Picture → hole PSNR in dB."""
        return {judged.name: judged.values[RANKED_BY] for judged in self.judged}


def make_absent(name: str, engine: str, reason: str) -> EngineScores:
    """Return the scores of an engine that has no figures, with the reason."""
    return EngineScores(Row(name, engine, 0, 0, math.nan, {}, {}, {}, reason))


def make_hole_set(settings: EvaluationSettings) -> HoleSet:
    """Look at all pictures and their holes once.

    Raises:
        DataError: no pictures, or none that can be read.
        InputError: an unknown kind of holes.
    """
    items = evaluate.pick_items(settings.data, settings.count)
    part = Judge(replace(settings, networks={})).judge(items)
    unread = {left.name for left in part.left}
    good = [item.name for item in items if item.name not in unread]
    if not good:
        raise refuse_unreadable(len(items), part.left)
    shown = tuple(evaluate.spread(good, PICTURES))
    return HoleSet(settings, part.fingerprint(), len(good), tuple(items), shown)


def judge_once(
    name: str, engine: str, hole_set: HoleSet, folder: Path, *, progress: Progress | None = None
) -> EngineScores:
    """Judge an engine on a hole set, or read what was found before.

    Args:
        name: name of the row, and of the files.
        engine: a name in the table of engines, an ONNX file, or a RUN folder.
        hole_set: what it is judged on.
        folder: folder with the scores of this hole set.
        progress: called with the number of pictures judged, and of all.

    Raises:
        ModelError: as `evaluate`.
        DependencyError: as `evaluate`.
        StorageError: the scores cannot be written.
    """
    settings = hole_set.settings
    [found] = find_engines([engine], settings)
    if found.reason:
        return make_absent(name, engine, found.reason)
    key = _make_key(found, hole_set)
    if known := _read_scores(folder, name, key):
        return known
    try:
        scores = _judge_engine(name, engine, hole_set, progress)
    except ModelError as error:  # it failed on every picture
        return make_absent(name, engine, str(error))
    _write_scores(folder, name, key, scores)
    return scores


def _judge_engine(name: str, engine: str, hole_set: HoleSet, progress: Progress | None) -> EngineScores:
    found = evaluate.evaluate([engine], hole_set.settings, progress)
    if found.settings["fingerprint"] != hole_set.fingerprint:
        raise DataError("the pictures changed while they were judged: start again")
    judged = tuple(replace(each, engine=name) for each in found.judged)
    notes = tuple(replace(note, engines=(name,) if note.engines else ()) for note in found.notes)
    results = fill_named_pictures(engine, hole_set, hole_set.shown)
    return EngineScores(replace(found.rows[0], engine=name), judged, results, notes)


def open_named_pictures(hole_set: HoleSet, names: Sequence[str]) -> dict[str, tuple[Pixels, Mask]]:
    """Open some pictures of a hole set: name → original and hole."""
    return Judge(replace(hole_set.settings, networks={})).open_named(hole_set.items, names)


def fill_named_pictures(engine: str, hole_set: HoleSet, names: Sequence[str]) -> dict[str, Pixels]:
    """Fill some pictures of a hole set; those that the engine cannot fill are left out."""
    settings = replace(hole_set.settings, networks={})
    engines = find_engines([engine], settings)
    judge, label = Judge(settings, engines), engines[0].label
    opened = judge.open_named(hole_set.items, names)
    fills = {name: judge.fill_again([label], name, *each) for name, each in opened.items()}
    return {name: fill[label] for name, fill in fills.items() if fill}


def make_examples(hole_set: HoleSet, scores: Mapping[str, EngineScores]) -> tuple[Example, ...]:
    """Return the pictures that every engine is shown with."""
    examples = []
    for name, opened in open_named_pictures(hole_set, hole_set.shown).items():
        results = {engine: each.results[name] for engine, each in scores.items() if name in each.results}
        values = {engine: each.psnr[name] for engine, each in scores.items() if name in each.psnr}
        examples.append(Example(hole_set.kind, name, *opened, results, values))
    return tuple(examples)


# ---- on disk -----------------------------------------------------------------------------------------------


def _make_key(engine: JudgedEngine, hole_set: HoleSet) -> dict[str, Any]:
    """Return everything that scores depend on."""
    settings = hole_set.settings
    networks = {}
    for kind, files in settings.networks.items():
        networks[kind] = [digest_files(Path(file)) for file in files]
    return {
        "engine": engine.digest or engine.source,
        "holes": hole_set.kind,
        "fingerprint": hole_set.fingerprint,
        "networks": networks,
        "device": settings.device,
        "shown": list(hole_set.shown),
        "version": VERSION,
    }


class _StoredScores(pydantic.BaseModel):
    """What `NAME.json` holds; the fills of `results` are stacked in `NAME.png`."""

    key: dict[str, Any]
    row: Row
    judged: tuple[Judged, ...]
    results: list[str]
    notes: tuple[Note, ...]


def _write_scores(folder: Path, name: str, key: dict[str, Any], scores: EngineScores) -> None:
    """Write scores: the pictures stacked in a PNG, then the figures, so that figures are never alone."""
    make_folder(folder)
    if scores.results:
        data = io.BytesIO()
        Image.fromarray(np.concatenate(list(scores.results.values()))).save(data, "PNG")
        write_atomic(folder / f"{name}.png", data.getvalue())
    stored = _StoredScores(
        key=key, row=scores.row, judged=scores.judged, results=list(scores.results), notes=scores.notes
    )
    write_atomic(folder / f"{name}.json", (json.dumps(stored.model_dump()) + "\n").encode())


def _read_scores(folder: Path, name: str, key: dict[str, Any]) -> EngineScores | None:
    """Read scores back; None where there are none with this key, or they are damaged."""
    try:
        stored = _StoredScores.model_validate(parse_json(read_file(folder / f"{name}.json")))
        if stored.key != key:
            return None
        results: dict[str, Pixels] = {}
        if stored.results:
            with Image.open(folder / f"{name}.png") as image:
                parts = np.split(np.asarray(image), len(stored.results))
            results = dict(zip(stored.results, parts, strict=True))
        return EngineScores(stored.row, stored.judged, results, stored.notes)
    except (InputError, OSError, ValueError):
        return None
