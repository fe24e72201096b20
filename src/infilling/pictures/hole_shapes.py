"""The shapes of random holes, one mask at a time: centre, block, strokes, the protocols of other projects.

Every random number comes from `rng.random()`, and positions are rounded to whole pixels before they are
drawn, so that the same seed gives the same mask on every machine.
"""

import math
from collections.abc import Callable

import numpy as np

from infilling.errors import InputError
from infilling.pictures.mask import Mask
from infilling.pictures.strokes import Line, Window, rasterise

# rng, height, width -> (height, width)
Draw = Callable[[np.random.Generator, int, int], Mask]

TRIES = 1000  # redraws of one mask before its limits are called impossible
FREEFORM_BINS = ((5, 10), (10, 20), (20, 30), (30, 40), (40, 50))  # per cent of the picture, each (low, high]
LARGE_BINS = ((30, 40), (40, 50), (50, 60), (60, 70), (70, 80), (80, 90))  # likewise


def center(height: int, width: int) -> Mask:
    """Make the central hole of half the height and half the width (context encoders, Pathak et al. 2016)."""
    mask = np.zeros((height, width), dtype=bool)
    tall, wide = max(1, height // 2), max(1, width // 2)
    _draw_box(mask, (width - wide) // 2, (height - tall) // 2, wide, tall)
    return mask


def draw_center(rng: np.random.Generator, height: int, width: int) -> Mask:
    """Draw the central hole, which is never another one."""
    return center(height, width)


def draw_block(rng: np.random.Generator, height: int, width: int) -> Mask:
    """Draw one box anywhere: sides of 32 to 64 at 128 px and in proportion at other sizes, all uniform."""
    mask = np.zeros((height, width), dtype=bool)
    shortest, longest = (max(1, (min(height, width) * part + 64) // 128) for part in (32, 64))
    tall, wide = pick(rng, shortest, longest), pick(rng, shortest, longest)
    _draw_box(mask, pick(rng, 0, width - wide), pick(rng, 0, height - tall), wide, tall)
    return mask


def draw_freeform(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    bins: tuple[tuple[int, int], ...] = FREEFORM_BINS,
) -> Mask:
    """Draw strokes and some boxes until the area falls into a bin that was drawn beforehand.

    The bins are equally likely. Shapes suit the area that is left in the bin, and one that would overshoot it
    is thrown away.
    """
    low, high = bins[pick(rng, 0, len(bins) - 1)]
    pixels = height * width
    least, most = low * pixels // 100 + 1, high * pixels // 100
    if least > most:
        raise InputError(
            f"a picture of {width}×{height} is too small for freeform holes of {low} to {high} %"
        )
    enough = pick(rng, least, (2 * least + 3 * most) // 5)  # the last shape goes beyond: even within the bin
    mask = np.zeros((height, width), dtype=bool)
    area = 0
    while area < enough:
        reach = math.sqrt(min(pixels, 8 * (most - area)))
        shape = _shape_box if rng.random() < 0.3 else _shape_stroke
        (rows, columns), drawn = shape(rng, height, width, reach)
        part = mask[rows, columns]
        added = int(np.count_nonzero(drawn & ~part))
        if area + added <= most:
            part |= drawn
            area += added
    return mask


def draw_lama(
    rng: np.random.Generator,
    height: int,
    width: int,
    *,
    strokes: tuple[int, int],
    pen: int,
    length: int,
    boxes: tuple[int, int] = (0, 0),
    sides: tuple[int, int] = (0, 0),
    margin: int = 0,
    box_share: float = 0.0,
    max_area: float = 1.0,
) -> Mask:
    """Draw a mask of LaMa (Suvorov et al. 2022): strokes, or boxes with the probability `box_share`.

    Lengths are those at 256 px. A stroke is 1 to 5 segments, each with its own whole-radian angle (0.01 + 0
    to 3, of the other sign on even strokes), length (10 + below `length`) and width (5 + below `pen`). Masks
    with more than `max_area` of hole are drawn again.
    """
    scale = min(height, width) / 256
    for _ in range(TRIES):
        mask = np.zeros((height, width), dtype=bool)
        if rng.random() < box_share:
            _add_lama_boxes(mask, rng, scale, pick(rng, *boxes), sides, margin)
        else:
            _add_lama_strokes(mask, rng, scale, pick(rng, *strokes), pen, length)
        if np.count_nonzero(mask) <= max_area * mask.size:
            return mask
    raise InputError(
        f"no LaMa mask out of {TRIES} at {width}×{height} covered at most {max_area:.0%} of the picture"
    )


def _add_lama_boxes(
    mask: Mask, rng: np.random.Generator, scale: float, count: int, sides: tuple[int, int], margin: int
) -> None:
    """Draw boxes into a mask, at least `margin` px from its edges at 256 px."""
    height, width = mask.shape
    edge = round(scale * margin)
    for _ in range(count):
        wide, tall = (max(1, round(scale * pick(rng, sides[0], sides[1] - 1))) for _ in range(2))
        x, y = pick(rng, edge, width - wide - edge), pick(rng, edge, height - tall - edge)
        _draw_box(mask, x, y, wide, tall)


def _add_lama_strokes(
    mask: Mask, rng: np.random.Generator, scale: float, count: int, pen: int, length: int
) -> None:
    """Draw strokes into a mask; see `draw_lama` for their segments."""
    height, width = mask.shape
    lines: list[Line] = []
    for stroke in range(count):
        sign = -1 if stroke % 2 == 0 else 1
        x, y = pick(rng, 0, width - 1), pick(rng, 0, height - 1)
        for _ in range(pick(rng, 1, 5)):
            angle = (0.01 + pick(rng, 0, 3)) * sign
            reach = scale * (10 + pick(rng, 0, length - 1))
            to_x = _clip(round(x + reach * math.sin(angle)), width)
            to_y = _clip(round(y + reach * math.cos(angle)), height)
            radius = max(0.5, scale * (5 + pick(rng, 0, pen - 1)) / 2)
            lines.append((x, y, to_x, to_y, radius))
            x, y = to_x, to_y
    _draw_lines(mask, lines)


def draw_deepfill(rng: np.random.Generator, height: int, width: int) -> Mask:
    """Draw strokes of DeepFillv2 (Yu et al. 2019): 1 to 3 zigzags of 4 to 12 vertices, flipped at random."""
    scale, diagonal = min(height, width) / 256, math.hypot(height, width)
    lines: list[Line] = []
    for _ in range(pick(rng, 1, 3)):
        low = 2 * math.pi / 5 - rng.random() * 2 * math.pi / 15
        high = 2 * math.pi / 5 + rng.random() * 2 * math.pi / 15
        radius = max(0.5, scale * (12 + 28 * rng.random()) / 2)
        x, y = pick(rng, 0, width - 1), pick(rng, 0, height - 1)
        for vertex in range(pick(rng, 4, 12)):
            turn = low + rng.random() * (high - low)
            angle = -turn if vertex % 2 == 0 else turn
            reach = min(max(diagonal / 8 + diagonal / 16 * _draw_normal(rng), 0), diagonal / 4)
            to_x = _clip(round(x + reach * math.cos(angle)), width)
            to_y = _clip(round(y + reach * math.sin(angle)), height)
            lines.append((x, y, to_x, to_y, radius))
            x, y = to_x, to_y
    mask = np.zeros((height, width), dtype=bool)
    _draw_lines(mask, lines)
    mask = mask[:, ::-1] if rng.random() < 0.5 else mask
    return mask[::-1] if rng.random() < 0.5 else mask


# -- parts of a mask ---------------------------------------------------------------------------------------


def pick(rng: np.random.Generator, low: int, high: int) -> int:
    """Draw a whole number from low to high, both included."""
    return low + int(rng.random() * (high - low + 1))


def _draw_normal(rng: np.random.Generator) -> float:
    """Draw from N(0, 1) by Box and Muller's transform."""
    return math.sqrt(-2 * math.log(1 - rng.random())) * math.cos(2 * math.pi * rng.random())


def _clip(place: int, side: int) -> int:
    return min(max(place, 0), side - 1)


def _draw_box(mask: Mask, x: int, y: int, width: int, height: int) -> None:
    mask[y : y + height, x : x + width] = True


def _draw_lines(mask: Mask, lines: list[Line]) -> None:
    (rows, columns), drawn = rasterise(lines, *mask.shape)
    mask[rows, columns] |= drawn


def _shape_box(rng: np.random.Generator, height: int, width: int, reach: float) -> tuple[Window, Mask]:
    """Shape a box whose sides are 0.1 to 0.5 of `reach`."""
    tall = min(height, max(1, round(reach * (0.1 + 0.4 * rng.random()))))
    wide = min(width, max(1, round(reach * (0.1 + 0.4 * rng.random()))))
    x, y = pick(rng, 0, width - wide), pick(rng, 0, height - tall)
    return (slice(y, y + tall), slice(x, x + wide)), np.ones((tall, wide), dtype=bool)


def _shape_stroke(rng: np.random.Generator, height: int, width: int, reach: float) -> tuple[Window, Mask]:
    """Shape a stroke that bends: 1 to 5 segments of 0.1 to 0.5 of `reach`, the pen 0.04 to 0.2 wide."""
    radius = max(0.5, reach * (0.02 + 0.08 * rng.random()))
    x, y = pick(rng, 0, width - 1), pick(rng, 0, height - 1)
    angle = 2 * math.pi * rng.random()
    lines: list[Line] = []
    for _ in range(pick(rng, 1, 5)):
        length = reach * (0.1 + 0.4 * rng.random())
        to_x = _clip(round(x + length * math.cos(angle)), width)
        to_y = _clip(round(y + length * math.sin(angle)), height)
        lines.append((x, y, to_x, to_y, radius))
        x, y = to_x, to_y
        angle += math.pi * (rng.random() - 0.5)
    return rasterise(lines, height, width)
