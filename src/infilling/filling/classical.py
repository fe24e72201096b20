"""Engines without a network: mean, push-pull, Telea, Navier–Stokes, biharmonic."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from infilling.errors import InputError
from infilling.filling.contract import check_batch, require
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Floats, from_float

RADIUS = 3.0  # px round a point that OpenCV's methods look at
RELAXATIONS = 2  # smoothing passes of push-pull at each level
BIHARMONIC_SIDE = 512  # px; its linear system is as large as the hole (460×460: 13 s, 0.7 GB)

Method = Callable[..., Floats]
"""Fills (N, 3, H, W) by a mask (N, 1, H, W); takes the keywords that its engine's `takes` names."""


@dataclass(frozen=True)
class ClassicalEngine:
    """A method with its name. Pictures without a known pixel are filled with mid-grey."""

    name: str
    method: Method
    size_rule: SizeRule = field(default_factory=SizeRule)
    takes: tuple[str, ...] = ()
    trained: ClassVar[bool] = False

    def fill(self, image: Floats, mask: Floats, **extras: Any) -> Floats:
        """Fill the holes; see `Engine.fill` and `run_engine`. Known pixels are the image's own."""
        check_batch(image, mask)
        hole = mask > 0
        # What the hole hides must not count, not even as NaN; and no method divides by zero known pixels.
        blank = np.where(hole, np.float32(0), image)
        lost = hole.all(axis=(1, 2, 3), keepdims=True)
        filled = np.where(lost, np.float32(0.5), self.method(blank, hole.astype(np.float32), **extras))
        return np.where(hole, np.clip(filled, 0, 1), image).astype(np.float32, copy=False)


def make_method(name: str) -> ClassicalEngine:
    """Make the classical engine of a name.

    Raises:
        InputError: there is none of this name.
        DependencyError: its package is not installed.
    """
    if name == "mean":
        return ClassicalEngine(name, fill_mean)
    if name == "push-pull":
        return ClassicalEngine(name, fill_push_pull)
    if name in ("telea", "navier-stokes"):
        return ClassicalEngine(name, _opencv(name))
    if name == "biharmonic":
        require("skimage.restoration", name, "classical")
        return ClassicalEngine(name, fill_biharmonic, SizeRule(working_size=BIHARMONIC_SIDE))
    raise InputError(f"no classical engine {name!r}")


def fill_mean(image: Floats, mask: Floats) -> Floats:
    """Give every pixel the mean colour of the picture's known pixels.

    Args:
        image: (N, 3, H, W) in [0, 1], 0 in the hole.
        mask: (N, 1, H, W), 1 in the hole.
    """
    count = np.maximum((1 - mask).sum(axis=(2, 3), keepdims=True, dtype=np.float64), 1)
    mean = image.sum(axis=(2, 3), keepdims=True, dtype=np.float64) / count
    return np.broadcast_to(mean.astype(np.float32), image.shape)


def fill_push_pull(image: Floats, mask: Floats) -> Floats:
    """Carry the known pixels' averages up a pyramid and smooth guesses down it again.

    Up: a pixel of level l+1 is the mean of the known ones among its 2×2 pixels of level l, and is known if
    any is. Down: an unknown pixel takes the bilinear interpolation of the coarser level, then `RELAXATIONS`
    times the mean of its four neighbours. After Gortler et al., The Lumigraph (SIGGRAPH 1996), with weights
    saturated to 0 and 1; the relaxation is ours (0.4 dB on scenes of 128×128).

    Args:
        image: (N, 3, H, W) in [0, 1], 0 in the hole.
        mask: (N, 1, H, W), 1 in the hole.
    """
    levels: list[tuple[Floats, Floats]] = []
    fine, known = image, 1 - mask
    while not known.all() and max(fine.shape[2:]) > 1:
        levels.append((fine, known))
        weight = pool(known)
        fine = np.divide(pool(fine * known), np.where(weight > 0, weight, 1), dtype=np.float32)
        known = (weight > 0).astype(np.float32)
    filled = fine
    for fine, known in reversed(levels):
        is_known = known > 0
        filled = double(filled, *fine.shape[2:])
        np.copyto(filled, fine, where=is_known)
        for _ in range(RELAXATIONS):
            filled = _mean_of_neighbours(filled)
            np.copyto(filled, fine, where=is_known)
    return filled


