"""The engines without a network, against direct calls of their libraries and against what must hold."""

import sys
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.data import astronaut
from skimage.restoration import inpaint_biharmonic

from infilling.errors import DependencyError, InputError, install_hint
from infilling.filling import classical
from infilling.filling.engine import ENGINES, available, open_engine
from infilling.pictures.picture import Floats

NAMES = sorted(ENGINES)


def make_batch(seed: int, count: int = 2, height: int = 48, width: int = 64) -> tuple[Floats, Floats]:
    """Crops of a photograph, each with a hole of its own: (N, 3, H, W) on the 8-bit grid, (N, 1, H, W)."""
    rng = np.random.default_rng(seed)
    photo = np.asarray(astronaut())
    image = np.empty((count, 3, height, width), np.float32)
    mask = np.zeros((count, 1, height, width), np.float32)
    for i in range(count):
        y, x = rng.integers(0, 512 - height), rng.integers(0, 512 - width)
        image[i] = photo[y : y + height, x : x + width].transpose(2, 0, 1) / np.float32(255)
        y, x = rng.integers(0, height - 12), rng.integers(0, width - 16)
        mask[i, 0, y : y + 12, x : x + 16] = 1
    mask[0, 0, 5, 5] = 1
    return image, mask


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(48, 64), (33, 47), (1, 40), (40, 1), (7, 5), (2, 2)])
def test_known_pixels_stay_and_what_the_hole_hides_has_no_say(name: str, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(3)
    image = rng.random((3, 3, *size), dtype=np.float32)
    mask = (rng.random((3, 1, *size)) < 0.4).astype(np.float32)
    mask[:, :, 0, 0], mask[:, :, -1, -1] = 0, 1
    before = image.copy(), mask.copy()
    other = np.where(mask > 0, np.float32(np.nan), image)

    engine = open_engine(name)
    filled = engine.fill(image, mask)

    assert filled.shape == image.shape
    assert filled.dtype == np.float32
    assert filled.min() >= 0
    assert filled.max() <= 1
    np.testing.assert_array_equal(np.where(mask > 0, 0, filled), np.where(mask > 0, 0, image))
    np.testing.assert_array_equal(filled, engine.fill(other, mask))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])
    assert not np.shares_memory(filled, image)


