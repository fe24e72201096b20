"""Detail: an engine's fill of a part of a picture, redrawn with texture from around it.

A fill made in a reduced crop comes back blurred, and in a crop that was not reduced few networks draw as well
as what is around the hole. Here patches of the known picture are placed over the hole at full size, chosen
from coarse to fine as in `patches`. The fill is a hint of the colours to look for, little more: its
structures and its texture, even where it has as much of it as its surroundings, were worse than those of
patches that fit each other. Some of it mixed in softens copies that do not fit: more where the fill itself
has texture, as on water, and where the copies are rougher than what is around them. `benchmarks/detail.py`
measures it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from infilling.filling.classical import double, pool
from infilling.filling.patches import RADIUS, choose_rounds, refine
from infilling.filling.progress import report
from infilling.filling.pyramid import Level, Pyramid, build_pyramid, build_sources, halve_whole
from infilling.filling.seam import Steps, find_membrane, match_seam
from infilling.filling.search import Guide, Search
from infilling.filling.vote import Vote
from infilling.pictures.blend import sum_window
from infilling.pictures.mask import Box, bounding_box, shift, widen
from infilling.pictures.picture import Bools, Floats
from infilling.pictures.resample import enlarge, reduce

HINT = 0.12  # weight of a match's distance from the fill, beside that of the patches
FIRM_HINT = 2.0  # the same at the coarse levels of a fill at full size: its colours there are seldom wrong
FINE = 8  # a level is fine if it has over 1/8 of the hole's pixels: the finest two are
STRIDE = 2  # distance of the patches of a fine level, in px
FINEST_STRIDE = 4  # the same at the finest of all: each pixel still has a patch over it
SMALL = 1000  # hole pixels up to which `STRIDE` is for that level too: so few patches meet in few ways
NEARBY = 2  # distance of the random jumps at the finest level, in px
SHARE = 4  # the rounds of a coarse level share 1/4 of the hole's pixels as targets
MOST_ROUNDS = 16  # rounds of a coarse level, at most
PAIRS = 500_000  # patches compared with patches in the search that a level starts with
REACH = 640  # distance from the hole, in px, from which patches are taken
TRUST = 0.45  # share of the fill that is mixed in where it has slopes as steep as its surroundings
MOST_SHARE = 0.35  # largest share that is mixed in to make copies less steep
AROUND = 100  # width, in px, of the surroundings whose slopes are measured
MISFIT = 0.1  # misfit from which the fill is mixed in, and matched at the seam, in full
WINDOW = 5  # reach, in px, of the windows over which misfit is averaged
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
REACHED = (0.87, 0.8, 0.72, 0.6)  # share of a region's time at which a level begins, from the finest on
LARGEST = 2_000_000  # most hole pixels that are redrawn at full resolution; above, at half, and so on


class Guess(NamedTuple):
    """What a hole may hold, and its weight in the choice of what is copied.

    Attributes:
        image: (H, W, 3) in [0, 1]; what it holds outside the hole does not matter.
        hint: weight at the coarse levels, and where there is only one.
        fine_hint: the same at the finest two of several levels.
    """

    image: Floats
    hint: float = HINT
    fine_hint: float = HINT

    def weigh(self, factor: float) -> Guess:
        """Return the guess with other weights."""
        return Guess(self.image, factor * self.hint, factor * self.fine_hint)


def recover(
    image: Floats,
    hole: Bools,
    guess: Guess,
    rng: np.random.Generator,
    *,
    source: Bools | None = None,
    most_drift: float | None = None,
    pyramid: Pyramid | None = None,
) -> Floats:
    """Redraw the fill of a crop with texture from around it.

    Args:
        image: (H, W, 3) in [0, 1], the crop at full resolution; what its hole holds does not matter.
        hole: (H, W) bool.
        guess: the fill at this resolution.
        rng: draws the jumps of the search.
        source: (H, W) bool, what may be copied; None: all that is known.
        most_drift: leave the copies as they are, but for a drift of colour of at most this; None: move them
            to meet the rim, and mix some of the fill in.
        pyramid: of image and hole, what is made of it already; it is emptied.

    Returns:
        (H, W, 3), in the hole copies of known pixels and a little of the fill, or nothing of it where the
        copies are exact.
    """
    if np.count_nonzero(hole) > LARGEST:
        return _recover_half(image, hole, guess, rng, source, most_drift)
    pyramid = build_pyramid(image, hole, RADIUS, pyramid)
    redrawn, misfit, drift = _place_patches(pyramid, guess, rng, source)
    box = bounding_box(hole)
    moved = find_membrane(hole, drift)
    redrawn[box.slices] += moved if most_drift is None else np.clip(moved, -most_drift, most_drift)
    if most_drift is not None:
        return redrawn
    around = widen(box, AROUND, Box(0, 0, hole.shape[1], hole.shape[0]))
    near, inside = around.slices, shift(box, around).slices
    image, hole, copies = image[near], hole[near], redrawn[near]
    matched = match_seam(image, guess.image[near], hole)
    share = np.float32(_choose_share(image, hole, matched, copies))
    doubt = _smooth_misfit(misfit[box.slices], hole[inside])
    copies[inside] += share * doubt * (matched[inside] - copies[inside])  # in `redrawn`
    return redrawn


def _smooth_misfit(misfit: Floats, hole: Bools) -> Floats:
    """Average misfit, (h, w), over windows of hole pixels: 0 fits, 1 is `MISFIT` or more; 0 outside.

    Returns:
        (h, w, 1).
    """
    gap = hole[None].astype(np.float32)
    planes = np.stack([np.minimum(misfit, 1) * gap, gap], axis=1)
    cells = pool(pool(planes))  # (1, 2, h / 4, w / 4)
    sums = sum_window(cells[0].transpose(1, 2, 0), WINDOW // 4)
    mean: Floats = np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1 / 16), np.float32)
    height, width = hole.shape
    smooth = double(double(mean[None, None], -(-height // 2), -(-width // 2)), height, width)[0, 0]
    return np.asarray(np.minimum(smooth / MISFIT, 1) * gap[0], np.float32)[..., None]


def _choose_share(image: Floats, hole: Bools, filled: Floats, redrawn: Floats) -> float:
    """Choose the share of the fill to mix in.

    It is the larger of two: by the fill's own slopes, and by how far the copies' slopes exceed those around.
    With a share a of the fill the squared slopes are (1 - a)² of the copies', a² of the fill's, 2a(1 - a) of
    their product. The smallest a is taken that brings these down to the surroundings', or as near as it gets.

    By hand: slopes squared of 0.04 in the copies, 0 in a flat fill, 0.01 around. (1 - a)² · 0.04 = 0.01 gives
    a = 0.5, of which `MOST_SHARE` is taken.
    """
    image, filled, redrawn = image @ LUMA, filled @ LUMA, redrawn @ LUMA
    around = max(_multiply_slopes(image, image, ~hole), 1e-12)
    fill, copies = _multiply_slopes(filled, filled, hole), _multiply_slopes(redrawn, redrawn, hole)
    share = TRUST * min(1.0, math.sqrt(fill / around))
    if copies > around:
        product = _multiply_slopes(filled, redrawn, hole)
        bend = max(copies - 2 * product + fill, 1e-12)
        lowest = (copies - product) / bend
        enough = lowest - math.sqrt(max(0.0, lowest**2 - (copies - around) / bend))
        share = max(share, min(enough, MOST_SHARE))
    return share


def _multiply_slopes(one: Floats, other: Floats, chosen: Bools) -> float:
    """Return the mean product of the steps of two lumas between chosen neighbours, in every 4th line."""
    total = 0.0
    for a, b, wanted in ((one, other, chosen), (one.T, other.T, chosen.T)):
        pairs = wanted[::4, 1:] & wanted[::4, :-1]
        steps = np.diff(a[::4], axis=1)[pairs] * np.diff(b[::4], axis=1)[pairs]
        total += float(steps.mean()) if steps.size else 0.0
    return total


def _recover_half(
    image: Floats,
    hole: Bools,
    guess: Guess,
    rng: np.random.Generator,
    source: Bools | None,
    most_drift: float | None,
) -> Floats:
    """Redraw at half the size, or less, and enlarge: time and memory grow with the pixels of the hole."""
    height, width = hole.shape
    half = -(-height // 2), -(-width // 2)
    small, gap = reduce(image * ~hole[..., None], hole, *half)
    filled, _ = reduce(_merge(image, hole, guess.image), np.zeros(hole.shape, bool), *half)
    if source is not None:
        source = ~reduce(image, ~source, *half)[1]
    redrawn = recover(small, gap, guess._replace(image=filled), rng, source=source, most_drift=most_drift)
    return enlarge(redrawn.transpose(2, 0, 1), height, width).transpose(1, 2, 0)


def _place_patches(
    pyramid: Pyramid, guess: Guess, rng: np.random.Generator, source: Bools | None
) -> tuple[Floats, Floats, Steps]:
    """Fill the hole with copies from around it, as near to the fill as they come.

    Returns:
        (H, W, 3) the copies; (H, W) how badly they fit, see `Vote.copy_liveliest`; and how far they are from
        the known pixels around the hole, see `Vote.measure_drift`.
    """
    area = int(np.count_nonzero(pyramid[0][1]))
    coarser: Search | None = None
    for stage in _list_stages(pyramid, guess, source):
        report(REACHED[min(stage.halvings, len(REACHED) - 1)], 1)
        search = Search(stage.level, guide=stage.guide, stride=stage.stride)
        vote = Vote(search)
        if coarser is not None:
            search.adopt(coarser)
            coarser = None  # this level takes enough memory by itself
            vote.average()
        search.start(rng, PAIRS)
        if stage.halvings == 0:
            break
        # Rounds while the hole is small make structures meet. Later every further vote lets fine texture
        # fade: of gravel's energy 0.44, 0.23, 0.17 is left after 1, 2 and 4 rounds at every level.
        rounds = choose_rounds(len(search.targets), area // SHARE, MOST_ROUNDS)
        refine(search, vote, rng, 1 if stage.is_fine else rounds)
        coarser = search
    for reach in (NEARBY, 0):  # the second time only what the neighbours found
        search.improve(rng, jumps=(1,), reach=reach)
    drift = vote.measure_drift()
    misfit = vote.copy_liveliest()
    return search.level.picture(), misfit, drift


class _Stage(NamedTuple):
    """A level at which patches are placed: what it holds, its part of the fill, and how it is searched."""

    level: Level
    guide: Guide
    stride: int
    is_fine: bool
    halvings: int


def _list_stages(pyramid: Pyramid, guess: Guess, source: Bools | None) -> Iterator[_Stage]:
    """Yield the levels from coarse to fine; each is forgotten when the next is made.

    The hole's area halves twice from each to the next coarser one. The coarsest and those with at most
    1/`FINE` of the hole's pixels have a patch on every pixel; the next on every second pixel of every second
    row, the finest on every fourth of every fourth unless the hole is small.
    """
    image, hole = pyramid[0]
    sources = build_sources(pyramid, source, RADIUS)
    near = _find_guide_box(hole, len(pyramid))
    guides = [_merge(image[near.slices], hole[near.slices], guess.image[near.slices])]
    for _ in pyramid[1:]:
        guides.append(halve_whole(guides[-1]))
    area, coarsest = int(np.count_nonzero(hole)), len(pyramid) - 1
    for halvings in range(coarsest, -1, -1):
        pixels, gap = pyramid.pop()
        # The coarsest level has no grid: there is nothing yet to vote with.
        is_fine = halvings < coarsest and FINE * int(np.count_nonzero(gap)) > area
        corner = near.y >> halvings, near.x >> halvings
        guide = Guide(guides.pop(), guess.fine_hint if is_fine else guess.hint, corner)
        stride = _choose_stride(area, is_fine, is_finest=halvings == 0)
        yield _Stage(Level(pixels, gap, RADIUS, sources.pop()), guide, stride, is_fine, halvings)


def _choose_stride(area: int, is_fine: bool, is_finest: bool) -> int:
    """Choose the distance of a level's patches, for a hole of `area` px at full size."""
    if not is_fine:
        return 1
    return FINEST_STRIDE if is_finest and area > SMALL else STRIDE


def _find_guide_box(hole: Bools, levels: int) -> Box:
    """Return the part of a crop in which the patches are that touch the hole, at each of some levels."""
    block = 1 << (levels - 1)  # px that become one: corners at multiples of it are halved as the crop is
    whole = Box(0, 0, hole.shape[1], hole.shape[0])
    near = widen(bounding_box(hole), (RADIUS + 2) * block, whole)
    top, left = near.y - near.y % block, near.x - near.x % block
    bottom, right = (
        min(-(-end // block) * block, length)
        for end, length in zip((near.y + near.height, near.x + near.width), hole.shape, strict=True)
    )
    return Box(left, top, right - left, bottom - top)


def _merge(image: Floats, hole: Bools, filled: Floats) -> Floats:
    """Return the picture with the fill in its hole."""
    merged = image.copy()
    for channel in range(3):  # a third of the time of a mask of two axes on three
        np.copyto(merged[..., channel], filled[..., channel], where=hole)
    return merged
