"""Results of an evaluation: values with hardly any behaviour, from one picture up to the whole."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from infilling.learning.picture_items import Skipped
from infilling.pictures.mask import Mask

Pixels = npt.NDArray[np.uint8]  # (H, W, 3) RGB
Terms = tuple[float, float]  # numerator and denominator of one picture's share of a ratio


@dataclass(frozen=True)
class Judged:
    """The figures of one engine on one picture.

    Attributes:
        engine: label of the engine.
        name: path of the picture inside its folder or shard.
        group: class of the picture, "" without one.
        area: share of the picture that the hole takes, in (0, 1).
        area_bin: bin of that share, as `holes.area_bin` names it.
        seconds: duration of the fill, without decoding and judging.
        values: metric → value; NaN where there was nothing to judge.
        terms: metric → numerator and denominator, of metrics that are a ratio of two sums.
    """

    engine: str
    name: str
    group: str
    area: float
    area_bin: str
    seconds: float
    values: Mapping[str, float]
    terms: Mapping[str, Terms] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A picture that an engine did not fill, and why."""

    engine: str
    name: str
    reason: str


@dataclass(frozen=True)
class Note:
    """Something that a reader of the figures must know.

    Attributes:
        text: what it is about: "no fid".
        engines: labels of the engines that it is true of; empty for all.
        reason: why; "" where the text says it.
    """

    text: str
    engines: tuple[str, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        """Return the note as a sentence."""
        who = f" for {', '.join(self.engines)}" if self.engines else ""
        return f"{self.text}{who}: {self.reason}" if self.reason else f"{self.text}{who}"


@dataclass(frozen=True)
class Cell:
    """Figures over some pictures: their number, and metric → value."""

    pictures: int
    values: Mapping[str, float]

    def get(self, metric: str) -> float:
        """Return a figure; NaN where it is absent."""
        return self.values.get(metric, math.nan)


NO_FIGURES = Cell(0, {})


class Difference(NamedTuple):
    """The difference of two engines on the same pictures.

    Attributes:
        mean: the difference, in the metric's unit.
        margin: half of its 95 % confidence interval; NaN where it cannot be estimated.
    """

    mean: float
    margin: float


@dataclass(frozen=True)
class Row:
    """The figures of one engine.

    Attributes:
        engine: label of the engine.
        source: what was asked for: a name, a file, a folder.
        pictures: number of pictures that it filled.
        failures: number of pictures that it did not fill.
        seconds: mean duration of a fill; NaN without figures.
        values: metric → value over all pictures; a metric that cannot be computed is absent.
        bins: area bin → figures over its pictures.
        groups: class → figures over its pictures.
        reason: why there are no figures; None where there are.
        digest: SHA-256 of the file that filled; None for engines without a file.
        taught_by: kinds of the feature networks that the engine learned from.
        differences: metric → difference from the baseline, over the pictures that both filled.
    """

    engine: str
    source: str
    pictures: int
    failures: int
    seconds: float
    values: Mapping[str, float]
    bins: Mapping[str, Cell]
    groups: Mapping[str, Cell]
    reason: str | None = None
    digest: str | None = None
    taught_by: tuple[str, ...] = ()
    differences: Mapping[str, Difference] = field(default_factory=dict)

    def get(self, metric: str) -> float:
        """Return a figure over all pictures; NaN where it is absent."""
        return self.values.get(metric, math.nan)

    def get_bin(self, label: str, metric: str) -> float:
        """Return a figure over the pictures of an area bin; NaN where it is absent."""
        return self.bins.get(label, NO_FIGURES).get(metric)

    def get_group(self, label: str, metric: str) -> float:
        """Return a figure over the pictures of a class; NaN where it is absent."""
        return self.groups.get(label, NO_FIGURES).get(metric)


@dataclass(frozen=True, eq=False)
class Example:
    """A picture to look at.

    Attributes:
        title: why it is shown: "best", "median", "worst", or the name of its class.
        name: path of the picture inside its folder or shard.
        target: (H, W, 3) uint8, the original.
        mask: (H, W), True = hole.
        results: engine → (H, W, 3) uint8.
        values: engine → hole PSNR in dB.
    """

    title: str
    name: str
    target: Pixels
    mask: Mask
    results: Mapping[str, Pixels]
    values: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that an evaluation found.

    Attributes:
        settings: what was judged on what, as plain values for JSON. Evaluations with the same `fingerprint`
            had the same pixels and holes, and can be compared.
        rows: one per engine, in the order asked for.
        judged: one per engine and picture.
        failures: pictures that some engine did not fill.
        left: pictures that could not be read.
        notes: what a reader must know: which figures are absent and why.
        examples: best, median and worst pictures.
    """

    settings: Mapping[str, Any]
    rows: tuple[Row, ...]
    judged: tuple[Judged, ...] = ()
    failures: tuple[Failure, ...] = ()
    left: tuple[Skipped, ...] = ()
    notes: tuple[Note, ...] = ()
    examples: tuple[Example, ...] = ()