@pytest.mark.parametrize("name", NAMES)
def test_each_picture_of_a_batch_is_filled_as_if_alone(name: str) -> None:
    image, mask = make_batch(0, count=3)
    engine = open_engine(name)
    together = engine.fill(image, mask)
    alone = np.concatenate([engine.fill(image[i : i + 1], mask[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_without_a_known_pixel_comes_back_grey_and_disturbs_no_other(name: str) -> None:
    image, mask = make_batch(1)
    engine = open_engine(name)
    alone = engine.fill(image[1:], mask[1:])
    mask[0] = 1
    filled = engine.fill(image, mask)
    assert (filled[0] == 0.5).all()
    np.testing.assert_allclose(filled[1:], alone, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_without_a_hole_comes_back_as_it_was(name: str) -> None:
    image, mask = make_batch(1)
    np.testing.assert_array_equal(open_engine(name).fill(image, np.zeros_like(mask)), image)


def test_mean_is_the_mean_of_the_known_pixels() -> None:
    image, mask = make_batch(2)
    filled = open_engine("mean").fill(image, mask)
    for one, hole, out in zip(image, mask[:, 0] > 0, filled, strict=True):
        expected = one[:, ~hole].mean(axis=1, dtype=np.float64)
        np.testing.assert_allclose(out[:, hole], np.repeat(expected[:, None], hole.sum(), 1), atol=1e-6)


@pytest.mark.parametrize(("name", "flag"), [("telea", cv2.INPAINT_TELEA), ("navier-stokes", cv2.INPAINT_NS)])
def test_opencv_engines_are_opencv(name: str, flag: int) -> None:
    image, mask = make_batch(3)
    filled = open_engine(name).fill(image, mask)
    for one, hole, out in zip(image, mask, filled, strict=True):
        pixels = np.round(one.transpose(1, 2, 0) * 255).astype(np.uint8)
        expected = cv2.inpaint(np.ascontiguousarray(pixels), hole[0].astype(np.uint8), 3, flag)
        np.testing.assert_array_equal(np.round(out.transpose(1, 2, 0) * 255), expected)


def test_biharmonic_is_scikit_image() -> None:
    image, mask = make_batch(4)
    filled = open_engine("biharmonic").fill(image, mask)
    for one, hole, out in zip(image, mask, filled, strict=True):
        expected = inpaint_biharmonic(one.transpose(1, 2, 0), hole[0] > 0, channel_axis=-1)
        np.testing.assert_allclose(out.transpose(1, 2, 0), expected, atol=1e-5)


def test_biharmonic_never_sees_a_side_that_it_cannot_afford() -> None:
    assert open_engine("biharmonic").size_rule.working_size == classical.BIHARMONIC_SIDE


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    share=st.floats(0.05, 0.99),
    low=st.floats(0, 0.5),
    span=st.floats(0, 0.5),
    seed=st.integers(0, 2**32 - 1),
)
def test_push_pull_stays_within_the_known_values(
    height: int, width: int, share: float, low: float, span: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = (low + span * rng.random((1, 3, height, width))).astype(np.float32)
    mask = (rng.random((1, 1, height, width)) < share).astype(np.float32)
    mask[0, 0, rng.integers(height), rng.integers(width)] = 0
    known = image[np.broadcast_to(mask == 0, image.shape)]
    filled = open_engine("push-pull").fill(image, mask)
    assert filled.min() >= known.min() - 1e-6
    assert filled.max() <= known.max() + 1e-6


@pytest.mark.parametrize("size", [(64, 64), (63, 41), (1, 30)])
def test_push_pull_carries_a_constant_on(size: tuple[int, int]) -> None:
    image = np.full((1, 3, *size), 0.3, np.float32)
    mask = np.ones((1, 1, *size), np.float32)
    mask[0, 0, 0, :3] = 0
    np.testing.assert_allclose(open_engine("push-pull").fill(image, mask), image, atol=1e-6)


@pytest.mark.parametrize("axis", [2, 3])
def test_push_pull_carries_a_ramp_on(axis: int) -> None:
    ramp = np.linspace(0, 1, 128, dtype=np.float32)
    image = np.broadcast_to(ramp[:, None] if axis == 2 else ramp, (1, 3, 128, 128))
    mask = np.zeros((1, 1, 128, 128), np.float32)
    mask[0, 0, 40:88, 40:88] = 1
    filled = open_engine("push-pull").fill(image, mask)
    # The hole spans 0.38 of the ramp: the mean alone would miss by 0.19.
    assert np.abs(filled - image).max() < 0.03


def test_push_pull_levels_by_hand() -> None:
    # Known are a 1 at the left end of a row of four and a 0 at the right: level 1 is [1, 0], without a hole.
    image = np.array([1, 9, 9, 0], np.float32).reshape(1, 1, 1, 4).repeat(3, axis=1)
    mask = np.array([0, 1, 1, 0], np.float32).reshape(1, 1, 1, 4)
    # Doubled: [1, 0.75, 0.25, 0]; then twice the mean of the neighbours (above and below: the pixel itself).
    first = [(0.75 + 0.75 + 1 + 0.25) / 4, (0.25 + 0.25 + 0.75 + 0) / 4]
    second = [(2 * first[0] + 1 + first[1]) / 4, (2 * first[1] + first[0] + 0) / 4]
    filled = open_engine("push-pull").fill(image, mask)
    np.testing.assert_allclose(filled[0, 0, 0], [1, *second, 0], atol=1e-6)


def test_push_pull_beats_telea_and_the_mean_on_scenes(data_dir: Path) -> None:
    rng = np.random.default_rng(7)
    scenes = []
    with tarfile.open(data_dir / "val.tar") as tar:
        while len(scenes) < 100 and (member := tar.next()):
            if file := tar.extractfile(member):
                scenes.append(np.asarray(Image.open(file).convert("RGB")).transpose(2, 0, 1))
    image = np.stack(scenes).astype(np.float32) / 255
    mask = np.zeros((len(image), 1, 128, 128), np.float32)
    for hole in mask[:, 0]:
        height, width = rng.integers(32, 65, 2)
        y, x = rng.integers(0, 129 - height), rng.integers(0, 129 - width)
        hole[y : y + height, x : x + width] = 1

    def psnr(name: str) -> float:
        errors = np.square(open_engine(name).fill(image, mask) - image).mean(axis=(1, 2, 3))
        return float(np.mean(-10 * np.log10(errors)))

    # Over 300 scenes: 25.3, 24.7, 24.6 and 21.6 dB.
    assert psnr("push-pull") > max(psnr("telea"), psnr("navier-stokes")) + 0.2
    assert psnr("telea") > psnr("mean")


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [("telea", "cv2", "OpenCV"), ("biharmonic", "skimage", "scikit-image")],
)
def test_a_missing_package_says_what_to_install(
    name: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "skimage.restoration", None)
    reason = available(name)
    assert reason == f"{name} needs {package}: {install_hint('classical')}"
    with pytest.raises(DependencyError, match="needs") as caught:
        open_engine(name)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ((3, 8, 8), (1, 8, 8)),
        ((1, 3, 8, 8), (1, 1, 8, 9)),
        ((2, 3, 8, 8), (1, 1, 8, 8)),
        ((1, 3, 0, 8), (1, 1, 0, 8)),
    ],
)
def test_arrays_that_are_no_batch_are_refused(image: tuple[int, ...], mask: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="an engine takes an image"):
        open_engine("mean").fill(np.zeros(image, np.float32), np.zeros(mask, np.float32))
    with pytest.raises(InputError, match="float32"):
        open_engine("mean").fill(np.zeros((1, 3, 4, 4)), np.zeros((1, 1, 4, 4)))  # type: ignore[arg-type]
