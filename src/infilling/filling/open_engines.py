"""Engines that stay open: one for all calls and threads of a process that name it."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from infilling.errors import InputError, SlowModelError
from infilling.filling.contract import Engine, check_opening, parse_device, require_engine
from infilling.filling.engine import find_engine, open_engine
from infilling.pictures.frame import SizeRule
from infilling.storage import MODEL_FILE

OPEN_ENGINES = 8
"""Number of engines, opened by name, that stay open for the next call."""


def keep_open(
    engine: str | Path | Engine,
    threads: int | None,
    device: str,
    adapter: str | None = None,
    *,
    external_data: bool = True,
) -> Engine:
    """Open an engine once by its name, and return the same one to every caller; an open engine is returned.

    A file that has changed is opened again; one that was not open at its deadline is not tried twice.

    Raises:
        ModelError, DependencyError, InputError: see `open_engine`.
    """
    if not isinstance(engine, str | Path):
        require_engine(engine)
        kind, place = parse_device(device)[0], getattr(engine, "device", None)
        if kind != "auto" and place not in (None, kind):
            raise InputError(f"{engine.name} is open on {place} already: open it on {device} to run it there")
        return engine
    path = Path(engine)
    try:
        about = (path / MODEL_FILE if path.is_dir() else path).stat()
    except (OSError, ValueError):  # a name of the table
        stamp = None
    else:
        stamp = (about.st_mtime_ns, about.st_size, os.getcwd())
    parse_device(device)
    check_opening(threads, adapter)
    with _OPENING:
        opened = _open_once(str(engine), stamp, threads, device, adapter, external_data)
    if isinstance(opened, SlowModelError):
        raise SlowModelError(str(opened))
    return opened


def open_ahead(
    picture: Path | None, engine: str | Path, threads: int | None, device: str, adapter: str | None = None
) -> None:
    """Begin to open an engine and to decode a picture on threads of their own, and load modules meanwhile.

    Reading, hashing, ONNX Runtime and Pillow work without Python's lock; importing needs the lock. So what
    opens a network is imported while its file is read, then what decodes, then what finishes its fills.
    Errors are not reported here: they occur again in `keep_open` and `decode`, which raise them.

    Args:
        picture: file to decode; None decodes nothing ahead.
        engine: as in `keep_open`, as what follows.
        threads: threads of a network.
        device: where a network runs.
        adapter: family of a network that others published.
    """

    def work() -> None:
        with suppress(BaseException):
            keep_open(engine, threads, device, adapter)

    entry = find_engine(str(engine))
    is_network = entry is None or entry.trained
    threading.Thread(target=work, daemon=True).start()  # Ctrl-C does not wait for it
    if is_network:
        _load("onnxruntime", "infilling.filling.foreign")
    if picture is not None:
        from infilling.pictures.files import decode_ahead  # loads Pillow, while the network opens

        decode_ahead(picture)
    if is_network:
        _load("numpy.random", "infilling.filling.finish")


def _load(*modules: str) -> None:
    with suppress(ImportError):
        for module in modules:
            import_module(module)


class WaitingEngine:
    """An engine that is waited for when it is asked for something: a picture is decoded meanwhile."""

    def __init__(self, open_engine: Callable[[], Engine], size_rule: SizeRule | None = None) -> None:
        """Take the function that returns the engine when it is open, and its size rule where it is known."""
        self._open_engine = open_engine
        if size_rule is not None:
            self.size_rule = size_rule

    def __getattr__(self, name: str) -> Any:
        return getattr(self._open_engine(), name)


_OPENING = threading.Lock()


@lru_cache(maxsize=OPEN_ENGINES)
def _open_once(
    name: str,
    stamp: tuple[int, int, str] | None,
    threads: int | None,
    device: str,
    adapter: str | None,
    external_data: bool,
) -> Engine | SlowModelError:
    try:
        return open_engine(name, threads=threads, device=device, adapter=adapter, external_data=external_data)
    except SlowModelError as error:
        if stamp is None:  # not of a caller's making
            raise
        return error
