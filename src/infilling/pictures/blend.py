"""Put what was filled back into the picture: hole pixels only, all others stay as they are, bit for bit."""

import numpy as np

from infilling.errors import ModelError
from infilling.pictures.frame import Region
from infilling.pictures.mask import Mask, shift, widen
from infilling.pictures.picture import Floats, Levels, from_float, to_float


def paste(
    pixels: Levels,
    filled: Floats,
    mask: Mask,
    region: Region,
    *,
    feather: int = 0,
    out: Levels | None = None,
) -> Levels:
    """Paste a filled region into the hole pixels that it was planned for.

    Values become numbers by round, then clip. A grey picture takes the mean of the three channels.

    Args:
        pixels: (H, W, 1 or 3) uint8, uint16, or float32 in [0, 1].
        filled: (region.box.height, region.box.width, 3) in [0, 1], what `region.restore` gave.
        mask: (H, W) bool, the holes not filled before this region; with `feather`, all else is matched to.
        region: where it belongs.
        feather: pixels over which the fill is matched to the colours outside the hole, from the seam inwards:
            a difference in colour between the two sides of the seam goes over into the fill bit by bit. 0:
            not at all.
        out: where to write; it holds a copy of `pixels`, or is `pixels` itself. None makes a copy of the
            picture.

    Returns:
        (H, W, C), `out` if given. Outside `mask`, and outside the region, it equals `pixels` bit for bit.

    Raises:
        ModelError: `filled` holds NaN or infinity.
    """
    if out is None:
        out = pixels.copy()
    box, core = region.box, region.core
    hole = region.hole & mask[core.slices]
    patch = filled[shift(core, box).slices]
    if feather > 0:
        near = widen(core, feather, box)
        around = filled[shift(near, box).slices]
        matched = _match(to_float(pixels[near.slices]), around, mask[near.slices], feather)
        patch = matched[shift(core, near).slices]
    patch = patch[hole]
    if not np.isfinite(patch).all():
        raise ModelError("the engine filled with NaN or infinity: its model or its input is broken")
    if pixels.shape[2] == 1:
        patch = patch.mean(axis=1, keepdims=True)
    out[core.slices][hole] = from_float(patch, pixels.dtype)
    return out


def _match(image: Floats, filled: Floats, hole: Mask, reach: int) -> Floats:
    """Match the colours of a fill to the surroundings of the hole.

    In a square window round each pixel, the mean of the known pixels less the mean of the filled ones says
    how far the colours are apart. The fill is moved by that, in full at a straight seam and less further in:
    by twice the known share of the window, which is 1/2 at the seam and 0 where it is `reach` away.

    Args:
        image: (h, w, 3) in [0, 1].
        filled: the same, filled.
        hole: (h, w) bool.
        reach: the window is 2 reach + 1 wide.

    Returns:
        (h, w, 3); changed in the hole only.
    """
    known = (~hole)[..., None].astype(np.float32)
    known_share, hole_share = sum_window(known, reach), sum_window(1 - known, reach)
    outside = sum_window(image * known, reach) / np.maximum(known_share, 1e-6)
    inside = sum_window(filled * (1 - known), reach) / np.maximum(hole_share, 1e-6)
    share = known_share / np.maximum(known_share + hole_share, 1e-6)
    moved = filled + np.minimum(2 * share, 1) * (outside - inside)
    return np.where(hole[..., None], moved, filled)


def sum_window(values: Floats, reach: int) -> Floats:
    """Sum (h, w, c) over a square window of 2 reach + 1, cut off at the edges.

    Sums over 2, 4, 8, … values are each made of two of the one before; those that make up 2 reach + 1 are
    added. A window of 7 is one of 1, the 2 behind it and the 4 behind these.
    """
    for _ in range(2):  # along the rows, then along the columns
        values = _sum_along(values, reach).swapaxes(0, 1)
    return values


def _sum_along(values: Floats, reach: int) -> Floats:
    """Sum over windows of 2 reach + 1 along the first axis."""
    length = len(values)
    reach = min(reach, max(0, length - 1))
    sums = np.zeros_like(values, np.float32, shape=(length + 2 * reach, *values.shape[1:]))
    sums[reach : reach + length] = values
    total = np.zeros_like(sums[:length])
    span, begin = 1, 0  # values that each sum stands for; where those of a window begin that are left
    while True:
        if (2 * reach + 1) & span:
            total += sums[begin : begin + length]
            begin += span
        if 2 * span > 2 * reach + 1:
            return total
        sums = sums[:-span] + sums[span:]
        span *= 2
