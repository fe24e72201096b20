"""The table of engines by name, and how one is opened."""

import importlib.util
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from pathlib import Path

from infilling.errors import DependencyError, InputError, ModelError, check_argument, did_you_mean
from infilling.filling import models
from infilling.filling.contract import Engine, check_opening, describe_missing, parse_device
from infilling.filling.models import Model
from infilling.pictures.frame import SizeRule
from infilling.storage import MODEL_FILE


@dataclass(frozen=True)
class EngineEntry:
    """A row of the table: what an engine is, and how to make it.

    Attributes:
        summary: what it does, in a few words.
        make: opens it with a number of threads (None: all) on a device.
        module: package that it needs beyond the base install.
        extra: extra of this package that installs it.
        trained: whether it is a network that learned from pictures.
        uses_device: whether it can run on anything but the CPU.
        seeded: whether another seed may give another fill.
        model: the file that it reads, with its digest and its adapter; None for an engine that is code.
        title: what people who do not know its name would call it; empty where the name says enough.
    """

    summary: str
    make: Callable[[int | None, str], Engine]
    module: str | None = None
    extra: str | None = None
    trained: bool = False
    uses_device: bool = False
    seeded: bool = False
    model: Model | None = None
    title: str = ""


def list_engines() -> dict[str, EngineEntry]:
    """Return every engine by name: the methods that are code, then the models."""
    networks = {
        name: EngineEntry(
            model.summary,
            partial(_open_model, name),
            trained=True,
            uses_device=True,
            seeded=True,
            model=model,
            title=model.title,
        )
        for name, model in models.MODELS.items()
        if model.is_engine
    }
    return {**ENGINES, **networks}


def find_engine(name: str) -> EngineEntry | None:
    """Return the row of an engine; None if the table has no such name."""
    return list_engines().get(str(name))


def find_size_rule(name: object) -> SizeRule | None:
    """Return the size rule of a network of our own by its name in the table; None: it has to be opened."""
    entry = find_engine(str(name))
    return entry.model.size_rule if entry and entry.model else None


def open_engine(
    name_or_path: str | Path,
    *,
    threads: int | None = None,
    device: str = "auto",
    adapter: str | None = None,
    external_data: bool = True,
) -> Engine:
    """Open an engine by its name in the table, or from an ONNX file: of `infill export`, or of others.

    Args:
        name_or_path: a name in the table, an ONNX file, or a run folder (its `model.onnx` is taken).
        threads: threads that a network may use; None takes all this process may run on.
        device: `auto`, `cpu`, `cuda` or `cuda:i`. Only networks run on anything but the CPU.
        adapter: family of a network that others published; None recognises it. See `families.FAMILIES`.
        external_data: let such a file keep its weights in files beside it.

    Raises:
        ModelError: no such engine or file, or a network that is not known.
        DependencyError: an extra or a device provider is not installed.
        InputError: `threads` or `device` is not a value they can take.

    Example:
        >>> open_engine("telea").name
        'telea'
    """
    parse_device(device)
    if not isinstance(name_or_path, str | Path):
        raise ModelError(f"an engine is opened by its name or path, not by {type(name_or_path).__name__}")
    check_opening(threads, adapter)
    check_argument("external_data", external_data, bool, "True or False")
    entry = find_engine(str(name_or_path))
    if entry is not None:
        _require_usable(str(name_or_path), entry, device, adapter)
        return entry.make(threads, device)
    path, label = _find_file(Path(name_or_path))

    from infilling.filling.foreign import open_network  # loads onnxruntime

    return open_network(
        path, name=label, threads=threads, device=device, adapter=adapter, external_data=external_data
    )


def _require_usable(name: str, entry: EngineEntry, device: str, adapter: str | None) -> None:
    """Refuse an engine that cannot be opened here, or not as it is asked for; see `open_engine`."""
    if parse_device(device)[0] == "cuda" and not entry.uses_device:
        raise InputError(f"{name} runs on the CPU only: take device 'auto' or 'cpu', or a network")
    if adapter is not None:
        raise InputError(f"{name} needs no adapter: that is for files of networks")
    if reason := available(name):
        raise ModelError(reason) if entry.model else DependencyError(reason)


