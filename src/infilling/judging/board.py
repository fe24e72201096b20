"""What a leaderboard holds: values without behaviour beyond looking them up, and the order of its rows."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from infilling.judging.entrants import Cost, Training
from infilling.judging.losses import Match
from infilling.judging.report import BASELINE
from infilling.judging.results import Cell, Evaluation, Example
from infilling.judging.standings import JUDGED_BY, Standing

CONFIDENT = 1.96
"""Standard errors to each side that hold 95 % of a normal distribution."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A row: an engine, and what it took to make.

    Attributes:
        name: how the tables call it.
        system: its table of the config, with the system's name; empty for what was not trained here.
        cost: of its network; None for what was not trained here.
        training: how that ended; None for what was not trained here.
        match: between its generator and its discriminator; None without one.
    """

    name: str
    system: Mapping[str, Any]
    cost: Cost | None = None
    training: Training | None = None
    match: Match | None = None


@dataclass(frozen=True, eq=False)
class Round:
    """All engines on one kind of holes.

    Attributes:
        kind: of holes.
        standings: engine → how it did, in the order of the entries.
        evaluation: their rows, best first, as pages and tables take them.
    """

    kind: str
    standings: Mapping[str, Standing]
    evaluation: Evaluation


class Scene(NamedTuple):
    """A class of pictures: how many, hole PSNR in dB of the engine in question and of the baseline.

    `example` is the one in the middle; None for classes that are neither among the easiest nor the hardest.
    """

    group: str
    pictures: int
    value: float
    baseline: float
    example: Example | None


@dataclass(frozen=True, eq=False)
class Scenes:
    """Which kinds of scene are easy and which are hard.

    Attributes:
        engine: whose figures decide.
        baseline: whose stand beside them; None without.
        kind: of holes.
        pictures: how many were judged.
        ranked: the easiest first.
    """

    engine: str
    baseline: str | None
    kind: str
    pictures: int
    ranked: tuple[Scene, ...]


@dataclass(frozen=True, eq=False)
class Board:
    """Everything that is shown; entries stand best first, `rounds` in the order asked for."""

    entries: tuple[Entry, ...]
    rounds: tuple[Round, ...]
    scenes: Scenes | None
    settings: Mapping[str, Any]
    notes: tuple[str, ...]


class Difference(NamedTuple):
    """Of two engines on the same pictures, in dB: the mean, and 95 % of its error to each side."""

    mean: float
    margin: float


def compare(mine: Mapping[str, float], theirs: Mapping[str, float]) -> Difference | None:
    """Compares two engines picture by picture; None where they share none.

    >>> compare({"a": 21.0, "b": 23.0}, {"a": 20.0, "b": 20.0})
    Difference(mean=2.0, margin=1.96)
    """
    differences = np.array([mine[name] - theirs[name] for name in mine if name in theirs])
    if not differences.size:
        return None
    deviation = differences.std(ddof=1) if differences.size > 1 else math.nan
    return Difference(float(differences.mean()), float(CONFIDENT * deviation / math.sqrt(differences.size)))


def find_rival(standings: Mapping[str, Standing]) -> str | None:
    """The engine that the others are compared with: the classical bar, where it was judged."""
    return BASELINE if BASELINE in standings and standings[BASELINE].scores else None


def rank(standings: Mapping[str, Mapping[str, Standing]]) -> dict[str, float]:
    """Says how far each engine is above the middle of all, in dB of hole PSNR, as the mean over the holes.

    So an engine that fills some kinds of holes only is compared with others on those.

    Args:
        standings: kind of holes → engine → how it did.

    Returns:
        Engine → dB, the best first; NaN, and last, without any figures.
    """
    above: dict[str, list[float]] = {}
    for course in standings.values():
        values = {name: get_value(each) for name, each in course.items()}
        known = [value for value in values.values() if not math.isnan(value)]
        middle = float(np.median(known)) if known else math.nan
        for name, value in values.items():
            above.setdefault(name, [])
            if not math.isnan(value):
                above[name].append(value - middle)
    means = {name: float(np.mean(found)) if found else math.nan for name, found in above.items()}
    return dict(sorted(means.items(), key=lambda pair: math.inf if math.isnan(pair[1]) else -pair[1]))


def get_value(found: Standing | Cell, name: str = JUDGED_BY) -> float:
    """A figure of an engine or of a group; NaN where there is none."""
    values = found.row.values if isinstance(found, Standing) else found.values
    return values.get(name, math.nan)
