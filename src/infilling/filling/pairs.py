"""Pairs of pixels that are an offset apart: which are known, how they differ, and by what light.

A wall of bricks repeats though a lamp lights it from one side. Where two places hold the same, their
difference is that of the light; a polynomial is fitted to many such differences.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.polynomial import polygrid2d, polyvander2d

from infilling.pictures.mask import Box
from infilling.pictures.picture import Bools, Doubles, Floats, Ints

GRAIN = 17 / 255  # root mean square of the difference of two places that hold the same but for grain, at most
DEGREE = 3  # of the polynomial that stands for light
ROUNDS = 2  # of fitting it, the second without offsets at which places differ
PAIRS = 1000  # of each offset that it is fitted to


def bring(hole: Bools, y: Ints, x: Ints, offset: Ints) -> tuple[Bools, Ints, Ints]:
    """Say of pixels whether the one at an offset is known, and return its row and column, (n,) each."""
    rows, columns = y + offset[0], x + offset[1]
    inside = (rows >= 0) & (rows < hole.shape[0]) & (columns >= 0) & (columns < hole.shape[1])
    rows, columns = np.where(inside, rows, 0), np.where(inside, columns, 0)
    return inside & ~hole[rows, columns], rows, columns


def square_error(image: Floats, hole: Bools, y: Ints, x: Ints, offset: Ints) -> Floats:
    """Return the squared differences of known pixels and those at an offset; infinite where none is known."""
    usable, rows, columns = bring(hole, y, x, offset)
    if not usable.any():
        return np.full(1, np.inf, np.float32)
    difference = image[y[usable], x[usable]] - image[rows[usable], columns[usable]]
    return np.asarray(difference * difference)


def fit_light(image: Floats, hole: Bools, near: Box, offsets: Ints) -> Floats | None:
    """Fit smooth light to the differences of pixels that are an offset apart.

    Args:
        image: (H, W, 3) in [0, 1].
        hole: (H, W) bool, what of it is unknown.
        near: part of the picture whose known pixels are compared.
        offsets: (n, 2), down and right.

    Returns:
        (H, W, 3) what light adds, up to a constant: a polynomial. None if places at no offset hold the same
        but for light and grain.
    """
    if not len(offsets):
        return None
    y, x = np.nonzero(~hole[near.slices])
    some = np.random.default_rng(0).integers(0, len(y), PAIRS)
    places = y[some] + near.y, x[some] + near.x
    pairs = [_compare(image, hole, near, *places, offset) for offset in offsets]
    for _ in range(ROUNDS):
        if not pairs:
            return None
        slopes, differences = map(np.concatenate, zip(*pairs, strict=True))
        factors = np.linalg.lstsq(slopes, differences, rcond=1e-6)[0]
        pairs = [each for each in pairs if _is_alike_but_for(factors, *each)]
    return _draw_light(factors, near, hole.shape) if pairs else None


def _compare(
    image: Floats, hole: Bools, near: Box, y: Ints, x: Ints, offset: Ints
) -> tuple[Doubles, Doubles]:
    """Compare known pixels, rows and columns (n,), with those at an offset.

    Returns:
        How the products of powers of their coordinates differ, (m, (DEGREE + 1)²), and their colours, (m, 3),
        where both are known; 0 for products of over `DEGREE` powers.
    """
    usable, rows, columns = bring(hole, y, x, offset)
    here, there = (y[usable], x[usable]), (rows[usable], columns[usable])
    degrees = [DEGREE, DEGREE]
    slopes = polyvander2d(*_scale(near, *here), degrees) - polyvander2d(*_scale(near, *there), degrees)
    slopes[:, np.add.outer(*map(np.arange, (DEGREE + 1, DEGREE + 1))).ravel() > DEGREE] = 0
    return slopes, (image[here] - image[there]).astype(np.float64)


def _is_alike_but_for(factors: Doubles, slopes: Doubles, differences: Doubles) -> bool:
    """Say whether the pixels at an offset hold the same but for light, by its factors, and grain."""
    left = np.square(differences - slopes @ factors)
    return len(left) > 0 and bool(left.mean(axis=0).max() <= GRAIN**2)


def _draw_light(factors: Doubles, near: Box, shape: tuple[int, int]) -> Floats:
    """Return (H, W, 3) the light of the factors, ((DEGREE + 1)², 3), of the products of powers."""
    down, right = _scale(near, np.arange(shape[0]), np.arange(shape[1]))
    light: Floats = np.empty((*shape, 3), np.float32)
    for channel, each in enumerate(factors.T):
        light[..., channel] = polygrid2d(down, right, each.reshape(DEGREE + 1, DEGREE + 1))
    return light


def _scale(near: Box, y: Ints, x: Ints) -> tuple[Doubles, Doubles]:
    """Return rows and columns as numbers, from -1 to 1 over `near`."""
    return 2 * (y - near.y) / near.height - 1, 2 * (x - near.x) / near.width - 1
