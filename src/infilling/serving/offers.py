"""The engines that a server offers: named once at the start, opened when first asked for, shared by all."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from infilling.errors import DependencyError, did_you_mean
from infilling.filling.contract import Engine
from infilling.filling.engine import ENGINES, available, open_engine
from infilling.filling.models import list_models
from infilling.serving.problems import Problem

UNBOUNDED = {"biharmonic"}
"""Engines whose memory grows beyond any bound with the hole: offered only where they are asked for."""


@dataclass(frozen=True)
class Offer:
    """An engine by the name that callers use, in one line, and how to open it with so many threads."""

    name: str
    summary: str
    open: Callable[[int], Engine]


class Offers:
    """The table of offers, and the engines that are open. Safe to use from several threads."""

    def __init__(self, offers: Iterable[Offer], threads: int) -> None:
        """Take the offers; the first is the default.

        Args:
            offers: at least one.
            threads: for each engine's calls.
        """
        self.table: Mapping[str, Offer] = {offer.name: offer for offer in offers}
        self.default = next(iter(self.table))
        self._threads = threads
        self._opened: dict[str, Engine] = {}
        self._lock = threading.Lock()

    def find(self, name: str | None, field: str = "engine") -> Offer:
        """The offer of this name. None names the first, and so does `default` if that model is not offered.

        Raises:
            Problem: there is none.
        """
        if name is None or (name == "default" and name not in self.table):
            return self.table[self.default]
        if name not in self.table:
            hint = did_you_mean(name[:80], self.table)
            raise Problem("invalid", f"engine {name[:80]!r} is not offered here{hint}", field=field)
        return self.table[name]

    def open(self, offer: Offer) -> Engine:
        """The engine of an offer, opened at the first call."""
        with self._lock:
            if offer.name not in self._opened:
                self._opened[offer.name] = offer.open(self._threads)
            return self._opened[offer.name]


def list_offers(names: Iterable[str], device: str = "auto") -> list[Offer]:
    """The offers for names, ONNX files and run folders; without any, all that can be used here.

    Raises:
        DependencyError: an engine that is named needs a package that is not installed.
    """
    summaries = {name: entry.summary for name, entry in ENGINES.items()}
    models = {state.name: state for state in list_models()}
    summaries |= {name: state.model.summary for name, state in models.items()}
    wanted = list(names)
    if not wanted:
        here = [name for name, state in models.items() if state.state != "missing"]  # nothing is downloaded
        wanted = [*here, *(n for n in ENGINES if n not in UNBOUNDED and not available(n))]
    offers = {}
    for name in wanted:
        known = name in summaries
        if known and (reason := available(name)):
            raise DependencyError(reason)
        path = Path(name)
        label = name if known else path.stem if path.is_file() else path.resolve().name
        summary = summaries.get(name, "a network of this server's own")
        offers[label] = Offer(label, summary, partial(_open, name, "auto" if name in ENGINES else device))
    return list(offers.values())


def _open(name: str, device: str, threads: int) -> Engine:
    return open_engine(name, threads=threads, device=device)
