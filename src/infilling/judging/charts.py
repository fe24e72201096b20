"""Small line charts as values, which a template draws as inline SVG in the style sheet's colours."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

WIDTH = 380  # of a chart, in units of its view box
COLOURS = 8  # number of the style sheet's colours, `--c0` and on; `--c0` is the engine in question's
MARKERS = (  # outlines around (0, 0), so that lines differ without colours
    "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
    "M-3.2 -3.2h6.4v6.4h-6.4z",
    "M0 -4.4L4.4 0L0 4.4L-4.4 0z",
    "M0 -4L4 3.2H-4z",
    "M0 4L4 -3.2H-4z",
)

Point = tuple[float, float]


class Line(NamedTuple):
    """A line of a chart over categories.

    Attributes:
        name: name in tooltips.
        number: number of its colour and marker.
        values: one per category; NaN: no point.
    """

    name: str
    number: int
    values: Sequence[float]


class Label(NamedTuple):
    """Text below the x axis: its position, its anchor, its lines."""

    x: float
    anchor: str
    lines: Sequence[str]


class Dot(NamedTuple):
    """A marker with a tooltip."""

    x: float
    y: float
    tip: str


@dataclass(frozen=True)
class Curve:
    """A polyline.

    Attributes:
        number: number of its colour and marker.
        width: width of the stroke.
        points: its corners.
        opacity: 1 for a solid line.
        dots: markers on it.
    """

    number: int
    width: float
    points: Sequence[Point]
    opacity: float = 1
    dots: Sequence[Dot] = ()

    @property
    def path(self) -> str:
        """The `d` of an SVG path."""
        return "M" + "L".join(f"{x} {y}" for x, y in self.points)


@dataclass(frozen=True)
class Axes:
    """The frame of a chart in view box units, and the mapping of values into it.

    Attributes:
        ticks: round values of the y axis, from the lowest to the highest.
        height: height of the chart.
        bottom: height of the space for labels.
    """

    ticks: Sequence[float]
    height: int = 250
    bottom: int = 40
    left: int = field(default=46, init=False)
    right: int = field(default=14, init=False)
    top: int = field(default=10, init=False)

    @property
    def width(self) -> int:
        """Width between the left and the right edge of the frame."""
        return WIDTH - self.left - self.right

    def place_x(self, share: float) -> float:
        """Return the position of a share of the width."""
        return round(self.left + share * self.width, 1)

    def place_y(self, value: float) -> float:
        """Return the position of a value; values above the highest tick are at the upper edge."""
        low, high = self.ticks[0], self.ticks[-1]
        share = (high - min(value, high)) / (high - low)
        return round(self.top + share * (self.height - self.top - self.bottom), 1)


@dataclass(frozen=True)
class Chart:
    """Everything that the template draws.

    Attributes:
        title: description for screen readers.
        axes: the frame.
        labels: texts below the x axis.
        curves: the lines, the uppermost last.
    """

    title: str
    axes: Axes
    labels: Sequence[Label]
    curves: Sequence[Curve]

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Position and text of every tick of the y axis."""
        ticks = self.axes.ticks
        decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
        return [(self.axes.place_y(tick), f"{tick:.{decimals}f}") for tick in ticks]


def draw_lines(
    categories: Sequence[Sequence[str]], lines: Sequence[Line], *, title: str, show: Callable[[float], str]
) -> Chart:
    """Draw lines over categories; the last one is uppermost and thicker.

    Args:
        categories: labels along the x axis, each one or two lines of text.
        lines: at least one of them with a value.
        title: description for screen readers.
        show: formats a value in a tooltip.
    """
    heights = np.array([line.values for line in lines])
    axes = Axes(make_ticks(np.nanmin(heights), np.nanmax(heights)))
    places = [axes.place_x((index + 0.5) / len(categories)) for index in range(len(categories))]
    curves = []
    for line in lines:
        dots = []
        for x, value in zip(places, line.values, strict=True):
            if not math.isnan(value):
                dots.append(Dot(x, axes.place_y(value), f"{line.name}: {show(value)}"))
        width = 3 if line is lines[-1] else 1.6
        curves.append(Curve(line.number, width, [(dot.x, dot.y) for dot in dots], dots=dots))
    labels = [Label(x, "middle", lines) for x, lines in zip(places, categories, strict=True)]
    return Chart(title, axes, labels, curves)


def make_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Choose round numbers that enclose a range, in steps of 1, 2 or 5 times a power of ten.

    >>> make_ticks(17.3, 21.9)
    [17.0, 18.0, 19.0, 20.0, 21.0, 22.0]
    """
    span = max(high - low, 1e-4 * max(abs(low), abs(high), 1.0))  # a flat line has ticks, too
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return [round(step * place, 12) for place in range(first, last + 1)]


def find_colour(number: int) -> str:
    """Return the style sheet's name of a colour; with its marker it tells 40 lines apart."""
    return f"var(--c{number % COLOURS})"


def find_marker(number: int) -> str:
    """Return the outline of a marker."""
    return MARKERS[number % len(MARKERS)]
