"""Small charts as inline SVG, coloured by the page's style sheet."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from infilling.judging.style import COLOURS

WIDTH, HEIGHT = 380, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 10, 40

_MARKERS = (  # around (0, 0), so that lines can be told apart without colours
    "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
    "M-3.2 -3.2h6.4v6.4h-6.4z",
    "M0 -4.4L4.4 0L0 4.4L-4.4 0z",
    "M0 -4L4 3.2H-4z",
    "M0 4L4 -3.2H-4z",
)


class Line(NamedTuple):
    """A line of a chart: name, number of its colour and marker, a value per category; NaN: no point."""

    name: str
    number: int
    values: Sequence[float]


def draw_lines(categories: Sequence[str], lines: Sequence[Line], *, title: str, digits: int) -> str:
    """Draws lines over categories; the last one is on top and thicker.

    Args:
        categories: the labels along the x axis; a second line of a label stands after a newline.
        lines: at least one of them with a value.
        title: says to screen readers what this is.
        digits: behind the point, in tooltips.
    """
    values = [value for line in lines for value in line.values if not math.isnan(value)]
    ticks = make_ticks(min(values), max(values))
    low, high = ticks[0], ticks[-1]
    decimals = max(0, -math.floor(math.log10(ticks[1] - ticks[0]) + 1e-9))
    step = (WIDTH - LEFT - RIGHT) / len(categories)

    def x(place: int) -> float:
        return round(LEFT + step * (place + 0.5), 1)

    def y(value: float) -> float:
        return round(TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM), 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">']
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{LEFT} {y(tick)}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick) + 3.5}" text-anchor="end">{tick:.{decimals}f}</text>')
    for place, label in enumerate(categories):
        for row, text in enumerate(label.split("\n")):
            at = HEIGHT - BOTTOM + 16 + 13 * row
            style = ' class="faint"' if row else ""
            parts.append(f'<text x="{x(place)}" y="{at}" text-anchor="middle"{style}>{escape(text)}</text>')
    for line in lines:
        points = [
            (x(place), y(value), value) for place, value in enumerate(line.values) if not math.isnan(value)
        ]
        path = "L".join(f"{px} {py}" for px, py, _ in points)
        width = "3" if line is lines[-1] else "1.6"
        parts.append(
            f'<g style="--c:{name_colour(line.number)}">'
            f'<path class="line" stroke-width="{width}" d="M{path}"/>'
        )
        for px, py, value in points:
            tip = f"<title>{escape(line.name)}: {value:.{digits}f}</title>"
            dot = f'transform="translate({px} {py})" d="{_marker(line.number)}"'
            parts.append(f'<path class="dot" {dot}>{tip}</path>')
        parts.append("</g>")
    return "".join([*parts, "</svg>"])


def draw_key(number: int) -> str:
    """Draws the sample of a line for a legend."""
    return (
        f'<svg class="key" viewBox="-11 -6 22 12" aria-hidden="true"><g style="--c:{name_colour(number)}">'
        '<path class="line" stroke-width="2" d="M-11 0H11"/>'
        f'<path class="dot" d="{_marker(number)}"/></g></svg>'
    )


def make_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Chooses round numbers that enclose a range, in steps of 1, 2 or 5 times a power of ten.

    >>> make_ticks(17.3, 21.9)
    [17.0, 18.0, 19.0, 20.0, 21.0, 22.0]
    """
    span = max(high - low, 1e-4 * max(abs(low), abs(high), 1.0))  # a flat line has ticks, too
    power = 10.0 ** math.floor(math.log10(span / about))
    step = next(factor * power for factor in (1, 2, 5, 10) if span / (factor * power) <= about)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return [round(step * place, 12) for place in range(first, last + 1)]


def name_colour(number: int) -> str:
    """The colour of a number as the style sheet knows it; with its marker it tells 40 lines apart."""
    return f"var(--c{number % COLOURS})"


def _marker(number: int) -> str:
    return _MARKERS[number % len(_MARKERS)]
