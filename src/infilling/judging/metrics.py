"""Figures that judge a result: pure `update(result, target, mask) -> sums` and `compute(sums) -> value`.

The sums of two sets of pictures add up to the sums of both sets, so processes can share the work. Every mean
is a mean over pictures: the PSNR of each picture first, then their mean (never the PSNR of a pooled error).
Pictures are judged as users get them: 8 bits, values k/255 in [0, 1].

>>> target = np.zeros((16, 16, 3), np.uint8)
>>> result = target.copy(); result[4:8, 4:8] = 51  # a fifth of full scale
>>> mask = np.zeros((16, 16), bool); mask[4:8, 4:8] = True
>>> round(judge("hole_mae", result, target, mask), 6)
0.2
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from infilling.errors import ConfigError, DataError, did_you_mean
from infilling.pictures.mask import Mask
from infilling.pictures.picture import Array, Doubles

# Named float64 arrays; an empty mapping is the sum over no pictures.
Sums = Mapping[str, Doubles]

ABSENT = "–"  # shown for a value that is not a number
PSNR_CAP_DB = 100.0  # the PSNR of a picture without error, and the maximum: infinity would spoil the mean
RANKED_BY = "hole_psnr"  # the figure that orders engines, classes and pictures
FEWEST_FOR_FID = 100  # pictures; with fewer, a Fréchet distance measures their number
SSIM_SIDE = 11  # side of SSIM's Gaussian window in pixels
_SSIM_SIGMA = 1.5  # standard deviation of that window in pixels
_C1, _C2 = 0.01**2, 0.03**2  # (K1·L)² and (K2·L)² of SSIM, with L = 1

# The groups of figures, in the order of the report, with their titles.
GROUPS = {"hole": "inside the hole", "picture": "whole picture", "network": "as a network sees it"}

_ARROWS = {True: ("↑", "higher is better"), False: ("↓", "lower is better"), None: ("→1", "1 is best")}


def fraction(numerator: float, denominator: float) -> Sums:
    """Return the sums of a ratio."""
    return {"numerator": np.array([numerator], float), "denominator": np.array([denominator], float)}


def ratio(sums: Sums) -> float:
    """Divide the sums of a ratio; NaN for no pictures and for 0/0."""
    if not sums or not sums["denominator"][0]:
        return math.nan
    return float(sums["numerator"][0] / sums["denominator"][0])


def get_terms(sums: Sums) -> tuple[float, float]:
    """Return the numerator and the denominator of a ratio's sums."""
    return float(sums["numerator"][0]), float(sums["denominator"][0])


@dataclass(frozen=True)
class Metric:
    """One figure: how it is computed, and how tables and pages show it.

    Attributes:
        label: heading of its column.
        summary: what it measures, in one line.
        higher_is_better: direction; None where 1 is the best value.
        group: key of `GROUPS` under which reports show it.
        update: `(result, target, mask) -> sums`; `takes` says of what.
        compute: `sums -> value`; NaN where there was nothing to judge. Differences between engines get error
            bars where this is `ratio`.
        unit: "dB", or "" for a plain number.
        digits: number of decimals shown.
        charted: whether reports draw its curve by area of the hole.
        takes: "pixels": (H, W, 3) uint8 and their mask (H, W), True = hole. "maps": sequence of feature maps
            (N, C, h, w), scaled to unit length. "vectors": (N, D), one row per picture.
        network: kind of the feature network that makes maps or vectors; None for pixels.
    """

    label: str
    summary: str
    higher_is_better: bool | None
    group: Literal["hole", "picture", "network"]
    update: Callable[[Any, Any, Any], Sums]
    compute: Callable[[Sums], float] = ratio
    unit: str = ""
    digits: int = 4
    charted: bool = False
    takes: Literal["pixels", "maps", "vectors"] = "pixels"
    network: str | None = None

    @property
    def title(self) -> str:
        """The label with its unit: "PSNR, dB"."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    @property
    def arrow(self) -> str:
        """The direction as a sign: ↑, ↓ or →1."""
        return _ARROWS[self.higher_is_better][0]

    @property
    def direction(self) -> str:
        """The direction in words."""
        return _ARROWS[self.higher_is_better][1]

    def show(self, value: float) -> str:
        """Format a value with the metric's decimals; `ABSENT` for NaN."""
        return ABSENT if math.isnan(value) else f"{value:.{self.digits}f}"

    def goodness(self, value: float) -> float:
        """Map a value so that more is better, whichever way the metric points."""
        if self.higher_is_better is None:
            return -abs(value - 1)
        return value if self.higher_is_better else -value


