"""Figures that judge a result: pure `update(result, target, mask) -> sums` and `compute(sums) -> value`.

Sums of any two sets of pictures add up to the sums of both, so processes can share the work and nothing is
averaged twice. Every mean is a mean over pictures: a picture's PSNR first, then their mean (never the PSNR of
a pooled error). Pictures are judged as the user gets them: 8 bits, values k/255 in [0, 1].

>>> target = np.zeros((16, 16, 3), np.uint8)
>>> result = target.copy(); result[4:8, 4:8] = 51  # a fifth of full scale
>>> mask = np.zeros((16, 16), bool); mask[4:8, 4:8] = True
>>> round(judge("hole_mae", result, target, mask), 6)
0.2
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from infilling.errors import ConfigError, DataError, did_you_mean

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Sums = Mapping[str, npt.NDArray[np.float64]]
"""Named float64 arrays. An empty mapping is the sum of nothing."""

PSNR_CAP_DB = 100.0
"""The PSNR of a picture without any error, and the most that any gets: infinite ones would spoil the mean."""

FEWEST_FOR_FID = 100
"""A Fréchet distance over fewer pictures says more about their number than about the pictures."""

SSIM_SIDE = 11  # the Gaussian window: σ 1.5, cut off at 3.5 σ
_SSIM_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2  # (K1·L)², (K2·L)² with L = 1


def fraction(numerator: float, denominator: float) -> Sums:
    """Makes the sums of a ratio."""
    return {"numerator": np.array([numerator], float), "denominator": np.array([denominator], float)}


def _ratio(sums: Sums) -> float:
    """Divides; nothing judged and 0/0 are NaN."""
    if not sums or not sums["denominator"][0]:
        return float("nan")
    return float(sums["numerator"][0] / sums["denominator"][0])


@dataclass(frozen=True)
class Metric:
    """One figure.

    Attributes:
        label: how a table heads its column.
        summary: what it measures, in one line.
        higher_is_better: None where the nearer to 1 the better.
        update: `(result, target, mask) -> sums`. What it takes is said by `takes`.
        compute: `sums -> value`; NaN where there was nothing to judge.
        unit: "dB", or "" for a plain number.
        digits: how many a table shows behind the point.
        takes: "pixels": (H, W, 3) uint8 and their mask (H, W), True = hole. "maps": a sequence of feature
            maps (N, C, h, w), scaled to unit length. "vectors": (N, D), a row per picture. Features need no
            mask.
        network: the feature network that makes maps or vectors; None for pixels.
    """

    label: str
    summary: str
    higher_is_better: bool | None
    update: Callable[[Any, Any, Any], Sums]
    compute: Callable[[Sums], float] = _ratio
    unit: str = ""
    digits: int = 4
    takes: Literal["pixels", "maps", "vectors"] = "pixels"
    network: Literal["squeezenet", "lpips", "inception"] | None = None

    @property
    def needs_features(self) -> bool:
        """True where the figure needs the weights of a feature network."""
        return self.network is not None


def judge(name: str, result: Array, target: Array, mask: Mask) -> float:
    """Computes one figure of one picture.

    Args:
        name: a metric of pixels.
        result: (H, W, 3) uint8, after blending.
        target: (H, W, 3) uint8, the original.
        mask: (H, W), True = hole.
    """
    metric = find(name)
    return metric.compute(metric.update(result, target, mask))


def find(name: str) -> Metric:
    """Looks a metric up; an unknown name's error lists the near ones.

    Raises:
        ConfigError: no metric has this name.
    """
    if name not in METRICS:
        raise ConfigError(f"no metric {name!r}{did_you_mean(name, METRICS)}")
    return METRICS[name]


def add(a: Sums, b: Sums) -> Sums:
    """Adds the sums of two disjoint sets of pictures."""
    return dict(b) if not a else dict(a) if not b else {name: a[name] + b[name] for name in a}


def goodness(name: str, value: float) -> float:
    """Maps a value so that more is better, whichever way the metric points."""
    direction = METRICS[name].higher_is_better
    return -abs(value - 1) if direction is None else value if direction else -value


# ---- per picture: sum of values over number of pictures ----------------------------------------------------


def _mean_of(value: Callable[[Array, Array, Mask], float | None]) -> Callable[[Array, Array, Mask], Sums]:
    """Turns a figure of one picture into the update of its mean; None (nothing to judge) adds nothing."""

    def update(result: Array, target: Array, mask: Mask) -> Sums:
        one = value(result, target, mask)
        return {} if one is None else fraction(one, 1)

    return update


def _difference(result: Array, target: Array) -> Array:
    """Subtracts two uint8 pictures; whole float64 numbers in [-255, 255], one after the other."""
    return np.subtract(result, target, dtype=np.float64).ravel()


def _mse(result: Array, target: Array) -> float:
    difference = _difference(result, target)
    return float(difference @ difference) / difference.size / 255**2


def _psnr(result: Array, target: Array, mask: Mask) -> float:
    """10·log10(1 / MSE) in dB, over the whole picture."""
    squared = _mse(result, target)
    return min(PSNR_CAP_DB, -10 * math.log10(squared)) if squared > 0 else PSNR_CAP_DB


def _mae(result: Array, target: Array, mask: Mask) -> float:
    return float(np.abs(_difference(result, target)).mean()) / 255


def _rmse(result: Array, target: Array, mask: Mask) -> float:
    return math.sqrt(_mse(result, target))


def _in_hole(
    value: Callable[[Array, Array, Mask], float], result: Array, target: Array, mask: Mask
) -> float | None:
    """Computes a figure over the hole's pixels only; a picture without a hole has none."""
    return value(result[mask], target[mask], mask) if mask.any() else None


