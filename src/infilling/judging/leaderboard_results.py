"""Results of a leaderboard: values without behaviour beyond looking them up, and the order of its rows."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from infilling.judging import figures
from infilling.judging.losses import GanLosses
from infilling.judging.metrics import RANKED_BY
from infilling.judging.results import Evaluation, Example, Row
from infilling.judging.scores import EngineScores
from infilling.judging.training_runs import Cost, TrainingResult


@dataclass(frozen=True, eq=False)
class Entry:
    """An engine of the leaderboard, and what it took to make it.

    Attributes:
        name: name of its row.
        system: table `[system]` of its config; empty for what was not trained here.
        cost: cost of its network; None for what was not trained here.
        training: how its training ended; None for what was not trained here.
        losses: losses of its generator and discriminator; None without an adversary.
    """

    name: str
    system: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost | None = None
    training: TrainingResult | None = None
    losses: GanLosses | None = None


@dataclass(frozen=True, eq=False)
class HoleResults:
    """All engines on one kind of holes.

    Attributes:
        kind: kind of holes.
        scores: engine → its scores, in the order of the entries.
        evaluation: the rows, best first, with their differences from the baseline, and the examples.
    """

    kind: str
    scores: Mapping[str, EngineScores]
    evaluation: Evaluation

    @cached_property
    def rows(self) -> dict[str, Row]:
        """Engine → its figures."""
        return {row.engine: row for row in self.evaluation.rows}

    @property
    def winner(self) -> Row | None:
        """The row with the highest hole PSNR; None without figures."""
        able = filter(lambda row: row.pictures, self.evaluation.rows)
        return max(able, key=lambda row: row.values[RANKED_BY], default=None)

    @property
    def baseline(self) -> Row | None:
        """The classical engine that others are compared with; None where it was not judged."""
        row = figures.find_baseline(self.evaluation.rows)
        return row if row and row.source == figures.BASELINE else None


class SceneClass(NamedTuple):
    """A class of pictures.

    Attributes:
        group: name of the class.
        pictures: number of its pictures.
        values: hole PSNR in dB by each of the ranking's engines.
        example: its median picture; None for classes that are neither among the easiest nor the hardest.
    """

    group: str
    pictures: int
    values: tuple[float, ...]
    example: Example | None


@dataclass(frozen=True, eq=False)
class SceneRanking:
    """Which kinds of scene are easy and which are hard.

    Attributes:
        engines: the engine whose figures decide, and the baseline beside it, if there is one.
        kind: kind of holes.
        pictures: number of pictures judged.
        ranked: the easiest class first.
    """

    engines: tuple[str, ...]
    kind: str
    pictures: int
    ranked: tuple[SceneClass, ...]

    @property
    def engine(self) -> str:
        """The engine whose figures decide."""
        return self.engines[0]


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """Everything that is shown.

    Attributes:
        entries: the engines, best first.
        results: one per kind of holes, in the order asked for.
        scenes: the ranking of classes; None without classes.
        settings: what was trained and judged on what, as plain values.
        notes: what a reader must know.
    """

    entries: tuple[Entry, ...]
    results: tuple[HoleResults, ...]
    scenes: SceneRanking | None
    settings: Mapping[str, Any]
    notes: tuple[str, ...]


def rank_engines(scores: Iterable[Mapping[str, EngineScores]]) -> dict[str, float]:
    """Return how far each engine is above the median of all, in dB of hole PSNR, as the mean over the holes.

    So an engine that fills only some kinds of holes is compared with others on those.

    Args:
        scores: engine → its scores, for each kind of holes.

    Returns:
        Engine → dB, the best first; NaN, and last, for engines without figures.
    """
    above: dict[str, list[float]] = defaultdict(list)
    for by_engine in scores:
        values = np.array([each.row.get(RANKED_BY) for each in by_engine.values()])
        for name, value in zip(by_engine, values - figures.average_known(np.median, values), strict=True):
            above[name].append(value)
    means = {name: figures.average_known(np.mean, np.array(values)) for name, values in above.items()}
    return dict(sorted(means.items(), key=lambda pair: (math.isnan(pair[1]), -pair[1])))
