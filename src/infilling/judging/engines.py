"""Names, ONNX files and run folders as engines to judge, each with a label of its own."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from infilling.errors import ConfigError, DependencyError, ModelError
from infilling.filling.contract import Engine, find_digest, find_teachers, require_torch
from infilling.filling.engine import find_engine, name_engines, open_engine, suggest
from infilling.filling.models import MODELS
from infilling.judging.settings import EvaluationSettings
from infilling.pictures import holes
from infilling.storage import MODEL_FILE


@dataclass(frozen=True)
class JudgedEngine:
    """An engine to judge.

    Attributes:
        label: its name in tables, unique.
        asked: what was asked for.
        source: what `open_engine` takes: a name in its table or an ONNX file.
        digest: SHA-256 of its file; None for engines without a file.
        taught_by: kinds of the feature networks that it learned from.
        reason: why it cannot be judged here; None if it can.
    """

    label: str
    asked: str
    source: str
    digest: str | None = None
    taught_by: tuple[str, ...] = ()
    reason: str | None = None

    def open(self, settings: EvaluationSettings) -> Engine:
        """Open the engine; what is not a network runs on the CPU whatever the device."""
        row = find_engine(self.source)
        device = settings.device if row is None or row.uses_device else "auto"
        return open_engine(self.source, threads=settings.threads_each, device=device)


def find_engines(engines: Sequence[str | Path], settings: EvaluationSettings) -> tuple[JudgedEngine, ...]:
    """Find each engine and open it once, so that a wrong name ends the evaluation before it starts.

    An engine whose extra is not installed, or that cannot fill such holes, is returned with a reason.

    Args:
        engines: names in the table of engines, ONNX files, or RUN folders. A run without `model.onnx`, or
            with one that is older than its newest checkpoint, is exported first.
        settings: the holes that they will be given, and how they are opened.

    Raises:
        ModelError: an unknown name, or a file or folder without a model.
        ConfigError: no engines.
    """
    if not engines:
        raise ConfigError("no engine to judge: name at least one, such as telea or a RUN folder")
    found: list[JudgedEngine] = []
    for label, asked in zip(name_engines(engines), map(str, engines), strict=True):
        is_run = os.path.isdir(asked) and find_engine(asked) is None
        source = str(_export_if_stale(Path(asked))) if is_run else asked
        found.append(_open_once(JudgedEngine(label, asked, source), settings))
    return tuple(found)


def _open_once(engine: JudgedEngine, settings: EvaluationSettings) -> JudgedEngine:
    try:
        opened = engine.open(settings)
    except DependencyError as error:
        return replace(engine, reason=str(error))
    if opened.size_rule.holes == "center" and set(holes.parse_mix(settings.holes)) != {"center"}:
        return replace(engine, reason=f"fills the centre only, not {settings.holes} holes; {suggest()}")
    digest = find_digest(opened)
    released = {model.sha256: model.taught_by for model in MODELS.values()}
    taught_by = find_teachers(opened) or released.get(digest or "", ())
    return replace(engine, digest=digest, taught_by=taught_by)


def _export_if_stale(run: Path) -> Path:
    """Return the model of a run; export it if it is missing or older than the newest checkpoint."""
    model = run / MODEL_FILE
    saved = [weights.stat().st_mtime for weights in run.glob("checkpoint/*/weights.safetensors")]
    if model.is_file() and model.stat().st_mtime >= max(saved, default=0.0):
        return model
    if not saved:
        raise ModelError(f"nothing to judge in {run}: it holds neither {MODEL_FILE} nor a checkpoint")
    require_torch(f"exporting {run}")
    from infilling.learning.export import export_model

    return export_model(run, model)
