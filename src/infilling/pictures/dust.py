"""Find dust: specks and hairs, light or dark, that are sharper and stronger than what is around them."""

import numpy as np
from PIL import Image, ImageFilter

from infilling.errors import InputError
from infilling.pictures.mask import Groups, Mask, find_groups, grow
from infilling.pictures.morphology import open_bright, to_grey
from infilling.pictures.picture import Array, Doubles, Floats, Ints, Picture

LEAST = 20.0  # 8-bit greys that a speck stands out by at least
OUTSTANDING = 2.5  # times the mean of what else stands out around it
RIM = 0.45  # share of its peak up to which a speck reaches
HAIR_LENGTH = 6  # longest hair, in largest sizes of a speck
HAIR_WIDTH = 1 / 3  # thickest hair, in the same
BLOCK = 16  # px; side of the blocks by which it is measured what stands out
STEP = 5  # px; window whose mean a speck is compared with, to see how sharp it is
RIM_WIDTH = 2  # px around a speck that do not count as its surroundings
AROUND = ((-2, -2), (-2, 0), (-2, 2), (0, -2), (0, 2), (2, -2), (2, 0), (2, 2))  # pixels close to one
PART_OF_MORE = 0.25  # share of the pixels close around a speck that may be as bright as it is
PART = 2048  # specks whose surroundings are looked at together

# Logarithms are weighed against each other. The weights are of a logistic regression on drawn dust.
PEAK = 3.3
SHARPNESS = 2.3
LEVEL = 5.1
LENGTH = -0.8
WIDTH = 1.1
TEXTURE = -1.6
ROUGHNESS = -1.5
BIAS = -29.7


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
    grey = to_grey(picture.pixels)
    return _find_light(grey, max_size, sensitivity) | _find_light(255 - grey, max_size, sensitivity)


def _find_light(grey: Array, max_size: int, sensitivity: float) -> Mask:
    """Return (H, W) bool, the light specks of a picture."""
    above = grey - open_bright(grey, max_size + 1)  # opened ≤ grey
    peaks = _find_peaks(above, sensitivity)
    small = _choose_small(peaks, max_size)
    if not len(small):
        return np.zeros(grey.shape, dtype=bool)
    groups = find_groups(peaks.paint(small, *grey.shape))
    score = _score(grey, above, groups, max_size) + PEAK * np.log(sensitivity)
    is_dust = (score > 0) & (_measure_continuation(grey, above, groups) < PART_OF_MORE)
    return groups.paint(np.flatnonzero(is_dust), *grey.shape)


def _find_peaks(above: Array, sensitivity: float) -> Groups:
    """Return the groups of what stands out, each cut off at a share of its own peak."""
    least = np.minimum(np.ceil(_measure_texture(above) / sensitivity), 255).astype(np.uint8)
    groups = find_groups(above >= least)
    rows, columns, labels = groups.list_pixels()
    values = above[rows, columns]
    peaks = _find_greatest(values, labels, groups)
    core = values >= RIM * peaks[labels]
    mask = np.zeros(above.shape, dtype=bool)
    mask[rows[core], columns[core]] = True
    return find_groups(mask)


