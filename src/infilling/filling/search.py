"""Patch search: a known patch for every patch that touches the hole.

Nearest patches are found approximately: exactly at the start of the coarsest level (`Search.start`), then by
asking the neighbours and by random jumps (PatchMatch: Barnes et al., SIGGRAPH 2009).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from infilling.filling.pyramid import EXACT_PAIRS, Level
from infilling.filling.threads import work_on
from infilling.pictures.picture import Floats, Ints

JUMPS = (4, 1)  # distances, in targets, of the neighbours whose matches a target tries
REACH = 32  # distance of the first random jump, in px; at the coarsest level an exact search comes first
CHUNK = 512  # targets handled at once: their 147 values each take 0.3 MB, which stay in the cache
BANDS = 4  # parts of the targets that are searched at once, whatever the number of threads
BAND_TARGETS = 4096  # fewest targets of a band: fewer are searched one after the other
KEPT = 16_384  # most targets for which what stays the same from round to round is kept, 1 kB for each
EXACT_CHUNK = 4_194_304  # distances of an exact search held at once, 16 MB


class Guide(NamedTuple):
    """The colours that a hole should have.

    Attributes:
        colours: (h, w, 3) float32, of the part of the level in which targets are.
        hint: cost of a match's middle pixel per squared distance from them, a third of it for each channel.
        corner: row and column of that part's corner.
    """

    colours: Floats
    hint: float
    corner: tuple[int, int] = (0, 0)


class _Wanted(NamedTuple):
    """What the sources for a part of the targets are compared with; V = side² · 3 values a patch.

    Attributes:
        patch: (n, V) values.
        weight: (n, V) weight of each value.
        least: (n,) cost that every source has.
    """

    patch: Floats
    weight: Floats
    least: Floats


class _Fixed(NamedTuple):
    """What stays the same of a part of the targets from round to round; see `Search._want`.

    Attributes:
        weight: (n, V) weight of each value, the guide's part included.
        colours: (n, 3) the guide's; None without a guide.
        share, both: (n, 3) factors of the guide's part.
    """

    weight: Floats
    colours: Floats | None
    share: Floats
    both: Floats


class Search:
    """The matches of one level: a source for every target.

    `targets` are the middles of patches that touch the hole; with a `stride` above 1 only those on a grid of
    that many px, close enough to each other to cover every hole pixel. Over all places P of the level:

    Attributes:
        targets: (T,) places, in order.
        match: (P,) int32, place of the source matched to each target; −1 where there is none.
        cost: (P,) squared difference of the two patches, weighted by `Level.trust`, and the guide's part.

    >>> stripes = np.tile(np.float32([0, 1]), (6, 6))[..., None].repeat(3, axis=2)
    >>> hole = np.zeros((6, 12), bool)
    >>> hole[3, 8] = True
    >>> search = Search(Level(stripes, hole, radius=1))
    >>> len(search.targets), search.start(np.random.default_rng(0))
    (9, None)
    >>> y, x = search.level.to_yx(search.match[search.targets])
    >>> (x % 2 == search.level.to_yx(search.targets)[1] % 2).all()
    np.True_
    """

    def __init__(self, level: Level, *, guide: Guide | None = None, stride: int = 1) -> None:
        """Find the targets; none of them is matched yet."""
        self.level, self.guide, self.stride = level, guide, stride
        self.targets: Ints = level.find_touching(stride)
        self.match: Ints = np.full(level.hole.size, -1, np.int32)
        self.cost: Floats = np.full(level.hole.size, np.inf, np.float32)
        middle = len(level.offsets) // 2
        self._middle = slice(3 * middle, 3 * middle + 3)  # the middle pixel's values in a patch
        self._hint = np.float32(guide.hint / 3 if guide else 0)
        self._kept: dict[tuple[int, int], _Fixed] = {}  # by the first of a part and its length

    def adopt(self, coarser: Search) -> None:
        """Take over the matches of the next coarser level, at twice their place; all at cost 0.

        A target at (y, x) has its parent at (y // 2, x // 2). The parent's match is d away from the parent,
        so that the target's is 2 d away from the target, if a whole known patch is there.
        """
        level = self.level
        y, x = level.to_yx(self.targets)
        parents = coarser._snap(coarser.level.to_place(y // 2, x // 2))
        parent_y, parent_x = coarser.level.to_yx(parents)
        source_y, source_x = coarser.level.to_yx(coarser.match[parents])
        found = level.to_place(2 * (source_y - parent_y) + y, 2 * (source_x - parent_x) + x)
        usable = (coarser.match[parents] >= 0) & level.is_source[found]
        targets = self.targets[usable]
        self.match[targets] = found[usable]
        self.cost[targets] = 0

    def start(self, rng: np.random.Generator, pairs: int = EXACT_PAIRS) -> None:
        """Match the targets without a match, from the rim inwards, to the best source of all.

        The order of Efros & Leung: a ring of pixels is filled by its known neighbours, then is known itself.
        The hole's pixels take the middles of their matches.

        Args:
            rng: draws the sources to compare with, where `pairs` does not allow for all.
            pairs: number of patches compared with patches, at most.
        """
        level = self.level
        todo = self.targets[self.match[self.targets] < 0]
        if not len(todo):
            return
        adopted = self.targets[self.match[self.targets] >= 0]
        level.filled[(adopted[:, None] + level.offsets).ravel()] = True
        sources = level.sources
        count = max(500, pairs // len(todo))
        if count < len(sources):
            sources = rng.choice(sources, count, replace=False)
        known = level.patches(sources)
        squares = np.square(known)
        squares = squares[:, 0::3] + squares[:, 1::3] + squares[:, 2::3]  # a pixel's channels weigh the same
        chunk = max(1, EXACT_CHUNK // len(sources))
        depth = level.find_depth(todo)
        for ring in range(1, int(depth.max()) + 1):
            trust = level.filled.astype(np.float32)
            for part in in_chunks(todo[depth == ring], chunk):
                self._match_exactly(part, sources, known, squares, trust)
                level.pixels[part] = level.pixels[self.match[part]]
            level.filled[todo[depth == ring]] = True
        for part in in_chunks(todo[depth == 0], chunk):  # known pixels whose patch reaches into the hole
            self._match_exactly(part, sources, known, squares, level.trust)

    def _match_exactly(
        self, part: Ints, sources: Ints, known: Floats, squares: Floats, trust: Floats
    ) -> None:
        """Match n targets to the best of m sources.

        Of Σ w (t − s)² = Σ w t² − 2 Σ w t s + Σ w s² the first sum is the same for all sources; the others
        are products of matrices (n, V) and (V, m), and (n, V / 3) and (V / 3, m) for the squares.
        """
        level = self.level
        weight = level.weights(part, trust)
        cost = weight[:, ::3] @ squares.T
        cost -= (2 * weight * level.patches(part)) @ known.T
        if self.guide is not None:
            colours = level.pixels[sources]
            cost += self._hint * ((colours * colours).sum(1) - 2 * self._find_guided(part) @ colours.T)
        self.match[part] = sources[cost.argmin(1)]

    def improve(self, rng: np.random.Generator, *, jumps: tuple[int, ...] = JUMPS, reach: int = REACH) -> int:
        """Improve the matches: each target tries its neighbours' matches, near and far, then random jumps.

        Args:
            rng: draws the jumps.
            jumps: distances, in targets, of the neighbours.
            reach: distance of the first random jump in px, at most; each further one goes half as far.

        Returns:
            The number of targets whose match changed.
        """
        before = self.match[self.targets]
        steps = self._draw_steps(rng, reach)
        for bands in self._split(max(jumps) * self.stride):
            run = work_on if len(bands) > 1 else map
            for _ in run(lambda band: self._improve(band, jumps, steps), bands):
                pass
        return int(np.count_nonzero(self.match[self.targets] != before))

    def _draw_steps(self, rng: np.random.Generator, reach: int) -> Ints:
        """Draw the random jumps, (jumps, n) in places: the targets of each chunk make the same ones."""
        reaches = reach >> np.arange(reach.bit_length())
        count = min(CHUNK, len(self.targets))
        down, right = rng.integers(-reaches[:, None], reaches[:, None] + 1, (2, len(reaches), count))
        # Over the picture's right edge is its left one, a row further: as good a place as any.
        return np.asarray(down * self.level.shape[1] + right)

    def _split(self, reach: int) -> Iterator[list[Ints]]:
        """Yield the targets in parts that can be searched at the same time.

        First come bands of rows, then the strips between them. No two parts of one time are within `reach`
        rows of each other, so that none reads what another writes. Few targets are a single part.
        """
        count = min(BANDS, len(self.targets) // BAND_TARGETS)
        if count < 2:
            yield [self.targets]
            return
        width = self.level.shape[1]
        borders = self.targets[np.arange(1, count) * len(self.targets) // count] // width * width
        strip = (reach + self.stride) * width  # one row more: a step sideways may end in the next row
        ends = np.stack([borders, borders + strip], axis=1).ravel()
        parts = np.split(self.targets, np.searchsorted(self.targets, ends))
        yield parts[0::2]
        yield parts[1::2]

    def _improve(self, targets: Ints, jumps: tuple[int, ...], steps: Ints) -> None:
        """Improve the matches of some targets; see `improve`."""
        level = self.level
        for part in in_chunks(targets, CHUNK):
            wanted = self._want(part)
            match = self.match[part].astype(np.intp)  # as `take` wants it
            cost = _weigh(level.patches(match), wanted)
            for step in self._list_ways(jumps):
                # Where there is no match, −1, this leads into the padding, or out of the picture.
                candidates = self.match.take(part + step, mode="clip") - step
                self._try(candidates, match, cost, wanted)
                self.match[part] = match
            for drawn in steps:
                self._try(match + drawn[: len(part)], match, cost, wanted)
            self.match[part] = match
            self.cost[part] = cost + wanted.least

    def _list_ways(self, jumps: tuple[int, ...]) -> list[int]:
        """Return the steps, in places, to the neighbours on all four sides at each of these distances."""
        width = self.level.shape[1]
        return [way * jump * self.stride for jump in jumps for way in (1, -1, width, -width)]

    def _try(self, candidates: Ints, match: Ints, cost: Floats, wanted: _Wanted) -> None:
        """Replace matches, (n,), by candidates that cost less; `match` and `cost` are written to."""
        usable = self.level.is_source.take(candidates, mode="clip")  # beyond the picture there is none
        sources = np.where(usable, candidates, match)
        found = _weigh(self.level.patches(sources), wanted)
        better = found < cost
        np.copyto(match, sources, where=better)
        np.copyto(cost, found, where=better)

    def _want(self, part: Ints) -> _Wanted:
        """Describe the sources that these targets want.

        The guide g counts for the middle pixel m alone. Of w (m − t)² + h (m − g)², the costs of the patch
        and of the guide there, only (w + h) (m − (w t + h g) / (w + h))² depends on the source: the wanted
        value is g + w / (w + h) (t − g), its weight w + h, and w h / (w + h) (t − g)² is the cost that all
        have.

        By hand: w = 1, h = 3, t = 0.8, g = 0.4. A source with m = 0.5 costs 1 · 0.09 + 3 · 0.01 = 0.12; as
        wanted value 0.4 + 0.4 / 4 = 0.5, weight 4, least 3 / 4 · 0.16 = 0.12.
        """
        patch, fixed = self.level.patches(part), self._fix(part)
        least = np.zeros(len(part), np.float32)
        if fixed.colours is not None:
            middle = patch[:, self._middle]
            difference = middle - fixed.colours
            middle[:] = fixed.colours + fixed.share * difference
            least = (fixed.both * difference * difference).sum(1)
        return _Wanted(patch, fixed.weight, least)

    def _fix(self, part: Ints) -> _Fixed:
        """Return what stays the same from round to round; it is kept if there are few targets."""
        key = int(part[0]), len(part)
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        weight = self.level.weights(part, self.level.trust)
        own = weight[:, self._middle].copy()
        weight[:, self._middle] = both = own + self._hint
        colours = None if self.guide is None else self._find_guided(part)
        fixed = _Fixed(weight, colours, own / both, own * self._hint / both)
        if len(self.targets) <= KEPT:
            self._kept[key] = fixed
        return fixed

    def _find_guided(self, targets: Ints) -> Floats:
        """Return the guide's colours at these places, (n, 3)."""
        assert self.guide is not None
        (y, x), (top, left) = self.level.to_yx(targets), self.guide.corner
        return self.guide.colours[y - top, x - left]

    def measure_misfit(self, part: Ints) -> Floats:
        """Return what these targets' matches cost without the guide's part, (n,)."""
        cost = self.cost[part]
        if self.guide is None:
            return cost
        away = self.level.pixels[self.match[part]] - self._find_guided(part)
        misfit: Floats = np.maximum(cost - self._hint * (away * away).sum(1), 0)
        return misfit

    def _snap(self, places: Ints) -> Ints:
        """Return the place of the grid that each of these places belongs to."""
        if self.stride == 1:
            return places
        y, x = self.level.to_yx(places)
        return self.level.to_place(y - y % self.stride, x - x % self.stride)


def _weigh(patches: Floats, wanted: _Wanted) -> Floats:
    """Return Σ weight × (patch − wanted)² over each patch, (n,); `patches` (n, V) is written to."""
    patches -= wanted.patch
    patches *= patches
    cost: Floats = np.einsum("ki,ki->k", patches, wanted.weight)
    return cost


def in_chunks(places: Ints, size: int) -> Iterator[Ints]:
    """Yield the places in parts of this size; the last one may be smaller."""
    for start in range(0, len(places), size):
        yield places[start : start + size]
