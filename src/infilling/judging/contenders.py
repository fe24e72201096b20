"""Who is judged: names, ONNX files and run folders become engines with a label each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from infilling.errors import ConfigError, DependencyError, ModelError
from infilling.filling.contract import Engine
from infilling.filling.engine import ENGINES, open_engine, suggest
from infilling.filling.models import MODELS
from infilling.pictures import holes

HoleSpec = str | Path | Mapping[str, float]
"""Holes as `holes.make` takes them."""


@dataclass(frozen=True)
class Contender:
    """An engine to judge.

    Attributes:
        label: how tables call it; unique.
        asked: what was asked for.
        source: what `open_engine` takes: a name in its table or an ONNX file.
        reason: why it cannot be judged here; None if it can.
    """

    label: str
    asked: str
    source: str
    reason: str | None = None

    def open(self, threads: int | None, device: str) -> Engine:
        """Opens the engine; what is not a network runs on the CPU whatever the device."""
        device = "auto" if self.source in ENGINES else device
        return open_engine(self.source, threads=threads, device=device)


def find_contenders(
    engines: Sequence[str | Path], spec: HoleSpec, *, threads: int | None = None, device: str = "auto"
) -> tuple[Contender, ...]:
    """Finds each engine and opens it once, so that a wrong name or file ends the evaluation before it starts.

    An engine whose extra is not installed, or that cannot fill such holes, stays in with a reason.

    Args:
        engines: names in the table of engines, ONNX files, or RUN folders. A run that has no `model.onnx`, or
            one that is older than its newest checkpoint, is exported first.
        spec: which holes they will be given.
        threads: as `open_engine` takes them.
        device: as `open_engine` takes it.

    Raises:
        ModelError: an unknown name, or a file or folder without a model.
        ConfigError: no engines.
    """
    if not engines:
        raise ConfigError("no engine to judge: name at least one, such as telea or a RUN folder")
    found: list[Contender] = []
    for asked in map(str, engines):
        contender = _find(asked)
        label, number = contender.label, 1
        while any(other.label == contender.label for other in found):
            number += 1
            contender = replace(contender, label=f"{label} ({number})")
        found.append(_try(contender, spec, threads, device))
    return tuple(found)


def _find(asked: str) -> Contender:
    path = Path(asked)
    if asked in ENGINES or asked in MODELS:
        return Contender(asked, asked, asked)
    if path.is_dir():
        return Contender(path.resolve().name, asked, str(_export_if_stale(path)))
    label = path.stem if path.suffix.lower() == ".onnx" else asked
    return Contender(path.resolve().parent.name if label == "model" else label, asked, asked)


def _try(contender: Contender, spec: HoleSpec, threads: int | None, device: str) -> Contender:
    try:
        engine = contender.open(threads, device)
    except DependencyError as error:
        return replace(contender, reason=str(error))
    if engine.size_rule.holes == "center" and set(holes.parse(spec)) != {"center"}:
        return replace(contender, reason=f"fills the centre only, not {spec} holes; {suggest()}")
    return contender


def _export_if_stale(run: Path) -> Path:
    """Gives the model of a run; exports it if there is none or it is older than the newest checkpoint."""
    model = run / "model.onnx"
    saved = [weights.stat().st_mtime for weights in run.glob("checkpoint/*/weights.safetensors")]
    if model.is_file() and model.stat().st_mtime >= max(saved, default=0.0):
        return model
    if not saved:
        raise ModelError(f"nothing to judge in {run}: it holds neither model.onnx nor a checkpoint")
    try:
        from infilling.learning.export import export
    except ImportError as error:
        reason = f"exporting {run} needs {error.name}: pip install 'infilling[train]'"
        raise DependencyError(reason) from error
    return export(run, model)