def _ssim(result: Array, target: Array, mask: Mask) -> float:
    """Structural similarity (Wang et al., 2004) in an 11×11 Gaussian window, per channel, then their mean.

    Only windows wholly inside the picture count. Where a window sees no difference its value is exactly 1, so
    only the neighbourhood of the pixels that differ is computed.
    """
    height, width = mask.shape
    if min(height, width) < SSIM_SIDE:
        raise DataError(f"SSIM needs sides of at least {SSIM_SIDE} px, this picture has {width}×{height}")
    differs = (result != target).any(2)
    if not differs.any():
        return 1.0
    reach = SSIM_SIDE - 1
    box = _box(differs, reach)
    x, y = (np.moveaxis(picture[box], 2, 0) / 255.0 for picture in (result, target))
    mean_x, mean_y, xx, yy, xy = _smooth(np.stack([x, y, x * x, y * y, x * y]))
    similar = _similarity(mean_x, mean_y, xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y)
    windows = similar.shape[0] * (height - reach) * (width - reach)
    return float(1 + (similar - 1).sum() / windows)


def _global_ssim(result: Array, target: Array, mask: Mask) -> float:
    """SSIM with the whole picture as its single window, per channel, then their mean."""
    x, y = (np.moveaxis(picture, 2, 0).reshape(3, -1) / 255.0 for picture in (result, target))
    mean_x, mean_y = x.mean(1), y.mean(1)
    x -= mean_x[:, None]
    y -= mean_y[:, None]
    var_x, var_y, covariance = (np.einsum("cn,cn->c", a, b) / a.shape[1] for a, b in ((x, x), (y, y), (x, y)))
    return float(_similarity(mean_x, mean_y, var_x, var_y, covariance).mean())


def _similarity(mean_x: Array, mean_y: Array, var_x: Array, var_y: Array, covariance: Array) -> Array:
    light = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return np.asarray(light * (2 * covariance + _C2) / (var_x + var_y + _C2))


def _box(chosen: Mask, margin: int) -> tuple[slice, slice]:
    """The box round what is chosen, wider by a margin on every side where the picture goes on."""
    rows, columns = (np.flatnonzero(chosen.any(axis)) for axis in (1, 0))
    top, left = (int(max(line[0] - margin, 0)) for line in (rows, columns))
    return slice(top, int(rows[-1]) + margin + 1), slice(left, int(columns[-1]) + margin + 1)


def _smooth(maps: Array) -> Array:
    """Averages (..., H, W) in the Gaussian window, where it lies wholly inside: (..., H - 10, W - 10)."""
    radius = SSIM_SIDE // 2
    window = np.exp(-0.5 * (np.arange(-radius, radius + 1) / _SSIM_SIGMA) ** 2)
    window /= window.sum()
    for axis in (-2, -1):
        maps = sliding_window_view(maps, SSIM_SIDE, axis) @ window
    return maps


# ---- ratios of two sums over all pictures ------------------------------------------------------------------


def _steps(picture: Array, chosen: Callable[[Mask, Mask], Mask], mask: Mask) -> float:
    """Sums the squared steps between neighbours (right and below) for the pairs that `chosen` picks."""
    total = 0.0
    for axis in (0, 1):
        before, after = ((slice(None),) * axis + (part,) for part in (slice(-1), slice(1, None)))
        pairs = chosen(mask[before], mask[after])
        steps = _difference(picture[after][pairs], picture[before][pairs])
        total += float(steps @ steps)
    return total


def _compare_steps(chosen: Callable[[Mask, Mask], Mask], result: Array, target: Array, mask: Mask) -> Sums:
    if not mask.any():
        return {}
    box = _box(mask, 1)
    return fraction(*(_steps(picture[box], chosen, mask[box]) for picture in (result, target)))


# ---- features ----------------------------------------------------------------------------------------------


def _distance_of_maps(result: Sequence[Array], target: Sequence[Array], mask: Any = None) -> Sums:
    """Squared distance of unit vectors, summed over channels, averaged over space, summed over layers."""
    layers = zip(result, target, strict=True)
    distance = sum(np.square(a - b).sum(1).mean((1, 2), dtype=np.float64) for a, b in layers)
    return fraction(float(np.sum(distance)), len(result[0]))


