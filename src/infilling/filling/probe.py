"""How a network is to be read, where its names and shapes leave that open: it has to fill a plain picture.

A picture of one colour with a hole off its centre is encoded by each reading that is possible. The hole is
covered with something else, so that a network which takes holes for known pixels gives the cover back.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from infilling.errors import ModelError, SlowModelError
from infilling.filling.families import PAGE, SIGNED, UNIT, Family
from infilling.pictures.picture import Bools, Floats

DARK, BRIGHT = (0.1, 0.25, 0.45), (0.9, 0.75, 0.6)
"""Colours of the picture. Each is in one half of the range, and no channel is like another."""
BEYOND = (3.0, 3.0, 3.0)
"""A colour of no range. A network that gives it back is linear, and fills alike by any range."""
STEPS = (1, 8, 16, 32, 64)
"""Multiples that the sides of a graph of any size may have to be."""
LEAST_SIDE = 128
CLOSE = 0.08
"""A network that is understood gives the colour back with at most this error."""
SAME = 0.02
"""Error up to which two colours are the same."""
SURE, FILLED, COMPOSITED, UNSURE = range(4)
"""The colour is everywhere; in the hole alone; outside the hole, with something new in it; in neither."""

Run = Callable[[Family, Floats, Bools, float], Floats]
"""Runs the network by a reading on a picture (3, h, w) and a hole (h, w), for some seconds at most."""
Colour = tuple[float, float, float]
Ask = Callable[[Family, Colour], tuple[Floats, Bools, int]]
"""Returns the answer (3, h, w) to a plain picture by a reading, its hole (h, w), and the step of sides."""


class Found(NamedTuple):
    """The one reading that is taken, whether the colour did not come back, and families that fit as well."""

    reading: Family
    is_doubtful: bool = False
    others: tuple[str, ...] = ()


class _Answer(NamedTuple):
    """A reading, how far its answer is the picture's colour, its error, and whether it is in its range."""

    reading: Family
    judgement: int
    error: float
    is_in_range: bool

    @property
    def is_certain(self) -> bool:
        """Whether the colour came back as it was."""
        return self.judgement == SURE and self.error < SAME


def find_reading(
    families: Sequence[Family],
    fixed: int | None,
    run: Run,
    *,
    name: str,
    trusted: Sequence[str],
    deadline: float,
) -> Found:
    """Return a family with the one mask, range and step of sides by which a network gives the colour back.

    Args:
        families: those that the network's names, shapes and types fit; of equal answers, the first's counts.
        fixed: the side that it is fixed to; None: it takes any.
        run: runs it.
        name: what messages call it.
        trusted: names of families that are taken although the colour does not come back, if the values of
            the answer are in their range.
        deadline: time by the monotonic clock when all answers have to be there.

    Raises:
        ModelError: it fails, or no reading gives the colour back.
        SlowModelError: its answers are not there in time.
    """
    ask = partial(_ask, fixed=fixed, run=run, deadline=deadline)
    began, tried = time.monotonic(), []
    try:
        for answer in _ask_all(families, ask):
            tried.append(answer)
            if answer.is_certain:
                break
    except TimeoutError as error:
        spent = time.monotonic() - began
        raise SlowModelError(f"{name} did not fill a plain picture in {spent:.1f} seconds") from error
    best = min(tried, key=lambda answer: (answer.judgement, max(answer.error, SAME)))
    if best.judgement == UNSURE:
        return _trust(tried, families, name, trusted)
    alike = [each for each in tried if each.judgement == best.judgement]
    if best.is_certain or (best.judgement == SURE and len(alike) == 1):
        return Found(_find_wider(best.reading, families, ask) or best.reading)
    names = dict.fromkeys(each.reading.name for each in alike)
    del names[best.reading.name]
    return Found(best.reading, True, tuple(names))


def _trust(tried: Sequence[_Answer], families: Sequence[Family], name: str, trusted: Sequence[str]) -> Found:
    """Return the reading of a trusted family of whose answer the range is the narrowest that holds it.

    Raises:
        ModelError: there is none.
    """
    names = [family.name for family in families]
    fitting = [each.reading for each in tried if each.is_in_range and each.reading.name in trusted]
    if not fitting:
        raise ModelError(
            f"{name} gives a plain picture back by no convention of {', '.join(names)}: "
            f"name its family with --adapter, or see the page {PAGE}"
        )
    best = min(fitting, key=lambda reading: reading.results[0][1] - reading.results[0][0])
    return Found(best, True, tuple(other for other in names if other != best.name))