def available(name: str) -> str | None:
    """Return why an engine cannot be opened here; None when it can.

    Example:
        >>> available("default") is None
        True
    """
    check_argument("name", name, str | Path, "the name of an engine")
    entry = find_engine(name)
    if entry is None:
        return _refuse(name)
    if entry.model is not None:
        return models.unavailable(name)
    if entry.module is None or importlib.util.find_spec(entry.module) is not None:
        return None
    return describe_missing(name, entry.module, entry.extra)


def suggest() -> str:
    """Return which engines fill holes anywhere.

    Example:
        >>> suggest().startswith("patch-synthesis, push-pull")
        True
    """
    names = [name for name in list_engines() if available(name) is None]
    return f"{', '.join(names)} fill holes anywhere"


def name_engine(asked: str | Path) -> str:
    """Return what an engine is called: its name, its file's stem, or the folder of its run."""
    path = Path(asked)
    if find_engine(str(asked)) is not None or not os.path.exists(path):
        return str(asked)
    if os.path.isdir(path):
        return path.resolve().name
    return path.resolve().parent.name if path.name == MODEL_FILE else path.stem


def name_engines(asked: Sequence[str | Path]) -> list[str]:
    """Return what engines are called side by side: of one name, all but the first get a number.

    >>> name_engines(["telea", "mean", "telea"])
    ['telea', 'mean', 'telea (2)']
    """
    names: list[str] = []
    for name in map(name_engine, asked):
        numbered = (f"{name} ({number})" for number in count(2))
        names.append(next(each for each in chain([name], numbered) if each not in names))
    return names


def _find_file(path: Path) -> tuple[Path, str]:
    """Return the file of a network, and what the engine is called.

    Raises:
        ModelError: there is none.
    """
    try:
        if (path / MODEL_FILE).is_file():
            return path / MODEL_FILE, name_engine(path)
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, ValueError):  # a name that no file can have
        is_file = is_folder = False
    if is_file or path.suffix.lower() == ".onnx":
        return path, name_engine(path)
    if is_folder:
        raise ModelError(f"no {MODEL_FILE} in the folder {path}: export the run first")
    raise ModelError(_refuse(str(path)))


def _refuse(name: str) -> str:
    known = [name for name, entry in list_engines().items() if entry.model] + [*ENGINES]
    short = str(name)[:200]
    return f"unknown engine {short!r}, and no .onnx file or run folder{did_you_mean(short, known)}"


def _open_model(name: str, threads: int | None, device: str) -> Engine:
    path, content = models.read_model(name)

    from infilling.filling.foreign import open_network

    model = models.find_model(name)
    return open_network(path, content=content, name=name, threads=threads, device=device, model=model)


def _classical(name: str) -> Callable[[int | None, str], Engine]:
    """Return what makes a classical engine; none of them uses several threads or another device."""

    def make(threads: int | None, device: str) -> Engine:
        from infilling.filling import classical

        return classical.make_method(name)

    return make


def _patches(threads: int | None, device: str) -> Engine:
    from infilling.filling import patches

    return patches.make_engine()


ENGINES: dict[str, EngineEntry] = {
    "patch-synthesis": EngineEntry(
        "sharp: copies patches of the same picture; slow", _patches, seeded=True, title="Copy texture"
    ),
    "push-pull": EngineEntry(
        "smooth, from coarse to fine; fast at any size", _classical("push-pull"), title="Smooth"
    ),
    "telea": EngineEntry("fast marching (OpenCV)", _classical("telea"), "cv2", "classical", title="Classic"),
    "navier-stokes": EngineEntry(
        "fluid dynamics (OpenCV)", _classical("navier-stokes"), "cv2", "classical", title="Classic flow"
    ),
    "biharmonic": EngineEntry(
        "thin plate (scikit-image)", _classical("biharmonic"), "skimage", "classical", title="Classic plate"
    ),
    "mean": EngineEntry("the mean colour of the known pixels", _classical("mean"), title="Flat"),
}
"""Engines that are code. Those that are network files are in `models.MODELS`."""
