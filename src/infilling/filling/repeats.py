"""Repeats: the offsets at which what is around a hole comes again, and the fill that they predict.

Bricks, tiles, railings and lines of text continue in step: offsets between like places are few (He & Sun,
Statistics of Patch Offsets for Image Completion, ECCV 2012). They are read off the correlation of the known
surroundings with themselves. A hole pixel is predicted by the known pixels that are such an offset away.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from infilling.filling.pairs import GRAIN, bring, fit_light, square_error
from infilling.filling.pyramid import Pyramid, find_level
from infilling.pictures.blend import sum_window
from infilling.pictures.mask import Box, bounding_box, grow, widen
from infilling.pictures.picture import Bools, Doubles, Floats, Ints

Complexes = NDArray[np.complexfloating]

LONGEST = 256  # px, longer side of what is correlated; larger surroundings are halved until they fit
AROUND = 0.75  # width of the surroundings that are looked at, in hole sizes
LEAST_AROUND = 48  # px, the same, at least
COARSE = 8  # reach, in px, of the windows whose mean is taken off: light and large shapes do not count
LEAST_STEP = 3  # px, of the shortest offset
OVERLAP = 0.15  # share of the known pixels that an offset has to bring over known ones
LIKE = 0.6  # correlation from which an offset is a repeat
PLAUSIBLE = 0.3  # correlation below which nothing repeats, of whatever pixels it is taken
LEVEL = 1e-3  # correlation by which a peak may be below its neighbours: along an edge all offsets are alike
SCATTER = 2  # standard errors of a correlation by which it may be as well
NEAR_BEST = 0.1  # correlation by which an offset may be below the best one
WORSE = 4  # times the error of the best offset that one is used with, unless it takes more to fill the hole
MOST = 12  # offsets that are used
MOST_PEAKS = 200  # peaks of which they are chosen
MOST_PIXELS = 1000  # hole pixels by which they are chosen
PASSES = 4  # times that predicted pixels predict others
EXACT_PASSES = 16  # the same by offsets that are exact
RIM = 8  # px, width of the band around a hole in which the offsets have to hold as well
FIT = 0.5  # mean squared error there, as a share of the band's variance, up to which they do
LEAST = 1e-5  # variance of a band in one colour
EXACT = 2.5 / 255  # difference of two places up to which they hold the same
WINDOW = 3  # reach, in px, of the windows over which grain is averaged
STRAY = 5  # standard errors by which the mean of grain over a window may be off, of thousands of windows
SAMPLE = 1000  # pairs of known pixels by which an offset is refined
MANY = 20_000  # the same by which offsets are put in order
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class Prediction(NamedTuple):
    """What a hole holds by what repeats around it.

    Attributes:
        image: (H, W, 3), the picture with its hole predicted.
        is_exact: pixels and those at each offset are alike, but for grain, across the rim too.
    """

    image: Floats
    is_exact: bool


def predict(image: Floats, hole: Bools, pyramid: Pyramid | None = None) -> Prediction | None:
    """Predict a hole by what repeats around it.

    Args:
        image: (H, W, 3) in [0, 1]; what its hole holds does not matter.
        hole: (H, W) bool.
        pyramid: its levels made so far; if all of the picture is looked at, further ones are added.

    Returns:
        None if nothing repeats, not next to the hole either, or some of the hole is not reached.

    >>> columns = np.arange(96)
    >>> stripes = np.float32(columns % 8 < 4)[None, :, None].repeat(96, 0).repeat(3, 2)
    >>> hole = np.zeros((96, 96), bool)
    >>> hole[30:60, 30:60] = True
    >>> bool((predict(stripes * ~hole[..., None], hole).image == stripes).all())
    True
    """
    small = _reduce(image, hole, pyramid)
    for is_whole in (False, True):
        like = _correlate(small.image, small.hole, is_whole)
        if _find_longer(like).max(initial=0) < PLAUSIBLE:
            return None
        level = _find_level(small, like) if is_whole else 0
        offsets, errors = _find_offsets(image, hole, small, like, level)
        predicted = _predict_lit(image, hole, small.near, offsets)
        predicted = predicted or _predict_by(image, hole, small.near, offsets, errors)
        if predicted and (predicted.is_exact or not is_whole):  # averaged grain looks alike sooner
            return predicted
    return None


def _predict_lit(image: Floats, hole: Bools, near: Box, offsets: Ints) -> Prediction | None:
    """Predict a hole by what repeats exactly but for light that changes smoothly; None if nothing does."""
    light = fit_light(image, hole, near, offsets)
    if light is None or np.ptp(light) <= EXACT:
        return None
    even = image - light
    predicted = _predict_by(even, hole, near, *_refine(even, hole, near, offsets, 1))
    if predicted is None or not predicted.is_exact:
        return None
    return Prediction(np.clip(predicted.image + light, 0, 1), is_exact=True)


def _predict_by(image: Floats, hole: Bools, near: Box, offsets: Ints, errors: Doubles) -> Prediction | None:
    """Predict a hole by offsets; by the best alone if these reach all of it."""
    if not len(offsets) or not _hold_around(image, hole, offsets):
        return None
    best = errors <= WORSE * (errors.min() + LEAST)
    for chosen in (best, np.ones_like(best)):
        followed = _follow(image, hole, offsets[chosen])
        if followed is None:
            continue
        result, used, passes = followed
        # With its hole filled, so that what many copies of copies drift away from the far rim shows.
        filled, no_hole = result[near.slices], np.zeros((near.height, near.width), bool)
        is_exact = all(_is_alike(filled, no_hole, offset) for offset in used)
        if is_exact or passes <= PASSES:
            return Prediction(result, is_exact)
    return None


def _is_alike(image: Floats, hole: Bools, offset: Ints) -> bool:
    """Say whether pixels, not of the hole, and those at an offset hold the same, but for grain.

    Of N differences by grain with a deviation s the mean deviates by s / √N. The mean over each window of
    which half is known has to be within `STRAY` times that, besides what is exact.
    """
    (top, left), (bottom, right) = np.maximum(-offset, 0), np.minimum(hole.shape, hole.shape - offset)
    here = np.s_[top:bottom, left:right]
    there = np.s_[top + offset[0] : bottom + offset[0], left + offset[1] : right + offset[1]]
    known = ~(hole[here] | hole[there])[..., None]
    if not known.any():
        return False
    difference = (image[here] - image[there]) * known
    deviation = np.sqrt(np.square(difference).sum(axis=(0, 1), dtype=np.float64) / known.sum())
    if deviation.max() <= EXACT:
        return True
    if deviation.max() > GRAIN:
        return False
    count = sum_window(known.astype(np.float32), WINDOW)
    mean = np.abs(sum_window(difference, WINDOW)) / np.maximum(count, 1)
    whole = count[..., 0] >= (2 * WINDOW + 1) ** 2 / 2
    allowed = EXACT + STRAY * deviation / np.sqrt(np.maximum(count, 1))
    return bool((mean <= allowed)[whole].all())


def _hold_around(image: Floats, hole: Bools, offsets: Ints) -> bool:
    """Say whether the offsets predict the band around a hole: what repeats elsewhere may end before it."""
    y, x = np.nonzero(grow(hole, RIM) & ~hole)
    left = np.ones(len(y), bool)
    errors = np.zeros((len(y), image.shape[2]))
    for offset in offsets:
        usable, rows, columns = bring(hole, y, x, offset)
        usable &= left
        errors[usable] = image[y, x][usable] - image[rows, columns][usable]
        left &= ~usable
    band = image[y, x][~left]
    return len(band) > 0 and bool(
        np.square(errors[~left]).mean() <= FIT * max(band.var(axis=0).mean(), LEAST)
    )


def find_offsets(image: Floats, hole: Bools) -> tuple[Ints, Doubles]:
    """Find the offsets by which the surroundings of a hole repeat.

    Returns:
        Down and right, (n, 2), best first; and the mean squared difference of what is such an offset apart.
    """
    small = _reduce(image, hole)
    return _find_offsets(image, hole, small, _correlate(small.image, small.hole, is_whole=False), 0)


class _Small(NamedTuple):
    """The surroundings of a hole, reduced by 2 to the power of something: `scale`; and where they are."""

    image: Floats
    hole: Bools
    near: Box
    scale: int


def _reduce(image: Floats, hole: Bools, pyramid: Pyramid | None = None) -> _Small:
    core, whole = bounding_box(hole), Box(0, 0, hole.shape[1], hole.shape[0])
    reach = max(LEAST_AROUND, round(AROUND * max(core.width, core.height)))
    near = widen(core, reach, whole)
    if pyramid is None or near != whole:
        pyramid = [(image[near.slices], hole[near.slices])]
    halvings = 0
    while max(find_level(pyramid, halvings)[1].shape) > LONGEST:
        halvings += 1
    return _Small(*pyramid[halvings], near, 1 << halvings)


def _find_offsets(
    image: Floats, hole: Bools, small: _Small, like: Floats, level: float
) -> tuple[Ints, Doubles]:
    """Find offsets by a correlation of the reduced surroundings; see `find_offsets` and `_find_peaks`."""
    peaks, likes = _find_peaks(like, level)
    if not len(peaks):
        return peaks, np.zeros(0)
    chosen = _choose(peaks, likes, small.hole)
    return _refine(image, hole, small.near, chosen * small.scale, small.scale)


def _find_longer(like: Floats) -> Floats:
    """Return a correlation, (2 h + 1, 2 w + 1), with 0 at the offsets that are shorter than `LEAST_STEP`."""
    longer = like.copy()
    y, x = like.shape[0] // 2, like.shape[1] // 2
    reach = LEAST_STEP - 1
    longer[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = 0
    return longer


def _find_level(small: _Small, like: Floats) -> float:
    """Return by how much a peak along an edge may be below its neighbours.

    The standard error of a correlation c of N pairs is (1 − c²) / √N.
    """
    best = float(_find_longer(like).max())
    return LEVEL + SCATTER * (1 - best * best) / np.count_nonzero(~small.hole) ** 0.5


def _find_peaks(like: Floats, level: float = 0) -> tuple[Ints, Floats]:
    """Return the offsets whose correlation is a peak near the best one, (n, 2), best first, and it, (n,).

    Args:
        like: (2 h + 1, 2 w + 1), as `_correlate` gives it.
        level: correlation by which a peak may be below its neighbours.
    """
    height, width = like.shape
    down, right = np.arange(height) - height // 2, np.arange(width) - width // 2
    is_peak = _find_longer(like) >= LIKE
    if is_peak.any():
        for step in ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1)):
            is_peak &= like >= np.roll(like, step, (0, 1)) - level
    if not is_peak.any():
        return np.zeros((0, 2), np.intp), np.zeros(0, np.float32)
    is_peak &= like >= like[is_peak].max() - NEAR_BEST
    y, x = np.nonzero(is_peak)
    order = np.argsort(-like[y, x], kind="stable")
    return np.stack([down[y], right[x]], axis=1)[order], like[y, x][order]


def _correlate(image: Floats, hole: Bools, is_whole: bool) -> Floats:
    """Correlate the known pixels of a picture with themselves at every offset.

    With z the luma less its mean over a window, and m 1 where known, the value at an offset d is
    Σ z(x) z(x + d) / √(Σ z(x)² · Σ z(x + d)²), each sum over the x with x and x + d known.

    Args:
        image: (H, W, 3).
        hole: (H, W) bool.
        is_whole: compare only pixels whose whole window is known. An edge along the rim of the hole is known
            on one side alone there. Grain is averaged first.

    Returns:
        (2 h + 1, 2 w + 1), no offset in the middle; 0 where too few pixels are compared, and so all around.
    """
    known = (~hole).astype(np.float32)
    luma = (image @ LUMA) * known
    if is_whole:
        planes = sum_window(np.stack([luma, known], axis=-1), 1)
        luma = planes[..., 0] / np.maximum(planes[..., 1], 1) * known
    sums = sum_window(np.stack([luma, known], axis=-1), COARSE)
    detail = (luma - sums[..., 0] / np.maximum(sums[..., 1], 1)) * known
    if is_whole:
        known *= sums[..., 1] == sum_window(np.ones((*hole.shape, 1), np.float32), COARSE)[..., 0]
        detail *= known
    # Offsets beyond these bring less than `OVERLAP` over each other. The transform is as long as these take:
    # what it wraps round is at longer ones.
    least = max(1, math.ceil(OVERLAP * float(known.sum())))
    down, right = hole.shape[0] - -(-least // hole.shape[1]), hole.shape[1] - -(-least // hole.shape[0])
    shape = _round_up(hole.shape[0] + down), _round_up(hole.shape[1] + right)
    first, square, mask = (np.fft.rfft2(values, shape) for values in (detail, detail * detail, known))

    def sum_products(one: Complexes, other: Complexes, last: int) -> Floats:
        """Return Σ one(x) other(x + d), d from -down to `last` and from -right to right."""
        sums = np.fft.ifft(np.conj(one) * other, axis=0)[np.arange(-down, last + 1)]
        return np.asarray(np.fft.irfft(sums, shape[1])[:, np.arange(-right, right + 1)])

    # Negating the offset swaps x and x + d: of what is symmetric, half is enough.
    product, count, both = (
        sum_products(first, first, 0),
        sum_products(mask, mask, 0),
        sum_products(square, mask, down),
    )
    energy, opposite = (np.maximum(each[: down + 1], 0) for each in (both, both[::-1, ::-1]))
    scale = np.sqrt(energy * opposite)
    enough = (count >= least) & (scale > 1e-4 * count)
    half = np.where(enough, product / np.maximum(scale, 1e-12), np.float32(0))
    like: Floats = np.zeros((2 * down + 3, 2 * right + 3), np.float32)
    like[1 : down + 2, 1:-1] = half
    like[down + 1 : -1, 1:-1] = half[::-1, ::-1]
    return like


def _round_up(side: int) -> int:
    """Return a length not below `side` that Fourier transforms like: a product of 2, 3, 5 and 7."""
    power = 1 << max(0, (side - 1).bit_length() - 4)
    lengths = (power * times for times in (8, 9, 10, 12, 14, 15, 16))
    return next(length for length in lengths if length >= side)


def _choose(peaks: Ints, likes: Floats, hole: Bools) -> Ints:
    """Choose the offsets that together bring a known pixel, by the best one possible, to most of the hole."""
    y, x = np.nonzero(hole)
    some = slice(None, None, -(-len(y) // MOST_PIXELS))
    spread = slice(None, None, -(-len(peaks) // MOST_PEAKS))
    peaks, likes = peaks[spread], likes[spread]
    reaches = np.stack([bring(hole, y[some], x[some], peak)[0] for peak in peaks])  # (peaks, pixels)
    gains = reaches * (likes - likes.min() + NEAR_BEST)[:, None]
    best, chosen = np.zeros(reaches.shape[1]), []
    for _ in range(MOST):
        gain = np.maximum(gains - best, 0).sum(axis=1)
        if not gain.any():
            break
        chosen.append(int(gain.argmax()))
        best = np.maximum(best, gains[chosen[-1]])
    return peaks[chosen]


def _refine(image: Floats, hole: Bools, near: Box, offsets: Ints, scale: int) -> tuple[Ints, Doubles]:
    """Find the best offsets up to `scale` px from these, and sort them by how well they fit; and how well.

    A few known pixels say which offset is best near each; many say which come first: there the fourth power
    of what is different counts, so that a thin line that is missed outweighs much grain.
    """
    y, x = np.nonzero(~hole[near.slices])
    y, x = y + near.y, x + near.x
    rng = np.random.default_rng(0)
    some = rng.integers(0, len(y), SAMPLE)
    many = rng.integers(0, len(y), MANY) if len(y) > MANY else slice(None)
    reach = scale if scale > 1 else 0
    steps = np.arange(-reach, reach + 1)
    found = []
    for offset in offsets:
        tried = [offset + np.array([down, right]) for down in steps for right in steps]
        errors = [float(square_error(image, hole, y[some], x[some], each).mean()) for each in tried]
        best = int(np.argmin(errors))
        squares = square_error(image, hole, y[many], x[many], tried[best])
        found.append((float((squares * squares).mean()), *tried[best].tolist(), errors[best]))
    # In a smooth picture a faint likeness would bring light from elsewhere, in steps. Where detail alone
    # differs, a correlation c means a squared difference of 2 (1 − c) times its variance.
    few = some[::4]
    most = 2 * (1 - LIKE) * _measure_detail(image, hole, y[few], x[few], scale)
    known, gap = image[near.slices], hole[near.slices]
    found = sorted(
        each for each in found if each[3] <= most or _is_alike(known, gap, np.array(each[1:3], np.intp))
    )
    return np.array([each[1:3] for each in found], np.intp), np.array([each[3] for each in found])


def _measure_detail(image: Floats, hole: Bools, y: Ints, x: Ints, scale: int) -> float:
    """Return the mean squared difference of pixels and the means of the windows round them."""
    steps = scale * np.arange(-COARSE, COARSE + 1)
    rows = np.clip(y[:, None, None] + steps[:, None], 0, hole.shape[0] - 1)
    columns = np.clip(x[:, None, None] + steps, 0, hole.shape[1] - 1)
    known = ~hole[rows, columns][..., None]
    means = (image[rows, columns] * known).sum(axis=(1, 2)) / known.sum(axis=(1, 2))
    return float(np.square(image[y, x] - means).mean())


def _follow(image: Floats, hole: Bools, offsets: Ints) -> tuple[Floats, list[Ints], int] | None:
    """Copy to each hole pixel the known one at the first offset that has one; then from those.

    Returns:
        The picture with its hole filled, the offsets that were used, and the passes that it took; None if
        some of the hole is not reached.
    """
    result, left = image.copy(), hole.copy()
    y, x = np.nonzero(hole)
    used = np.zeros(len(offsets), bool)
    for passes in range(1, EXACT_PASSES + 1):
        before = left.copy()
        for number, offset in enumerate(offsets):
            brought, rows, columns = bring(before, y, x, offset)
            brought &= left[y, x]
            if brought.any():
                used[number] = True
                result[y[brought], x[brought]] = result[rows[brought], columns[brought]]
                left[y[brought], x[brought]] = False
        if not left.any():
            return result, list(offsets[used]), passes
    return None
