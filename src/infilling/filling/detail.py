"""Detail: what an engine filled in a part of a picture, redrawn with texture from around it.

From a reduced crop it comes back blurred, and in a crop that was not reduced few networks draw as well as
what is around the hole. Here patches of the known picture are laid over the hole at full size, chosen from
coarse to fine as in `patches`. The fill is a hint of the colours to look for, little more: its
structures and its texture, even where it has as much of it as its surroundings, were worse than those of
patches that fit each other. Some of it mixed in takes the edge off copies that do not fit: more where
the fill itself has texture, as on water, and where the copies are rougher than what is around them.
`benchmarks/detail.py` measures it.
"""

import math

import numpy as np
from numpy.typing import NDArray

from infilling.filling.patches import RADIUS, Level, add_blocks, build_pyramid, count_sources
from infilling.pictures.mask import Box, bounding_box, widen
from infilling.pictures.resample import enlarge, reduce

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

HINT = 0.12  # how much a match's distance from the fill counts beside that of the patches
FIRM_HINT = 2.0  # the same at the coarse levels of a fill at full size: its colours there are seldom wrong
FINE = 8  # levels with over so manieth part of the hole's pixels, the finest two, …
STRIDE = 2  # … are laid so many px apart
NEARBY = 2  # px, how far the finest one is searched
SHARE = 4  # the rounds of a coarser one share so manieth part of the hole's pixels as patches …
MOST_ROUNDS = 16  # … and are so many at most
PAIRS = 1_000_000  # patches compared with patches in the search that a level starts with
REACH = 640  # px round a hole from which patches are taken
TRUST = 0.45  # share of the fill that is mixed in, where it has as steep slopes as its surroundings
MOST_SHARE = 0.35  # largest share that is mixed in to make copies less steep
AROUND = 100  # px round a hole that are taken for its surroundings there
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
LARGEST = 2_000_000  # hole pixels up to which they are laid at full resolution; above, at half, and so on


def recover(
    image: Floats, hole: Bools, filled: Floats, rng: np.random.Generator, *, hint: float = HINT
) -> Floats:
    """Redraw the fill of a crop with texture from around it.

    Args:
        image: (H, W, 3) in [0, 1], the crop at full resolution; what its hole holds does not matter.
        hole: (H, W) bool.
        filled: (H, W, 3) in [0, 1], the fill at this resolution; what it holds outside does not matter.
        rng: draws the jumps of the search.
        hint: how much the fill counts at the coarse levels, and where there is only one; else it is `HINT`.

    Returns:
        (H, W, 3), in the hole copies of known pixels and a little of the fill; `filled` itself if no whole
        patch around it is known.
    """
    if hole.sum() > LARGEST:
        return _recover_half(image, hole, filled, rng, hint)
    if not count_sources(hole, RADIUS):
        return filled
    redrawn = _lay_patches(image, hole, filled, rng, hint)
    box = bounding_box(hole)
    near = widen(box, AROUND, Box(0, 0, hole.shape[1], hole.shape[0])).slices
    share = np.float32(_choose_share(image[near], hole[near], filled[near], redrawn[near]))
    inside = box.slices
    redrawn[inside] += share * hole[inside][..., None] * (filled[inside] - redrawn[inside])
    return redrawn


def _choose_share(image: Floats, hole: Bools, filled: Floats, redrawn: Floats) -> float:
    """The share of the fill to mix in: by its own slopes, and by how far the copies' are above those around.

    With a share a of the fill the squared slopes are (1 - a)² of the copies', a² of the fill's, 2a(1 - a) of
    their product. The smallest a is taken that brings these down to the surroundings', or as near as it goes.
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
    """The mean product of the steps of two lumas (H, W) between chosen neighbours, in every fourth line."""
    total = 0.0
    for a, b, wanted in ((one, other, chosen), (one.T, other.T, chosen.T)):
        pairs = wanted[::4, 1:] & wanted[::4, :-1]
        steps = np.diff(a[::4], axis=1)[pairs] * np.diff(b[::4], axis=1)[pairs]
        total += float(steps.mean()) if steps.size else 0.0
    return total


def _recover_half(
    image: Floats, hole: Bools, filled: Floats, rng: np.random.Generator, hint: float
) -> Floats:
    """Redraw at half the size, or less, and enlarge: time and memory grow with the pixels of the hole."""
    height, width = hole.shape
    half = -(-height // 2), -(-width // 2)
    small, gap = reduce(image * ~hole[..., None], hole, *half)
    guide, _ = reduce(_merge(image, hole, filled), np.zeros(hole.shape, bool), *half)
    redrawn = recover(small, gap, guide, rng, hint=hint)
    return enlarge(redrawn.transpose(2, 0, 1), height, width).transpose(1, 2, 0)


def _lay_patches(image: Floats, hole: Bools, filled: Floats, rng: np.random.Generator, hint: float) -> Floats:
    """Fill the hole with copies from around it, as near to what was filled as they come; (H, W, 3)."""
    pyramid = build_pyramid(image, hole, RADIUS)
    guides = [_merge(image, hole, filled)]
    for _ in pyramid[1:]:
        guides.append(_halve(guides[-1]))
    level: Level | None = None
    area = int(hole.sum())
    while pyramid:
        pixels, gap = pyramid.pop()
        # The coarsest level is laid without gaps: there is nothing yet to vote with.
        is_fine = level is not None and FINE * int(gap.sum()) > area
        coarser = level
        stride = STRIDE if is_fine else 1
        weight = HINT if is_fine else hint
        level = Level(pixels, gap, RADIUS, guide=guides.pop(), hint=weight, stride=stride)
        if coarser is not None:
            level.adopt(coarser)
        level.peel(rng, PAIRS)
        if not pyramid:
            break
        # Rounds while the hole is small make structures meet. Later on every further vote lets fine texture
        # fade: of gravel's energy 0.44, 0.23, 0.17 is left after 1, 2 and 4 rounds at every level.
        level.refine(rng, 1 if is_fine else level.rounds(area // SHARE, MOST_ROUNDS))
    assert level is not None
    for reach in (NEARBY, 0):  # the second time only what the neighbours found
        level.search(rng, jumps=(1,), reach=reach)
    level.copy_best(relative=True)
    return level.picture()


def _merge(image: Floats, hole: Bools, filled: Floats) -> Floats:
    """The picture with what was filled in its hole."""
    merged, gaps = image.copy(), np.flatnonzero(hole)
    merged.reshape(-1, 3)[gaps] = filled.reshape(-1, 3)[gaps]
    return merged


def _halve(image: Floats) -> Floats:
    """Average 2×2 pixels; beyond an odd edge the edge pixel counts again."""
    if image.shape[0] % 2 or image.shape[1] % 2:
        image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge")
    return np.asarray(add_blocks(image) / 4, dtype=np.float32)
