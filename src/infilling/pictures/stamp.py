"""Find stamps: dates and captions of one colour in a corner, with their glow.

Letters share one colour, are thin, and stand in a row. So, of the colours that stand out in a corner, the one
is taken whose pixels form such letters; and around them everything that has a share of that colour.
"""

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
from PIL import Image, ImageFilter

from infilling.pictures.blend import sum_window
from infilling.pictures.mask import Box, Groups, Mask, bounding_box, find_groups, grow, widen
from infilling.pictures.morphology import dilate
from infilling.pictures.picture import Array, Doubles, Floats, Ints, Picture

SIDE = 640  # px; long side of the copy of a part in which letters are looked for
FINE_SIDE = 1600  # px; long side of the copy of their row on which the glow is measured
CORNER = (0.5, 0.25)  # width and height of a corner, as shares of the picture's
COLOURS = 10  # common colours that are tried
VIVID = 6  # vivid colours that are
STEP = 32  # 8-bit levels; side of a bin of colours
NEAR = (24.0, 48.0, 80.0)  # 8-bit levels; distances from a colour within which letters are looked for
GAPS = (1, 3, 5, 7)  # px; windows that join the parts of a letter, such as the bars of digits on displays
CORE = 56.0  # 8-bit levels; distance from the colour within which a pixel is no glow
LEAST = 24.0  # 8-bit levels that letters differ from what is around them by at least
MOST_INK = 0.25  # share of a corner that has one colour and is no text
MOST_GROUPS = 60  # groups like letters of one colour in a corner above which they are a texture
LETTERS = 3  # fewest letters
MOST_LETTERS = 8  # letters that count
UNEVEN = 2.0  # by which heights and feet that differ count against letters
LEAST_SCORE = 150.0  # number of letters times their contrast in 8-bit levels, less what speaks against them
SURE = 300.0  # score of a row along the width from which none is looked for along the height
GLOW = 0.13  # share of the colour up to which the glow reaches
SPACE = 2  # widest space in a row, in heights of a letter
REACH = 1 / 3  # farthest that the glow reaches, in heights of a letter


def find_stamp(picture: Picture, *, whole: bool = False) -> Mask:
    """Find a date stamp or a caption, along the picture's width or its height.

    Args:
        picture: of any size and depth.
        whole: look in the whole picture, not in its corners.

    Returns:
        (H, W) bool, True = letters and their glow; the best row of letters that there is.
    """
    found = np.zeros((picture.height, picture.width), dtype=bool)
    best, row = LEAST_SCORE, None
    for pixels, target in ((picture.pixels, found), (picture.pixels.swapaxes(0, 1), found.T)):
        if best > SURE:
            break
        for part in [(slice(None), slice(None))] if whole else _list_corners(target.shape):
            score, letters = _find_letters(_reduce(pixels[part], SIDE))
            if score > best:
                best, row = score, (pixels[part], target[part], letters)
    if row is not None:
        _mark_row(*row)
    return found


