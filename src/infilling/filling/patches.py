"""`patch-synthesis`: fills a hole with patches copied from the known part of the same picture; numpy only.

Texture synthesis by copying (Efros & Leung, ICCV 1999) at usable speed. Three ideas make it fast and keep it
coherent: work from coarse to fine (Wexler, Shechtman & Irani, PAMI 2007); find nearest patches approximately,
by asking the neighbours and by random jumps (PatchMatch: Barnes et al., SIGGRAPH 2009); start at the coarsest
level from the hole's rim inwards (Newson et al., SIAM J. Imaging Sci. 2014). At the end every pixel is a copy
of one known pixel, so the fill is as sharp as the picture around it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infilling.filling.classical import ClassicalEngine
from infilling.pictures.mask import Box, bounding_box, widen

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]

RADIUS = 3  # patches of 7×7 px, as in Newson et al.
ENOUGH_SOURCES = 64  # whole known patches below which smaller ones, or a finer level, are taken
CONFIDENCE = 1.3  # a hole pixel counts 1.3 times less with every pixel further from the rim (Wexler et al.)
FARTHEST = 80  # px from the rim after which it does not fall further
ROUNDS = (2, 8)  # least and most rounds of match and vote at a level that does not settle before …
ROUND_PATCHES = 25_000  # … which share so many patches between them
SETTLED = 0.05  # share of a level's matches: a round that betters fewer is its last
JUMPS = (4, 1)  # px; how far the neighbours are that a pixel asks for their match
REACH = 32  # px; how far a match jumps at random, but at the coarsest level, where it jumps anywhere
EXACT_PAIRS = 50_000_000  # patches compared with patches in an exact search, at most
NOISE = 1e-4  # variance, of values in [0, 1], that is added to a patch's own: a flat one is no perfect match
CHUNK = 512  # patches compared at once: their 147 values each take 0.3 MB, which stay in the cache
VOTES = 2048  # hole pixels that are voted on at once; their order does not matter
KEPT = 16_384  # targets up to which what stays the same from round to round is kept, 1 kB for each
EXACT_CHUNK = 4_194_304  # distances of an exact search held at once, 16 MB


def make(seed: int = 0) -> ClassicalEngine:
    """Makes the engine. The same picture, mask and seed give the same fill, alone or in a batch.

    >>> image = np.tile(np.float32([0.2, 0.8]), 32)[None, None, None].repeat(3, 1).repeat(64, 2)
    >>> mask = np.zeros((1, 1, 64, 64), np.float32)
    >>> mask[..., 24:40, 24:40] = 1
    >>> bool((make().fill(image, mask) == image).all())
    True
    """
    return ClassicalEngine("patch-synthesis", partial(synthesize, seed=seed))


def synthesize(image: Floats, mask: Floats, *, seed: int = 0) -> Floats:
    """Fills each picture's hole with copies from that picture.

    Args:
        image: (N, 3, H, W) in [0, 1]; what it holds inside the hole does not matter.
        mask: (N, 1, H, W) in {0, 1}, 1 = hole.
        seed: of the search's random jumps, which start anew for every picture.

    Returns:
        (N, 3, H, W); a picture without a known pixel as it came.
    """
    filled = image.copy()
    for picture, hole in zip(filled, mask[:, 0] > 0, strict=True):
        if not hole.all():
            rng = np.random.default_rng(seed)
            picture[:] = fill_picture(picture.transpose(1, 2, 0), hole, rng).transpose(2, 0, 1)
    return filled


def fill_picture(image: Floats, hole: Bools, rng: np.random.Generator) -> Floats:
    """Fills one picture from coarse to fine.

    Args:
        image: (H, W, 3), what it holds inside the hole does not matter.
        hole: (H, W), True = hole, with something known left to copy.
        rng: draws the search's jumps.

    Returns:
        (H, W, 3); every hole pixel is a copy of a known pixel.

    Raises:
        InputError: there is nothing known to copy.
    """
    if not hole.any():
        return image.copy()
    radius = next((r for r in range(RADIUS, 1, -1) if count_sources(hole, r) >= ENOUGH_SOURCES), 1)
    if not count_sources(hole, radius):
        return copy_nearest(image, hole)
    pyramid = build_pyramid(image, hole, radius)
    level: Level | None = None
    while pyramid:
        coarser, level = level, Level(*pyramid.pop(), radius)
        if coarser is not None:
            level.adopt(coarser)
        level.peel(rng)
        level.refine(rng, level.rounds())
    assert level is not None
    level.search(rng)
    level.copy_best()
    return level.picture()


def build_pyramid(image: Floats, hole: Bools, radius: int) -> list[tuple[Floats, Bools]]:
    """Halves picture and hole until a patch reaches from the rim to the hole's middle; finest first."""
    pyramid = [(image, hole)]
    while measure_depth(hole).max() > 2 * radius or hole.sum() * (~hole).sum() > EXACT_PAIRS:
        image, hole = halve(image, hole)
        if not hole.any() or count_sources(hole, radius) < ENOUGH_SOURCES:
            break
        pyramid.append((image, hole))
    return pyramid


