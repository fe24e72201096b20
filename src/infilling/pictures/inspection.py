"""Inspecting a mask: shown over its picture, and scored by how much it stands out."""

import numpy as np

from infilling.pictures.mask import Mask
from infilling.pictures.picture import Array, Picture, from_float, to_float

COLOUR = (1.0, 0.0, 0.63)  # of what is marked, in [0, 1]
SHARE = 0.75  # of that colour over the picture
FADED = 0.6  # of the picture's own contrast where nothing is marked
SAMPLES = 2000  # marked pixels that are compared with their surroundings
REACH = 15  # px; half the side of what counts as surroundings
NOISE = 2.0  # 8-bit greys that any scan varies by


def lay_over(picture: Picture, mask: Mask) -> Picture:
    """Return the picture in 8 bits, faded, with the mask over it in one colour.

    Args:
        picture: of any size and depth.
        mask: (H, W) bool.
    """
    values = to_float(picture.pixels)
    grey = values.mean(axis=2, keepdims=True)
    shown = grey + FADED * (values - grey)
    shown[mask] = SHARE * np.array(COLOUR, np.float32) + (1 - SHARE) * values[mask]
    return Picture(from_float(shown))


def measure_contrast(picture: Picture, mask: Mask) -> float:
    """Return how far what is marked differs from what is around it, in standard deviations of that.

    Colours of up to SAMPLES marked pixels, spread evenly, are compared with the mean colour of the unmarked
    pixels within REACH; the median is returned. Below 2, most of the mask looks like what is beside it.

    Args:
        picture: of any size and depth.
        mask: (H, W) bool.

    Returns:
        0 or more; 0 if nothing is marked or nothing is left to compare with.
    """
    rows, columns = np.nonzero(mask)
    step = max(1, -(-len(rows) // SAMPLES))
    top = np.iinfo(picture.pixels.dtype).max / 255
    scores = [
        _compare(picture.pixels, mask, y, x, top)
        for y, x in zip(rows[::step].tolist(), columns[::step].tolist(), strict=True)
    ]
    return float(np.median(scores)) if scores else 0.0


def _compare(pixels: Array, mask: Mask, y: int, x: int, top: float) -> float:
    """Return the difference of one pixel from the unmarked ones around it, in their standard deviations."""
    window = slice(max(0, y - REACH), y + REACH + 1), slice(max(0, x - REACH), x + REACH + 1)
    around = pixels[window][~mask[window]] / top
    if not len(around):
        return 0.0
    distance = np.abs(pixels[y, x] / top - around.mean(axis=0))
    return float((distance / (around.std(axis=0) + NOISE)).max())
