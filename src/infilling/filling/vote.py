"""The vote: from the matches of all patches over a hole pixel to its colour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from infilling.filling.search import CHUNK, KEPT, Search, in_chunks
from infilling.filling.threads import Item, Result, work_on
from infilling.pictures.picture import Floats, Ints

FLAT = 5e-4  # variance of one channel, in [0, 1], below which a patch is flat but for noise: (6 levels)²
NOISE = 1e-4  # variance, of values in [0, 1], added to a patch's own: a flat one is no perfect match
PIXELS = 2048  # hole pixels voted on at once; their order does not matter


class _Cover(NamedTuple):
    """Some hole pixels and the k patches over each.

    Attributes:
        pixels: (n,) places.
        centres: (n, k) middles of the patches.
        steps: (k,) steps from these to the pixel.
    """

    pixels: Ints
    centres: Ints
    steps: Ints


class Vote:
    """Sets the hole pixels of a search's level to what the matched patches over them say."""

    def __init__(self, search: Search) -> None:
        """Vote for the matches of this search, as they are at each call."""
        self.search, self.level = search, search.level
        self._kept: list[_Cover] = []

    def average(self) -> None:
        """Set each hole pixel to the mean of what the patches over it say, well-matched ones the most.

        A patch of cost c counts exp(−c / 2σ²) · trust, σ² the 75th percentile of the costs (Wexler et al.).
        """
        for places, colours in self._average(self._cover()):
            self.level.pixels[places] = colours

    def measure_drift(self) -> tuple[Ints, Ints, Floats]:
        """Measure how far the known pixels around the hole are from what the patches over them say.

        Returns:
            Rows and columns (n,) of the known pixels under targets' patches, and there known less said, (n,
            3).
        """
        level = self.level
        touching = level.find_touching()
        found = list(self._average(self._find_cover(touching[~level.hole[touching]])))
        places = np.concatenate([places for places, _ in found])
        said = np.concatenate([colours for _, colours in found])
        return *level.to_yx(places), level.pixels[places] - said

    def _average(self, covers: Iterable[_Cover]) -> Iterator[tuple[Ints, Floats]]:
        """Yield places and the mean of what the patches over them say, (n, 3), in parts."""
        search, level = self.search, self.level
        matched = search.targets[search.match[search.targets] >= 0]
        if not len(matched):  # as when nothing that the coarser level chose is known here
            return
        costs, upper = search.cost[matched], 3 * len(matched) // 4
        spread = np.partition(costs, upper)[upper] + 1e-8
        weight = np.zeros(level.hole.size, np.float32)
        weight[matched] = np.exp(-costs / (2 * spread)) * level.trust[matched] + 1e-12

        def ask(cover: _Cover) -> tuple[Ints, Floats]:
            say = weight.take(cover.centres)
            places = search.match.take(cover.centres) + cover.steps
            copies = level.pixels.take(places, axis=0, mode="clip")  # (n, k, 3); of known pixels alone
            total = say.sum(1)
            voted = total > 0
            return cover.pixels[voted], (say[:, None] @ copies)[voted, 0] / total[voted, None]

        yield from self._run(ask, covers)

    def copy_best(self) -> None:
        """Set each hole pixel to a copy: what the best-matched patch over it says."""
        self._copy(self.search.cost)

    def copy_liveliest(self) -> Floats:
        """Set each hole pixel to a copy, by costs relative to how much the copied patches vary.

        By the costs themselves smooth patches, which are easy to match, win over their neighbours. Here a
        cost is divided by the variance of the copied patch, to the power of 1.5: the search ends with this.

        Returns:
            (H, W), at each hole pixel how badly its patch fits: the squared difference of copy and patch
            relative to the patch's variance. 0 is an exact copy, 1 no better than a flat colour; 0 elsewhere.
        """
        search, level = self.search, self.level
        costs = search.cost  # written to: a large array less
        misfits = np.zeros(level.hole.size, np.float32)

        def weigh(part: Ints) -> None:
            copies = level.patches(search.match[part])
            variance = _measure_variance(copies)
            misfits[part] = search.measure_misfit(part) / (variance / 3 + FLAT)
            costs[part] /= (variance + NOISE) ** 1.5

        for _ in self._run(weigh, in_chunks(search.targets, CHUNK)):
            pass
        return level.crop(self._copy(misfits))

    def _copy(self, misfits: Floats) -> Floats:
        """Copy from the match of the patch that costs least; return that patch's misfit, (P,)."""
        level, match, costs = self.level, self.search.match, self.search.cost
        misfit = np.zeros(level.hole.size, np.float32)

        def copy(cover: _Cover) -> None:
            best = costs.take(cover.centres).argmin(1)
            centres = cover.centres[np.arange(len(best)), best]
            level.pixels[cover.pixels] = level.pixels[match[centres] + cover.steps[best]]
            misfit[cover.pixels] = misfits[centres]

        for _ in self._run(copy, self._cover()):  # from known pixels to those of the hole
            pass
        return misfit

    def _run(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterable[Result]:
        """Return the results of parts of the work, on threads if there are many targets."""
        return (work_on if len(self.search.targets) > KEPT else map)(work, items)

    def _cover(self) -> Iterable[_Cover]:
        """Return all hole pixels with the patches over them; kept from round to round if there are few."""
        if len(self.search.targets) > KEPT:
            return self._find_cover(self.level.gaps)
        self._kept = self._kept or list(self._find_cover(self.level.gaps))
        return self._kept

    def _find_cover(self, pixels: Ints) -> Iterator[_Cover]:
        """Yield pixels in parts; with a stride, those with the same place in a cell of the grid."""
        level, stride = self.level, self.search.stride
        y, x = level.to_yx(pixels) if stride > 1 else (pixels, pixels)
        places = (y % stride * stride + x % stride).astype(np.uint8)  # in a cell
        pixels = pixels[np.argsort(places, kind="stable")]
        ends = np.cumsum(np.bincount(places, minlength=stride * stride))
        step = np.arange(-level.radius, level.radius + 1)
        for (down, right), chosen in zip(
            product(range(stride), repeat=2), np.split(pixels, ends[:-1]), strict=True
        ):
            # Only patches on the grid are over these pixels.
            fits = (step - down) % stride == 0, (step - right) % stride == 0
            steps = level.offsets[np.logical_and.outer(*fits).ravel()]
            for part in in_chunks(chosen, PIXELS):
                yield _Cover(part, part[:, None] - steps, steps)


def _measure_variance(patches: Floats) -> Floats:
    """Return the variance of each patch's pixels, summed over channels."""
    pixels = patches.shape[1] // 3
    # Mean of squares less square of means.
    means = patches @ np.tile(np.eye(3, dtype=np.float32), (pixels, 1)) / np.float32(pixels)
    squares = np.einsum("ki,ki->k", patches, patches) / np.float32(pixels)
    variance: Floats = np.maximum(squares - (means * means).sum(1), 0)
    return variance
