"""Dividing a picture into thing and background by models of their colours, where OpenCV's GrabCut is missing.

As in GrabCut, each side's colours are a mixture of Gaussians, and neighbours of one colour go to one side. In
place of a cut through the graph of pixels, each pixel's side is averaged with its neighbours' (mean field).
"""

from typing import NamedTuple

import numpy as np

from infilling.pictures.mask import Mask
from infilling.pictures.picture import Array, Doubles, Floats

ROUNDS = 3  # of colour models, and sides by them
SWEEPS = 40  # of averaging with the neighbours, in a round
PARTS = 5  # Gaussians of a side
STEPS = 6  # of sorting colours into Gaussians
SAMPLES = 4000  # pixels of a side that are looked at
FEWEST = 8  # pixels of a Gaussian
VARIANCE = 2e-4  # least of a Gaussian, of colours in [0, 1]
SURENESS = 0.7  # weight of a pixel's own colour
MOST = 6.0  # greatest difference of two logarithms of likelihoods that counts
NEIGHBOUR = 4.0  # weight of a neighbour of the same colour
START = 0.3  # sureness of what was found before, -1 to 1


class _Gaussian(NamedTuple):
    """A part of a side's colours: mean (3,), inverse covariance (3, 3), and the logarithm of its factor."""

    mean: Doubles
    inverse: Doubles
    factor: float

    def measure(self, pixels: Doubles) -> Doubles:
        """Return (n,) the logarithm of the likelihood of colours (n, 3), but for a constant."""
        offset = pixels - self.mean
        return np.asarray(self.factor - 0.5 * ((offset @ self.inverse) * offset).sum(axis=1))


def improve_by_colours(small: Floats, found: Mask, thing: Mask, ground: Mask) -> Mask:
    """Divide a picture again by the colours of both sides.

    Args:
        small: (h, w, 3) in [0, 1].
        found: (h, w) bool, the thing as far as it is known.
        thing: (h, w) bool, what certainly belongs to it.
        ground: (h, w) bool, what certainly does not; the picture's rim does not either.

    Returns:
        (h, w) bool, the thing.
    """
    outside = ground.copy()
    outside[[0, -1]] = outside[:, [0, -1]] = True
    outside &= ~thing
    pixels = small.reshape(-1, 3).astype(np.float64)
    for _ in range(ROUNDS):
        sides = [_fit_gaussians(pixels[side.ravel()]) for side in (found, ~found)]
        if not all(sides):
            break
        inside, beyond = (_measure_likelihood(pixels, side).max(axis=0) for side in sides)
        gain = SURENESS * np.clip(inside - beyond, -MOST, MOST).reshape(found.shape)
        found = _average_sides(small, gain, found, thing, outside)
    return found


def _fit_gaussians(pixels: Doubles) -> list[_Gaussian]:
    """Return the Gaussians of colours (n, 3); none if there are too few."""
    pixels = pixels[:: max(1, len(pixels) // SAMPLES)]
    # At first, the colours are divided by their brightness into parts of one size.
    ranks = np.argsort(np.argsort(pixels.sum(axis=1), kind="stable"), kind="stable")
    labels = ranks * PARTS // max(1, len(pixels))
    gaussians: list[_Gaussian] = []
    for _ in range(STEPS):
        parts = [pixels[labels == each] for each in range(PARTS)]
        parts = [part for part in parts if len(part) >= FEWEST]
        gaussians = [_fit_gaussian(part, len(part) / len(pixels)) for part in parts]
        if not gaussians:
            break
        labels = np.argmax(_measure_likelihood(pixels, gaussians), axis=0)
    return gaussians


def _fit_gaussian(pixels: Doubles, share: float) -> _Gaussian:
    covariance = np.cov(pixels.T) + VARIANCE * np.eye(3)
    factor = float(np.log(share) - 0.5 * np.linalg.slogdet(covariance)[1])
    inverse = np.asarray(np.linalg.inv(covariance), np.float64)
    return _Gaussian(pixels.mean(axis=0), inverse, factor)


def _measure_likelihood(pixels: Doubles, gaussians: list[_Gaussian]) -> Doubles:
    """Return (gaussians, n) the logarithm of the likelihood of each colour; see `_Gaussian.measure`."""
    return np.stack([each.measure(pixels) for each in gaussians])


def _average_sides(small: Floats, gain: Array, found: Mask, thing: Mask, outside: Mask) -> Mask:
    """Return (h, w) bool, the side of each pixel, by its own colour and by its neighbours' sides.

    Args:
        small: (h, w, 3) in [0, 1].
        gain: (h, w) how much more likely each colour is in the thing.
        found: (h, w) bool, the thing as it was found before.
        thing: (h, w) bool, what certainly belongs to it.
        outside: (h, w) bool, what certainly does not.
    """
    steps = [(np.diff(small, axis=axis) ** 2).sum(axis=2) for axis in (1, 0)]
    usual = sum(float(each.mean()) for each in steps if each.size) + 1e-9
    across, down = (NEIGHBOUR * np.exp(-each / usual) for each in steps)
    side = np.where(found, START, -START)  # 1 in the thing, -1 in the background
    for _ in range(SWEEPS):
        side[thing], side[outside] = 1, -1
        total = gain.copy()
        total[:, 1:] += across * side[:, :-1]
        total[:, :-1] += across * side[:, 1:]
        total[1:] += down * side[:-1]
        total[:-1] += down * side[1:]
        side = np.tanh(total / 2)
    return np.asarray(((side > 0) | thing) & ~outside)