def _find_wider(reading: Family, families: Sequence[Family], ask: Ask) -> Family | None:
    """Return a reading in -1..1 of a network that was read in 0..1, which may be the upper half of its range.

    A network of 0..1 gives nothing below 0. One that is linear does, and fills alike by both.
    """
    if reading.results[0] != UNIT:
        return None
    wider = [each for each in families if (each.inputs, each.results[0]) == (reading.inputs, SIGNED)]
    with suppress(ModelError, TimeoutError):
        for answer in _ask_all([replace(each, masks=reading.masks) for each in wider], ask):
            if answer.is_certain and not _is_linear(answer.reading, ask):
                return answer.reading
    return None


def _is_linear(reading: Family, ask: Ask) -> bool:
    """Return whether a network gives back a colour beyond its range."""
    answer, hole, _ = ask(reading, BEYOND)
    return _judge(answer, reading, hole, BEYOND)[0] in (SURE, FILLED)


def _ask_all(families: Sequence[Family], ask: Ask) -> Iterator[_Answer]:
    """Yield an answer for each reading by which the network runs.

    Raises:
        ModelError: it runs by none.
    """
    failures: list[ModelError] = []
    readings = [replace(family, masks=(values,)) for family in families for values in family.masks]
    for family in readings:
        try:
            answer, hole, step = ask(family, DARK)
        except ModelError as error:
            failures.append(error)
            continue
        for result in family.results:
            yield _weigh(replace(family, results=(result,), multiple_of=step), answer, hole, ask)
    if readings and len(failures) == len(readings):
        raise failures[0]


def _weigh(reading: Family, answer: Floats, hole: Bools, ask: Ask) -> _Answer:
    """Judge the answer to the dark picture, and to the bright one, since one may come back by chance."""
    low, high = reading.results[0]
    margin = 0.05 * (high - low)
    is_in_range = bool(low - margin <= answer.min() and answer.max() <= high + margin)
    judgement, error = _judge(answer, reading, hole, DARK)
    if judgement != UNSURE:
        with suppress(ModelError):
            answer, hole, _ = ask(reading, BRIGHT)
            judgement, error = max((judgement, error), _judge(answer, reading, hole, BRIGHT))
    return _Answer(reading, judgement, error, is_in_range)


def _ask(
    family: Family, colour: Colour, *, fixed: int | None, run: Run, deadline: float
) -> tuple[Floats, Bools, int]:
    """Return the answer to a plain picture (3, h, w), its hole (h, w), and the step of its sides.

    A graph of any size is asked with sides that are an odd multiple of a step; one that needs twice the step
    fails on them, and is asked with the next.
    """
    covered = replace(family, blank=family.pixels[1] if family.blank is None else family.blank)

    def ask(side: int, step: int) -> tuple[Floats, Bools, int]:
        hole = np.zeros((side, side), bool)
        hole[side // 8 : side // 2, side // 3 : side * 3 // 4] = True
        image = np.broadcast_to(np.array(colour, np.float32)[:, None, None], (3, side, side))
        seconds = deadline - time.monotonic()
        if seconds <= 0:  # no other sides, and no other reading: each would begin a run that nobody waits for
            raise TimeoutError
        return run(covered, image, hole, seconds), hole, step

    if fixed is not None:
        return ask(fixed, family.multiple_of)
    sides = {step: step * (LEAST_SIDE // (2 * step) * 2 + 1) for step in STEPS if step >= family.multiple_of}
    for step in [*sides][:-1]:
        with suppress(ModelError):
            return ask(sides[step], step)
    return ask(sides[STEPS[-1]], STEPS[-1])


def _judge(answer: Floats, reading: Family, hole: Bools, colour: Colour) -> tuple[int, float]:
    """Say how far an answer (3, h, w) is the colour: how, and the median error of the worst channel."""
    low, high = reading.results[0]
    some = slice(None, None, -(-len(hole) // LEAST_SIDE))  # medians of more take longer than a small network
    answer, hole = answer[:, some, some], hole[some, some]
    unit = (answer - low) / (high - low)
    error = np.abs(unit - np.array(colour)[:, None, None])
    filled, known = (float(np.median(error[:, part], axis=1).max()) for part in (hole, ~hole))
    if filled < CLOSE:
        return (SURE, max(filled, known)) if known < CLOSE else (FILLED, filled)
    inside = np.median(unit[:, hole], axis=1)
    dark, light = reading.pixels
    cover = 1.0 if reading.blank is None else (reading.blank - dark) / (light - dark)
    is_colour = inside.min() >= -SAME and inside.max() <= 1 + SAME and SAME < inside.mean() < 1 - SAME
    is_new = is_colour and np.abs(inside - cover).max() > SAME  # black and white come of a mistaken range
    return (COMPOSITED, known) if known < CLOSE and is_new else (UNSURE, np.inf)