def judge(name: str, result: Array, target: Array, mask: Mask) -> float:
    """Compute one figure of one picture.

    Args:
        name: name of a metric of pixels.
        result: (H, W, 3) uint8, after blending.
        target: (H, W, 3) uint8, the original.
        mask: (H, W), True = hole.
    """
    metric = find_metric(name)
    return metric.compute(metric.update(result, target, mask))


def find_metric(name: str) -> Metric:
    """Look a metric up by its name.

    Raises:
        ConfigError: no metric has this name; the message lists similar ones.
    """
    if name not in METRICS:
        raise ConfigError(f"no metric {name!r}{did_you_mean(name, METRICS)}")
    return METRICS[name]


def add_sums(a: Sums, b: Sums) -> Sums:
    """Add the sums of two disjoint sets of pictures."""
    if not a or not b:
        return dict(a or b)
    return {name: a[name] + b[name] for name in a}


# ---- per picture: sum of values over number of pictures ----------------------------------------------------


def _mean_of(value: Callable[[Array, Array, Mask], float]) -> Callable[[Array, Array, Mask], Sums]:
    """Turn a figure of one picture into the update of its mean."""
    return lambda result, target, mask: fraction(value(result, target, mask), 1)


def _mean_in_hole(value: Callable[[Array, Array, Mask], float]) -> Callable[[Array, Array, Mask], Sums]:
    """Turn a figure of pixels into the update of its mean over holes; pictures without a hole add nothing."""

    def update(result: Array, target: Array, mask: Mask) -> Sums:
        return fraction(value(result[mask], target[mask], mask), 1) if mask.any() else {}

    return update


def _difference(result: Array, target: Array) -> Array:
    """Subtract two uint8 pictures: flat float64, whole numbers in [-255, 255]."""
    return np.subtract(result, target, dtype=np.float64).ravel()


def _mse(result: Array, target: Array) -> float:
    difference = _difference(result, target)
    return float(difference @ difference) / difference.size / 255**2


def _psnr(result: Array, target: Array, mask: Mask) -> float:
    """Return 10·log10(1 / MSE) in dB."""
    squared = _mse(result, target)
    return min(PSNR_CAP_DB, -10 * math.log10(squared)) if squared > 0 else PSNR_CAP_DB


def _mae(result: Array, target: Array, mask: Mask) -> float:
    return float(np.abs(_difference(result, target)).mean()) / 255


def _rmse(result: Array, target: Array, mask: Mask) -> float:
    return math.sqrt(_mse(result, target))


def _ssim(result: Array, target: Array, mask: Mask) -> float:
    """Structural similarity (Wang et al., 2004) in an 11×11 Gaussian window, per channel, then their mean.

    Only windows entirely inside the picture count. A window that sees no difference has the value 1 exactly,
    so only the surroundings of the pixels that differ are computed.
    """
    height, width = mask.shape
    if min(height, width) < SSIM_SIDE:
        raise DataError(f"SSIM needs sides of at least {SSIM_SIDE} px, this picture has {width}×{height}")
    differs = (result != target).any(2)
    if not differs.any():
        return 1.0
    reach = SSIM_SIDE - 1
    box = _find_box(differs, reach)
    x, y = (np.moveaxis(picture[box], 2, 0) / 255.0 for picture in (result, target))  # (3, h, w)
    mean_x, mean_y, xx, yy, xy = _smooth(np.stack([x, y, x * x, y * y, x * y]))
    similar = _compare_moments(mean_x, mean_y, xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y)
    windows = similar.shape[0] * (height - reach) * (width - reach)
    return float(1 + (similar - 1).sum() / windows)


