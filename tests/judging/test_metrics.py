"""Every figure against scikit-image, torchmetrics, scipy or a value computed by hand."""

from functools import cache, reduce

import numpy as np
import pytest
import skimage.data
import torch
import torchmetrics.functional
import torchmetrics.functional.image as outside
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from infilling.errors import ConfigError, DataError
from infilling.judging import metrics
from infilling.judging.metrics import METRICS, judge

Case = tuple[np.ndarray, np.ndarray, np.ndarray]
PIXEL_METRICS = [name for name, metric in METRICS.items() if metric.takes == "pixels"]


def damaged(seed: int, side: int = 96) -> Case:
    """A photograph, the same with noise and a shift of light in a block, and the block."""
    rng = np.random.default_rng(seed)
    top, left = rng.integers(0, 400, 2)
    target = skimage.data.astronaut()[top : top + side, left : left + side + 7]
    mask = np.zeros(target.shape[:2], bool)
    y, x = rng.integers(0, side // 2, 2)
    mask[y : y + side // 2, x : x + side // 3] = True
    noise = rng.normal(rng.integers(-20, 20), 15, target.shape)
    result = np.where(mask[..., None], (target + noise).clip(0, 255).round(), target).astype(np.uint8)
    return result, target, mask


SSIM_SETTINGS = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": -1}
CASES = [damaged(seed) for seed in range(4)]


@cache
def updates(name: str) -> tuple[metrics.Sums, ...]:
    return tuple(METRICS[name].update(*case) for case in CASES)


def tensor(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.transpose(2, 0, 1)[None].copy()).double() / 255


@pytest.mark.parametrize("case", CASES)
def test_psnr_mae_rmse_equal_outside_references(case: Case) -> None:
    result, target, _ = case
    assert judge("psnr", *case) == pytest.approx(peak_signal_noise_ratio(target, result), abs=1e-4)
    psnr = outside.peak_signal_noise_ratio(tensor(result), tensor(target), data_range=1.0)
    assert judge("psnr", *case) == pytest.approx(float(psnr), abs=1e-4)
    squared = mean_squared_error(target / 255, result / 255)
    assert judge("rmse", *case) == pytest.approx(squared**0.5, abs=1e-6)
    outside_rmse = torchmetrics.functional.mean_squared_error(tensor(result), tensor(target), squared=False)
    assert judge("rmse", *case) == pytest.approx(float(outside_rmse), abs=1e-6)
    mae = torchmetrics.functional.mean_absolute_error(tensor(result), tensor(target))
    assert judge("mae", *case) == pytest.approx(float(mae), abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_ssim_equals_outside_references(case: Case) -> None:
    result, target, _ = case
    expected = structural_similarity(target / 255, result / 255, data_range=1, **SSIM_SETTINGS)
    assert judge("ssim", *case) == pytest.approx(expected, abs=1e-4)
    # torchmetrics averages windows that reach over the border as well; without these it agrees
    _, everywhere = outside.structural_similarity_index_measure(
        tensor(result), tensor(target), data_range=1.0, return_full_image=True
    )
    assert judge("ssim", *case) == pytest.approx(float(everywhere[..., 5:-5, 5:-5].mean()), abs=1e-4)


@pytest.mark.parametrize(
    "where", [np.s_[:1, :1], np.s_[-1:, -1:], np.s_[:], np.s_[0:40, 90:], np.s_[50:51, 3:90]]
)
def test_ssim_is_exact_wherever_the_difference_lies(where: tuple[slice, slice]) -> None:
    target = damaged(9)[1]
    result = target.copy()
    result[where] = 255 - result[where]
    expected = structural_similarity(target, result, data_range=255, **SSIM_SETTINGS)
    assert judge("ssim", result, target, np.ones(target.shape[:2], bool)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_hole_figures_equal_those_of_the_cut_out_block(case: Case) -> None:
    """The holes are blocks here, so that a block cut out and judged by others is the reference."""
    result, target, mask = case
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    block = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    expected = peak_signal_noise_ratio(target[block], result[block])
    assert judge("hole_psnr", *case) == pytest.approx(expected, abs=1e-4)
    squared = mean_squared_error(target[block] / 255, result[block] / 255)
    assert judge("hole_rmse", *case) == pytest.approx(squared**0.5, abs=1e-6)
    share = mask.mean()
    assert judge("psnr", *case) == pytest.approx(judge("hole_psnr", *case) - 10 * np.log10(share), abs=1e-9)
    assert judge("mae", *case) == pytest.approx(judge("hole_mae", *case) * share, abs=1e-9)


def test_global_ssim_by_hand() -> None:
    """One window over a 16×16 picture equals the formula with plain numpy statistics, per channel."""
    result, target, mask = damaged(5, side=16)
    x, y = result / 255, target / 255
    by_channel = []
    for c in range(3):
        covariance = np.cov(x[..., c].ravel(), y[..., c].ravel(), bias=True)
        light = (2 * x[..., c].mean() * y[..., c].mean() + 1e-4) / (
            x[..., c].mean() ** 2 + y[..., c].mean() ** 2 + 1e-4
        )
        by_channel.append(
            light * (2 * covariance[0, 1] + 9e-4) / (covariance[0, 0] + covariance[1, 1] + 9e-4)
        )
    assert judge("global_ssim", result, target, mask) == pytest.approx(np.mean(by_channel), abs=1e-9)


def test_gradient_energy_and_seam_by_hand() -> None:
    """A row 0 10 | 30 60 | 60 with a hole of two: step 30 inside, steps 20 and 0 across its borders."""
    target = np.repeat(np.array([[0, 10, 30, 60, 60]], np.uint8)[..., None], 3, 2)
    result = np.repeat(np.array([[0, 10, 40, 50, 60]], np.uint8)[..., None], 3, 2)
    mask = np.array([[False, False, True, True, False]])
    assert judge("gradient_energy", result, target, mask) == pytest.approx(10**2 / 30**2)
    assert judge("seam", result, target, mask) == pytest.approx((30**2 + 10**2) / 20**2)
    assert np.isnan(judge("gradient_energy", result * 0, target * 0, mask)), (
        "0/0: a flat original says nothing"
    )


def test_a_blurred_hole_has_less_gradient_energy() -> None:
    result, target, mask = CASES[0]
    flat = target.copy()
    flat[mask] = target[mask].mean(0)
    assert judge("gradient_energy", flat, target, mask) == 0
    assert judge("gradient_energy", result, target, mask) > 1, "noise was added"
    assert judge("gradient_energy", target, target, mask) == 1


@pytest.mark.parametrize("name", PIXEL_METRICS)
def test_identical_pictures_get_the_best_value(name: str) -> None:
    result, target, mask = CASES[1]
    best = judge(name, target, target, mask)
    assert best == {"dB": 100.0}.get(
        METRICS[name].unit, 0.0 if METRICS[name].higher_is_better is False else 1.0
    )
    assert METRICS[name].goodness(best) > METRICS[name].goodness(judge(name, result, target, mask))


def test_one_wrong_value_in_a_large_picture_stays_within_the_cap() -> None:
    target = np.zeros((1500, 1500, 3), np.uint8)
    result = target.copy()
    result[0, 0, 0] = 1
    assert judge("psnr", result, target, result.any(2)) == 100.0
    corner = np.s_[:128, :128]
    small = judge("psnr", result[corner], target[corner], result[corner].any(2))
    assert small == pytest.approx(10 * np.log10(128 * 128 * 3 * 255**2), abs=1e-9)
    assert small < 100


def test_uint8_differences_do_not_wrap() -> None:
    black, white = np.zeros((12, 12, 3), np.uint8), np.full((12, 12, 3), 255, np.uint8)
    mask = np.ones((12, 12), bool)
    for result, target in ((black, white), (white, black)):
        assert judge("mae", result, target, mask) == 1
        assert judge("psnr", result, target, mask) == 0


@settings(deadline=None, max_examples=30)
@given(cut=st.integers(0, 4), order=st.permutations(range(4)))
@pytest.mark.parametrize("name", PIXEL_METRICS)
def test_any_split_of_the_pictures_gives_the_same_value(name: str, cut: int, order: list[int]) -> None:
    parts = updates(name)
    groups = [reduce(metrics.add_sums, (parts[i] for i in group), {}) for group in (order[:cut], order[cut:])]
    value = METRICS[name].compute(metrics.add_sums(*groups))
    assert value == pytest.approx(METRICS[name].compute(reduce(metrics.add_sums, parts, {})), rel=1e-14)
    if name not in ("gradient_energy", "seam"):
        assert value == pytest.approx(np.mean([METRICS[name].compute(part) for part in parts]), rel=1e-12)


def test_ratios_pool_their_pictures() -> None:
    """Σ / Σ: a flat original cannot blow the mean up."""
    totals = np.sum([[value[0] for value in METRICS["seam"].update(*case).values()] for case in CASES], 0)
    parts = (METRICS["seam"].update(*case) for case in CASES)
    assert METRICS["seam"].compute(reduce(metrics.add_sums, parts, {})) == pytest.approx(
        totals[0] / totals[1]
    )


def test_adding_changes_neither_side() -> None:
    a, b = (METRICS["mae"].update(*case) for case in CASES[:2])
    before = a["numerator"].copy()
    metrics.add_sums(a, b)
    assert a["numerator"] == before


@pytest.mark.parametrize("name", PIXEL_METRICS)
def test_nothing_to_judge_is_nan(name: str) -> None:
    assert np.isnan(METRICS[name].compute({}))


def test_a_picture_without_a_hole_has_no_hole_figure() -> None:
    _, target, mask = CASES[0]
    assert METRICS["hole_psnr"].update(target, target, mask & False) == {}


# ---- features ----------------------------------------------------------------------------------------------


def vectors(seed: int, count: int, scale: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(count, 24)) @ rng.normal(size=(24, 24)) * scale + rng.normal(size=24)).astype(
        np.float32
    )


def scipy_frechet(a: np.ndarray, b: np.ndarray) -> float:
    means = a.astype(float).mean(0), b.astype(float).mean(0)
    first, second = np.cov(a.astype(float).T), np.cov(b.astype(float).T)
    root = sqrtm(first @ second)
    return float(np.square(means[0] - means[1]).sum() + np.trace(first + second - 2 * root.real))


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_frechet_distance_equals_scipy(scale: float) -> None:
    a, b = vectors(0, 400, scale), vectors(1, 400)
    assert METRICS["fid_like"].compute(METRICS["fid_like"].update(a, b, None)) == pytest.approx(
        scipy_frechet(a, b), rel=1e-4
    )


def test_frechet_distance_by_hand() -> None:
    """Commuting covariances: |μ|² + Σ(√a - √b)²; and it is symmetric."""
    a, b = np.diag([4.0, 9.0, 0.0]), np.diag([1.0, 16.0, 0.25])
    mean = np.array([3.0, 0.0, 4.0])
    assert metrics.frechet_distance(mean, a, mean * 0, b) == pytest.approx(25 + 1 + 1 + 0.25)
    assert metrics.frechet_distance(mean * 0, b, mean, a) == pytest.approx(25 + 1 + 1 + 0.25)


def test_frechet_distance_of_fewer_pictures_than_features() -> None:
    """Singular covariances, where scipy's square root fails or turns complex."""
    rng = np.random.default_rng(3)
    a = rng.normal(size=(100, 120)).astype(np.float32)
    b = a + 0.1 * rng.normal(size=a.shape).astype(np.float32)
    compute, update = METRICS["fid"].compute, METRICS["fid"].update
    assert compute(update(a, a, None)) == pytest.approx(0, abs=1e-6)
    near, far = compute(update(b, a, None)), compute(update(b + 1, a, None))
    assert 0 < near < far
    moved = np.square((b + 1 - a).mean(0)).sum() - np.square((b - a).mean(0)).sum()
    assert far == pytest.approx(near + moved, rel=1e-4)


@settings(deadline=None, max_examples=30)
@given(cut=st.integers(0, 150))
def test_frechet_sums_add(cut: int) -> None:
    a, b = vectors(4, 150), vectors(5, 150)
    update, compute = METRICS["fid"].update, METRICS["fid"].compute
    parts = [update(a[part], b[part], None) for part in (slice(cut), slice(cut, None))]
    assert compute(metrics.add_sums(*parts)) == pytest.approx(compute(update(a, b, None)), rel=1e-9)


def test_frechet_distance_refuses_few_pictures() -> None:
    a = vectors(6, 99)
    with pytest.raises(DataError, match=r"at least 100 pictures.*99"):
        METRICS["fid"].compute(METRICS["fid"].update(a, a, None))
    with pytest.raises(DataError, match="here are 0"):
        METRICS["fid"].compute({})


def test_distance_of_maps_by_hand() -> None:
    """One picture: (0.6, 0.8) from (1, 0) at one of two places, on average 0.4; a second layer adds 2."""
    result = [np.array([[[[0.6, 0.0]], [[0.8, 1.0]]]]), np.array([[[[1.0]], [[0.0]]]])]
    target = [np.array([[[[1.0, 0.0]], [[0.0, 1.0]]]]), np.array([[[[0.0]], [[1.0]]]])]
    update, compute = METRICS["lpips_like"].update, METRICS["lpips_like"].compute
    assert compute(update(result, target, None)) == pytest.approx(2.4)
    twice = metrics.add_sums(update(result, target, None), update(target, target, None))
    assert compute(twice) == pytest.approx(1.2), "a mean over pictures"


# ---- the table ---------------------------------------------------------------------------------------------


def test_unknown_metric_lists_the_near_ones() -> None:
    with pytest.raises(ConfigError, match="hole_psnr"):
        metrics.find_metric("hole_pnsr")


def test_ssim_of_a_tiny_picture_is_refused() -> None:
    with pytest.raises(DataError, match=r"at least 11 px.*10×12"):
        judge(
            "ssim", np.zeros((12, 10, 3), np.uint8), np.ones((12, 10, 3), np.uint8), np.ones((12, 10), bool)
        )


def test_goodness_points_the_right_way() -> None:
    for name, better, worse in (
        ("psnr", 30.0, 20.0),
        ("mae", 0.1, 0.2),
        ("seam", 0.9, 1.2),
        ("seam", 1.05, 0.5),
    ):
        assert METRICS[name].goodness(better) > METRICS[name].goodness(worse)


def test_feature_metrics_say_so() -> None:
    needy = {name for name, metric in METRICS.items() if metric.network}
    assert needy == {"lpips_like", "fid_like", "lpips_lite", "lpips", "fid"}
