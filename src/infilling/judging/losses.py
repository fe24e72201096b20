"""How even a generator and its discriminator were, from the rows of `stats.jsonl`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from infilling.judging.charts import Axes, Chart, Curve, Label, make_ticks
from infilling.judging.figures import average_known
from infilling.learning.scalars import D_FAKE_BEFORE, D_REAL, LOSS_D, LOSS_G
from infilling.pictures.picture import Doubles

CURVES = (LOSS_D, LOSS_G)  # losses that are drawn
WINDOW = 101  # rows of the running median, centred; at both ends the first or last row is repeated
BEATEN = 0.2  # a discriminator's loss (BCE or hinge, both terms) below which it is hardly ever wrong
POINTS = 300  # columns of a chart; of several rows in a column, the least and the greatest are drawn


class Spike(NamedTuple):
    """Where a loss was highest above its running median: by how much, and at which step."""

    above: float
    step: int


@dataclass(frozen=True, eq=False)
class LossCurve:
    """One loss over the steps of a run.

    Attributes:
        values: (N,) the loss.
        median: over all rows.
        low: 5th percentile.
        high: 95th percentile.
        spike: the largest.
    """

    values: Doubles
    median: float
    low: float
    high: float
    spike: Spike


@dataclass(frozen=True, eq=False)
class GanLosses:
    """The losses of a GAN over its steps.

    Attributes:
        steps: (N,) steps of the rows that have both losses.
        curves: the losses of `CURVES`.
        d_real: median of D(x): a probability under BCE, a score under hinge; NaN where it was not recorded.
        d_fake: median of D(G(z)) before the discriminator's step.
        beaten: share of the rows in which Loss_D was below `BEATEN`: the discriminator was too strong.
    """

    steps: Doubles
    curves: Mapping[str, LossCurve]
    d_real: float
    d_fake: float
    beaten: float


def summarise(rows: Sequence[Mapping[str, float]]) -> GanLosses | None:
    """Summarise the losses of a run; None where no row has both losses, as without an adversary."""
    rows = [row for row in rows if row.keys() >= set(CURVES)]
    if not rows:
        return None
    steps = _get_column(rows, "step")
    curves = {name: _summarise_curve(steps, _get_column(rows, name)) for name in CURVES}
    return GanLosses(
        steps=steps,
        curves=curves,
        d_real=average_known(np.median, _get_column(rows, D_REAL)),
        d_fake=average_known(np.median, _get_column(rows, D_FAKE_BEFORE)),
        beaten=float((curves[LOSS_D].values < BEATEN).mean()),
    )


def _summarise_curve(steps: Doubles, values: Doubles) -> LossCurve:
    low, high = np.percentile(values, [5, 95])
    return LossCurve(values, float(np.median(values)), float(low), float(high), find_spike(steps, values))


def find_spike(steps: Doubles, values: Doubles) -> Spike:
    """Find where a loss was highest above its running median.

    >>> find_spike(np.arange(5.0), np.array([1.0, 1.0, 4.0, 1.0, 1.0]))
    Spike(above=3.0, step=2)
    """
    above = values - run_median(values)
    place = int(above.argmax())
    return Spike(float(above[place]), int(steps[place]))


def run_median(values: Doubles, window: int = WINDOW) -> Doubles:
    """Return the centred running median; the ends are repeated.

    >>> run_median(np.array([0.0, 9.0, 1.0, 2.0]), 3).tolist()
    [0.0, 1.0, 2.0, 2.0]
    """
    padded = np.pad(values, window // 2, mode="edge")
    median: Doubles = np.median(sliding_window_view(padded, window), axis=-1)
    return median


def draw_losses(losses: GanLosses, *, title: str) -> Chart:
    """Draw both losses over the steps, each with its running median on top.

    The axis ends at the 99.5th percentile of each loss, or the first steps would flatten all others; what is
    above it runs along the edge.
    """
    values = [curve.values for curve in losses.curves.values()]
    low = min(float(loss.min()) for loss in values)
    high = max(float(np.percentile(loss, 99.5)) for loss in values)
    axes = Axes(make_ticks(low, high, 4), height=180, bottom=24)
    first = float(losses.steps[0])
    span = max(float(losses.steps[-1]) - first, 1.0)

    def draw(number: int, loss: Doubles, width: float, opacity: float) -> Curve:
        points = thin(losses.steps, loss)
        places = [(axes.place_x((step - first) / span), axes.place_y(value)) for step, value in points]
        return Curve(number, width, places, opacity)

    curves = []
    for number, loss in enumerate(values):
        curves += [draw(number, loss, 1, 0.4), draw(number, run_median(loss), 2, 1)]
    ends = [(0.0, "start", first), (1.0, "end", first + span)]
    labels = [Label(axes.place_x(share), anchor, [f"{step:,.0f}"]) for share, anchor, step in ends]
    return Chart(title, axes, labels, curves)


def thin(steps: Doubles, values: Doubles, columns: int = POINTS) -> list[tuple[float, float]]:
    """Keep the least and the greatest of each column of rows, in their order: no spike is lost.

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


def _get_column(rows: Sequence[Mapping[str, float]], name: str) -> Doubles:
    return np.array([row.get(name, math.nan) for row in rows], dtype=np.float64)
