"""How a network is to be read, where its names and shapes leave that open: it has to fill a plain picture.

A picture of one colour with a small hole off its centre is encoded by each reading that is possible. The hole
is covered with something else, so that a network which takes holes for known pixels gives the cover back.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from infilling.errors import ModelError
from infilling.filling.families import PAGE, Family, Range
from infilling.pictures.picture import Bools, Floats

COLOUR = (0.3, 0.45, 0.6)
"""The picture's one colour. All of it is in one half of each range, and no channel is like another."""
STEPS = (1, 8, 16, 32, 64)
"""Multiples that the sides of a graph of any size may have to be."""
LEAST_SIDE = 128
CLOSE = 0.15
"""A network that is understood gives the colour back with at most this error."""
SAME = 0.02
"""Error up to which an answer in the hole is what covered it."""
SECONDS = 120.0
"""Time for all answers of one network."""
SURE, COMPOSITED, FILLED, UNSURE = range(4)
"""The colour is everywhere; outside the hole, with something new in it; in the hole alone; in neither."""

Run = Callable[[Family, Floats, Bools, float], Floats]
"""Runs the network by a reading on a picture (3, h, w) and a hole (h, w), for some seconds at most."""


def find_reading(
    families: Sequence[Family], fixed: int | None, run: Run, *, name: str, trusted: Sequence[str]
) -> Family:
    """Return a family with the one mask, range and step of sides by which a network gives the colour back.

    Args:
        families: those that the network's names, shapes and types fit; of equal answers, the first's counts.
        fixed: the side that it is fixed to; None: it takes any.
        run: runs it.
        name: what messages call it.
        trusted: names of families that are taken although the colour does not come back, if the values of
            the answer are in their range.

    Raises:
        ModelError: it fails, or no reading gives the colour back.
    """
    tried = []
    for answer in _ask_all(families, fixed, run):
        if answer.judgement == SURE:
            return answer.reading
        tried.append(answer)
    best = min(tried, key=lambda answer: answer.judgement)
    if best.judgement != UNSURE:
        return best.reading
    fitting = [each.reading for each in tried if each.is_in_range and each.reading.name in trusted]
    if fitting:
        return min(fitting, key=lambda reading: reading.results[0][1] - reading.results[0][0])
    names = ", ".join(family.name for family in families)
    raise ModelError(
        f"{name} gives a plain picture back by no convention of {names}: "
        f"name its family with --adapter, or see the page {PAGE}"
    )


class _Answer(NamedTuple):
    """A reading, how far its answer is the picture's colour, and whether all values are in its range."""

    reading: Family
    judgement: int
    is_in_range: bool


def _ask_all(families: Sequence[Family], fixed: int | None, run: Run) -> Iterator[_Answer]:
    """Yield an answer for each reading by which the network runs.

    Raises:
        ModelError: it runs by none.
    """
    deadline = time.monotonic() + SECONDS
    failures: list[ModelError] = []
    readings = [replace(family, masks=(values,)) for family in families for values in family.masks]
    for family in readings:
        try:
            answer, hole, step = _ask(family, fixed, run, deadline)
        except ModelError as error:
            failures.append(error)
            continue
        for result in family.results:
            reading = replace(family, results=(result,), multiple_of=step)
            yield _Answer(reading, _judge(answer, reading, hole), _is_within(answer, result))
    if len(failures) == len(readings):
        raise failures[0]


def _ask(family: Family, fixed: int | None, run: Run, deadline: float) -> tuple[Floats, Bools, int]:
    """Return the answer to the plain picture (3, h, w), its hole (h, w), and the step of its sides.

    A graph of any size is asked with sides that are an odd multiple of a step; one that needs twice the step
    fails on them, and is asked with the next.
    """
    covered = replace(family, blank=family.pixels[1] if family.blank is None else family.blank)

    def ask(side: int, step: int) -> tuple[Floats, Bools, int]:
        hole = np.zeros((side, side), bool)
        hole[side // 8 : side // 3, side // 2 : side * 4 // 5] = True
        image = np.broadcast_to(np.array(COLOUR, np.float32)[:, None, None], (3, side, side))
        return run(covered, image, hole, max(0.0, deadline - time.monotonic())), hole, step

    if fixed is not None:
        return ask(fixed, family.multiple_of)
    sides = {step: step * (LEAST_SIDE // (2 * step) * 2 + 1) for step in STEPS if step >= family.multiple_of}
    for step in [*sides][:-1]:
        with suppress(ModelError):
            return ask(sides[step], step)
    return ask(sides[STEPS[-1]], STEPS[-1])


def _judge(answer: Floats, reading: Family, hole: Bools) -> int:
    """Say how far an answer (3, h, w) is the picture's colour, by the median of the worst channel."""
    low, high = reading.results[0]
    some = slice(None, None, -(-len(hole) // LEAST_SIDE))  # medians of more take longer than a small network
    answer, hole = answer[:, some, some], hole[some, some]
    unit = (answer - low) / (high - low)
    error = np.abs(unit - np.array(COLOUR)[:, None, None])
    is_filled = np.median(error[:, hole], axis=1).max() < CLOSE
    is_known = np.median(error, axis=(1, 2)).max() < CLOSE
    if is_filled:
        return SURE if is_known else FILLED
    inside = np.median(unit[:, hole], axis=1)
    dark, light = reading.pixels
    cover = 1.0 if reading.blank is None else (reading.blank - dark) / (light - dark)
    is_colour = inside.min() >= -SAME and inside.max() <= 1 + SAME and SAME < inside.mean() < 1 - SAME
    is_new = is_colour and np.abs(inside - cover).max() > SAME  # black and white come of a mistaken range
    return COMPOSITED if is_known and is_new else UNSURE


def _is_within(answer: Floats, result: Range) -> bool:
    low, high = result
    margin = 0.05 * (high - low)
    return bool(low - margin <= answer.min() and answer.max() <= high + margin)
