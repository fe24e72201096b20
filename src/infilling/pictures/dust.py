"""Find dust: specks and hairs, light or dark, that are sharper and stronger than what is around them."""

import numpy as np
from PIL import Image, ImageFilter

from infilling.errors import InputError
from infilling.pictures.mask import Groups, Mask, find_groups
from infilling.pictures.morphology import open_bright, to_grey
from infilling.pictures.picture import Array, Doubles, Floats, Ints, Picture

LEAST = 16.0  # 8-bit greys that a speck stands out by at least
OUTSTANDING = 1.8  # times the mean of what else stands out around it
RIM = 0.42  # share of its peak up to which a speck reaches
HAIR_LENGTH = 6  # longest hair, in largest sizes of a speck
HAIR_WIDTH = 1 / 3  # thickest hair, in the same
BLOCK = 16  # px; least side of the blocks in which the surroundings are measured
OWN = 0.5  # mean of a speck, as a share of its peak
STEP = 5  # px; window whose mean a speck is compared with, to see how sharp it is
AROUND = ((-2, -2), (-2, 0), (-2, 2), (0, -2), (0, 2), (2, -2), (2, 0), (2, 2))  # pixels close to one
PART_OF_MORE = 0.25  # share of the pixels close around a speck that may be as bright as it is

# What is measured of a speck, and where the logarithm of that is in 99 % of drawn dust.
RANGES = {
    "peak": (3.6, 5.5),  # greys that it stands out by
    "sharpness": (-1.4, -0.1),  # share of its peak that is reached within 2 px
    "level": (4.7, 5.5),  # its lightest grey
    "length": (0.3, 3.9),  # px
    "thickness": (-0.3, 1.7),  # px
    "alike": (0.0, 3.9),  # mean greys by which what is light stands out around it
    "unlike": (0.9, 4.0),  # mean greys by which what is dark does
    "roughness": (0.0, 4.1),  # deviation of the greys around it without what is light
}
# A logistic regression on drawn dust: the weights of these logarithms, -1 to 1 in their ranges, and of their
# products: of each with itself and with those after it.
WEIGHTS = np.array([5.4, 3.7, 4.1, -5.0, 2.5, -1.9, -3.1, -0.8])
PRODUCTS = np.array(
    [
        [-1.9, -1.6, -3.8, -0.3, 0.7, 0.4, 0.3, -0.4],
        [0, -3.0, -2.2, 0.7, -5.2, -2.7, 1.2, 0.9],
        [0, 0, -2.7, 1.0, 3.7, 1.9, -1.3, -0.2],
        [0, 0, 0, 2.2, -5.4, -1.2, -0.5, -2.9],
        [0, 0, 0, 0, -2.1, -1.9, 2.5, 1.0],
        [0, 0, 0, 0, 0, -0.4, -0.2, -0.8],
        [0, 0, 0, 0, 0, 0, -1.6, 1.6],
        [0, 0, 0, 0, 0, 0, 0, -0.3],
    ]
)
BIAS = 1.8


def find_dust(picture: Picture, *, max_size: int = 12, sensitivity: float = 1.0) -> Mask:
    """Find specks and hairs.

    What is brighter (darker) than the picture opened (closed) with a square a little larger than a speck
    stands out. Of the connected groups that do, specks and hairs are those that are small or thin, stand out
    far, have sharp rims, are nearly white (black), and are where little else stands out.

    Args:
        picture: of any size and depth.
        max_size: largest side of a speck in pixels; hairs are up to six times as long. Stars and freckles
            that are larger are left alone.
        sensitivity: 2 finds what is half as strong.

    Returns:
        (H, W) bool, True = dust.

    Raises:
        InputError: a number that makes no sense.
    """
    if max_size < 1 or not sensitivity > 0:
        raise InputError(f"max_size {max_size} and sensitivity {sensitivity} of dust must be above 0")
    light = to_grey(picture.pixels)
    dark = 255 - light
    above, below = (grey - open_bright(grey, max_size + 1) for grey in (light, dark))  # opened ≤ grey
    found = _find_light(light, above, below, max_size, sensitivity)
    return found | _find_light(dark, below, above, max_size, sensitivity)


def _find_light(grey: Array, above: Array, below: Array, max_size: int, sensitivity: float) -> Mask:
    """Return (H, W) bool, the light specks of a picture.

    Args:
        grey: (H, W) uint8.
        above: (H, W) uint8, how far what is light and small stands out.
        below: (H, W) uint8, how far what is dark and small does.
        max_size: largest side of a speck in pixels.
        sensitivity: 2 finds what is half as strong.
    """
    block = max(BLOCK, max_size)
    alike = _average(above, block)
    peaks = _find_peaks(above, alike, sensitivity)
    small = _choose_small(peaks, max_size)
    if not len(small):
        return np.zeros(grey.shape, dtype=bool)
    groups = find_groups(peaks.paint(small, *grey.shape))
    own = _measure_specks(grey, above, groups)
    around = _measure_surroundings(grey - above, alike, _average(below, block), groups, block, own[0])
    likely = np.flatnonzero(_score([*own, *around], sensitivity) > 0)
    groups = find_groups(groups.paint(likely, *grey.shape))
    is_alone = _measure_continuation(grey, above, groups) < PART_OF_MORE
    return groups.paint(np.flatnonzero(is_alone), *grey.shape)