def _moments(result: Array, target: Array, mask: Any = None) -> Sums:
    """Number, sum and sum of outer products of both sets of feature vectors (N, D)."""
    sums: dict[str, npt.NDArray[np.float64]] = {"pictures": np.full(1, float(len(result)))}
    for name, vectors in (("result", result.astype(np.float64)), ("target", target.astype(np.float64))):
        sums |= {f"{name}_sum": vectors.sum(0), f"{name}_products": vectors.T @ vectors}
    return sums


def _frechet(sums: Sums) -> float:
    """Fréchet distance of two Gaussians: |μ₁ - μ₂|² + tr(C₁ + C₂ - 2·(C₁·C₂)^½) (Heusel et al., 2017).

    Raises:
        DataError: under 100 pictures; the message says how many there were.
    """
    count = float(sums["pictures"][0]) if sums else 0.0
    if count < FEWEST_FOR_FID:
        raise DataError(f"a Fréchet distance needs at least {FEWEST_FOR_FID} pictures, here are {count:.0f}")
    means = [sums[f"{name}_sum"] / count for name in ("result", "target")]
    covariances = [
        (sums[f"{name}_products"] - count * np.outer(mean, mean)) / (count - 1)
        for name, mean in zip(("result", "target"), means, strict=True)
    ]
    return frechet_distance(means[0], covariances[0], means[1], covariances[1])


def frechet_distance(mean_a: Array, covariance_a: Array, mean_b: Array, covariance_b: Array) -> float:
    """Computes the Fréchet distance between two Gaussians, also where a covariance is singular.

    tr((A·B)^½) = tr((A^½·B·A^½)^½), whose inner matrix is symmetric and has no negative eigenvalues: both
    roots come from symmetric eigenvalues, with rounding below zero cut off, and no complex number appears.

    Args:
        mean_a, mean_b: (D,).
        covariance_a, covariance_b: (D, D), symmetric.
    """
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    inner = root @ covariance_b @ root
    cross = np.sqrt(np.linalg.eigvalsh((inner + inner.T) / 2).clip(min=0)).sum()
    distance = np.square(mean_a - mean_b).sum() + np.trace(covariance_a) + np.trace(covariance_b) - 2 * cross
    return max(0.0, float(distance))


_HOLE_PSNR, _HOLE_MAE, _HOLE_RMSE = (_mean_of(partial(_in_hole, value)) for value in (_psnr, _mae, _rmse))
_GRADIENTS, _SEAM = (partial(_compare_steps, chosen) for chosen in (np.logical_and, np.logical_xor))

METRICS: dict[str, Metric] = {
    "psnr": Metric(
        "PSNR", "signal-to-noise ratio of the whole picture", True, _mean_of(_psnr), unit="dB", digits=2
    ),
    "mae": Metric("MAE", "mean absolute error of the whole picture", False, _mean_of(_mae)),
    "rmse": Metric("RMSE", "root of a picture's mean squared error", False, _mean_of(_rmse)),
    "ssim": Metric("SSIM", "structural similarity in an 11×11 Gaussian window", True, _mean_of(_ssim)),
    "global_ssim": Metric(
        "global SSIM", "structural similarity in one window, the whole picture", True, _mean_of(_global_ssim)
    ),
    "hole_psnr": Metric(
        "hole PSNR", "PSNR over the hole's pixels only", True, _HOLE_PSNR, unit="dB", digits=2
    ),
    "hole_mae": Metric("hole MAE", "MAE over the hole's pixels only", False, _HOLE_MAE),
    "hole_rmse": Metric("hole RMSE", "RMSE over the hole's pixels only", False, _HOLE_RMSE),
    "gradient_energy": Metric(
        "gradients", "squared steps inside the holes over the originals'; under 1 is blurred", None,
        _GRADIENTS, digits=3,
    ),
    "seam": Metric(
        "seam", "squared steps across the holes' borders over the originals'; over 1 is visible", None,
        _SEAM, digits=3,
    ),
    "lpips_like": Metric(
        "lpips_like", "distance of SqueezeNet's unit-length conv1, fire4, fire8 and fire9", False,
        _distance_of_maps, takes="maps", network="squeezenet",
    ),
    "fid_like": Metric(
        "fid_like", "Fréchet distance of SqueezeNet's spatially averaged fire9", False,
        _moments, _frechet, digits=1, takes="vectors", network="squeezenet",
    ),
    "lpips": Metric(
        "LPIPS", "learned perceptual distance, version 0.1", False,
        _distance_of_maps, takes="maps", network="lpips",
    ),
    "fid": Metric(
        "FID", "Fréchet distance of Inception-v3's pooled features", False,
        _moments, _frechet, digits=2, takes="vectors", network="inception",
    ),
}  # fmt: skip
"""Every figure by name, in the order of the tables."""
