"""Find watermarks: what several pictures of one size have in common, opaque or half transparent.

The median of many photographs' gradients is 0 wherever they have nothing in common, so that what is left is
the gradient of the mark. It is summed up to the mark's own picture. How transparent a mark is, is seen from
how much less pictures vary under it than beside it; then it can be divided out.

Source: Dekel, Rubinstein, Liu and Freeman, On the effectiveness of visible watermarks (2017).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from infilling.errors import InputError
from infilling.pictures.blend import sum_window
from infilling.pictures.mask import Mask, find_groups, grow
from infilling.pictures.picture import Array, Doubles, Floats, Picture

FEWEST = 5  # pictures
MOST = 24  # pictures that are looked at, spread over all
SIDE = 1024  # px; long side of the copies that a mark is looked for in
LEAST = 3.0  # 8-bit levels; weakest step at the rim of a mark
OUTSTANDING = 5.0  # times the usual median gradient that a rim stands out by
SIGNIFICANT = 3.0  # times the deviation of the median by chance that a rim stands out by
SPREAD_NEAR = 1  # px; half the side of the square over which that deviation is averaged
MARGIN = 32  # px around a picture in which the mark's own picture fades out
LEVEL = 0.4  # share of its usual strength from which a pixel is marked
FEW = 0.1  # share of the pixels of one sign below which the other sign is the mark's
SPECK = 9  # px; smaller groups are no part of a mark
NEAR = 6  # px; half the side of the windows in which pixels under the mark are compared with those beside it
OPAQUE = 0.85  # share of the mark's colour above which nothing can be divided out


def find_watermark(pictures: Sequence[Picture], *, sensitivity: float = 1.0) -> Mask:
    """Find what all pictures have in common.

    Args:
        pictures: five or more of one size, of different things.
        sensitivity: 2 finds what is half as strong.

    Returns:
        (H, W) bool, True = mark.

    Raises:
        InputError: there are too few pictures, or they differ in size.
    """
    _check(pictures, sensitivity)
    found = _reconstruct(_stack(pictures).mean(axis=3), sensitivity) > LEVEL
    return _resize(_drop_specks(found), pictures[0]) >= 0.5


def divide_watermark(pictures: Sequence[Picture], *, sensitivity: float = 1.0) -> tuple[list[Picture], Mask]:
    """Divide a half transparent mark out of pictures.

    Args:
        pictures: five or more of one size, of different things.
        sensitivity: 2 finds what is half as strong.

    Returns:
        The pictures without the mark, and (H, W) bool, what remains to be filled: where the mark is opaque or
        cannot be separated from the picture. All of the mark, and the pictures as they were, if it is opaque.

    Raises:
        InputError: there are too few pictures, or they differ in size.
    """
    _check(pictures, sensitivity)
    stack = _stack(pictures)
    shape = _reconstruct(stack.mean(axis=3), sensitivity)
    shape = np.where(grow(_drop_specks(shape > LEVEL), 2), shape, 0)
    whole = find_watermark(pictures, sensitivity=sensitivity)
    mark = _measure_mark(stack, shape)
    if mark is None or mark.share > OPAQUE:
        return list(pictures), whole
    cover = np.clip(_resize(shape, pictures[0]), 0, 1) * mark.share
    left = np.zeros_like(whole)
    if max(whole.shape) > SIDE:  # the rim of an enlarged mark is not exact
        left = grow(whole, 2) & grow(~whole, 2)
    return [_divide(each, cover, mark) for each in pictures], left


def _check(pictures: Sequence[Picture], sensitivity: float) -> None:
    if not sensitivity > 0:
        raise InputError(f"sensitivity {sensitivity} of watermarks must be above 0")
    if len(pictures) < FEWEST:
        raise InputError(
            f"a watermark is found by {FEWEST} pictures or more that have it, not {len(pictures)}"
        )
    sizes = {(each.width, each.height) for each in pictures}
    if len(sizes) > 1:
        listed = ", ".join(f"{width}×{height}" for width, height in sorted(sizes)[:4])
        raise InputError(f"pictures with one watermark have one size, not {listed}: sort them by size")


def _stack(pictures: Sequence[Picture]) -> Floats:
    """Return (n, h, w, 3) 8-bit levels, averaged so that the long side is at most SIDE."""
    step = -(-len(pictures) // MOST)
    copies = []
    for picture in pictures[::step]:
        bits = picture.pixels if picture.pixels.dtype == np.uint8 else (picture.pixels >> 8).astype(np.uint8)
        image = Image.fromarray(bits[..., 0] if bits.shape[2] == 1 else bits).convert("RGB")
        scale = min(1.0, SIDE / max(image.size))
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        copies.append(np.asarray(image.resize(size, Image.Resampling.BOX), np.float32))
    return np.stack(copies)


def _resize(plane: Array, picture: Picture) -> Floats:
    image = Image.fromarray(plane.astype(np.float32))
    return np.asarray(image.resize((picture.width, picture.height), Image.Resampling.BILINEAR))


# -- the mark ------------------------------------------------------------------------------------------------


def _reconstruct(greys: Floats, sensitivity: float) -> Floats:
    """Return (h, w) how much of the mark there is, about 0 to 1; all 0 if there is none.

    Args:
        greys: (n, h, w).
        sensitivity: see `find_watermark`.
    """
    steps = [_find_common(np.diff(greys, axis=axis), sensitivity) for axis in (2, 1)]
    across, down = np.pad(steps[0], ((0, 0), (0, 1))), np.pad(steps[1], ((0, 1), (0, 0)))
    rim = (across != 0) | (down != 0)
    if not rim.any():
        return np.zeros(greys.shape[1:], np.float32)
    level = _integrate(across, down)
    away = ~grow(rim, 2 * NEAR)
    planes = np.stack([level * away, away], axis=2).astype(np.float32)
    near = sum_window(planes, 8 * NEAR)
    level = level - near[..., 0] / np.maximum(near[..., 1], 1)
    strength = np.abs(level)
    usual = float(np.percentile(strength[grow(rim, 1)], 75))
    level = level / max(usual, 1e-6)
    return np.asarray(_find_sign(level, greys.std(axis=0)) * level, np.float32)


def _find_sign(level: Doubles, spread: Floats) -> int:
    """Return 1 if the mark is lighter than the pictures, -1 if it is darker.

    What is beside the mark comes out of its gradients with the other sign. But under it pictures vary less.

    Args:
        level: (h, w), about 1 or -1 in the mark.
        spread: (h, w) deviation of the pictures.
    """
    lighter, darker = level > LEVEL, level < -LEVEL
    counts = np.count_nonzero(lighter), np.count_nonzero(darker)
    if min(counts) < FEW * max(counts):
        return 1 if counts[0] > counts[1] else -1
    return 1 if spread[lighter].mean() < spread[darker].mean() else -1


def _find_common(steps: Floats, sensitivity: float) -> Floats:
    """Return the median of the steps of each picture; 0 where that is not more than chance.

    The median of n steps that have nothing in common deviates from 0 by 1.25 deviations over the root of n.
    """
    common = np.median(steps, axis=0).astype(np.float32)
    usual = 1.48 * float(np.median(np.abs(common)))
    spread = 1.48 * np.median(np.abs(steps - common), axis=0)
    near = sum_window(spread[..., None].astype(np.float32), SPREAD_NEAR)[..., 0] / (2 * SPREAD_NEAR + 1) ** 2
    chance = 1.25 * near / np.sqrt(len(steps))
    least = np.maximum(max(LEAST, OUTSTANDING * usual), SIGNIFICANT * chance) / sensitivity
    return np.where(np.abs(common) > least, common, np.float32(0))


def _integrate(across: Floats, down: Floats) -> Doubles:
    """Return (h, w) the picture whose steps are nearest to these, by the Poisson equation."""
    height, width = across.shape
    edges = ((MARGIN, MARGIN), (MARGIN, MARGIN))
    right, below = np.pad(across, edges), np.pad(down, edges)
    sources = right - np.roll(right, 1, axis=1) + below - np.roll(below, 1, axis=0)
    rows = 2 * np.cos(2 * np.pi * np.arange(sources.shape[0]) / sources.shape[0])
    columns = 2 * np.cos(2 * np.pi * np.arange(sources.shape[1] // 2 + 1) / sources.shape[1])
    scale = rows[:, None] + columns - 4
    scale[0, 0] = 1
    level = np.fft.irfft2(np.fft.rfft2(sources) / scale, s=sources.shape)
    return np.asarray(level[MARGIN : MARGIN + height, MARGIN : MARGIN + width])


def _drop_specks(found: Mask) -> Mask:
    groups = find_groups(found)
    return groups.paint(np.flatnonzero(groups.count_pixels() >= SPECK), *found.shape)


# -- dividing ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Mark:
    """A mark of one colour.

    Attributes:
        share: of its colour in what is seen, where there is all of it, 0 to 1.
        colour: (3,) 8-bit levels.
    """

    share: float
    colour: Doubles


def _measure_mark(stack: Floats, shape: Floats) -> _Mark | None:
    """Return share and colour of a mark, by how pictures vary under it and beside it; None without a mark.

    Under the mark is seen (1 - share) of the picture and a share of the mark. What is under it varies as what
    is beside it does, so that the ratio of the deviations is 1 - share.
    """
    under, beside = shape > 0.85, grow(shape > 0.15, 1)
    beside = ~beside & grow(beside, NEAR)
    sides = [under, beside]
    counts = [sum_window(side[..., None].astype(np.float32), NEAR)[..., 0] for side in sides]
    chosen = np.flatnonzero(under & (counts[0] >= 8) & (counts[1] >= 8))[::3]
    if not len(chosen):
        return None
    means = []
    for side, count in zip(sides, counts, strict=True):
        total = np.stack([sum_window(picture * side[..., None], NEAR) for picture in stack])
        means.append((total / np.maximum(count, 1)[..., None]).reshape(len(stack), -1, 3)[:, chosen])
    inside, outside = (each.astype(np.float64) for each in means)  # (n, places, 3)
    kept = np.sqrt(inside.var(axis=0).sum() / max(outside.var(axis=0).sum(), 1e-9))
    share = float(np.clip(1 - kept, 0.02, 1))
    tint = inside.mean(axis=(0, 1)) - (1 - share) * outside.mean(axis=(0, 1))
    return _Mark(share, np.clip(tint / share, 0, 255))


def _divide(picture: Picture, cover: Floats, mark: _Mark) -> Picture:
    """Return a picture without the share `cover`, (H, W), of the mark's colour."""
    top = np.iinfo(picture.pixels.dtype).max
    colour = mark.colour if picture.pixels.shape[2] == 3 else mark.colour.mean(keepdims=True)
    pixels = picture.pixels.copy()
    where = cover > 0.01
    share = cover[where][:, None]
    clean = (pixels[where] - share * colour * (top / 255)) / (1 - share)
    pixels[where] = np.rint(np.clip(clean, 0, top)).astype(pixels.dtype)
    return dataclasses.replace(picture, pixels=pixels)
