"""Put what was filled back into the picture: hole pixels only, all others stay as they are, bit for bit."""

import numpy as np
import numpy.typing as npt

from infilling.errors import ModelError
from infilling.pictures.frame import Region
from infilling.pictures.mask import Box, Mask, widen
from infilling.pictures.picture import Samples, from_float, to_float

FloatArray = npt.NDArray[np.float32]


def paste(
    pixels: Samples,
    filled: FloatArray,
    mask: Mask,
    region: Region,
    *,
    feather: int = 0,
    out: Samples | None = None,
) -> Samples:
    """Paste a filled region into the hole pixels that it was planned for.

    Values become numbers by round, then clip. A grey picture takes the mean of the three channels.

    Args:
        pixels: (H, W, 1 or 3) uint8 or uint16.
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
    patch = _crop(filled, core, box)
    if feather > 0:
        near = widen(core, feather, box)
        matched = _match(to_float(pixels[near.slices]), _crop(filled, near, box), mask[near.slices], feather)
        patch = _crop(matched, core, near)
    patch = patch[hole]
    if not np.isfinite(patch).all():
        raise ModelError("the engine filled with NaN or infinity: its model or its input is broken")
    if pixels.shape[2] == 1:
        patch = patch.mean(axis=1, keepdims=True)
    out[core.slices][hole] = from_float(patch, pixels.dtype)
    return out


def _crop(filled: FloatArray, part: Box, whole: Box) -> FloatArray:
    """The part of what fills a box that lies in a box inside it."""
    top, left = part.y - whole.y, part.x - whole.x
    return filled[top : top + part.height, left : left + part.width]


def _match(image: FloatArray, filled: FloatArray, hole: Mask, reach: int) -> FloatArray:
    """Match the colours of a fill to what lies around the hole.

    In a square window round each pixel, the mean of the known pixels less the mean of the filled ones says
    how far the colours are apart. The fill is moved by that, in full at a straight seam and less further in:
    by twice the known share of the window, which is 1/2 at the seam and 0 where it is `reach` away.

    Args:
        image, filled: (h, w, 3) in [0, 1].
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


def sum_window(values: FloatArray, reach: int) -> FloatArray:
    """Sum (h, w, c) over a square window of 2 reach + 1, cut off at the edges."""
    planes = values.transpose(2, 1, 0)
    for _ in range(2):  # along the last axis, where numpy is quick, first down and then across
        length = planes.shape[2]
        sums = np.zeros((*planes.shape[:2], length + 1))
        np.cumsum(planes, axis=2, out=sums[..., 1:])
        place = np.arange(length)
        high = sums.take(np.minimum(place + reach + 1, length), axis=2)
        planes = (high - sums.take(np.maximum(place - reach, 0), axis=2)).astype(np.float32).swapaxes(1, 2)
    return planes.transpose(2, 1, 0)
