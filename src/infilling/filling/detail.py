"""Detail: what an engine filled in a reduced crop, redrawn at full resolution with texture from around it.

Enlarged, such a fill is blurred. Here patches of the known picture are laid over the hole at full size,
chosen from coarse to fine as in `patches`, guided by the fill. A fill that is as detailed as what lies around
it is believed: it guides strongly, and what it says takes the place of the patches' coarse part (as in
contextual residual aggregation, Yi et al., CVPR 2020, with the best match in place of attention). A smoother
one is a hint of the colours to look for, and no more. `benchmarks/detail.py` measures it.
"""

import numpy as np
from numpy.typing import NDArray

from infilling.filling.patches import RADIUS, Level, build_pyramid, count_sources
from infilling.pictures.resample import enlarge, reduce

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

HINT = 0.12  # how much a match's distance from any fill counts beside that of the patches …
GUIDANCE = 4.0  # … and from one that is fully believed, beyond that
DOUBTFUL, BELIEVED = 0.4, 0.8  # detail, as a share of the surroundings', up to which none and from which all
COARSE = 3_000  # hole pixels up to which a level is searched and voted for several times
FINE = 20_000  # hole pixels from which a level's patches lie 2 px apart and are searched nearby only
STRIDE, NEARBY = 2, 2
REACH = 640  # px round a hole from which patches are taken
LARGEST = 2_000_000  # hole pixels up to which they are laid at full resolution; above, at half, and so on


def recover(
    image: Floats, hole: Bools, filled: Floats, size: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """Redraw the fill of a reduced crop.

    Args:
        image: (H, W, 3) in [0, 1], the crop at full resolution; what its hole holds does not matter.
        hole: (H, W) bool.
        filled: (H, W, 3) in [0, 1], the fill enlarged.
        size: (height, width) in which the engine saw the crop.
        rng: draws the jumps of the search.

    Returns:
        (H, W, 3); `filled` itself if no whole patch around the hole is known.
    """
    if hole.sum() > LARGEST:
        return _recover_half(image, hole, filled, size, rng)
    if not count_sources(hole, RADIUS):
        return filled
    whole = np.where(hole[..., None], filled, image).astype(np.float32)
    trust = measure_trust(whole, hole, size)
    copied = _lay_patches(image, hole, whole, HINT + trust * GUIDANCE, rng)
    if not trust:
        return copied
    redrawn = copied + np.float32(trust) * (whole - _reduce_and_enlarge(copied, size))
    return np.where(hole[..., None], np.clip(redrawn, 0, 1), image).astype(np.float32)


def _recover_half(
    image: Floats, hole: Bools, filled: Floats, size: tuple[int, int], rng: np.random.Generator
) -> Floats:
    """Redraw at half the size, or less, and enlarge: time and memory grow with the pixels of the hole."""
    height, width = hole.shape
    half = -(-height // 2), -(-width // 2)
    small, gap = reduce(image * ~hole[..., None], hole, *half)
    guide, _ = reduce(filled, np.zeros(hole.shape, bool), *half)
    redrawn = recover(small, gap, guide, (min(size[0], half[0]), min(size[1], half[1])), rng)
    return enlarge(redrawn.transpose(2, 0, 1), height, width).transpose(1, 2, 0)


def measure_trust(whole: Floats, hole: Bools, size: tuple[int, int]) -> float:
    """Measure how detailed a fill is against what lies around it, as the engine saw both.

    Args:
        whole: (H, W, 3), the crop with its fill.
        hole: (H, W) bool.
        size: in which the engine saw it.

    Returns:
        From 0 (a hint only) to 1 (believed), by the root of the ratio of mean squared second differences: a
        slope of colour is no detail.
    """
    small, _ = reduce(whole, np.zeros(hole.shape, bool), *size)
    _, gap = reduce(np.zeros((*hole.shape, 1), np.float32), hole, *size)
    luma = small.mean(axis=2)
    inner = slice(1, -1)
    cross = [
        (inner, inner),
        (slice(-2), inner),
        (slice(2, None), inner),
        (inner, slice(-2)),
        (inner, slice(2, None)),
    ]
    bends = np.square(sum(luma[part] for part in cross[1:]) - 4 * luma[cross[0]])
    inside = np.logical_and.reduce([gap[part] for part in cross])
    around = ~np.logical_or.reduce([gap[part] for part in cross])
    if not inside.any() or not around.any():
        return 0.0
    detail = float(np.sqrt(bends[inside].mean() / max(float(bends[around].mean()), 1e-12)))
    return min(max((detail - DOUBTFUL) / (BELIEVED - DOUBTFUL), 0.0), 1.0)


def _lay_patches(
    image: Floats, hole: Bools, whole: Floats, guidance: float, rng: np.random.Generator
) -> Floats:
    """Fill the hole with copies from around it, as near to a guide as they come; (H, W, 3)."""
    pyramid = build_pyramid(image, hole, RADIUS)
    guides = [whole * np.float32(np.sqrt(guidance / 3))]
    for _ in pyramid[1:]:
        guides.append(_halve(guides[-1]))
    level: Level | None = None
    while pyramid:
        pixels, gap = pyramid.pop()
        guide = guides.pop()
        is_fine = bool(gap.sum() > FINE)
        coarser, stride = level, STRIDE if is_fine else 1
        level = Level(pixels, gap, RADIUS, guide=guide, stride=stride)
        if coarser is not None:
            level.adopt(coarser)
        level.peel(rng)
        # Many rounds while the hole is small make structures meet. Later on every further vote lets fine
        # texture fade: of gravel's energy 0.44, 0.23, 0.17 is left after 1, 2 and 4 rounds at every level.
        for _ in range(level.rounds() if gap.sum() < COARSE else 1):
            if is_fine:
                level.search(rng, jumps=(1,), reach=NEARBY)
            else:
                level.search(rng)
            if pyramid or not is_fine:
                level.vote()
    assert level is not None
    level.copy_best()
    return level.picture()


def _reduce_and_enlarge(image: Floats, size: tuple[int, int]) -> Floats:
    """What is left of an image that an engine saw in this size."""
    small, _ = reduce(image, np.zeros(image.shape[:2], bool), *size)
    return enlarge(small.transpose(2, 0, 1), *image.shape[:2]).transpose(1, 2, 0)


def _halve(image: Floats) -> Floats:
    """Average 2×2 pixels; beyond an odd edge the edge pixel counts again."""
    even = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge")
    rows = even[0::2] + even[1::2]
    return np.asarray((rows[:, 0::2] + rows[:, 1::2]) / 4, dtype=np.float32)
