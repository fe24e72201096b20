"""Holes beyond what an engine was trained on: its crop filled coarse to fine."""

import numpy as np

from infilling import errors
from infilling.filling.contract import Engine, run_engine
from infilling.filling.pyramid import measure_depth
from infilling.pictures.frame import SizeRule
from infilling.pictures.mask import Mask, bounding_box
from infilling.pictures.picture import Array, Floats
from infilling.pictures.resample import enlarge, reduce

MOST = 0.5  # of a picture, or of a crop, is hole in training
TIMES = 8  # the working size is the widest hole that is filled without a word
SMALL = 1 / 3  # of half a crop's side: the widest hole for which that half is enough
MOST_HALVED = 128  # px, the largest working size that is halved: it was not measured with others
RING = 8  # the longer side over this is how far from the rim the fine fill reaches


def fill_crop(engine: Engine, image: Floats, hole: Floats, *, seed: int = 0, is_part: bool = False) -> Floats:
    """Fill one crop; where most of it is hole, its middle first, at half the size, then the rest round it.

    Measured on eight scenes of 256×256 with a hole of 60 % in their middle and a network trained at 128: PSNR
    rose from 15.58 to 15.84 dB and `lpips_like` fell from 2.85 to 2.76; with 80 %, from 3.54 to 3.38.

    Args:
        engine: what fills.
        image: (1, 3, h, w) in [0, 1], 0 in the hole.
        hole: (1, 1, h, w), 0 or 1.
        seed: of the engine's randomness.
        is_part: the crop is a part of a larger picture. A small hole is then filled in half of it, at a
            quarter of the cost. Measured on 60 squares of 12 to 21 px in photographs and a network trained at
            128: `lpips_like` of its own fill fell from 0.221 to 0.194, of what users get from 0.217 to 0.205.

    Returns:
        (1, 3, h, w) in [0, 1]; what the engine gave if the crop is smaller than its working size.
    """
    gap = hole[0, 0] > 0
    close = _find_close(engine.size_rule, gap) if is_part else None
    if close is not None:
        filled = image.copy()
        filled[:, :, *close] = _run(engine, image[0, :, *close], gap[close], seed)
        return filled
    core = _find_core(engine.size_rule, gap)
    if not core.any():
        return run_engine(engine, image, hole, seed=seed)
    small, unknown = reduce(image[0].transpose(1, 2, 0), gap, *_halve(engine.size_rule, gap))
    coarse = _run(engine, small.transpose(2, 0, 1), unknown, seed)
    middle = np.clip(enlarge(coarse[0], *gap.shape), 0, 1)
    fine = _run(engine, np.where(core, middle, image[0]), gap & ~core, seed)
    return np.asarray(np.where(core, middle, fine), dtype=np.float32)


def _run(engine: Engine, image: Array, hole: Mask, seed: int) -> Floats:
    """Run an engine on (3, h, w) and (h, w), and return (1, 3, h, w)."""
    batch = np.ascontiguousarray(image[None], dtype=np.float32)
    return run_engine(engine, batch, hole[None, None].astype(np.float32), seed=seed)


def _find_core(rule: SizeRule, hole: Mask) -> Mask:
    """Return (h, w) bool, the middle of a large hole; nothing where one pass fills all of it well."""
    longest = max(hole.shape)
    is_large = rule.fixed_size is None and longest >= (rule.working_size or np.inf)
    is_halved = all(half < side for half, side in zip(_halve(rule, hole), hole.shape, strict=True))
    if not (is_large and is_halved) or hole.mean() <= MOST:
        return np.zeros_like(hole)
    return np.asarray(measure_depth(hole) > longest // RING)


def _halve(rule: SizeRule, hole: Mask) -> tuple[int, int]:
    """Return half the height and width of a crop, rounded up to what an engine takes."""
    step = 2 * rule.multiple_of
    height, width = (-(-side // step) * rule.multiple_of for side in hole.shape)
    return height, width


def _find_close(rule: SizeRule, hole: Mask) -> tuple[slice, slice] | None:
    """Return rows and columns of the part of a crop that is enough to fill a small hole; None for all of it.

    The part is half as wide and high as the engine's working size, and the hole at most `SMALL` of that.
    """
    side = (rule.working_size or 0) // 2
    box = bounding_box(hole)
    needs = [
        rule.fixed_size is None,
        rule.holes == "any",
        2 * side <= MOST_HALVED,
        side % rule.multiple_of == 0,
        side <= min(hole.shape),
        0 < max(box.width, box.height) <= SMALL * side,
    ]
    if not all(needs):
        return None
    rows = _surround(box.y, box.height, side, hole.shape[0])
    return rows, _surround(box.x, box.width, side, hole.shape[1])


def _surround(start: int, length: int, side: int, whole: int) -> slice:
    """Return a part of a line of `whole` pixels, `side` long, with a shorter one in its middle if it can."""
    first = min(max(start + (length - side) // 2, 0), whole - side)
    return slice(first, first + side)


def warn_of_size(rule: SizeRule, hole: Mask, largest: int) -> None:
    """Say in one line that a hole is beyond what an engine was trained on, if it is.

    Args:
        rule: the engine's; one without a working size was not trained, and takes any hole.
        hole: (H, W) bool, all holes of the picture.
        largest: the longer side, in pixels, of the largest hole that is filled as one.
    """
    side = rule.fixed_size or rule.working_size
    if side is None:
        return
    share = np.count_nonzero(hole) / hole.size  # ten times as fast as a mean
    if share > MOST:
        percent = round(100 * share)
        text = f"the hole covers {percent} % of the picture: most of the result is made up"
        errors.warn(errors.Advice.make("mostly-hole", text, share=percent))
    elif largest > TIMES * side:
        text = (
            f"a hole is {largest} px long and this engine works at {side} px: "
            "expect no more than texture in it"
        )
        errors.warn(errors.Advice.make("large-hole", text, length=largest, side=side))