def _global_ssim(result: Array, target: Array, mask: Mask) -> float:
    """SSIM with the whole picture as its single window, per channel, then their mean."""
    x, y = (np.moveaxis(picture, 2, 0).reshape(3, -1) / 255.0 for picture in (result, target))
    mean_x, mean_y = x.mean(1), y.mean(1)
    x -= mean_x[:, None]
    y -= mean_y[:, None]
    var_x, var_y, covariance = (np.einsum("cn,cn->c", a, b) / a.shape[1] for a, b in ((x, x), (y, y), (x, y)))
    return float(_compare_moments(mean_x, mean_y, var_x, var_y, covariance).mean())


def _compare_moments(mean_x: Array, mean_y: Array, var_x: Array, var_y: Array, covariance: Array) -> Array:
    """SSIM's formula for windows with these means, variances and covariances."""
    light = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return np.asarray(light * (2 * covariance + _C2) / (var_x + var_y + _C2))


def _find_box(chosen: Mask, margin: int) -> tuple[slice, slice]:
    """Return the box around the chosen pixels, widened by a margin in pixels and cut off at the edges."""
    rows, columns = (np.flatnonzero(chosen.any(axis)) for axis in (1, 0))
    top, left = (int(max(line[0] - margin, 0)) for line in (rows, columns))
    return slice(top, int(rows[-1]) + margin + 1), slice(left, int(columns[-1]) + margin + 1)


def _smooth(maps: Array) -> Array:
    """Average (..., H, W) in the Gaussian window where it is entirely inside: (..., H - 10, W - 10)."""
    radius = SSIM_SIDE // 2
    window = np.exp(-0.5 * (np.arange(-radius, radius + 1) / _SSIM_SIGMA) ** 2)
    window /= window.sum()
    for axis in (-2, -1):
        maps = sliding_window_view(maps, SSIM_SIDE, axis) @ window
    return maps


# ---- ratios of two sums over all pictures ------------------------------------------------------------------


def _sum_steps(picture: Array, chosen: Callable[[Mask, Mask], Mask], mask: Mask) -> float:
    """Sum the squared steps between neighbours (right and below) over the pairs that `chosen` picks."""
    total = 0.0
    for axis in (0, 1):
        before, after = ((slice(None),) * axis + (part,) for part in (slice(-1), slice(1, None)))
        pairs = chosen(mask[before], mask[after])
        steps = _difference(picture[after][pairs], picture[before][pairs])
        total += float(steps @ steps)
    return total


def _compare_steps(chosen: Callable[[Mask, Mask], Mask], result: Array, target: Array, mask: Mask) -> Sums:
    """Return the sums of squared steps of the result over those of the target."""
    if not mask.any():
        return {}
    box = _find_box(mask, 1)
    return fraction(*(_sum_steps(picture[box], chosen, mask[box]) for picture in (result, target)))


# ---- features ----------------------------------------------------------------------------------------------


def _distance_of_maps(result: Sequence[Array], target: Sequence[Array], mask: Any = None) -> Sums:
    """Squared distance of unit vectors, summed over channels, averaged over space, summed over layers."""
    layers = zip(result, target, strict=True)
    distance = sum(np.square(a - b).sum(1).mean((1, 2), dtype=np.float64) for a, b in layers)
    return fraction(float(np.sum(distance)), len(result[0]))


def _moments(result: Array, target: Array, mask: Any = None) -> Sums:
    """Return number, sum and sum of outer products of both sets of feature vectors (N, D)."""
    sums: dict[str, Doubles] = {"pictures": np.full(1, float(len(result)))}
    for name, vectors in (("result", result.astype(np.float64)), ("target", target.astype(np.float64))):
        sums |= {f"{name}_sum": vectors.sum(0), f"{name}_products": vectors.T @ vectors}
    return sums


