"""Find stamps: dates and captions of one colour in a corner, with their glow.

Letters share one colour, are thin, and stand in a row. So, of the colours that stand out in a corner, the one
is taken whose pixels form such letters; and around them everything that has a share of that colour.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
from PIL import Image, ImageFilter

from infilling.pictures.blend import sum_window
from infilling.pictures.mask import Box, Groups, Mask, bounding_box, find_groups, grow, widen
from infilling.pictures.picture import Array, Doubles, Floats, Ints, Picture

SIDE = 640  # px; long side of the copy of a part in which letters are looked for
CORNER = (0.5, 0.25)  # width and height of a corner, as shares of the picture's
COLOURS = 14  # colours that are tried
STEP = 32  # 8-bit levels; side of a bin of colours
NEAR = (20.0, 32.0, 56.0, 80.0)  # 8-bit levels; distances from a colour within which letters are looked for
CORE = 56.0  # 8-bit levels; distance from the colour within which a pixel is no glow
LEAST = 24.0  # 8-bit levels that letters differ from what is around them by at least
LETTERS = 3  # fewest letters
LEAST_SCORE = 180.0  # number of letters times their contrast in 8-bit levels
GLOW = 0.1  # share of the colour up to which the glow reaches
REACH = 1 / 3  # farthest that the glow reaches, in heights of a letter


def find_stamp(picture: Picture, *, whole: bool = False) -> Mask:
    """Find a date stamp or a caption.

    Args:
        picture: of any size and depth.
        whole: look in the whole picture, not in its corners.

    Returns:
        (H, W) bool, True = letters and their glow; the best row of letters that there is.
    """
    found = np.zeros((picture.height, picture.width), dtype=bool)
    best = LEAST_SCORE
    for part in [(slice(None), slice(None))] if whole else _list_corners(picture):
        image = _reduce(picture.pixels[part])
        score, letters = _find_letters(image)
        if score > best:
            best, found[:] = score, False
            found[part] = _resize(_add_glow(image, letters), found[part].shape)
    return found


def _list_corners(picture: Picture) -> Iterator[tuple[slice, slice]]:
    """Yield the rows and columns of each corner."""
    width, height = max(1, round(CORNER[0] * picture.width)), max(1, round(CORNER[1] * picture.height))
    for rows in (slice(0, height), slice(picture.height - height, picture.height)):
        for columns in (slice(0, width), slice(picture.width - width, picture.width)):
            yield rows, columns


def _reduce(pixels: Array) -> Floats:
    """Return (h, w, 3) 8-bit levels, averaged so that the long side is at most SIDE."""
    bits = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    image = Image.fromarray(bits[..., 0] if bits.shape[2] == 1 else bits).convert("RGB")
    scale = min(1.0, SIDE / max(image.size))
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float32)


def _resize(mask: Mask, shape: tuple[int, ...]) -> Mask:
    image = Image.fromarray(mask).convert("L").resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(np.asarray(image) >= 128)


# -- letters -------------------------------------------------------------------------------------------------


def _find_letters(image: Floats) -> tuple[float, Mask]:
    """Return the best row of letters of one colour, (h, w) bool, and its score; 0 if there is none."""
    best, found = 0.0, np.zeros(image.shape[:2], dtype=bool)
    for colour, near in product(_list_colours(image), NEAR):
        groups = find_groups(np.linalg.norm(image - colour, axis=2) < near)
        letters = _choose_letters(groups, image.shape[0])
        for row in _list_rows(groups.boxes, letters):
            mask = groups.paint(row, *image.shape[:2])
            score = len(row) * _measure_contrast(image, mask, colour)
            if score > best:
                best, found = score, mask
    return best, found


def _list_colours(image: Floats) -> list[Doubles]:
    """Return the colours that most of what stands out has."""
    radius = max(2, image.shape[0] // 12)
    smooth = Image.fromarray(image.astype(np.uint8)).filter(ImageFilter.BoxBlur(radius))
    strong = np.abs(image - np.asarray(smooth, np.float32)).max(axis=2) > LEAST
    values = image[strong].astype(np.intp)
    if not len(values):
        return []
    bins = (values // STEP) @ np.array([64, 8, 1])
    counts = np.bincount(bins)
    common = np.argsort(counts)[::-1][:COLOURS]
    return [np.median(values[bins == each], axis=0) for each in common if counts[each]]


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
    around = grow(letters, max(3, tall // 3)) & ~grow(letters, max(2, tall // 6))
    if not around.any():
        return 0.0
    distances = np.linalg.norm(image[around] - colour, axis=1)
    own = np.linalg.norm(image[letters] - colour, axis=1).mean()
    contrast = float(np.percentile(distances, 15) - own)
    return contrast if contrast > LEAST else 0.0


# -- glow ----------------------------------------------------------------------------------------------------


def _add_glow(image: Floats, letters: Mask) -> Mask:
    """Return letters with all of their colour in their row, widened as far as their colour reaches.

    How much of the colour there is at a distance is averaged over all letters.
    """
    colour = np.median(image[letters], axis=0)
    whole = Box(0, 0, letters.shape[1], letters.shape[0])
    box = bounding_box(letters)
    row = np.zeros_like(letters)
    row[widen(box, box.height // 2, whole).slices] = True
    core = row & (np.linalg.norm(image - colour, axis=2) < CORE) & grow(letters, box.height)
    far = max(2, round(REACH * box.height))
    ground = _look_behind(image, ~grow(core, far), far)
    toward = colour - ground
    share = ((image - ground) * toward).sum(axis=2) / np.maximum((toward**2).sum(axis=2), LEAST**2)
    inside = core
    for reach in range(1, far + 1):
        outside = grow(core, reach)
        ring = outside & ~inside
        if not ring.any() or np.median(share[ring]) < GLOW:
            break
        inside = outside
    return np.asarray(inside)


def _look_behind(image: Floats, known: Mask, reach: int) -> Floats:
    """Return (h, w, 3), the mean of the known pixels around each."""
    planes = np.concatenate([image * known[..., None], known[..., None]], axis=2).astype(np.float32)
    sums = sum_window(planes, 2 * reach)
    total = image[known].mean(axis=0) if known.any() else image.mean(axis=(0, 1))
    return np.asarray((sums[..., :3] + 1e-3 * total) / (sums[..., 3:] + 1e-3))