def _measure_texture(above: Array) -> Floats:
    """Return (H, W) the greys that a speck has to stand out by, from the means of blocks."""
    height, width = above.shape
    image = Image.fromarray(above)
    size = max(1, width // BLOCK), max(1, height // BLOCK)
    means = image.resize(size, Image.Resampling.BOX).resize((width, height), Image.Resampling.BILINEAR)
    return np.maximum(np.float32(LEAST), np.float32(OUTSTANDING) * np.asarray(means))


def _choose_small(groups: Groups, max_size: int) -> Ints:
    """Return the labels of those that are as small as a speck or as thin as a hair."""
    sides = groups.boxes[:, 2:]
    length = np.hypot(sides[:, 0], sides[:, 1])
    thickness = groups.count_pixels() / length
    is_hair = (length <= HAIR_LENGTH * max_size) & (thickness <= max(1.5, HAIR_WIDTH * max_size))
    return np.flatnonzero((sides.max(axis=1) <= max_size) | is_hair)


def _score(grey: Array, above: Array, groups: Groups, max_size: int) -> Doubles:
    """Return (groups,) how much each looks like dust; above 0 it is."""
    rows, columns, labels = groups.list_pixels()
    peak = _find_greatest(above[rows, columns], labels, groups)
    level = _find_greatest(grey[rows, columns], labels, groups)
    blurred = np.asarray(Image.fromarray(grey).filter(ImageFilter.BoxBlur(STEP // 2)))
    rise = grey[rows, columns] - blurred[rows, columns].astype(np.float64)
    sharpness = _find_greatest(np.maximum(rise, 1), labels, groups) / peak
    length = np.hypot(*groups.boxes[:, 2:].T)
    score = (
        BIAS
        + PEAK * np.log(peak)
        + SHARPNESS * np.log(sharpness)
        + LEVEL * np.log(level)
        + LENGTH * np.log(length)
        + WIDTH * np.log(groups.count_pixels() / length)
    )
    chosen = np.flatnonzero(score > 0)  # what is around a group can only lower its score
    texture, roughness = _measure_surroundings(grey, above, groups, chosen, max_size)
    score[chosen] += TEXTURE * np.log(texture + 1) + ROUGHNESS * np.log(roughness + 1)
    return np.asarray(score)


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


def _measure_surroundings(
    grey: Array, above: Array, groups: Groups, chosen: Ints, reach: int
) -> tuple[Doubles, Doubles]:
    """Return the mean of what stands out around each chosen group, and the deviation of the greys there.

    Measured is a square around a pixel in the group's middle, without what is a group or next to one.

    Args:
        grey: (H, W) uint8.
        above: (H, W) uint8, how much each pixel stands out.
        groups: all groups.
        chosen: (n,) labels.
        reach: half the side of the square in pixels.
    """
    rows, columns, labels = groups.list_pixels()
    order = np.argsort(labels, kind="stable")
    counts = groups.count_pixels()
    middle = order[(np.cumsum(counts) - counts + counts // 2)[chosen]]
    own = grow(groups.paint(np.arange(len(groups.boxes)), *grey.shape), RIM_WIDTH)
    texture, roughness = np.zeros(len(chosen)), np.zeros(len(chosen))
    for start in range(0, len(chosen), PART):
        part = middle[start : start + PART]
        near = [_cut(plane, rows[part], columns[part], reach) for plane in (grey, above, ~own)]
        greys, strays, others = (each.reshape(len(part), -1).astype(np.float32) for each in near)
        count = np.maximum(others.sum(axis=1), 1)
        mean = (greys * others).sum(axis=1) / count
        spread = ((greys - mean[:, None]) ** 2 * others).sum(axis=1) / count
        texture[start : start + PART] = (strays * others).sum(axis=1) / count
        roughness[start : start + PART] = np.sqrt(spread)
    return texture, roughness


def _cut(plane: Array, rows: Ints, columns: Ints, reach: int) -> Array:
    """Return (n, 2 reach + 1, 2 reach + 1), the squares around some pixels; beyond the edge, the edge."""
    steps = np.arange(-reach, reach + 1)
    y = np.clip(rows[:, None] + steps, 0, plane.shape[0] - 1)
    x = np.clip(columns[:, None] + steps, 0, plane.shape[1] - 1)
    return np.asarray(plane[y[:, :, None], x[:, None, :]])


def _find_greatest(values: Array, labels: Ints, groups: Groups) -> Doubles:
    """Return (groups,) the greatest of the values of each."""
    greatest = np.zeros(len(groups.boxes))
    np.maximum.at(greatest, labels, values)
    return greatest
