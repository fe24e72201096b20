"""The engines that a server offers: named once at the start, opened by the worker processes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from infilling.errors import DependencyError, collect_warnings, did_you_mean, warn
from infilling.filling import engine
from infilling.filling.contract import Engine
from infilling.filling.engine import EngineEntry, available
from infilling.filling.open_engines import keep_open
from infilling.filling.workers import Progress
from infilling.serving.problems import Problem

UNBOUNDED = {"biharmonic"}
"""Engines whose memory has no bound but the hole's size: offered only where they are asked for."""

OWN_NETWORK = "a network of this server's own"


@dataclass(frozen=True)
class OfferedEngine:
    """An engine that callers may choose.

    Attributes:
        name: what callers call it.
        title: what people who do not know the name would call it.
        summary: one line about it.
        source: a name in the table, an ONNX file, a run folder, or an engine that is open.
        device: where it runs, as `open_engine` takes it.
        seeded: whether another seed may give another fill.
    """

    name: str
    title: str
    summary: str
    source: str | Engine
    device: str = "auto"
    seeded: bool = True

    def open(self, threads: int) -> Engine:
        """Return the engine, opened once in each process, and report each time what speaks against it.

        Raises:
            ModelError, DependencyError: it cannot be opened.
        """
        opened = keep_open(self.source, threads, self.device, external_data=False)
        if doubt := getattr(opened, "doubt", ""):
            warn(doubt)
        return opened


def open_offered(progress: Progress, engine: OfferedEngine, threads: int) -> list[str]:
    """Open an engine in a worker, which imports this module alone, and return what it warns of."""
    with collect_warnings() as warned:
        engine.open(threads)
    return warned


class EngineList:
    """The engines that a server offers, at least one, by name; the first is the default."""

    def __init__(self, engines: Iterable[OfferedEngine]) -> None:
        self.table: Mapping[str, OfferedEngine] = {each.name: each for each in engines}
        self.default = next(iter(self.table))
        self._named = {"default": self.table[self.default], **self.table}

    def find(self, name: str | None, field: str = "engine") -> OfferedEngine:
        """Return the engine of this name.

        Args:
            name: None is the first, and so is `default` if the model of that name is not offered.
            field: the request's field that a problem names.

        Raises:
            Problem: there is none.
        """
        if name is None:
            name = self.default
        if name not in self._named:
            text = f"engine {name[:80]!r} is not offered here{did_you_mean(name[:80], self.table)}"
            raise Problem("invalid", text, field=field)
        return self._named[name]


def offer_engines(names: Iterable[str], device: str = "auto") -> list[OfferedEngine]:
    """Return the engines of these names, ONNX files and run folders; without any, all that can be used here.

    Raises:
        DependencyError: an engine that is named needs a package that is not installed.
    """
    table = engine.list_engines()
    wanted = list(names)
    if not wanted:
        here = [name for name in table if name not in UNBOUNDED and available(name) is None]
        wanted = sorted(here, key=lambda name: (name != "default", not table[name].trained))
    wanted = list(dict.fromkeys(wanted))
    labels = engine.name_engines(wanted)
    return [_offer(name, label, table.get(name), device) for name, label in zip(wanted, labels, strict=True)]


def _offer(name: str, label: str, entry: EngineEntry | None, device: str) -> OfferedEngine:
    """Return an engine of the table, or a network of this server's own, as callers see it."""
    if entry is None:
        return OfferedEngine(label, label, OWN_NETWORK, name, device)
    if reason := available(name):
        raise DependencyError(reason)
    where = device if entry.uses_device else "auto"
    return OfferedEngine(label, entry.title or label, entry.summary, name, where, entry.seeded)
