"""`patch-synthesis`: fills a hole with patches copied from the known part of the same picture; numpy only.

Texture synthesis by copying (Efros & Leung, ICCV 1999) at usable speed. Three ideas make it fast and keep it
coherent: work from coarse to fine (Wexler, Shechtman & Irani, PAMI 2007); find nearest patches approximately
(`search`); start at the coarsest level from the hole's rim inwards (Newson et al., SIAM J. Imaging Sci.
2014). At the end every pixel is a copy of one known pixel, so the fill is as sharp as the picture around it.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from infilling.filling.classical import ClassicalEngine
from infilling.filling.progress import report
from infilling.filling.pyramid import (
    ENOUGH_SOURCES,
    Level,
    build_pyramid,
    build_sources,
    count_sources,
    measure_depth,
)
from infilling.filling.search import Search
from infilling.filling.vote import Vote
from infilling.pictures.picture import Bools, Floats

RADIUS = 3  # patches of 7×7 px, as in Newson et al.
LEAST_ROUNDS = 2  # rounds of search and vote at a level, unless it settles before
MOST_ROUNDS = 8  # the same, at most
ROUND_PATCHES = 25_000  # targets that the rounds of a level share between them
SETTLED = 0.05  # share of a level's matches: a round that changes fewer is its last


def make_engine(seed: int = 0) -> ClassicalEngine:
    """Make the engine. The same picture, mask and seed give the same fill, alone or in a batch.

    >>> image = np.tile(np.float32([0.2, 0.8]), 32)[None, None, None].repeat(3, 1).repeat(64, 2)
    >>> mask = np.zeros((1, 1, 64, 64), np.float32)
    >>> mask[..., 24:40, 24:40] = 1
    >>> bool((make_engine().fill(image, mask) == image).all())
    True
    """
    return ClassicalEngine("patch-synthesis", partial(synthesize, seed=seed), takes=("seed", "source"))


def synthesize(image: Floats, mask: Floats, *, seed: int = 0, source: Floats | None = None) -> Floats:
    """Fill each picture's hole with copies from that picture.

    Args:
        image: (N, 3, H, W) in [0, 1]; what it holds inside the hole does not matter.
        mask: (N, 1, H, W) in {0, 1}, 1 = hole.
        seed: of the search's random jumps; every picture starts from it.
        source: (N, 1, H, W), 1 where texture may be copied from; None: wherever it is known.

    Returns:
        (N, 3, H, W); a picture without a known pixel is returned as it is.
    """
    filled = image.copy()
    for number, (picture, hole) in enumerate(zip(filled, mask[:, 0] > 0, strict=True)):
        if not hole.all():
            rng = np.random.default_rng(seed)
            allowed = None if source is None else source[number, 0] > 0
            picture[:] = fill_picture(picture.transpose(1, 2, 0), hole, rng, allowed).transpose(2, 0, 1)
    return filled


def fill_picture(image: Floats, hole: Bools, rng: np.random.Generator, source: Bools | None = None) -> Floats:
    """Fill one picture from coarse to fine.

    Args:
        image: (H, W, 3), what it holds inside the hole does not matter.
        hole: (H, W), True = hole, with at least one known pixel.
        rng: draws the search's jumps.
        source: (H, W), what may be copied; None: all that is known.

    Returns:
        (H, W, 3); every hole pixel is a copy of a known pixel.
    """
    if not hole.any():
        return image.copy()
    shut = hole if source is None else hole | ~source
    radius = next((r for r in range(RADIUS, 1, -1) if count_sources(shut, r) >= ENOUGH_SOURCES), 1)
    if not count_sources(shut, radius):
        return copy_nearest(image, hole)
    search: Search | None = None
    pyramid = build_pyramid(image, hole, radius)
    sources = build_sources(pyramid, source, radius)
    areas = [int(np.count_nonzero(gap)) for _, gap in reversed(pyramid)]
    for place, ((pixels, gap), allowed) in enumerate(zip(reversed(pyramid), reversed(sources), strict=True)):
        report(sum(areas[:place]), sum(areas))
        coarser, search = search, Search(Level(pixels, gap, radius, allowed))
        vote = Vote(search)
        if coarser is not None:
            search.adopt(coarser)
            vote.average()
        search.start(rng)
        refine(search, vote, rng, choose_rounds(len(search.targets)))
    assert search is not None
    search.improve(rng)
    vote.copy_best()
    return search.level.picture()


def choose_rounds(targets: int, shared: int = ROUND_PATCHES, most: int = MOST_ROUNDS) -> int:
    """Choose the rounds of a level: many if it has few targets, few if it has many and good matches already.

    >>> choose_rounds(5_000), choose_rounds(100), choose_rounds(1_000_000)
    (5, 8, 2)
    """
    return int(np.clip(shared // targets, LEAST_ROUNDS, most))


def refine(search: Search, vote: Vote, rng: np.random.Generator, rounds: int) -> None:
    """Alternate search and vote for `rounds` rounds, or until few matches change."""
    for _ in range(rounds):
        changed = search.improve(rng)
        vote.average()
        if changed < SETTLED * len(search.targets):
            break


def copy_nearest(image: Floats, hole: Bools) -> Floats:
    """Spread known pixels into the hole, ring by ring: for crumbs of a picture that hold no whole patch."""
    image, depth = image.copy(), np.pad(measure_depth(hole), 1, constant_values=sum(hole.shape) + 1)
    for ring in range(1, int(depth[1:-1, 1:-1].max()) + 1):
        y, x = np.nonzero(depth == ring)
        for down, right in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            nearer = depth[y + down, x + right] < ring
            image[y[nearer] - 1, x[nearer] - 1] = image[y[nearer] - 1 + down, x[nearer] - 1 + right]
    return image
