"""Several fills of one hole: how each is made, and the choice among them.

The first is the usual fill. The others differ by seed, by how much the network steers what is copied, by the
engine, and by the side that is copied from. What is the same to the eye as another fill is left out, and the
rest is put in the order of `scores`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count as count_from
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from infilling.errors import check_count, collect_warnings, warn
from infilling.filling.contract import Engine, find_taken, is_trained
from infilling.filling.open_engines import keep_open
from infilling.filling.options import MOST_SEED, FillOptions
from infilling.filling.progress import share
from infilling.filling.scores import find_different, find_scored_part, measure_spread, score_fills
from infilling.filling.sources import is_finished
from infilling.pictures.mask import Mask
from infilling.pictures.picture import Array, Floats

MOST_COUNT = 16
"""Most fills of one hole that can be asked for."""

COPIES = "patch-synthesis"
"""The engine, of code alone, that fills beside the one that is asked for."""

MOST_COPIED = 300_000
"""Most hole pixels for which it does: it takes a second for 100,000."""

STEERED = 3.0
"""Weight of the guide, beside the usual one, in a fill that follows the network more closely."""

SPARE = 4
"""Fills made in place of those that are the same as another, at most."""

Result = TypeVar("Result")


class Recipe(NamedTuple):
    """How a fill differs from the usual one.

    Attributes:
        label: what people read.
        changes: options in place of those given.
        engine: name of the engine; None is the one that is asked for.
    """

    label: str
    changes: Mapping[str, Any]
    engine: str | None = None


@dataclass(frozen=True, eq=False)
class Made(Generic[Result]):
    """What a fill gave.

    Attributes:
        result: of the kind that the caller fills.
        values: (H, W, 1 or 3) uint8, uint16, or float32 in [0, 1]: what is compared.
        hole: (H, W) bool, the pixels that were filled.
    """

    result: Result
    values: Array
    hole: Mask


@dataclass(frozen=True, eq=False)
class Variant(Generic[Result]):
    """One of several fills: the result, how it was made, and its score (lower is better)."""

    result: Result
    label: str
    score: float


@dataclass(frozen=True, eq=False)
class Variants(Generic[Result]):
    """Fills of one hole that differ, best first.

    Attributes:
        fills: at least one.
        spread: (H, W) float32, the standard deviation of all that were made, from 0 to 0.5; 0 outside the
            hole.
        hole: (H, W) bool, the pixels that were filled.
    """

    fills: tuple[Variant[Result], ...]
    spread: Floats
    hole: Mask

    @property
    def doubt(self) -> float:
        """The mean spread in the hole; 0 if nothing was filled."""
        return float(self.spread[self.hole].mean()) if self.hole.any() else 0.0


Maker = Callable[[Engine, FillOptions], Made[Result]]
"""Fills with an engine and options; the rest is bound."""


def make_variants(
    make: Maker[Result],
    engine: Engine,
    options: FillOptions,
    count: int,
    *,
    threads: int | None = None,
) -> Variants[Result]:
    """Make several fills of one hole, best first.

    Args:
        make: fills with an engine and options.
        engine: what fills.
        options: of the usual fill.
        count: number of fills that differ, 1 to MOST_COUNT. Where fewer do, that is a warning.
        threads: of an engine that is opened here.

    Raises:
        InputError: `count` or an option cannot be used.
        ModelError: an engine fails.
    """
    check_count("count", count, 1, MOST_COUNT)
    parts = 1 if count == 1 else count + 1  # of the progress
    with share(0, 1, parts):
        first = make(engine, options)
    made, labels = [first], [_name(engine, Recipe("", {}), options)]
    if count == 1 or not first.hole.any():
        only = Variant(first.result, labels[0], 0.0)
        return Variants((only,), np.zeros(first.hole.shape, np.float32), first.hole)
    inside, kept = [first.values[first.hole]], [0]
    with collect_warnings():  # each would say again what the first has said
        for recipe in list_recipes(engine, options, first.hole):
            if len(kept) == count or len(made) == count + SPARE:
                break
            other = keep_open(recipe.engine, threads, "cpu") if recipe.engine else engine
            with share(len(kept), 1, parts):
                made.append(make(other, dataclasses.replace(options, **recipe.changes)))
            labels.append(_name(other, recipe, options))
            inside.append(made[-1].values[first.hole])
            kept = find_different(inside)
        with share(count, 1, parts):
            expected = _ask_network(make, engine, options)
    _warn_of_few(len(kept), count, len(made))
    scores = _score([made[place].values for place in kept], first.hole, expected)
    chosen = [
        Variant(made[place].result, labels[place], score) for place, score in zip(kept, scores, strict=True)
    ]
    fills = tuple(sorted(chosen, key=lambda each: each.score))
    return Variants(fills, measure_spread(inside, first.hole), first.hole)


def _score(fills: list[Array], hole: Mask, expected: Array | None) -> list[float]:
    """Return the score of each fill, lower is better; see `score_fills`."""
    part = find_scored_part(hole).slices
    likely = None if expected is None else expected[part]
    scores: list[float] = score_fills([each[part] for each in fills], hole[part], likely).combine().tolist()
    return scores


def list_recipes(engine: Engine, options: FillOptions, hole: Mask) -> Iterator[Recipe]:
    """Yield how further fills are made, the more promising ones first; without end if the engine has seeds.

    Args:
        engine: the one that is asked for.
        options: of the usual fill.
        hole: (H, W) bool.
    """
    seeds = (number % (MOST_SEED + 1) for number in count_from(options.seed + 1))
    has_copies = is_finished(engine, options)
    may_copy = engine.name != COPIES and int(hole.sum()) <= MOST_COPIED
    if has_copies:
        yield _vary(next(seeds))
        yield Recipe("free", {"guide": 0.0})
        yield Recipe("steered", {"guide": STEERED * max(options.guide, 0.1)})
    if may_copy:
        yield Recipe("", {}, COPIES)
    if has_copies and not options.choose_source:
        yield from _list_sides(hole, options)
    if has_copies or "seed" in find_taken(engine):
        yield from map(_vary, seeds)
    elif may_copy:
        yield from (_vary(seed, COPIES) for seed in seeds)


def _vary(seed: int, engine: str | None = None) -> Recipe:
    return Recipe(f"seed {seed}", {"seed": seed}, engine)


def _list_sides(hole: Mask, options: FillOptions) -> Iterator[Recipe]:
    """Yield fills that copy from one side of the hole alone, where it has two."""
    if options.mask_frame == "stored":  # a source would be turned like the mask
        return
    columns = np.flatnonzero(hole.any(axis=0))
    middle = int(columns[0] + columns[-1] + 1) // 2
    for label, part in (("from the left", slice(0, middle)), ("from the right", slice(middle, None))):
        source = np.zeros(hole.shape, dtype=bool)
        source[:, part] = True
        if (source & ~hole).mean() > 0.1:
            yield Recipe(label, {"source": source, "mask_frame": "seen"})


def _name(engine: Engine, recipe: Recipe, options: FillOptions) -> str:
    """Return what a fill is called: its engine, and what is not as usual.

    A seed that the caller gave is named too: with it and the label, the fill can be asked for again.
    """
    given = f"seed {options.seed}" if options.seed and "seed" not in recipe.changes else ""
    return ", ".join(filter(None, (engine.name, recipe.label, given)))


def _ask_network(make: Maker[Result], engine: Engine, options: FillOptions) -> Array | None:
    """Return what a network itself puts in the hole, before texture is copied; None without a network."""
    has_network = is_trained(engine) and is_finished(engine, options)
    if not has_network or options.choose_source:
        return None
    return make(engine, dataclasses.replace(options, detail=False)).values


def _warn_of_few(kept: int, wanted: int, made: int) -> None:
    if kept < wanted:
        warn(f"{kept} of {made} fills differ to the eye: the others were left out")
    if kept == 1:
        warn("all fills are the same, so their spread says nothing about doubt")