def halve(image: Floats, hole: Bools) -> tuple[Floats, Bools]:
    """Averages the known pixels of each 2×2 block; a block with less than two is hole."""
    height, width = hole.shape
    image, known = image.copy(), ~hole
    image.reshape(-1, 3)[np.flatnonzero(hole)] = 0
    if height % 2 or width % 2:
        odd = (0, height % 2), (0, width % 2)
        image, known = np.pad(image, (*odd, (0, 0))), np.pad(known, odd)
    [count] = add_blocks(known[..., None].astype(np.uint8)).transpose(2, 0, 1)
    share = np.repeat(np.maximum(count, 1).astype(np.float32), 3, axis=1).reshape(*count.shape, 3)
    return np.asarray(add_blocks(image) / share, dtype=np.float32), count < 2


def add_blocks(values: NDArray[Any]) -> NDArray[Any]:
    """Sums 2×2 blocks of (H, W, C), H and W even: channel by channel, in loops that are long along a row."""
    rows = values[0::2] + values[1::2]
    total = np.empty((rows.shape[0], rows.shape[1] // 2, rows.shape[2]), rows.dtype)
    for channel in range(rows.shape[2]):
        np.add(rows[:, 0::2, channel], rows[:, 1::2, channel], out=total[..., channel])
    return total


def measure_depth(hole: Bools) -> NDArray[np.int32]:
    """Counts the steps (down, up, left, right) from each pixel to the nearest known one; 0 where known.

    >>> measure_depth(np.array([[False, True, True, True]])).tolist()
    [[0, 1, 2, 3]]
    """
    whole = np.zeros(hole.shape, np.int32)
    box = bounding_box(hole)
    if box.width:
        # One pixel round the holes is known, where it is in the picture: no way out is shorter beyond it.
        near = widen(box, 1, Box(0, 0, hole.shape[1], hole.shape[0])).slices
        whole[near] = _measure_depth(hole[near])
    return whole


def _measure_depth(hole: Bools) -> NDArray[np.int32]:
    depth = np.where(hole, np.int32(sum(hole.shape)), np.int32(0))
    for axis in (0, 1):  # the distance along one axis, then the least of the other axis's sums, is exact
        depth = np.moveaxis(depth, axis, 0)
        place = np.arange(len(depth), dtype=np.int32)[:, None]
        before = np.minimum.accumulate(depth - place) + place
        after = np.minimum.accumulate((depth + place)[::-1])[::-1] - place
        depth = np.moveaxis(np.minimum(before, after), 0, axis)
    return depth


def copy_nearest(image: Floats, hole: Bools) -> Floats:
    """Spreads known pixels into the hole, ring by ring: for crumbs of a picture that hold no whole patch."""
    image, depth = image.copy(), np.pad(measure_depth(hole), 1, constant_values=sum(hole.shape) + 1)
    for ring in range(1, int(depth[1:-1, 1:-1].max()) + 1):
        y, x = np.nonzero(depth == ring)
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            nearer = depth[y + down, x + right] < ring
            image[y[nearer] - 1, x[nearer] - 1] = image[y[nearer] - 1 + down, x[nearer] - 1 + right]
    return image


def count_sources(hole: Bools, radius: int) -> int:
    """Counts the whole patches inside the picture that hold no hole."""
    side = 2 * radius + 1
    return int(_all_known(~hole, side).sum()) if min(hole.shape) >= side else 0


def _all_known(known: Bools, side: int) -> Bools:
    """Tells of each side × side window whether all of it is known; (H − side + 1, W − side + 1)."""
    for axis in (0, 1):
        known = np.moveaxis(known, axis, 0)
        span = 1  # of pixels that each one stands for
        while span < side:
            step = min(span, side - span)
            known = known[: len(known) - step] & known[step:]
            span += step
        known = np.moveaxis(known, 0, axis)
    return known


class Level:
    """One level of the pyramid, with a known patch matched to every patch that touches the hole.

    Places are flat indices into the picture, padded by the patch radius. `targets` are the centres of patches
    that touch the hole, `sources` those of patches that are known throughout. `match[target]` is a source and
    `cost[target]` the squared difference of the two patches, weighted by how far the target's pixels can be
    trusted: `trust`. `filled` marks what has a colour, known or found.

    A guide (H, W, 3) says which colours a hole should have: a match costs `hint` / 3 times as much as its
    middle pixel's squared distance from them. With a stride above 1 there are fewer targets: those on a grid,
    close enough to cover every hole pixel.
    """

    def __init__(
        self,
        image: Floats,
        hole: Bools,
        radius: int,
        *,
        guide: Floats | None = None,
        hint: float = 0,
        stride: int = 1,
    ) -> None:
        side = 2 * radius + 1
        inside = np.pad(np.ones(hole.shape, bool), radius)
        self.radius = radius
        self.shape = inside.shape
        corner = radius * (self.shape[1] + 1)  # places from a patch's first pixel to its middle
        pixels = np.zeros((inside.size + 2 * corner, 3), np.float32)
        self.pixels: Floats = pixels[corner : corner + inside.size]
        self.picture()[:] = image
        # The patch round each place, as rows of one value: to gather it is to copy that many bytes a row.
        pixel = pixels.strides[0]
        strides = pixel, pixel * self.shape[1]
        self.every = np.ndarray((inside.size, side), f"V{side * pixel}", pixels.data, 0, strides)
        self.depth = np.pad(measure_depth(hole), radius).ravel()
        self.hole: Bools = np.pad(hole, radius).ravel()
        self.gaps: Ints = np.flatnonzero(self.hole)
        self.pixels[self.gaps] = 0
        self.filled: Bools = inside.ravel() & ~self.hole
        self.trust: Floats = self.filled.astype(np.float32)
        far = np.minimum(self.depth[self.gaps], FARTHEST).astype(np.float32)
        self.trust[self.gaps] = np.float32(CONFIDENCE) ** -far
        step = np.arange(-radius, radius + 1)
        self.offsets: Ints = (step[:, None] * self.shape[1] + step).ravel()
        self.is_source: Bools = np.pad(_all_known(self.filled.reshape(self.shape), side), radius).ravel()
        self.sources: Ints = np.flatnonzero(self.is_source)
        touches = ~_all_known(~np.pad(hole, 2 * radius), side).ravel()
        self.stride = stride
        self.targets: Ints = self._snap(np.flatnonzero(touches & inside.ravel()))
        self.guide, self.hint = guide, np.float32(hint / 3)
        half = len(self.offsets) // 2
        self.middle = slice(3 * half, 3 * half + 3)  # what a patch has of its middle pixel
        self.kept: dict[int, tuple[Floats, ...]] = {}
        self.cover: list[tuple[Ints, Ints, Ints]] = []
        self.match: Ints = np.full(self.hole.size, -1, np.intp)
        self.cost: Floats = np.full(self.hole.size, np.inf, np.float32)

    def rounds(self, patches: int = ROUND_PATCHES, most: int = ROUNDS[1]) -> int:
        """Many for a level with few patches, few for one with many: it starts from good matches."""
        return int(np.clip(patches // len(self.targets), ROUNDS[0], most))

    def picture(self) -> Floats:
        """The pixels without the padding; (H, W, 3)."""
        inner = slice(self.radius, -self.radius or None)
        return self.pixels.reshape(*self.shape, 3)[inner, inner]

    def patches(self, centres: Ints) -> Floats:
        """The patches round these places; (len(centres), side² · 3)."""
        values: Floats = self.every[centres].view(np.float32)
        return values

    def weights(self, centres: Ints, trust: Floats) -> Floats:
        """How far each value of these patches counts, as in `patches`; each row sums to 1."""
        weight = trust[centres[:, None] + self.offsets]
        return np.repeat(weight / (3 * weight.sum(1, keepdims=True)), 3, axis=1)

    def adopt(self, coarser: Level) -> None:
        """Takes over the matches of the coarser level, at twice their place, and fills the hole by them."""
        y, x = self._to_yx(self.targets)
        parents = coarser._snap_each(coarser._to_place(y // 2, x // 2))
        parent_y, parent_x = coarser._to_yx(parents)
        source_y, source_x = coarser._to_yx(coarser.match[parents])
        found = self._to_place(2 * (source_y - parent_y) + y, 2 * (source_x - parent_x) + x)
        usable = (coarser.match[parents] >= 0) & self.is_source[found]
        targets = self.targets[usable]
        self.match[targets] = found[usable]
        self.cost[targets] = 0  # all votes are equal
        self.vote()

    def peel(self, rng: np.random.Generator, pairs: int = EXACT_PAIRS) -> None:
        """Matches the targets that have no match, from the rim inwards, with the best source of all.

        The order of Efros & Leung: a ring of pixels is filled by its known neighbours, then is known itself.
        Of more sources than so many pairs of patches allow, some are drawn at random.
        """
        todo = self.targets[self.match[self.targets] < 0]
        if not len(todo):
            return
        adopted = self.targets[self.match[self.targets] >= 0]
        self.filled[(adopted[:, None] + self.offsets).ravel()] = True
        count = int(np.clip(pairs // len(todo), 500, len(self.sources)))
        sources = (
            self.sources if count >= len(self.sources) else rng.choice(self.sources, count, replace=False)
        )
        known = self.patches(sources)
        squares = known * known
        chunk = max(1, EXACT_CHUNK // len(sources))
        for ring in range(1, int(self.depth[todo].max()) + 1):
            for part in _in_chunks(todo[self.depth[todo] == ring], chunk):
                self._match_exactly(part, sources, known, squares, self.filled.astype(np.float32))
                self.pixels[part] = self.pixels[self.match[part]]
            self.filled[todo[self.depth[todo] == ring]] = True
        for part in _in_chunks(
            todo[self.depth[todo] == 0], chunk
        ):  # known pixels whose patch reaches into the hole
            self._match_exactly(part, sources, known, squares, self.trust)

    def _match_exactly(
        self, part: Ints, sources: Ints, known: Floats, squares: Floats, trust: Floats
    ) -> None:
        weight = self.weights(part, trust)
        cost = (
            weight @ squares.T - 2 * (weight * self.patches(part)) @ known.T
        )  # but for what all have in common
        if self.guide is not None:
            colours = self.pixels[sources]
            cost += self.hint * ((colours * colours).sum(1) - 2 * self._guided(part) @ colours.T)
        self.match[part] = sources[cost.argmin(1)]

    def refine(self, rng: np.random.Generator, rounds: int) -> None:
        """Searches and votes by turns, so many times or until hardly a match is bettered."""
        for _ in range(rounds):
            bettered = self.search(rng)
            self.vote()
            if bettered < SETTLED * len(self.targets):
                break

    def search(self, rng: np.random.Generator, *, jumps: tuple[int, ...] = JUMPS, reach: int = REACH) -> int:
        """Betters the matches: each target asks its neighbours, near and far, then jumps at random.

        Args:
            rng: draws the jumps.
            jumps: how many targets away the neighbours are that it asks.
            reach: how far the first random jump goes, in pixels; each further one goes half as far.

        Returns:
            How many targets have another match now.
        """
        before = self.match[self.targets]
        for part in _in_chunks(self.targets, CHUNK):
            wanted, weight, least = self._describe(part)
            match = self.match[part]
            cost = _weigh(self.patches(match), wanted, weight)
            for candidates in self._candidates(part, match, rng, jumps, reach):
                usable = self.is_source.take(candidates, mode="clip")  # beyond the picture there is none
                sources = np.where(usable, candidates, match)
                found = _weigh(self.patches(sources), wanted, weight)
                better = found < cost
                np.copyto(match, sources, where=better)
                np.copyto(cost, found, where=better)
                self.match[part] = match
            self.cost[part] = cost + least
        return int(np.count_nonzero(self.match[self.targets] != before))

    def _describe(self, part: Ints) -> tuple[Floats, Floats, Floats]:
        """What a source's patch is compared with (n, values), how much each value counts, the least cost (n).

        The guide says something of the middle pixel m alone: of w (m − t)² + h (m − g)², the costs of what
        the patch and the guide have there, (w + h) (m − (w t + h g) / (w + h))² depends on the source.
        """
        wanted, (weight, *rest) = self.patches(part), self._weigh_targets(part)
        if not rest:
            return wanted, weight, np.zeros(len(part), np.float32)
        guided, share, both = rest
        difference = wanted[:, self.middle] - guided
        wanted[:, self.middle] = guided + share * difference
        return wanted, weight, (both * difference * difference).sum(1)

    def _weigh_targets(self, part: Ints) -> tuple[Floats, ...]:
        """How much each value of these targets counts (n, values), and what `_describe` needs of the guide.

        That is, each (n, 3), g, w / (w + h), and w h / (w + h). All stay the same from round to round, and
        are kept if there are few.
        """
        if found := self.kept.get(part[0]):
            return found
        found = (weight := self.weights(part, self.trust),)
        if self.guide is not None:
            own = weight[:, self.middle].copy()
            both = weight[:, self.middle] = own + self.hint
            found = weight, self._guided(part), own / both, own * self.hint / both
        if len(self.targets) <= KEPT:
            self.kept[part[0]] = found
        return found

    def _guided(self, targets: Ints) -> Floats:
        """The colours that the guide has at these places, (n, 3)."""
        assert self.guide is not None
        return self.guide[self._to_yx(targets)]

    def _candidates(
        self, part: Ints, match: Ints, rng: np.random.Generator, jumps: tuple[int, ...], reach: int
    ) -> Iterator[Ints]:
        """Places that may be better sources than the present ones, `match`, one per target and turn."""
        for jump in (self.stride * targets for targets in jumps):
            for step in (jump, -jump, jump * self.shape[1], -jump * self.shape[1]):
                # Where there is no match, -1, this leads into the padding, or out of the picture.
                yield self.match.take(part + step, mode="clip") - step
        while reach >= 1:
            down, right = rng.integers(-reach, reach + 1, (2, len(part)))
            # Over the picture's right edge lies its left one, a row further: as good a place as any.
            yield match + down * self.shape[1] + right
            reach //= 2

    def vote(self) -> None:
        """Sets each hole pixel to the mean of what the patches over it say, well-matched ones the most."""
        matched = self.targets[self.match[self.targets] >= 0]
        if not len(matched):  # as when nothing that the coarser level chose is known here
            return
        costs, upper = self.cost[matched], 3 * len(matched) // 4
        spread = np.partition(costs, upper)[upper] + 1e-8  # σ², the 75th percentile, as in Wexler et al.
        weight = np.zeros(len(self.hole), np.float32)
        weight[matched] = np.exp(-costs / (2 * spread)) * self.trust[matched] + 1e-12
        for part, centres, steps in self._cover():
            say = weight.take(centres)
            copies = self.pixels.take(self.match.take(centres) + steps, axis=0, mode="clip")
            total = say.sum(1)
            voted = total > 0
            self.pixels[part[voted]] = (say[:, None] @ copies)[voted, 0] / total[voted, None]

    def _cover(self) -> Iterable[tuple[Ints, Ints, Ints]]:
        """Each hole pixel (n), the centres of the patches over it (n, k), the steps from them to it (k)."""
        if len(self.targets) > KEPT:
            return self._lay_cover()
        self.cover = self.cover or list(self._lay_cover())
        return self.cover

    def _lay_cover(self) -> Iterator[tuple[Ints, Ints, Ints]]:
        places = self.gaps
        y, x = self._to_yx(places)
        step = np.arange(-self.radius, self.radius + 1)
        for down, right in product(range(self.stride), repeat=2):
            # Only those patches lie over these places that lie on the grid.
            fits = (step - down) % self.stride == 0, (step - right) % self.stride == 0
            steps = self.offsets[np.logical_and.outer(*fits).ravel()]
            for part in _in_chunks(places[(y % self.stride == down) & (x % self.stride == right)], VOTES):
                yield part, part[:, None] - steps, steps

    def copy_best(self, *, relative: bool = False) -> None:
        """Sets each hole pixel to a copy: what the best-matched patch over it says.

        Args:
            relative: divide costs by how much the copied patches vary, to the power of 1.5. By the costs
                themselves smooth patches, which are easy to match, win over their neighbours.
        """
        costs = np.full(len(self.hole), np.inf, np.float32)
        for part in _in_chunks(self.targets, CHUNK):
            costs[part] = self.cost[part]
            if relative:
                costs[part] /= (_measure_variance(self.patches(self.match[part])) + NOISE) ** 1.5
        for part, centres, steps in self._cover():
            best = costs.take(centres).argmin(1)
            self.pixels[part] = self.pixels[self.match[centres[np.arange(len(part)), best]] + steps[best]]

    def _snap(self, places: Ints) -> Ints:
        """The places of the grid that these places belong to, each once, in order."""
        if self.stride == 1:
            return places
        chosen = np.zeros(self.hole.size, bool)
        chosen[self._snap_each(places)] = True
        return np.flatnonzero(chosen)

    def _snap_each(self, places: Ints) -> Ints:
        if self.stride == 1:
            return places
        y, x = self._to_yx(places)
        return self._to_place(y - y % self.stride, x - x % self.stride)

    def _to_yx(self, places: Ints) -> tuple[Ints, Ints]:
        y, x = np.divmod(places, self.shape[1])
        return y - self.radius, x - self.radius

    def _to_place(self, y: Ints, x: Ints) -> Ints:
        """The nearest place of the padded picture; y and x count from the picture's corner."""
        y = np.minimum(np.maximum(y + self.radius, 0), self.shape[0] - 1)  # np.clip takes thrice as long
        x = np.minimum(np.maximum(x + self.radius, 0), self.shape[1] - 1)
        return np.asarray(y * self.shape[1] + x)


def _measure_variance(patches: Floats) -> Floats:
    """The variance of each patch's pixels, summed over channels: mean of squares less square of the mean."""
    pixels = patches.shape[1] // 3
    means = patches @ np.tile(np.eye(3, dtype=np.float32), (pixels, 1)) / np.float32(pixels)
    squares = np.einsum("ki,ki->k", patches, patches) / np.float32(pixels)
    variance: Floats = np.maximum(squares - (means * means).sum(1), 0)
    return variance


def _weigh(patches: Floats, wanted: Floats, weight: Floats) -> Floats:
    """Σ weight × (patch − wanted)² over each patch; `patches` is written to."""
    patches -= wanted
    patches *= patches
    cost: Floats = np.einsum("ki,ki->k", patches, weight)
    return cost


def _in_chunks(places: Ints, size: int) -> Iterator[Ints]:
    for start in range(0, len(places), size):
        yield places[start : start + size]
