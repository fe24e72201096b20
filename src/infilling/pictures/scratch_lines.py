"""Tell scratches from other thin lines: a straightened stretch of each is measured across and along.

A scratch has the same picture on both of its sides, is as wide and as strong at one end as at the other, has
sharp sides, and is no part of a row of parallel lines. Outlines, whiskers, towers and mortar fail in one of
these.
"""

from dataclasses import dataclass

import numpy as np

from infilling.pictures.picture import Array, Doubles, Floats, Ints

SAMPLES, QUARTERS = 64, 4  # along a stretch: places that are looked at, and parts that are compared
SEEDS_AT_ONCE = 2000
TURNS = np.linspace(-1, 1, 13) * (np.pi / 28)  # finer angles that are tried around the coarse one
FAINTEST = (
    20  # greys, after smoothing, by which a scratch must be brighter than both sides, before `sensitivity`
)
UNEVEN = 0.25  # greatest difference of the sides, as a share of the scratch's height; so are those below
ROUGH = 0.25  # greatest standard deviation of the sides
VARIED = 0.25  # greatest standard deviation along the scratch
HOLDS = 0.94  # share of places along a stretch that must be half as high as the mean or more
EVEN = 0.7  # least ratio of the weakest quarter's area across to the strongest's
SHARP = 2.5  # greatest difference, in pixels, of the widths at 1/4 and at 3/4 of the height
ASIDE = 49  # pixels on each side that are searched for parallel lines
PARALLEL = 0.4  # height of a parallel line that counts
MOST_PARALLELS = 1


@dataclass(frozen=True)
class Stretches:
    """Straight stretches, each by its middle and its angle.

    Attributes:
        rows: (n,) of the middles, in pixels.
        columns: (n,) of the middles.
        angles: (n,) in radians, 0 to the right, growing downwards.
    """

    rows: Doubles
    columns: Doubles
    angles: Doubles

    def sample(self, luma: Floats, along: Doubles, across: Doubles) -> Floats:
        """Return (n, along, across) the nearest greys at distances from each middle."""
        sines, cosines = np.sin(self.angles)[:, None, None], np.cos(self.angles)[:, None, None]
        along, across = along[None, :, None], across[None, None, :]
        rows = np.rint(self.rows[:, None, None] + along * sines + across * cosines)
        columns = np.rint(self.columns[:, None, None] + along * cosines - across * sines)
        rows = np.clip(rows, 0, luma.shape[0] - 1).astype(np.intp)
        columns = np.clip(columns, 0, luma.shape[1] - 1).astype(np.intp)
        return np.asarray(luma[rows, columns], dtype=np.float32)

    def fit_inside(self, shape: tuple[int, ...], reach: float) -> Array:
        """Say which stretches, `reach` px to both sides of the middle, are inside the picture."""
        down, right = reach * np.abs(np.sin(self.angles)), reach * np.abs(np.cos(self.angles))
        rows = (self.rows >= down) & (self.rows + down < shape[0])
        return np.asarray(rows & (self.columns >= right) & (self.columns + right < shape[1]))


