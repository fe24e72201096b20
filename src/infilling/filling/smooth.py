"""Smooth fills: thin holes, and holes between scattered pixels, are interpolated.

A hole a pixel or two wide has no inside that a texture could fill, and where nearly every patch is broken
there is nothing whole to copy. A thin plate through the known pixels comes first: its second differences are
as small as they can be, so that slopes continue (biharmonic inpainting). Where enough is known around, each
pixel is then predicted from its neighbours, as known pixels near by are best predicted from theirs: along
edges, not over them, and by the mean of many in noise. One dead pixel in 100 on five samples of scikit-image:
28.0 to 35.6 dB by the plate, 30.7 to 38.2 by the prediction, 27.4 to 32.5 by Telea.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from infilling.filling.classical import fill_push_pull
from infilling.filling.pyramid import all_known
from infilling.filling.threads import work_on
from infilling.pictures.blend import sum_window
from infilling.pictures.mask import Box, Mask, bounding_box, cut_tiles, shift, widen
from infilling.pictures.picture import Bools, Doubles, Floats, Levels, from_float, to_float

SPECK = 3  # side, in px, of the smallest square whose hole has an inside
STROKE = 4  # the same where much around it is hole
CROWDED = 0.1  # share of hole, in the window around a pixel, that is much
WINDOW = 8  # reach of that window, in px
NEAR = 3  # distance, in px, from a square up to which hole pixels belong to it
TILE = 128  # side, in px, of what is solved at once: it stays in the cache
MARGIN = 16  # px that are seen around a tile
STEPS = 12  # steps of conjugate gradients; a dead pixel by itself needs one, a checkerboard five
SETTLED = 1e-4  # share of the first residual's norm below which the steps end
REACH = 2  # px, of the neighbours that a pixel is predicted from
SIDE = 2 * REACH + 1
CELL = 32  # side, in px, of what is predicted in one way; in pictures of over `LARGE` pixels that of a tile
LARGE = 4_000_000
AROUND = 8  # px around a cell from which its way is learned too
LEAST = 200  # pixels that a way is learned from, at least
MOST = 600  # the same, at most
RIDGE = 0.01  # of the mean square of the neighbours, so that few examples do not give large weights
MIDDLE = SIDE * SIDE // 2  # of the pixels of a window, by rows
BESIDE = (MIDDLE - SIDE, MIDDLE - 1, MIDDLE + 1, MIDDLE + SIDE)


def fill_thin(pixels: Levels, hole: Mask, unseen: Mask | None = None) -> None:
    """Fill the parts of holes that have no inside, and take them out of the hole; both are written to.

    Args:
        pixels: (H, W, C) uint8, uint16, or float32 in [0, 1].
        hole: (H, W) bool, the pixels to fill.
        unseen: (H, W) bool, what is unknown too and stays as it is; None: nothing.
    """
    whole, box = Box(0, 0, hole.shape[1], hole.shape[0]), bounding_box(hole)
    tiles = cut_tiles(box, TILE, whole)
    seen = widen(box, TILE + MARGIN, whole)  # by the tiles, which begin and end up to `TILE` px beyond it
    given = hole[seen.slices].copy()

    def fill_tile(tile: Box) -> None:
        near = widen(tile, MARGIN, whole)
        gap = given[shift(near, seen).slices]  # what other tiles are writing to is unknown here
        _fill_tile(pixels, gap if unseen is None else gap | unseen[near.slices], tile, near, hole)

    run = work_on if len(tiles) > 1 else map
    for _ in run(fill_tile, (tile for tile in tiles if given[shift(tile, seen).slices].any())):
        pass


def _fill_tile(pixels: Levels, gap: Mask, tile: Box, near: Box, hole: Mask) -> None:
    """Fill what is thin in a tile, as it is seen with what is near it: there `gap` is unknown."""
    if gap.all():
        return
    inside = shift(tile, near).slices
    thin = find_thin(gap)[inside] & hole[tile.slices]
    if thin.any():
        plate = fill_smoothly(to_float(pixels[near.slices]), gap)
        wanted = np.zeros_like(gap)
        wanted[inside] = thin
        filled = _predict(plate, gap, wanted, CELL if hole.size <= LARGE else TILE)[wanted]
        pixels[tile.slices][thin] = from_float(filled[:, : pixels.shape[2]], pixels.dtype)
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


def _predict(plate: Floats, gap: Mask, wanted: Mask, side: int) -> Floats:
    """Predict pixels from their neighbours, cell by cell, as known ones are best predicted from theirs.

    Args:
        plate: (H, W, 3), the known pixels and a first guess of the others.
        gap: (H, W) bool, what is unknown.
        wanted: (H, W) bool, the pixels to predict.
        side: of a cell, in px.

    Returns:
        (H, W, 3); the plate where too few pixels with known neighbours are near.
    """
    padded = np.pad(plate, ((REACH, REACH), (REACH, REACH), (0, 0)), mode="edge")
    windows = sliding_window_view(padded, (SIDE, SIDE), axis=(0, 1))  # (H, W, 3, SIDE, SIDE)
    known = np.pad(~gap, REACH)
    here = known[REACH:-REACH, REACH:-REACH]
    above, below = known[REACH - 1 : -REACH - 1, REACH:-REACH], known[REACH + 1 : 1 - REACH, REACH:-REACH]
    before, after = known[REACH:-REACH, REACH - 1 : -REACH - 1], known[REACH:-REACH, REACH + 1 : 1 - REACH]
    examples = all_known(known, SIDE), here & above & below & before & after
    result, whole = plate.copy(), Box(0, 0, gap.shape[1], gap.shape[0])
    if examples[1].sum() < LEAST:  # as between the pixels of a checkerboard
        return result
    for cell in cut_tiles(whole, side, whole):
        y, x = np.nonzero(wanted[cell.slices])
        weights = _learn(windows, examples, widen(cell, AROUND, whole)) if len(y) else None
        if weights is not None:
            places = y + cell.y, x + cell.x
            result[places] = _apply(weights, windows[places])
    return result


def _learn(windows: Floats, examples: tuple[Mask, Mask], near: Box) -> Doubles | None:
    """Return the weights (n,) of a pixel's neighbours that predict known pixels near a cell best.

    Args:
        windows: (H, W, 3, SIDE, SIDE), the neighbours of each pixel.
        examples: (H, W) bool, the pixels all of whose neighbours are known; and those of which the four
            beside them are, for want of others.
        near: the cell and what is around it.

    Returns:
        None if there are fewer than `LEAST` pixels to learn from, or these are all alike.
    """
    for each in examples:
        y, x = np.nonzero(each[near.slices])
        if len(y) >= LEAST:
            break
    else:
        return None
    some = slice(None, None, -(-len(y) // MOST))
    values = _center(windows[y[some] + near.y, x[some] + near.x])[0]
    others, target = np.delete(values, MIDDLE, axis=1), values[:, MIDDLE]
    squares = others.T @ others
    size = float(np.trace(squares)) / len(squares)
    if size <= 1e-12 * len(others):
        return None
    squares += RIDGE * size * np.eye(len(squares))
    return np.asarray(np.linalg.solve(squares, others.T @ target))


def _apply(weights: Doubles, windows: Floats) -> Floats:
    """Predict pixels (N, 3) from the pixels around them (N, 3, SIDE, SIDE), within the range of these."""
    values, mean = _center(windows)
    others = np.delete(values, MIDDLE, axis=1)
    predicted = np.clip(others @ weights, others.min(axis=1), others.max(axis=1)) + mean
    return predicted.reshape(-1, windows.shape[1]).astype(np.float32)


def _center(windows: Floats) -> tuple[Doubles, Doubles]:
    """Return (N, SIDE²) the pixels of windows less the mean of the four beside the middle; and it, (N,)."""
    values = windows.reshape(-1, SIDE * SIDE).astype(np.float64)
    mean = values[:, BESIDE].mean(axis=1)
    return values - mean[:, None], mean


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
