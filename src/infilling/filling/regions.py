"""The holes of one array of pixels, filled region by region: cut, fill, finish, paste."""

import numpy as np

from infilling.errors import ModelError
from infilling.filling import coarse
from infilling.filling.contract import Engine
from infilling.filling.options import FillOptions
from infilling.filling.progress import report
from infilling.filling.seam import match_seam
from infilling.pictures import blend, frame
from infilling.pictures import mask as masks
from infilling.pictures.picture import Floats, Samples, to_float


def fill_regions(
    given: Samples,
    hole: masks.Mask,
    engine: Engine,
    options: FillOptions,
    unseen: masks.Mask | None = None,
) -> Samples:
    """Fill a copy of the pixels, region by region.

    Args:
        given: (H, W, 1 or 3) uint8 or uint16.
        hole: (H, W) bool, with at least one known pixel.
        engine: what fills.
        options: `detail` and `feather` are used.
        unseen: (H, W) bool, what is unknown and stays as it is; None: nothing.

    Raises:
        ModelError: the engine fails, or returns an array of another shape.
    """
    pixels, left = given.copy(), hole.copy()
    has_size = bool(engine.size_rule.working_size or engine.size_rule.fixed_size)
    regions = frame.plan(hole, engine.size_rule)
    coarse.warn(engine.size_rule, hole, max(max(region.core[2:]) for region in regions))
    works = [region.size[0] * region.size[1] for region in regions]
    report(0, sum(works))
    for number, region in enumerate(regions, 1):
        unknown = _join(left, unseen, region)
        image, gap = region.cut(pixels, unknown)
        filled = coarse.fill_crop(engine, image, gap)
        if filled.shape != image.shape:
            raise ModelError(f"engine {engine.name} gave {filled.shape} for an image {image.shape}")
        gaps = masks.bounding_box(
            unknown[region.box.slices]
        )  # of other regions too: `_finish` looks at these
        restored = region.restore(filled, gaps)
        if options.detail and has_size:
            restored = _finish(pixels, unknown, restored, region)
        blend.paste(pixels, restored, left, region, feather=options.feather, out=pixels)
        region.close(left)  # what is filled is known to the regions after this one
        report(sum(works[:number]), sum(works))
    return pixels


def _join(left: masks.Mask, unseen: masks.Mask | None, region: frame.Region) -> masks.Mask:
    """Return (H, W) what is unknown: holes, and what cannot be seen unless that leaves nothing to look at."""
    if unseen is None:
        return left
    unknown = left | unseen
    return left if unknown[region.box.slices].all() else unknown


def _finish(pixels: Samples, hole: masks.Mask, restored: Floats, region: frame.Region) -> Floats:
    """Redraw a fill with texture from around it, the same every time, and match its colours at the seam.

    A network that saw the whole picture as it is has filled it as it learned to: that stays as it is. In a
    reduced crop its fill is blurred; in a part of a larger picture, of which it has seen few, copies of what
    is around the hole are sharper and nearer to the truth. `restored` is written to and returned.
    """
    is_reduced = region.size != (region.frame.height, region.frame.width)
    if is_reduced or (region.box.height, region.box.width) != hole.shape:
        from infilling.filling.detail import FIRM_HINT, HINT, REACH, recover  # not for small pictures

        near = masks.widen(region.core, REACH, region.box)
        inside = masks.shift(near, region.box).slices
        image, rng = to_float(pixels[near.slices]), np.random.default_rng(0)
        hint = HINT if is_reduced else FIRM_HINT
        restored[inside] = recover(image, hole[near.slices], restored[inside], rng, hint=hint)
    near = masks.widen(region.core, 2, region.box)
    inside = masks.shift(near, region.box).slices
    restored[inside] = match_seam(to_float(pixels[near.slices]), restored[inside], hole[near.slices])
    return restored
