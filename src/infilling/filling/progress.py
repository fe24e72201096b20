"""How far a fill is, reported from inside the pipeline to whoever watches it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

Watcher: TypeAlias = Callable[[float, float], None]
"""Called with the work that is done and the whole work, in the same unit; what it raises ends the fill."""

_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watch(watcher: Watcher) -> Iterator[None]:
    """Let `watcher` follow the fills of this thread.

    Example:
        >>> seen = []
        >>> with watch(lambda done, total: seen.append(done / total)):
        ...     report(1, 4)
        >>> seen
        [0.25]
    """
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


@contextmanager
def share(done: float, work: float, total: float) -> Iterator[None]:
    """Report a part of the work as that part of the whole.

    Args:
        done: work that was done before it.
        work: its own.
        total: the whole work, in the same unit.

    Example:
        >>> seen = []
        >>> with watch(lambda done, total: seen.append(done / total)), share(1, 2, 4):
        ...     report(1, 2)
        >>> seen
        [0.5]
    """
    outer = _WATCHER.get()
    if outer is None:
        yield
        return
    with watch(lambda part, parts: outer(done + work * part / max(parts, 1e-9), total)):
        yield


def report(done: float, total: float) -> None:
    """Tell whoever watches how much of the work is done; without a watcher nothing happens."""
    watcher = _WATCHER.get()
    if watcher is not None:
        watcher(done, total)
