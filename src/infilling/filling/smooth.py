"""Smooth fills: thin holes, and holes between scattered pixels, are interpolated.

A hole a pixel or two wide has no inside that a texture could fill, and where nearly every patch is broken
there is nothing whole to copy. A thin plate through the known pixels is best there: its second differences
are as small as they can be, so that slopes continue (biharmonic inpainting).
"""

from __future__ import annotations

import numpy as np

from infilling.filling.classical import fill_push_pull
from infilling.filling.pyramid import all_known
from infilling.pictures.blend import sum_window
from infilling.pictures.mask import Box, Mask, shift, widen
from infilling.pictures.picture import Bools, Floats, Levels, from_float, to_float

SPECK = 3  # side, in px, of the smallest square whose hole has an inside
STROKE = 4  # the same where much around it is hole
CROWDED = 0.1  # share of hole, in the window around a pixel, that is much
WINDOW = 8  # reach of that window, in px
NEAR = 3  # distance, in px, from a square up to which hole pixels belong to it
TILE = 128  # side, in px, of what is solved at once: it stays in the cache
MARGIN = 16  # px that are seen around a tile
STEPS = 12  # steps of conjugate gradients; a dead pixel by itself needs one, a checkerboard five
SETTLED = 1e-4  # share of the first residual's norm below which the steps end


def fill_thin(pixels: Levels, hole: Mask, unseen: Mask | None = None) -> None:
    """Fill the parts of holes that have no inside, and take them out of the hole; both are written to.

    Args:
        pixels: (H, W, C) uint8, uint16, or float32 in [0, 1].
        hole: (H, W) bool, the pixels to fill.
        unseen: (H, W) bool, what is unknown too and stays as it is; None: nothing.
    """
    given, whole = hole.copy(), Box(0, 0, hole.shape[1], hole.shape[0])
    for top in range(0, whole.height, TILE):
        for left in range(0, whole.width, TILE):
            tile = Box(left, top, min(TILE, whole.width - left), min(TILE, whole.height - top))
            if given[tile.slices].any():
                near = widen(tile, MARGIN, whole)
                gap = given[near.slices]
                gap = gap if unseen is None else gap | unseen[near.slices]
                _fill_tile(pixels, gap, tile, near, hole)


def _fill_tile(pixels: Levels, gap: Mask, tile: Box, near: Box, hole: Mask) -> None:
    """Fill what is thin in a tile, as it is seen with what is near it: there `gap` is unknown."""
    if gap.all():
        return
    inside = shift(tile, near).slices
    thin = find_thin(gap)[inside] & hole[tile.slices]
    if thin.any():
        plate = fill_smoothly(to_float(pixels[near.slices]), gap)[inside]
        pixels[tile.slices][thin] = from_float(plate[thin][:, : pixels.shape[2]], pixels.dtype)
        hole[tile.slices] &= ~thin


def find_thin(hole: Mask) -> Mask:
    """Find the pixels of holes that are too thin for texture there.

    A part is thin if no square of `SPECK` px fits into it; among many holes, as along a scratch, if none of
    `STROKE` px does. Pixels near a wider part stay with it: they are its corners and its ragged rim.

    >>> hole = np.zeros((9, 12), bool)
    >>> hole[1:5, 1:5] = hole[2, :] = True  # a block with a line through it
    >>> find_thin(hole)[2].astype(int).tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    """
    thin = hole & _is_far_from_squares(hole, SPECK)
    doubtful = hole & ~thin
    if doubtful.any() and min(hole.shape) >= STROKE:
        doubtful &= _is_far_from_squares(hole, STROKE)
        if doubtful.any():
            count = sum_window(hole[..., None].astype(np.float32), WINDOW)[..., 0]
            thin |= doubtful & (count / (2 * WINDOW + 1) ** 2 >= CROWDED)
    return thin


def _is_far_from_squares(hole: Mask, side: int) -> Mask:
    """Say of each pixel whether no square of this side that is all hole is within `NEAR` px; (H, W)."""
    squares = all_known(hole, side) if min(hole.shape) >= side else np.zeros((1, 1), bool)
    if not squares.any():
        return np.ones(hole.shape, bool)
    # `squares` has a square at its top left pixel; (H - side + 1, W - side + 1). A pixel is far if none of
    # those that would reach it, grown by NEAR, is there.
    return all_known(~np.pad(squares, side - 1 + NEAR), side + 2 * NEAR)


def fill_smoothly(image: Floats, hole: Bools) -> Floats:
    """Bend a thin plate through the known pixels.

    The plate u minimises Σ (L u)² over all pixels, where L is the Laplacian of the grid: (L u)(x) is the sum
    of u(y) − u(x) over the neighbours y of x within the picture. Conjugate gradients solve it, from the fill
    of push-pull on: L is its own transpose, so that the gradient in the hole is 2 L L u.

    Args:
        image: (H, W, 3) in [0, 1]; what its hole holds does not matter.
        hole: (H, W) bool.

    Returns:
        (H, W, 3), within the range of the known pixels.
    """
    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    planes[:, hole] = 0
    plate = fill_push_pull(planes[None], hole[None, None].astype(np.float32))[0]
    free = hole.astype(np.float32)
    degree = _count_neighbours(hole.shape)
    known = planes[:, ~hole]
    plate = _solve(plate.astype(np.float32), free, degree)
    if known.size:
        low, high = (edge(known, axis=1)[:, None, None] for edge in (np.min, np.max))
        plate = np.clip(plate, low, high)
    return np.ascontiguousarray(plate.transpose(1, 2, 0))


def _solve(plate: Floats, free: Floats, degree: Floats) -> Floats:
    """Return the plate (C, H, W) with Σ (L u)² at its least over the free pixels, (H, W) of 1 and 0."""
    residual = -free * _laplace(_laplace(plate, degree), degree)
    direction = residual.copy()
    size = first = float(np.vdot(residual, residual))
    for _ in range(STEPS):
        if size <= SETTLED**2 * first:
            break
        bent = _laplace(direction, degree)
        step = size / float(np.vdot(bent, bent))
        plate += np.float32(step) * direction
        residual -= np.float32(step) * (free * _laplace(bent, degree))
        before, size = size, float(np.vdot(residual, residual))
        direction *= np.float32(size / before)
        direction += residual
    return plate


def _laplace(values: Floats, degree: Floats) -> Floats:
    """Return the sum of the differences to the neighbours within the picture, for each pixel of (C, H, W)."""
    total = -degree * values
    total[:, 1:] += values[:, :-1]
    total[:, :-1] += values[:, 1:]
    total[:, :, 1:] += values[:, :, :-1]
    total[:, :, :-1] += values[:, :, 1:]
    return total


def _count_neighbours(shape: tuple[int, int]) -> Floats:
    """Return how many neighbours each pixel of a picture has: 4, fewer at its edges."""
    degree = np.full(shape, 4, np.float32)
    for edge in (degree[0], degree[-1], degree[:, 0], degree[:, -1]):
        edge -= 1
    return degree