def _find_peaks(above: Array, alike: Floats, sensitivity: float) -> Groups:
    """Return the groups of what stands out, each cut off at a share of its own peak."""
    least = np.maximum(np.float32(LEAST), np.float32(OUTSTANDING) * alike) / np.float32(sensitivity)
    groups = find_groups(above >= least)
    rows, columns, labels = groups.list_pixels()
    values = above[rows, columns]
    peaks = _find_greatest(values, labels, groups)
    core = values >= RIM * peaks[labels]
    mask = np.zeros(above.shape, dtype=bool)
    mask[rows[core], columns[core]] = True
    return find_groups(mask)


def _average(plane: Array, block: int) -> Floats:
    """Return (H, W) float32, the means of blocks, interpolated."""
    height, width = plane.shape
    size = max(1, width // block), max(1, height // block)
    means = Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BOX)
    return np.asarray(means.resize((width, height), Image.Resampling.BILINEAR))


def _choose_small(groups: Groups, max_size: int) -> Ints:
    """Return the labels of those that are as small as a speck or as thin as a hair."""
    sides = groups.boxes[:, 2:]
    length = np.hypot(sides[:, 0], sides[:, 1])
    thickness = groups.count_pixels() / length
    is_hair = (length <= HAIR_LENGTH * max_size) & (thickness <= max(1.5, HAIR_WIDTH * max_size))
    return np.flatnonzero((sides.max(axis=1) <= max_size) | is_hair)


def _score(measures: list[Array], sensitivity: float) -> Doubles:
    """Return (groups,) how much each looks like dust; above 0 it is.

    Args:
        measures: (groups,) each, in the order of RANGES.
        sensitivity: of the peak, which comes first.
    """
    logarithms = np.log(np.stack(measures, axis=1))
    logarithms[:, 0] += np.log(sensitivity)
    low, high = np.array(list(RANGES.values())).T
    scaled = np.clip((2 * logarithms - low - high) / (high - low), -1, 1)
    return np.asarray(scaled @ WEIGHTS + ((scaled @ PRODUCTS) * scaled).sum(axis=1) + BIAS)


def _measure_specks(grey: Array, above: Array, groups: Groups) -> list[Array]:
    """Return peak, sharpness, level, length and thickness, (groups,) each."""
    rows, columns, labels = groups.list_pixels()
    peak = _find_greatest(above[rows, columns], labels, groups)
    level = _find_greatest(grey[rows, columns], labels, groups)
    blurred = np.asarray(Image.fromarray(grey).filter(ImageFilter.BoxBlur(STEP // 2)))
    rise = grey[rows, columns] - blurred[rows, columns].astype(np.float64)
    sharpness = _find_greatest(np.maximum(rise, 1), labels, groups) / peak
    length = np.hypot(*groups.boxes[:, 2:].T)
    return [peak, sharpness, level, length, groups.count_pixels() / length]


def _measure_surroundings(
    opened: Array, alike: Floats, unlike: Floats, groups: Groups, block: int, peak: Array
) -> list[Array]:
    """Return what is alike, what is unlike and how rough it is around each, plus 1, (groups,) each.

    Args:
        opened: (H, W) uint8, the picture without what is light and small.
        alike: (H, W) mean greys by which what is light stands out.
        unlike: (H, W) the same of what is dark.
        groups: the specks.
        block: side of the blocks of these means, in pixels.
        peak: (groups,) greys that each stands out by.
    """
    rows, columns, labels = groups.list_pixels()
    counts = groups.count_pixels()
    ends = np.cumsum(counts)
    middle = np.argsort(labels, kind="stable")[ends - counts + counts // 2]
    places = rows[middle], columns[middle]
    own = OWN * peak * counts / block**2  # what the speck itself adds to the mean
    greys = opened.astype(np.float32)
    variance = _average(greys**2, block)[places] - _average(greys, block)[places] ** 2
    roughness = np.sqrt(np.maximum(variance, 0))
    return [np.maximum(alike[places] - own, 0) + 1, unlike[places] + 1, roughness + 1]


def _measure_continuation(grey: Array, above: Array, groups: Groups) -> Doubles:
    """Return (groups,) the share of the pixels close around each that are as bright as it is.

    A corner of something larger stands out too, but what it is a corner of is beside it.
    """
    rows, columns, labels = groups.list_pixels()
    faint = _find_greatest(grey[rows, columns], labels, groups)
    faint -= (1 - RIM) * _find_greatest(above[rows, columns], labels, groups)
    inside = groups.paint(np.arange(len(groups.boxes)), *grey.shape)
    count, bright = np.zeros((2, len(groups.boxes)))
    for down, right in AROUND:
        y, x = np.clip(rows + down, 0, grey.shape[0] - 1), np.clip(columns + right, 0, grey.shape[1] - 1)
        outside = ~inside[y, x]
        count += np.bincount(labels, outside, len(count))
        bright += np.bincount(labels, outside & (grey[y, x] >= faint[labels]), len(count))
    return np.asarray(bright / np.maximum(count, 1))


def _find_greatest(values: Array, labels: Ints, groups: Groups) -> Doubles:
    """Return (groups,) the greatest of the values of each."""
    greatest = np.zeros(len(groups.boxes))
    np.maximum.at(greatest, labels, values)
    return greatest
