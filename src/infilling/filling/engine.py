"""The Engine contract, and the table of engines by name."""

import difflib
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np

from infilling.errors import DependencyError, InputError, ModelError
from infilling.filling import models
from infilling.pictures.frame import FloatArray, SizeRule
from infilling.pictures.mask import Mask


class Engine(Protocol):
    """Anything that fills holes: what it is called, the sizes it takes, and `fill`.

    One engine may be called from several threads at once.
    """

    @property
    def name(self) -> str: ...

    @property
    def size_rule(self) -> SizeRule: ...

    def fill(self, image: FloatArray, mask: FloatArray) -> FloatArray:
        """Fill the holes of a batch.

        Args:
            image: (N, 3, H, W) in [0, 1]; what the hole hides is ignored. Not written to.
            mask: (N, 1, H, W), 1 in the hole and 0 elsewhere.

        Returns:
            (N, 3, H, W) in [0, 1], a new array. Its known pixels may differ from the image's.
        """
        ...


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
    return _missing(name, entry.module, entry.extra)


def check_batch(image: FloatArray, mask: FloatArray) -> None:
    """Refuse arrays that are no batch as `Engine.fill` takes it.

    Raises:
        InputError: shapes or types are not those of the contract; the message shows both shapes.
    """
    fits = image.ndim == 4 and image.shape[1] == 3 and mask.shape == (len(image), 1, *image.shape[2:])
    if not fits or image.size == 0:
        raise InputError(
            "an engine takes an image (N, 3, H, W) and a mask (N, 1, H, W), "
            f"not {image.shape} and {mask.shape}"
        )
    if image.dtype != np.float32 or mask.dtype != np.float32:
        raise InputError(f"an engine takes float32 arrays, not {image.dtype} and {mask.dtype}")


def check_hole(engine: Engine, hole: Mask) -> None:
    """Refuse a hole that an engine cannot fill: one that is not the centre, where it fills the centre only.

    Args:
        engine: what is to fill.
        hole: (H, W) bool, of the whole picture.

    Raises:
        InputError: the message names the engine, and others that can.
    """
    if engine.size_rule.holes != "center":
        return
    from infilling.pictures import holes

    if not np.array_equal(hole, holes.center(*hole.shape)):
        raise InputError(
            f"{engine.name} fills only the centre of a picture, half of each side, and this hole is another; "
            f"{suggest()}"
        )


def suggest() -> str:
    """Say which engines fill holes anywhere.

    Example:
        >>> suggest().startswith("mean, push-pull, ")
        True
    """
    names = [name for name in (*ENGINES, *models.MODELS) if available(name) is None]
    return f"{', '.join(names)} fill holes anywhere"


def parse_device(device: str) -> tuple[str, int]:
    """Split `auto`, `cpu`, `cuda` or `cuda:i` into a kind and an index.

    Example:
        >>> parse_device("cuda:1")
        ('cuda', 1)
    """
    kind, colon, index = device.partition(":")
    if device in ("auto", "cpu", "cuda"):
        return kind, 0
    if kind == "cuda" and colon and index.isascii() and index.isdigit():
        return kind, int(index)
    raise InputError(f"device must be auto, cpu, cuda or cuda:0, cuda:1, …, not {device!r}")


def require(module: str, who: str, extra: str) -> ModuleType:
    """Import an optional package, or say in one line what to install.

    Raises:
        DependencyError: it is missing, or it is there and does not load.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DependencyError(_missing(who, module, extra)) from error


def _missing(who: str, module: str, extra: str | None) -> str:
    package = {"cv2": "OpenCV", "skimage": "scikit-image"}.get(module.partition(".")[0], module)
    return f"{who} needs {package}: pip install 'infilling[{extra}]'"


def _unknown(name: str) -> str:
    known = sorted([*ENGINES, *models.MODELS])
    near = difflib.get_close_matches(name, known, n=3)
    if near:
        return f"unknown engine {name!r}: did you mean {' or '.join(near)}?"
    return f"unknown engine {name!r}: take one of {', '.join(known)}, or an .onnx file"


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