def find_stretches(
    luma: Floats, rows: Ints, columns: Ints, angles: Doubles, width: int, length: int, sensitivity: float
) -> Stretches:
    """Return the stretches of bright scratches among candidates.

    Args:
        luma: (H, W) greys, 0 to 255.
        rows: (n,) rows of pixels on a line.
        columns: (n,) their columns.
        angles: (n,) coarse directions of the lines.
        width: greatest width of a scratch, in pixels.
        length: of a stretch, in pixels.
        sensitivity: 2 takes scratches half as strong.
    """
    smooth = _smooth(luma)
    parts = []
    for start in range(0, len(rows), SEEDS_AT_ONCE):
        part = slice(start, start + SEEDS_AT_ONCE)
        given = Stretches(rows[part].astype(float), columns[part].astype(float), angles[part])
        stretches = _centre(smooth, given, length)
        kept = _are_scratches(smooth, stretches, width, length, FAINTEST / sensitivity)
        parts.append([each[kept] for each in (stretches.rows, stretches.columns, stretches.angles)])
    return Stretches(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _smooth(luma: Floats) -> Floats:
    """Smooth a little, so that the nearest pixel of a thin slanting line will do."""
    for axis in (0, 1):
        edges = [(0, 0), (0, 0)]
        edges[axis] = (1, 1)
        wide, count = np.pad(luma, edges, mode="edge"), luma.shape[axis]
        before, after = wide.take(range(count), axis), wide.take(range(2, count + 2), axis)
        luma = (before + 2 * luma + after) / np.float32(4)
    return luma


def _spread(length: int) -> Doubles:
    return np.linspace(-length / 2 + 1, length / 2 - 1, SAMPLES)


def _centre(luma: Floats, given: Stretches, length: int) -> Stretches:
    """Turn and shift stretches so that their middle row is as bright as can be."""
    best = np.full(len(given.rows), -np.inf)
    angles, shifts = given.angles.copy(), np.zeros(len(best))
    for turn in TURNS:
        tried = Stretches(given.rows, given.columns, given.angles + turn)
        profiles = tried.sample(luma, _spread(length), np.arange(-2.0, 3)).mean(axis=1)
        values, places = profiles.max(axis=1), profiles.argmax(axis=1)
        better = values > best
        best[better], angles[better], shifts[better] = values[better], tried.angles[better], places[better]
    shifts -= 2
    return Stretches(given.rows + shifts * np.cos(angles), given.columns - shifts * np.sin(angles), angles)


def _are_scratches(luma: Floats, stretches: Stretches, width: int, length: int, faintest: float) -> Array:
    """Say which stretches look like a scratch, by what is across them and along them."""
    half, gap = width + 6, width // 2
    strips = stretches.sample(luma, _spread(length), np.arange(-half, half + 1.0))
    left, right = strips[:, :, half - gap - 6 : half - gap - 1], strips[:, :, half + gap + 2 : half + gap + 7]
    sides = np.concatenate([left, right], axis=2)
    levels = [np.median(side.mean(axis=1), axis=1) for side in (left, right)]
    height = strips[:, :, half].mean(axis=1) - np.maximum(*levels)
    scale = np.maximum(height, 1)
    along = strips[:, :, half - 1 : half + 2].max(axis=2) - np.median(sides, axis=2)
    fits = stretches.fit_inside(luma.shape, length / 2 - 1) & (height > faintest)
    fits &= np.abs(levels[0] - levels[1]) < UNEVEN * scale
    fits &= sides.std(axis=(1, 2)) < ROUGH * scale
    fits &= along.std(axis=1) < VARIED * scale
    fits &= (along > height[:, None] / 2).mean(axis=1) >= HOLDS
    fits &= _are_even(strips[:, :, 3:-3], sides, width)
    fits &= _count_parallels(luma, stretches, width, length, height) <= MOST_PARALLELS
    return np.asarray(fits)


def _are_even(strips: Floats, sides: Floats, width: int) -> Array:
    """Say which stretches are as wide in one quarter as in the others, thin enough and sharp."""
    count = len(strips)
    floors = np.median(sides.reshape(count, QUARTERS, -1), axis=2)
    quarters = strips.reshape(count, QUARTERS, SAMPLES // QUARTERS, -1).mean(axis=2) - floors[..., None]
    tops = quarters.max(axis=2)[..., None]
    areas = np.maximum(quarters, 0).sum(axis=2)
    quarter_height, half_height, most_height = (
        (quarters > tops * share).sum(axis=2) for share in (0.25, 0.5, 0.75)
    )
    even = areas.min(axis=1) > EVEN * areas.max(axis=1)
    thin = half_height.max(axis=1) <= width
    return np.asarray(even & thin & (np.median(quarter_height - most_height, axis=1) <= SHARP))


def _count_parallels(luma: Floats, stretches: Stretches, width: int, length: int, height: Floats) -> Ints:
    """Return how many other lines run beside each stretch."""
    across = np.arange(-ASIDE, ASIDE + 1.0)
    wide = stretches.sample(luma, _spread(length)[::2], across).mean(axis=1)
    step = width // 2 + 4
    ridges = np.zeros_like(wide)
    sides = np.maximum(wide[:, : -2 * step], wide[:, 2 * step :])
    ridges[:, step:-step] = wide[:, step:-step] - sides
    others = (ridges > PARALLEL * height[:, None]) & (np.abs(across) > width)
    return np.asarray((np.diff(others.astype(np.int8), axis=1) == 1).sum(axis=1))
