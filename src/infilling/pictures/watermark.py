"""Find watermarks: what several pictures of one size have in common, opaque or half transparent.

A mark of a colour w that covers a share c of each pixel turns what is below, j, into w + (1 - c) (j - w). So
the logarithm of the distance to w has a step at the rim of a mark that is the same in every picture, whatever
is below it; that of what is below differs from picture to picture. Where one step explains what is seen much
better than none does, there is a rim, and the steps are summed up to the cover. With it the mark is divided
out.

Sources: Weiss, Deriving intrinsic images from image sequences (2001); Dekel, Rubinstein, Liu and Freeman, On
the effectiveness of visible watermarks (2017).
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from PIL import Image

from infilling.errors import InputError
from infilling.pictures.blend import sum_window
from infilling.pictures.mask import Mask, find_groups, grow
from infilling.pictures.picture import Array, Doubles, Floats, Ints, Picture

FEWEST = 5  # pictures
MOST = 12  # pictures that are looked at, spread over all
LEAST = 1e-6  # keeps sums of weights above 0
SIDE = 1024  # px; long side of the copies that a mark is looked for in
MIX = np.array([[1 / 3, 1, -1 / 2], [1 / 3, 0, 1], [1 / 3, -1, -1 / 2]], np.float32)  # RGB to grey and tints
NEAR = 5  # px; half the side of the square in which the usual step of a picture is measured
LEAST_STEP = 1.0  # levels; smallest usual step, as of a plain JPEG
TINT = 2.0  # least usual step of tints, as a multiple of that of grey: JPEG blurs tints
ROUNDS = "square", "line", "far", "far"  # how steps that do not fit count
PLACES = 3000  # places along each axis by which the colour is found
SHADES = 0, 128, 255  # of each channel of the colours that are tried
REFINEMENTS = 8  # rounds that refine the colour
CLEAR = 6.0  # mean logarithm of the likelihood around a place from which there is a rim
OWN = 10.0  # logarithm of the likelihood of a place from which it counts for the colour
FAINT = 3.0  # the same of what is connected with one
BESIDE = 2  # px around it whose steps count too
SURE = 100.0  # sum of what rims have above CLEAR from which they belong to a mark
MARGIN = 32  # px around a picture in which the cover fades out
LEVEL = 0.4  # share of the usual cover from which a pixel is marked
LEAST_COVER = 0.02  # less is none
OPAQUE = 0.85  # cover from which nothing can be divided out

Steps = tuple[Array, Array, Array]
"""Step, level in its middle and usual step of a picture, (3, …) each: grey and two tints."""


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
    mark = _measure_mark(pictures, sensitivity)
    return _resize(mark.cover > LEVEL * mark.usual, pictures[0]) >= 0.5


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
    mark = _measure_mark(pictures, sensitivity)
    whole = _resize(mark.cover > LEVEL * mark.usual, pictures[0]) >= 0.5
    if mark.usual > OPAQUE or not whole.any():
        return list(pictures), whole
    cover = _resize(mark.cover, pictures[0])
    left = cover > OPAQUE
    if max(whole.shape) > SIDE:  # the rim of an enlarged mark is not exact
        left |= grow(whole, 2) & grow(~whole, 2)
    return [_divide(each, cover, mark.colour) for each in pictures], left


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


def _divide(picture: Picture, cover: Floats, colour: Floats) -> Picture:
    """Return a picture without the share `cover`, (H, W), of a colour, (3,) 8-bit levels."""
    top = np.iinfo(picture.pixels.dtype).max
    tint = colour if picture.pixels.shape[2] == 3 else colour.mean(keepdims=True)
    pixels = picture.pixels.copy()
    where = (cover > LEAST_COVER) & (cover <= OPAQUE)
    share = cover[where][:, None]
    clean = (pixels[where] - share * tint * (top / 255)) / (1 - share)
    pixels[where] = np.rint(np.clip(clean, 0, top)).astype(pixels.dtype)
    return dataclasses.replace(picture, pixels=pixels)


# -- the mark ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Mark:
    """A mark of one colour.

    Attributes:
        cover: (h, w) share of its colour in what is seen, 0 to 1.
        usual: the share that most of it has; 1 without a mark.
        colour: (3,) 8-bit levels.
    """

    cover: Floats
    usual: float
    colour: Floats


def _measure_mark(pictures: Sequence[Picture], sensitivity: float) -> _Mark:
    """Return what pictures have in common; its cover is 0 where there is nothing."""
    _check(pictures, sensitivity)
    planes = [np.ascontiguousarray(np.moveaxis(each @ MIX, 2, 0)) for each in _stack(pictures)]
    usual = [_measure_usual_steps(each) for each in planes]
    sides = [_Edges(planes, usual, axis) for axis in (2, 1)]
    colour = _find_colour(sides)
    rises, gains = zip(*(_fit_rise(each, colour) for each in sides), strict=True)
    rim = _choose_rims((gains[0] + gains[1]) * np.float32(sensitivity))
    cover = np.zeros(rim.shape, np.float32)
    if rim.any():
        level = _integrate(*(np.where(rim, each, np.float32(0)) for each in rises))
        cover = np.maximum(0, 1 - np.exp(np.median(level[~rim]) - level)).astype(np.float32)
    return _Mark(cover, _find_usual_cover(cover), np.clip(colour @ np.linalg.inv(MIX), 0, 255))


def _measure_usual_steps(plane: Floats) -> Floats:
    """Return (3, h, w) the geometric mean of the steps around each pixel.

    A few large ones, as at the rim of a mark, change it little.
    """
    least = np.float32(LEAST_STEP)
    logarithms = [np.log(np.maximum(np.abs(_step(plane, axis)), least / 2)) for axis in (1, 2)]
    planes = np.stack([*((logarithms[0] + logarithms[1]) / 2), np.ones(plane.shape[1:], np.float32)], axis=2)
    sums = np.moveaxis(sum_window(planes, NEAR), 2, 0)
    usual = np.maximum(np.exp(sums[:3] / sums[3]), least)
    usual[1:] = np.maximum(usual[1:], TINT * usual[0])
    return np.asarray(usual)


def _step(plane: Floats, axis: int) -> Floats:
    """Return the step from each pixel to the next one along an axis; the last has none."""
    return np.diff(plane, axis=axis, append=plane.take([-1], axis))


@dataclass(frozen=True, eq=False)
class _Edges:
    """The steps from each pixel to the next one along an axis, of one picture after the other.

    Attributes:
        planes: (3, h, w) each, grey and two tints.
        usual: (3, h, w) each, usual steps.
        axis: 1 down, 2 across.
    """

    planes: list[Floats]
    usual: list[Floats]
    axis: int

    def __iter__(self) -> Iterator[Steps]:
        for plane, usual in zip(self.planes, self.usual, strict=True):
            step = _step(plane, self.axis)
            yield step, plane + step / 2, usual

    def take(self, places: Ints) -> list[Steps]:
        """Return the steps at some places of the flattened picture, (3, places) each."""
        return [
            (step.reshape(3, -1)[:, places], level.reshape(3, -1)[:, places], usual.reshape(3, -1)[:, places])
            for step, level, usual in self
        ]


def _weigh(error: Array, usual: Array, loss: str) -> Array:
    """Return the weights of steps in a least squares fit, by how their errors are to count.

    Args:
        error: what remains of each step.
        usual: steps of their size are usual.
        loss: errors count by their "square", by their size ("line"), or by its logarithm ("far").
    """
    far = np.abs(error / usual)
    growth = {"square": np.zeros_like(far), "line": far, "far": far**2}[loss]
    return np.asarray(1 / (usual**2 * (1 + growth)))


def _fit_rise(
    steps: Iterable[Steps], colour: Floats, rounds: Sequence[str] = ROUNDS
) -> tuple[Floats, Floats]:
    """Fit how much the logarithm of the distance to a colour falls from each pixel to the next.

    Returns:
        (…) the fall, and how much more likely it makes what is seen, as a logarithm.
    """
    rise: Array = np.zeros((), np.float32)
    for loss in rounds:
        wanted: Array = np.zeros((), np.float32)
        total: Array = np.full((), LEAST, np.float32)
        for step, level, usual in steps:
            away = _align(colour, level) - level
            weight = _weigh(step - rise * away, usual, loss)
            wanted = wanted + (weight * step * away).sum(axis=0)
            total = total + (weight * away * away).sum(axis=0)
        rise = wanted / total
    gain = sum(
        _compare(step, step - rise * (_align(colour, level) - level), usual) for step, level, usual in steps
    )
    return rise, np.asarray(gain)


def _align(colour: Floats, planes: Floats) -> Floats:
    """Return a colour, (3,), as (3, 1, …), to be combined with planes (3, …)."""
    return colour.reshape(3, *[1] * (planes.ndim - 1))


def _compare(step: Floats, rest: Floats, usual: Floats) -> Floats:
    """Return (…) how much more likely a rest, (3, …), is than a step, as a logarithm."""
    return np.asarray((np.log1p((step / usual) ** 2) - np.log1p((rest / usual) ** 2)).sum(axis=0))


def _fit_freely(steps: Iterable[Steps]) -> Floats:
    """Return (…) how much more likely a mark of any colour makes what is seen than none, as a logarithm."""
    rise: Array = np.zeros((), np.float32)
    offset: Array = np.zeros((), np.float32)
    for loss in ("square", "far"):
        sums: list[Array] = [np.full((), LEAST, np.float32)] * 5
        for step, level, usual in steps:
            weight = _weigh(step - offset + rise * level, usual, loss)
            terms = weight, weight * step, weight * level, weight * step * level, weight * level * level
            sums = [total + term for total, term in zip(sums, terms, strict=True)]
        ones, step, level, both, squares = sums
        rise = (step * level / ones - both).sum(axis=0) / ((squares - level**2 / ones).sum(axis=0) + LEAST)
        offset = (step + rise * level) / ones
    return np.asarray(
        sum(_compare(step, step - offset + rise * level, usual) for step, level, usual in steps)
    )


def _find_colour(sides: Sequence[_Edges]) -> Floats:
    """Return (3,) grey and tints, the colour of the mark that makes the clearest rims likely."""
    best = []
    for side in sides:
        gain = _fit_freely(side).ravel()
        count = min(PLACES, gain.size)
        best.append(side.take(np.argpartition(-gain, count - 1)[:count]))
    steps = [_join(*both) for both in zip(*best, strict=True)]

    def rate(colour: Floats) -> float:
        return float(np.maximum(_fit_rise(steps, colour, ROUNDS[1:])[1] - OWN, 0).sum())

    colours = [np.array(each, np.float32) @ MIX for each in product(SHADES, repeat=3)]
    return _refine(steps, max(colours, key=rate))


def _join(first: Steps, second: Steps) -> Steps:
    """Return the steps at the places of both."""
    step, level, usual = (np.concatenate(parts, axis=1) for parts in zip(first, second, strict=True))
    return step, level, usual


def _refine(steps: list[Steps], colour: Floats) -> Floats:
    """Fit a colour to the rises at its rims, and these to the colour, by turns."""
    for _ in range(REFINEMENTS):
        rise, gain = _fit_rise(steps, colour)
        rise = np.where(gain > OWN, rise, np.float32(0))
        wanted, total = np.zeros(3), np.full(3, 1e-9)
        for step, level, usual in steps:
            weight = _weigh(step - rise * (colour[:, None] - level), usual, "far")
            wanted += (weight * rise * (step + rise * level)).sum(axis=1)
            total += (weight * rise * rise).sum(axis=1)
        if not wanted.any():
            break
        colour = (np.clip((wanted / total) @ np.linalg.inv(MIX), 0, 255) @ MIX).astype(np.float32)
    return colour


def _choose_rims(gain: Array) -> Mask:
    """Return (h, w) bool, what is close to rims, of groups in which there are rims beyond doubt."""
    mean = sum_window(gain[..., None].astype(np.float32), 1)[..., 0] / 9
    groups = find_groups(grow(mean > FAINT, BESIDE))
    rows, columns, labels = groups.list_pixels()
    above = np.maximum(mean[rows, columns] - CLEAR, 0)
    sure = np.bincount(labels, above, len(groups.boxes)) > SURE
    return groups.paint(np.flatnonzero(sure), *gain.shape)


def _find_usual_cover(cover: Floats) -> float:
    """Return the median of what is at least half as much as the most there is."""
    covered = cover[cover > LEAST_COVER]
    if not covered.size:
        return 1.0
    return float(np.median(covered[covered > np.percentile(covered, 90) / 2]))


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