def _frechet(sums: Sums) -> float:
    """Fréchet distance of two Gaussians: |μ₁ - μ₂|² + tr(C₁ + C₂ - 2·(C₁·C₂)^½) (Heusel et al., 2017)."""
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
    """Compute the Fréchet distance between two Gaussians, also where a covariance is singular.

    tr((A·B)^½) = tr((A^½·B·A^½)^½), whose inner matrix is symmetric without negative eigenvalues. So both
    roots come from symmetric eigenvalues, with rounding below zero cut off, and no complex number appears.

    Args:
        mean_a: (D,) mean of the first.
        covariance_a: (D, D) covariance of the first, symmetric.
        mean_b: (D,) mean of the second.
        covariance_b: (D, D) covariance of the second, symmetric.
    """
    values, vectors = np.linalg.eigh(covariance_a)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    inner = root @ covariance_b @ root
    cross = np.sqrt(np.linalg.eigvalsh((inner + inner.T) / 2).clip(min=0)).sum()
    distance = np.square(mean_a - mean_b).sum() + np.trace(covariance_a) + np.trace(covariance_b) - 2 * cross
    return max(0.0, float(distance))


_Pixels = partial(Metric, group="picture")
_Hole = partial(Metric, group="hole")
_Maps = partial(Metric, group="network", update=_distance_of_maps, takes="maps", charted=True)
_Vectors = partial(Metric, group="network", update=_moments, compute=_frechet, takes="vectors")
_GRADIENTS, _SEAM = (partial(_compare_steps, chosen) for chosen in (np.logical_and, np.logical_xor))

# Every figure by name, in the order of the tables.
METRICS: dict[str, Metric] = {
    "psnr": _Pixels(
        "PSNR", "signal-to-noise ratio of the whole picture", True,
        update=_mean_of(_psnr), unit="dB", digits=2,
    ),
    "mae": _Pixels("MAE", "mean absolute error of the whole picture", False, update=_mean_of(_mae)),
    "rmse": _Pixels("RMSE", "root of a picture's mean squared error", False, update=_mean_of(_rmse)),
    "ssim": _Pixels(
        "SSIM", "structural similarity in an 11×11 Gaussian window", True,
        update=_mean_of(_ssim), charted=True,
    ),
    "global_ssim": _Pixels(
        "global SSIM", "structural similarity in one window, the whole picture", True,
        update=_mean_of(_global_ssim),
    ),
    "hole_psnr": _Hole(
        "hole PSNR", "PSNR over the hole's pixels only", True,
        update=_mean_in_hole(_psnr), unit="dB", digits=2, charted=True,
    ),
    "hole_mae": _Hole(
        "hole MAE", "MAE over the hole's pixels only", False, update=_mean_in_hole(_mae), charted=True
    ),
    "hole_rmse": _Hole("hole RMSE", "RMSE over the hole's pixels only", False, update=_mean_in_hole(_rmse)),
    "gradient_energy": _Hole(
        "gradients", "squared steps inside the holes over the originals'; under 1 is blurred", None,
        update=_GRADIENTS, digits=3,
    ),
    "seam": _Hole(
        "seam", "squared steps across the holes' borders over the originals'; over 1 is visible", None,
        update=_SEAM, digits=3,
    ),
    "lpips_like": _Maps(
        "lpips_like", "distance of SqueezeNet's unit-length conv1, fire4, fire8 and fire9", False,
        network="squeezenet",
    ),
    "fid_like": _Vectors(
        "fid_like", "Fréchet distance of SqueezeNet's spatially averaged fire9", False,
        digits=1, network="squeezenet",
    ),
    "lpips_lite": _Maps(
        "lpips_lite", "distance of EfficientNet-Lite's unit-length stages at 1/2, 1/4, 1/8 and 1/16", False,
        network="efficientnet",
    ),
    "lpips": _Maps("LPIPS", "learned perceptual distance, version 0.1", False, network="lpips"),
    "fid": _Vectors(
        "FID", "Fréchet distance of Inception-v3's pooled features", False, digits=2, network="inception"
    ),
}  # fmt: skip


def sort_metrics(names: Iterable[str]) -> list[str]:
    """Sort names of metrics into the order of the tables; unknown ones are left out."""
    wanted = set(names)
    return [name for name in METRICS if name in wanted]


def select_metrics(takes: str, network: str | None = None) -> dict[str, Metric]:
    """Return the metrics of one kind of input and one feature network, by name."""
    wanted = (takes, network)
    return {name: metric for name, metric in METRICS.items() if (metric.takes, metric.network) == wanted}
