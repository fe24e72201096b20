"""The table of engines by name, and how one is opened."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infilling.errors import DependencyError, InputError, ModelError, did_you_mean
from infilling.filling import models
from infilling.filling.contract import Engine, describe_missing, parse_device


@dataclass(frozen=True)
class EngineEntry:
    """A row of the table: what an engine does, how to make it, and what it needs beyond the base install."""

    summary: str
    make: Callable[[int | None], Engine]
    module: str | None = None
    extra: str | None = None


def open_engine(name_or_path: str | Path, *, threads: int | None = None, device: str = "auto") -> Engine:
    """Open an engine by its name in the table, or from an ONNX file that `infill export` wrote.

    Args:
        name_or_path: a name in `ENGINES` or `models.MODELS`, an ONNX file, or a run folder
            (its `model.onnx` is taken).
        threads: threads that a network may use; None takes all this process may run on.
        device: `auto`, `cpu`, `cuda` or `cuda:i`. Only networks run on anything but the CPU.

    Raises:
        ModelError: no such engine or file, or a file that is not a model of ours.
        DependencyError: an extra or a device provider is not installed.
        InputError: `threads` or `device` is not a value they can take.

    Example:
        >>> open_engine("telea").name
        'telea'
    """
    kind, _ = parse_device(device)
    if threads is not None and threads < 1:
        raise InputError(f"threads must be 1 or more, not {threads}")
    name = str(name_or_path)
    if name in ENGINES:
        if kind == "cuda":
            raise InputError(f"{name} runs on the CPU only: take device 'auto' or 'cpu', or a network")
        if reason := available(name):
            raise DependencyError(reason)
        return ENGINES[name].make(threads)

    from infilling.filling.network import NetworkEngine  # loads onnxruntime

    if name in models.MODELS:
        return NetworkEngine(models.download(name), name=name, threads=threads, device=device)
    path = Path(name_or_path)
    if (path / "model.onnx").is_file():
        return NetworkEngine(path / "model.onnx", name=path.resolve().name, threads=threads, device=device)
    if path.suffix.lower() == ".onnx" or path.is_file():
        return NetworkEngine(path, threads=threads, device=device)
    if path.is_dir():
        raise ModelError(f"no model.onnx in the folder {path}: export the run first")
    raise ModelError(_unknown(name))


def available(name: str) -> str | None:
    """Say why an engine cannot be opened here; None when it can.

    Example:
        >>> available("default") is None
        True
    """
    if name in models.MODELS:
        return models.unavailable(name)
    entry = ENGINES.get(name)
    if entry is None:
        return _unknown(name)
    if entry.module is None or importlib.util.find_spec(entry.module) is not None:
        return None
    return describe_missing(name, entry.module, entry.extra)


def suggest() -> str:
    """Say which engines fill holes anywhere.

    Example:
        >>> suggest().startswith("mean, push-pull, ")
        True
    """
    names = [name for name in (*ENGINES, *models.MODELS) if available(name) is None]
    return f"{', '.join(names)} fill holes anywhere"


def _unknown(name: str) -> str:
    known = [*models.MODELS, *ENGINES]
    return f"unknown engine {name!r}, and no .onnx file or run folder{did_you_mean(name, known)}"


def _classical(name: str) -> Callable[[int | None], Engine]:
    """Make a classical engine; none of them runs on several threads, so the number is not used."""

    def make(threads: int | None) -> Engine:
        from infilling.filling import classical

        return classical.make(name)

    return make


def _patches(threads: int | None) -> Engine:
    from infilling.filling import patches

    return patches.make()


ENGINES: dict[str, EngineEntry] = {
    "mean": EngineEntry("the mean colour of the known pixels", _classical("mean")),
    "push-pull": EngineEntry("smooth, from coarse to fine; fast at any size", _classical("push-pull")),
    "patch-synthesis": EngineEntry("sharp: copies patches of the same picture; slow", _patches),
    "telea": EngineEntry("fast marching (OpenCV)", _classical("telea"), "cv2", "classical"),
    "navier-stokes": EngineEntry("fluid dynamics (OpenCV)", _classical("navier-stokes"), "cv2", "classical"),
    "biharmonic": EngineEntry("thin plate (scikit-image)", _classical("biharmonic"), "skimage", "classical"),
}
"""Engines that are code. Those that are network files stand in `models.MODELS`."""