def fill_biharmonic(image: Floats, mask: Floats) -> Floats:
    """Solve Δ²u = 0 in the hole with scikit-image, one connected region at a time.

    Args:
        image: (N, 3, H, W) in [0, 1], 0 in the hole.
        mask: (N, 1, H, W), 1 in the hole.
    """
    from skimage.restoration import inpaint_biharmonic

    def solve(pixels: Floats, hole: Floats) -> Floats:
        solved = inpaint_biharmonic(pixels, hole > 0, split_into_regions=True, channel_axis=-1)
        return np.asarray(solved, dtype=np.float32)

    return _each(solve, image, mask)


def _opencv(name: str) -> Method:
    """Telea (2004) or Navier–Stokes (Bertalmio et al. 2001) by OpenCV, which takes colour in 8 bits only."""
    cv2 = require("cv2", name, "classical")
    flag = cv2.INPAINT_TELEA if name == "telea" else cv2.INPAINT_NS

    def solve(pixels: Floats, hole: Floats) -> Floats:
        height, width = hole.shape
        # OpenCV 5.0 reads beyond the memory of a picture one pixel high or wide, and gives noise: double it.
        twice = ((0, int(height == 1)), (0, int(width == 1)))
        eight_bit = np.pad(from_float(pixels), (*twice, (0, 0)), mode="edge")
        filled = cv2.inpaint(eight_bit, np.pad(hole, twice, mode="edge").astype(np.uint8), RADIUS, flag)
        return np.asarray(filled[:height, :width], dtype=np.float32) / np.float32(255)

    return lambda image, mask: _each(solve, image, mask)


def _each(solve: Method, image: Floats, mask: Floats) -> Floats:
    """Run a method for one (H, W, 3) picture and its (H, W) hole over a batch, where there is work."""
    filled = image.copy()
    for one, hole, out in zip(image, mask, filled, strict=True):
        if hole.any() and not hole.all():
            out[:] = solve(np.ascontiguousarray(one.transpose(1, 2, 0)), hole[0]).transpose(2, 0, 1)
    return filled


def pool(array: Floats) -> Floats:
    """Average 2×2 pixels of (N, C, H, W); an odd side gets a row or column of zeros first."""
    height, width = array.shape[2:]
    if height % 2 or width % 2:
        given = array
        array = np.zeros((*given.shape[:2], height + height % 2, width + width % 2), given.dtype)
        array[..., :height, :width] = given
    rows = array[:, :, ::2] + array[:, :, 1::2]
    return np.asarray((rows[..., ::2] + rows[..., 1::2]) / 4, dtype=np.float32)


def double(array: Floats, height: int, width: int) -> Floats:
    """Return (N, C, h, w) at twice the size, bilinear with pixel centres kept, cut to height × width."""
    tall = _double_axis(array, 2)[:, :, :height]
    return _double_axis(tall, 3)[..., :width]


def _double_axis(array: Floats, axis: int) -> Floats:
    """Return an array at twice the size along an axis, each value 3/4 of the nearest and 1/4 of the next."""
    shape = list(array.shape)
    shape[axis] *= 2
    doubled = np.empty(shape, np.float32)
    near, far = (array.swapaxes(0, axis) * np.float32(share) for share in (0.75, 0.25))
    lines = doubled.swapaxes(0, axis)
    lines[0], lines[-1] = near[0] + far[0], near[-1] + far[-1]
    np.add(near[1:], far[:-1], out=lines[2::2])
    np.add(near[:-1], far[1:], out=lines[1:-1:2])
    return doubled


def _mean_of_neighbours(array: Floats) -> Floats:
    """Mean of the four neighbours; beyond the border the border pixel counts again."""
    mean = np.empty_like(array)
    np.add(array[:, :, :-2], array[:, :, 2:], out=mean[:, :, 1:-1])
    for edge, inner in ((0, 1), (-1, -2)):
        mean[:, :, edge] = array[:, :, edge] + array[:, :, inner if array.shape[2] > 1 else edge]
    for side, edge in ((slice(1, None), 0), (slice(None, -1), -1)):
        mean[..., side] += array[..., slice(None, -1) if edge == 0 else slice(1, None)]
        mean[..., edge] += array[..., edge]
    mean /= 4
    return mean
