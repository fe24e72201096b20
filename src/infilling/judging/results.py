"""What an evaluation finds out: values without behaviour, from one picture up to the whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""
Mask = npt.NDArray[np.bool_]
"""(H, W), True = hole."""


@dataclass(frozen=True)
class Judged:
    """The figures of one engine on one picture.

    Attributes:
        engine: its label.
        name: the picture's path inside its folder or shard.
        group: its class, "" without one.
        area: the hole's share of the picture, in (0, 1).
        area_bin: as `holes.area_bin` names it.
        seconds: that the fill took, decoding and judging left out.
        values: metric → value; NaN where there was nothing to judge.
    """

    engine: str
    name: str
    group: str
    area: float
    area_bin: str
    seconds: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Failure:
    """A picture that an engine did not fill, and why."""

    engine: str
    name: str
    reason: str


@dataclass(frozen=True)
class Left:
    """A picture that was left out for all engines, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Cell:
    """Figures over some pictures: how many, and metric → value."""

    pictures: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """The figures of one engine.

    Attributes:
        engine: its label.
        source: what was asked for: a name, a file, a folder.
        pictures: how many it filled.
        failures: how many it did not.
        seconds: mean per picture; NaN without figures.
        values: metric → value over all pictures; a metric that cannot be computed is absent.
        bins: area bin → figures over its pictures.
        groups: class → figures over its pictures.
        reason: why there are no figures at all; None where there are.
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


@dataclass(frozen=True, eq=False)
class Example:
    """A picture to look at.

    Attributes:
        title: "best", "median" or "worst": what it is for the last engine with figures.
        name: the picture's path inside its folder or shard.
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
    """Everything that an evaluation found out.

    Attributes:
        settings: what was judged on what, plain values for JSON. `fingerprint` stands for the pixels and the
            holes of all pictures: evaluations can be compared where it is the same.
        rows: one per engine, in the order asked for.
        judged: one per engine and picture.
        failures: pictures that some engine did not fill.
        left: pictures that could not be read.
        notes: what a reader must know: absent figures and why.
        examples: best, median and worst pictures.
    """

    settings: Mapping[str, Any]
    rows: tuple[Row, ...]
    judged: tuple[Judged, ...]
    failures: tuple[Failure, ...]
    left: tuple[Left, ...]
    notes: tuple[str, ...]
    examples: tuple[Example, ...]
