"""How even the match between a generator and its discriminator was, read off the rows of `stats.jsonl`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from infilling.judging import charts

Array = npt.NDArray[np.float64]

WINDOW = 101
"""Rows of the running median, centred; at both ends it repeats the first or last row."""

BEATEN = 0.2
"""A discriminator whose loss is below this is hardly ever wrong: both its terms together, BCE or hinge."""

POINTS = 300
"""Columns of a chart; where a column has several rows, their least and their greatest are drawn."""

REPORTED = {"Loss_G": (2.0, 9.0), "Loss_D": (0.5, 2.0)}
"""Between what the reference's report saw its losses."""

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 380, 180, 46, 10, 10, 24


class Spike(NamedTuple):
    """Where a loss stood highest above its running median: by how much, and at which step."""

    above: float
    step: int


@dataclass(frozen=True, eq=False)
class Match:
    """A GAN's losses over its steps.

    Attributes:
        steps: (N,) of the rows that have both losses.
        loss_d: (N,) the discriminator's loss.
        loss_g: (N,) the adversarial part of the generator's, unweighted.
        median_d, median_g: over all rows.
        range_d, range_g: between which nine tenths of the rows lie.
        spike_d, spike_g: the largest.
        d_real: median of D(x): a probability under BCE, a score under hinge; NaN where it was not kept.
        d_fake: median of D(G(z)) before the discriminator's step.
        beaten: share of the rows in which the discriminator's loss was under `BEATEN`: it was too strong.
        reported: loss → share of the rows within what the report saw.
    """

    steps: Array
    loss_d: Array
    loss_g: Array
    median_d: float
    median_g: float
    range_d: tuple[float, float]
    range_g: tuple[float, float]
    spike_d: Spike
    spike_g: Spike
    d_real: float
    d_fake: float
    beaten: float
    reported: Mapping[str, float]


def summarise(rows: Sequence[Mapping[str, float]]) -> Match | None:
    """Judges the match of a run; None where no row has both losses, as without an adversary.

    Args:
        rows: as `stats.jsonl` has them.
    """
    rows = [row for row in rows if "Loss_D" in row and "Loss_G" in row]
    if not rows:
        return None
    steps, loss_d, loss_g = (_column(rows, name) for name in ("step", "Loss_D", "Loss_G"))
    return Match(
        steps=steps,
        loss_d=loss_d,
        loss_g=loss_g,
        median_d=float(np.median(loss_d)),
        median_g=float(np.median(loss_g)),
        range_d=_find_range(loss_d),
        range_g=_find_range(loss_g),
        spike_d=find_spike(steps, loss_d),
        spike_g=find_spike(steps, loss_g),
        d_real=_find_median(_column(rows, "D(x)")),
        d_fake=_find_median(_column(rows, "D(G(z)) before")),
        beaten=float((loss_d < BEATEN).mean()),
        reported={
            name: float(((low <= loss) & (loss <= high)).mean())
            for (name, (low, high)), loss in zip(REPORTED.items(), (loss_g, loss_d), strict=True)
        },
    )


def find_spike(steps: Array, values: Array) -> Spike:
    """Finds where a loss stood highest above its running median.

    Args:
        steps, values: (N,), at least one.

    >>> find_spike(np.arange(5.0), np.array([1.0, 1.0, 4.0, 1.0, 1.0]))
    Spike(above=3.0, step=2)
    """
    above = values - run_median(values)
    place = int(above.argmax())
    return Spike(float(above[place]), int(steps[place]))


def run_median(values: Array, window: int = WINDOW) -> Array:
    """The running median, centred; the ends are repeated.

    >>> run_median(np.array([0.0, 9.0, 1.0, 2.0]), 3).tolist()
    [0.0, 1.0, 2.0, 2.0]
    """
    padded = np.pad(values, window // 2, mode="edge")
    median: Array = np.median(sliding_window_view(padded, window), axis=-1)
    return median


def draw(match: Match, *, title: str) -> str:
    """Draws both losses over the steps as inline SVG, each with its running median on top.

    The axis ends at the 99.5th percentile of each loss, or the first steps would flatten all others; what is
    above runs along the edge.
    """
    both = [match.loss_d, match.loss_g]
    low = min(float(loss.min()) for loss in both)
    high = max(float(np.percentile(loss, 99.5)) for loss in both)
    ticks = charts.make_ticks(low, high, 4)
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    first, last = float(match.steps[0]), max(float(match.steps[-1]), float(match.steps[0]) + 1)

    def x(step: float) -> float:
        return round(_LEFT + (step - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT), 1)

    def y(value: float) -> float:
        share = (ticks[-1] - min(value, ticks[-1])) / (ticks[-1] - ticks[0])
        return round(_TOP + share * (_HEIGHT - _TOP - _BOTTOM), 1)

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">']
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{_LEFT} {y(tick)}H{_WIDTH - _RIGHT}"/>')
        parts.append(
            f'<text x="{_LEFT - 6}" y="{y(tick) + 3.5}" text-anchor="end">{tick:.{decimals}f}</text>'
        )
    for at, anchor in ((first, "start"), (last, "end")):
        parts.append(f'<text x="{x(at)}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{at:,.0f}</text>')
    for number, loss in enumerate(both):
        colour = f'style="--c:{charts.name_colour(number)}"'
        for values, style in (
            (loss, 'stroke-width="1" opacity=".4"'),
            (run_median(loss), 'stroke-width="2"'),
        ):
            points = "L".join(f"{x(step)} {y(value)}" for step, value in thin(match.steps, values))
            parts.append(f'<g {colour}><path class="line" {style} d="M{points}"/></g>')
    return "".join([*parts, "</svg>"])


def thin(steps: Array, values: Array, columns: int = POINTS) -> list[tuple[float, float]]:
    """Leaves the least and the greatest of each column of rows, in their order: no spike is lost.

    >>> thin(np.arange(6.0), np.array([0.0, 5.0, 1.0, 2.0, 7.0, 3.0]), 2)
    [(0.0, 0.0), (1.0, 5.0), (3.0, 2.0), (4.0, 7.0)]
    """
    if len(values) <= 2 * columns:
        return list(zip(steps.tolist(), values.tolist(), strict=True))
    points: list[tuple[float, float]] = []
    for part in np.array_split(np.arange(len(values)), columns):
        chosen = sorted({int(part[values[part].argmin()]), int(part[values[part].argmax()])})
        points += [(float(steps[place]), float(values[place])) for place in chosen]
    return points


def _column(rows: Sequence[Mapping[str, float]], name: str) -> Array:
    return np.array([row.get(name, math.nan) for row in rows], dtype=np.float64)


def _find_median(values: Array) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else math.nan


def _find_range(values: Array) -> tuple[float, float]:
    low, high = np.percentile(values, [5, 95])
    return float(low), float(high)
