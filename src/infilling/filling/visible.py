"""What of a picture may be looked at: pixels count by their alpha, and what is transparent is unknown.

The colour below a transparent pixel is whatever a program left there, often black. An engine gets, in its
place, the colours of the visible pixels around it, and near a hole the mask says that the pixel is unknown.
"""

import numpy as np

from infilling.filling.classical import double, pool
from infilling.pictures.mask import Mask, grow
from infilling.pictures.picture import Array, Floats, Picture, Samples

REACH = 16  # px round a hole within which transparent pixels are unknown; farther off they have a colour
MOST_PIXELS = 4_000_000  # of the copy from which colours are spread; larger pictures are reduced first
ROWS = 1 << 20  # pixels that are averaged at once


def see_visible(picture: Picture, hole: Mask) -> tuple[Samples, Mask | None]:
    """Return a picture's pixels as an engine may see them, and what else than the hole is unknown.

    Args:
        picture: of any size and depth.
        hole: (H, W) bool.

    Returns:
        (H, W, C) like the pixels: below partly transparent pixels, their colour counts by its alpha, and the
        rest of it is that of the visible pixels around. And (H, W) bool, the transparent pixels near the
        hole; None if nothing outside the hole is transparent, or nothing is visible.
    """
    if picture.alpha is None:
        return picture.pixels, None
    top = np.iinfo(picture.alpha.dtype).max
    veiled = ~hole & (picture.alpha < top)
    share = np.where(hole, np.float32(0), picture.alpha / np.float32(top))
    if not veiled.any() or not share.any():
        return picture.pixels, None
    pixels = picture.pixels.copy()
    weight = share[veiled][:, None]
    around = _spread(picture.pixels, share, veiled)
    pixels[veiled] = np.rint(weight * pixels[veiled] + (1 - weight) * around).astype(pixels.dtype)
    unseen = veiled & (picture.alpha == 0) & grow(hole, REACH)
    return pixels, None if (hole | unseen).all() else unseen


def _spread(pixels: Samples, share: Floats, wanted: Mask) -> Floats:
    """Return (N, C) the colours that visible pixels spread to the wanted ones.

    Averages weighted by `share` are carried up a pyramid and interpolated down again; see `fill_push_pull`.
    """
    factor = int(np.ceil(np.sqrt(share.size / MOST_PIXELS)))
    colours, weights = _average_blocks(pixels, share, factor)
    levels = []
    while weights.min() < 1 and max(weights.shape[2:]) > 1:
        levels.append((colours, weights))
        total = pool(weights)
        colours = np.divide(pool(colours * weights), np.where(total > 0, total, 1), dtype=np.float32)
        weights = np.minimum(4 * total, 1)
    spread = colours
    for level in range(len(levels))[::-1]:
        colours, weights = levels[level]
        spread = double(spread, *colours.shape[2:])
        if level or factor > 1:  # at full size, the caller mixes in a pixel's own colour
            spread = weights * colours + (1 - weights) * spread
    rows, columns = np.nonzero(wanted)
    found: Floats = spread[0][:, rows // factor, columns // factor].T
    return found


def _average_blocks(pixels: Samples, share: Floats, factor: int) -> tuple[Floats, Floats]:
    """Return (1, C, h, w) mean colours and (1, 1, h, w) mean shares of blocks of factor × factor pixels."""
    rows, columns = (-(-side // factor) for side in share.shape)
    colours = np.zeros((1, pixels.shape[2], rows, columns), np.float32)
    weights = np.zeros((1, 1, rows, columns), np.float32)
    step = max(1, ROWS // (share.shape[1] * factor))
    for top in range(0, rows, step):
        part = slice(top * factor, (top + step) * factor)
        weight = _add_blocks(share[part], factor)
        weights[0, 0, top : top + step] = weight / factor**2
        for channel in range(pixels.shape[2]):
            total = _add_blocks(share[part] * pixels[part, :, channel], factor)
            colours[0, channel, top : top + step] = total / np.where(weight > 0, weight, 1)
    return colours, weights


def _add_blocks(plane: Array, factor: int) -> Array:
    """Return (h, w) sums over blocks of factor × factor; those at the lower and right edge may be smaller."""
    rows = np.add.reduceat(plane, np.arange(0, plane.shape[0], factor), axis=0, dtype=np.float64)
    return np.asarray(np.add.reduceat(rows, np.arange(0, plane.shape[1], factor), axis=1))
