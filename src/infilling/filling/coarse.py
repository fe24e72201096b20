"""Holes beyond what an engine was trained on: its crop filled coarse to fine."""

import numpy as np

from infilling import errors
from infilling.filling.contract import Engine, run_engine
from infilling.filling.pyramid import measure_depth
from infilling.pictures.frame import SizeRule
from infilling.pictures.mask import Mask
from infilling.pictures.picture import Floats
from infilling.pictures.resample import enlarge, reduce

MOST = 0.5  # of a picture, or of a crop, is hole in training
TIMES = 8  # the working size is the widest hole that is filled without a word
RING = 8  # the longer side over this is how far from the rim the fine fill reaches


def fill_crop(engine: Engine, image: Floats, hole: Floats, *, seed: int = 0) -> Floats:
    """Fill one crop; where most of it is hole, its middle first, at half the size, then the rest round it.

    Measured on eight scenes of 256×256 with a hole of 60 % in their middle and a network trained at 128: PSNR
    rose from 15.58 to 15.84 dB and `lpips_like` fell from 2.85 to 2.76; with 80 %, from 3.54 to 3.38.

    Args:
        engine: what fills.
        image: (1, 3, h, w) in [0, 1], 0 in the hole.
        hole: (1, 1, h, w), 0 or 1.
        seed: of the engine's randomness.

    Returns:
        (1, 3, h, w) in [0, 1]; what the engine gave if the crop is smaller than its working size.
    """
    rule, (height, width) = engine.size_rule, image.shape[2:]
    large = rule.fixed_size is None and max(height, width) >= (rule.working_size or np.inf)
    if not large or hole.mean() <= MOST:
        return run_engine(engine, image, hole, seed=seed)
    gap = hole[0, 0] > 0
    core = measure_depth(gap) > max(height, width) // RING
    step = 2 * rule.multiple_of
    size = -(-height // step) * rule.multiple_of, -(-width // step) * rule.multiple_of
    if not core.any() or size[0] >= height or size[1] >= width:
        return run_engine(engine, image, hole, seed=seed)
    small, unknown = reduce(image[0].transpose(1, 2, 0), gap, *size)
    coarse = run_engine(
        engine,
        np.ascontiguousarray(small.transpose(2, 0, 1)[None]),
        unknown[None, None].astype(np.float32),
        seed=seed,
    )
    middle = np.clip(enlarge(coarse[0], height, width), 0, 1)[None]
    fine = run_engine(
        engine,
        np.where(core, middle, image).astype(np.float32),
        (gap & ~core)[None, None].astype(np.float32),
        seed=seed,
    )
    return np.asarray(np.where(core, middle, fine), dtype=np.float32)


def warn(rule: SizeRule, hole: Mask, largest: int) -> None:
    """Say in one line that a hole is beyond what an engine was trained on, if it is.

    Args:
        rule: the engine's; one without a working size was not trained, and takes any hole.
        hole: (H, W) bool, all holes of the picture.
        largest: the longer side, in pixels, of the largest hole that is filled as one.
    """
    side = rule.fixed_size or rule.working_size
    if side is None:
        return
    share = float(hole.mean())
    if share > MOST:
        errors.warn(f"the hole covers {100 * share:.0f} % of the picture: most of the result is made up")
    elif largest > TIMES * side:
        errors.warn(
            f"a hole is {largest} px long and this engine works at {side} px: "
            "expect no more than texture in it"
        )
