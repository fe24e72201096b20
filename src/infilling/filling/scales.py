"""Scales of arrays: the range in which each hole is filled, found in its own surroundings.

An engine sees values in [0, 1]. Data have any unit, and may span many orders of magnitude in one frame: in
one range for all, a star would leave a dead pixel beside the noise of the sky no more than one step. So every
hole gets the range of the known values around it, without the few that stray. Holes of a crop whose ranges
are alike are filled together.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from infilling.pictures.frame import Region
from infilling.pictures.mask import Box, Groups, Mask, find_groups, widen
from infilling.pictures.picture import Bools, Doubles, Floats

STEPS = 65535  # the engine sees known values rounded to 1/STEPS: the same in every unit, bit for bit
REACH = 3  # px round a hole, at least, that count as its surroundings
SMALL = 4  # px, the longer side of holes that are looked at together
STRAY = 0.05  # share of the surroundings, at each end, that does not count
MARGIN = 0.5  # widths of the range, at each end, that are added to it
FEW = 0.01  # share of a crop up to which values out of range are left out instead of cut off
ALIKE = 5 * np.pi  # most widths of the narrowest range in that of holes that are filled together
MOST_PASSES = 8  # over a crop; if it would take more, holes are filled together that are less alike


@dataclass(frozen=True, eq=False)
class Scale:
    """A range of values, and the holes of a crop that are filled in it.

    Attributes:
        low: value that becomes 0.
        high: value that becomes 1; `low` itself for surroundings of one value.
        hole: (region.core) bool, the pixels to fill in this scale.
        outliers: bool, of the whole crop: known pixels out of range that nothing is taken from.
    """

    low: float
    high: float
    hole: Mask
    outliers: Mask

    @property
    def is_flat(self) -> bool:
        """Whether the surroundings have one value, which then is the fill."""
        return self.high <= self.low

    def to_unit(self, values: Doubles) -> Floats:
        """Return values in [0, 1], rounded to 1/STEPS and cut off at the ends; NaN becomes 0."""
        if self.is_flat:
            return np.full(values.shape, 0.5, np.float32)
        with np.errstate(invalid="ignore", over="ignore"):
            unit = np.rint((values - self.low) / (self.high - self.low) * STEPS)
        cut: Floats = (np.clip(np.nan_to_num(unit, nan=0.0), 0, STEPS) / STEPS).astype(np.float32)
        return cut

    def from_unit(self, unit: Floats, known: Doubles) -> Doubles:
        """Return values for fills in [0, 1], cut off at the least and the largest of some known values."""
        if self.is_flat:
            return np.full(unit.shape, self.low)
        values = self.low + unit.astype(np.float64) * (self.high - self.low)
        return np.clip(values, known.min(), known.max()) if known.size else values


def find_scales(values: Doubles, unknown: Mask, region: Region) -> Iterator[Scale]:
    """Find the scales in which the holes of a crop are filled.

    Args:
        values: (H, W, C), the crop.
        unknown: (H, W) bool, what nothing is taken from.
        region: the crop's region; `core` counts from the corner of the crop.

    Yields:
        Scales whose holes together are the region's, each pixel once.
    """
    groups = find_groups(region.hole)
    low, high = _find_ranges(values, unknown, groups, region.core)
    for chosen in _gather(low, high):
        hole = groups.paint(chosen, *region.hole.shape)
        least, most = float(low[chosen].min()), float(high[chosen].max())
        yield Scale(least, most, hole, _find_outliers(values, unknown, least, most))


def _find_ranges(values: Doubles, unknown: Mask, groups: Groups, core: Box) -> tuple[Doubles, Doubles]:
    """Find the range of the surroundings of each group of hole pixels: lows and highs, (groups,) each."""
    boxes = groups.boxes + np.array([core.x, core.y, 0, 0])
    low, high = np.zeros(len(boxes)), np.zeros(len(boxes))
    small = boxes[:, 2:].max(axis=1) <= SMALL
    if small.any():
        low[small], high[small] = _find_ranges_of_small(values, unknown, boxes[small])
    whole = Box(0, 0, unknown.shape[1], unknown.shape[0])
    for index in np.flatnonzero(~small):
        box = Box(*boxes[index].tolist())
        near = widen(box, max(REACH, max(box.width, box.height) // 2), whole).slices
        known = values[near][~unknown[near]]
        known = known if known.size else values[~unknown]
        low[index], high[index] = (float(each[0]) for each in _trim(np.sort(known, axis=None)[None]))
    return low, high


def _find_ranges_of_small(values: Doubles, unknown: Mask, boxes: np.ndarray) -> tuple[Doubles, Doubles]:
    """Find the ranges of holes of at most SMALL px, each in a window of the same size."""
    side = np.arange(-REACH, SMALL + REACH)
    lows, highs = [], []
    for some in np.array_split(boxes, -(-len(boxes) // 4096)):
        rows, columns = some[:, 1, None] + side, some[:, 0, None] + side
        inside = (rows >= 0) & (rows < unknown.shape[0]), (columns >= 0) & (columns < unknown.shape[1])
        index = (
            np.clip(rows, 0, unknown.shape[0] - 1)[:, :, None],
            np.clip(columns, 0, unknown.shape[1] - 1)[:, None, :],
        )
        known = inside[0][:, :, None] & inside[1][:, None, :] & ~unknown[index]
        seen = np.where(known[..., None], values[index], np.inf).reshape(len(some), -1)
        bare = ~known.any(axis=(1, 2))
        if bare.any():  # deep in a dense pattern of other holes
            everything = np.sort(values[~unknown], axis=None)
            seen[bare] = np.resize(everything[:: max(1, len(everything) // seen.shape[1])], seen.shape[1])
        low, high = _trim(np.sort(seen, axis=1))
        lows.append(low)
        highs.append(high)
    return np.concatenate(lows), np.concatenate(highs)


def _trim(ordered: Doubles) -> tuple[Doubles, Doubles]:
    """Return the ranges of rows of ordered values, without those that stray and with a margin.

    Args:
        ordered: (n, values), ascending; inf stands for no value. Each row has one value at least.
    """
    count = np.isfinite(ordered).sum(axis=1)
    drop = np.where(count >= 8, np.maximum(1, (count * STRAY).astype(np.intp)), 0)
    each = np.arange(len(ordered))
    low, high = ordered[each, drop], ordered[each, count - 1 - drop]
    # Where all but a few are alike, the few are no part of the range; of two values both are.
    margin = (high - low) * MARGIN
    return low - margin, high + margin


def _gather(low: Doubles, high: Doubles) -> list[np.ndarray]:
    """Gather groups of hole pixels whose ranges are alike: lists of their indices."""
    flat = high <= low
    passes = [np.flatnonzero(flat & (low == value)) for value in np.unique(low[flat])]
    rest = np.flatnonzero(~flat)
    if not rest.size:
        return passes
    alike = ALIKE
    found = _sweep(low, high, rest, alike)
    while len(found) > MOST_PASSES:
        alike *= 2
        found = _sweep(low, high, rest, alike)
    return passes + found


def _sweep(low: Doubles, high: Doubles, rest: np.ndarray, alike: float) -> list[np.ndarray]:
    """Gather groups by the width of their ranges, and those of like widths along the axis of values."""
    width = high[rest] - low[rest]
    bins = np.floor(np.log(width / width.min()) / np.log(alike) * 2).astype(np.intp)
    found = []
    for number in np.unique(bins):
        members = rest[bins == number]
        members = members[np.argsort(low[members], kind="stable")]
        limit = alike * (high[members] - low[members]).min()
        start, top = 0, high[members[0]]
        for place in range(1, len(members)):
            top = max(top, high[members[place]])
            if top - low[members[start]] > limit:
                found.append(members[start:place])
                start, top = place, high[members[place]]
        found.append(members[start:])
    return found


def _find_outliers(values: Doubles, unknown: Mask, low: float, high: float) -> Bools:
    """Return the known pixels out of range, if they are few; else none, for they are cut off."""
    with np.errstate(invalid="ignore"):
        outside = ((values < low) | (values > high)).any(axis=2) & ~unknown
    few = outside.sum() <= FEW * (~unknown).sum()
    return outside if few else np.zeros_like(outside)