def _list_corners(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of each corner of a picture (H, W)."""
    height, width = max(1, round(CORNER[1] * shape[0])), max(1, round(CORNER[0] * shape[1]))
    for rows in (slice(0, height), slice(shape[0] - height, shape[0])):
        for columns in (slice(0, width), slice(shape[1] - width, shape[1])):
            yield rows, columns


def _reduce(pixels: Array, side: int) -> Floats:
    """Return (h, w, 3) 8-bit levels, averaged so that the long side is at most `side`."""
    bits = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    image = Image.fromarray(bits[..., 0] if bits.shape[2] == 1 else bits).convert("RGB")
    scale = min(1.0, side / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float32)


def _resize(mask: Mask, shape: tuple[int, ...]) -> Mask:
    image = Image.fromarray(mask).convert("L").resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(np.asarray(image) >= 128)


# -- letters -------------------------------------------------------------------------------------------------


def _find_letters(image: Floats) -> tuple[float, Mask]:
    """Return the best row of letters of one colour, (h, w) bool, and its score; 0 if there is none."""
    best, found = 0.0, np.zeros(image.shape[:2], dtype=bool)
    strong = _find_strong(image)
    for colour in _list_colours(image, strong):
        distance = np.where(strong, np.linalg.norm(image - colour, axis=2), np.inf)
        for near, gap in product(NEAR, GAPS):
            ink = distance < near
            if ink.mean() > MOST_INK:
                break
            groups = find_groups(dilate(ink, gap))
            letters = _choose_letters(groups, image.shape[0])
            if len(letters) > MOST_GROUPS:
                continue
            for row in _list_rows(groups.boxes, letters):
                score, mask = _score_row(image, ink, groups, row, colour)
                if score > best:
                    best, found = score, mask
    return best, found


def _score_row(image: Floats, ink: Mask, groups: Groups, row: Ints, colour: Doubles) -> tuple[float, Mask]:
    """Return how much a row looks like letters, and its pixels, (h, w) bool.

    Letters stand on a line, differ from what is around them, and nothing else around has their colour.
    """
    boxes = groups.boxes[row]
    tall = float(np.median(boxes[:, 3]))
    uneven = float(np.std(boxes[:, 1] + boxes[:, 3]) + np.std(boxes[:, 3])) / tall
    mask = groups.paint(row, *ink.shape) & ink
    whole = Box(0, 0, ink.shape[1], ink.shape[0])
    near = widen(bounding_box(mask), math.ceil(tall), whole).slices
    alone = float(mask[near].sum()) / float(ink[near].sum())
    count = min(len(row), MOST_LETTERS)
    contrast = _measure_contrast(image[near], mask[near], colour)
    return count * contrast * alone**2 * math.exp(-UNEVEN * uneven), mask


def _find_strong(image: Floats) -> Mask:
    """Return (h, w) bool, what stands out from the mean around it."""
    radius = max(2, image.shape[0] // 12)
    smooth = Image.fromarray(image.astype(np.uint8)).filter(ImageFilter.BoxBlur(radius))
    return np.asarray(np.abs(image - np.asarray(smooth, np.float32)).max(axis=2) > LEAST)


def _list_colours(image: Floats, strong: Mask) -> list[Doubles]:
    """Return the colours that most of what stands out has, and the vivid ones among its rarer colours."""
    values = image[strong].astype(np.intp)
    if not len(values):
        return []
    bins = (values // STEP) @ np.array([64, 8, 1])
    vividness = np.ptp(values, axis=1).astype(np.float64) ** 2
    chosen: set[int] = set()
    for counts, number in ((np.bincount(bins), COLOURS), (np.bincount(bins, vividness), VIVID)):
        chosen.update(each for each in np.argsort(counts)[::-1][:number].tolist() if counts[each])
    return [np.median(values[bins == each], axis=0) for each in sorted(chosen)]


def _choose_letters(groups: Groups, height: int) -> Ints:
    """Return the labels of what has the size and shape of a letter."""
    _, top, width, tall = groups.boxes.T
    share = groups.count_pixels() / (width * tall)
    is_whole = (top > 0) & (top + tall < height)
    fits = is_whole & (tall >= 6) & (tall <= 0.6 * height) & (width <= 1.6 * tall) & (share > 0.12)
    return np.flatnonzero(fits & ((share < 0.8) | (width < 0.45 * tall)))


def _list_rows(boxes: Ints, letters: Ints) -> Iterator[Ints]:
    """Yield the labels of letters that stand in a row, beside each other and about as tall."""
    seen: set[int] = set()
    for first in letters.tolist():
        if first in seen:
            continue
        _, top, _, tall = boxes[first]
        others = boxes[letters]
        middle = others[:, 1] + others[:, 3] / 2
        ratio = others[:, 3] / tall
        fits = (np.abs(middle - (top + tall / 2)) < 0.25 * tall) & (ratio > 0.7) & (ratio < 1.4)
        row = letters[fits][np.argsort(others[fits, 0])]
        gaps = boxes[row[1:], 0] - (boxes[row[:-1], 0] + boxes[row[:-1], 2])
        for chain in np.split(row, np.flatnonzero((gaps > 2 * tall) | (gaps < -0.15 * tall)) + 1):
            if first in chain and len(chain) >= LETTERS:
                seen.update(chain.tolist())
                yield chain


def _measure_contrast(image: Floats, letters: Mask, colour: Doubles) -> float:
    """Return how far what is around letters is from their colour, and how plain they are, in 8-bit levels."""
    tall = bounding_box(letters).height
    around = grow(letters, max(4, 2 * tall // 3)) & ~grow(letters, max(2, tall // 3))
    if not around.any():
        return 0.0
    distances = np.linalg.norm(image[around] - colour, axis=1)
    own = np.linalg.norm(image[letters] - colour, axis=1).mean()
    return max(0.0, float(np.percentile(distances, 15) - own))


# -- glow ----------------------------------------------------------------------------------------------------


def _mark_row(pixels: Array, target: Mask, letters: Mask) -> None:
    """Mark letters, all of their colour in their row, and their glow.

    Args:
        pixels: (H, W, 1 or 3), the part of the picture with the row.
        target: (H, W) bool, where it is marked.
        letters: (h, w) bool, some letters of the row, on a reduced copy.
    """
    scale = len(pixels) / len(letters)
    box = bounding_box(letters)
    top = max(0, math.floor((box.y - box.height) * scale))
    bottom = min(len(pixels), math.ceil((box.y + 2 * box.height) * scale))
    image = _reduce(pixels[top:bottom], FINE_SIDE)
    near = _resize(_resize(letters, target.shape)[top:bottom], image.shape)
    if near.any():
        target[top:bottom] = _resize(_add_glow(image, near), target[top:bottom].shape)


def _complete_row(ink: Mask, letters: Mask) -> Mask:
    """Return the letters of a row with those that follow before and behind.

    Args:
        ink: (h, w) bool, what has their colour.
        letters: (h, w) bool, some of them.
    """
    box = bounding_box(letters)
    margin = box.height // 4
    rows = slice(max(0, box.y - margin), box.y + box.height + margin)
    groups = find_groups(ink[rows])
    starts, ends = groups.boxes[:, 0], groups.boxes[:, 0] + groups.boxes[:, 2]
    fits = groups.boxes[:, 3] <= box.height + margin
    left, right = box.x, box.x + box.width
    while True:
        inside = fits & (ends > left - SPACE * box.height) & (starts < right + SPACE * box.height)
        wider = starts[inside].min(initial=left), ends[inside].max(initial=right)
        if wider == (left, right):
            break
        left, right = wider
    row = np.zeros_like(ink)
    row[rows] = groups.paint(np.flatnonzero(inside), *ink[rows].shape)
    return row


def _add_glow(image: Floats, letters: Mask) -> Mask:
    """Return letters with all of their colour in their row, widened as far as their colour reaches.

    How much of the colour there is at a distance is averaged over all letters.
    """
    colour = np.median(image[letters], axis=0)
    box = bounding_box(letters)
    core = _complete_row(np.linalg.norm(image - colour, axis=2) < CORE, letters)
    far = max(2, round(REACH * box.height))
    ground = _look_behind(image, ~grow(core, far), far)
    toward = colour - ground
    share = ((image - ground) * toward).sum(axis=2) / np.maximum((toward**2).sum(axis=2), LEAST**2)
    inside = core
    for reach in range(1, far + 1):
        outside = grow(core, reach)
        ring = outside & ~inside
        if not ring.any() or np.median(share[ring]) < GLOW:
            return np.asarray(inside | (ring & (share >= GLOW)))
        inside = outside
    return np.asarray(inside)


def _look_behind(image: Floats, known: Mask, reach: int) -> Floats:
    """Return (h, w, 3), the mean of the known pixels around each."""
    planes = np.concatenate([image * known[..., None], known[..., None]], axis=2).astype(np.float32)
    sums = sum_window(planes, 2 * reach)
    total = image[known].mean(axis=0) if known.any() else image.mean(axis=(0, 1))
    return np.asarray((sums[..., :3] + 1e-3 * total) / (sums[..., 3:] + 1e-3))
