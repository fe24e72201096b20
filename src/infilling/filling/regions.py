"""The holes of one array of values, filled region by region: cut, fill, finish, paste."""

from dataclasses import replace

import numpy as np

from infilling.errors import ModelError
from infilling.filling import coarse
from infilling.filling.contract import Engine
from infilling.filling.options import FillOptions
from infilling.filling.progress import report
from infilling.filling.scales import find_scales
from infilling.filling.seam import match_seam
from infilling.pictures import blend, frame
from infilling.pictures import mask as masks
from infilling.pictures.frame import Region
from infilling.pictures.mask import Mask, shift
from infilling.pictures.picture import Doubles, Floats, Levels, Samples, to_float


def fill_samples(
    pixels: Samples, hole: Mask, engine: Engine, options: FillOptions, unseen: Mask | None = None
) -> Samples:
    """Fill a copy of the pixels of a picture, region by region.

    Args:
        pixels: (H, W, 1 or 3) uint8, or uint16, which is filled in the range of its known values.
        hole: (H, W) bool, the pixels to fill.
        engine: what fills.
        options: `detail` and `feather` are used.
        unseen: (H, W) bool, what is unknown too and stays as it is; None: nothing.

    Raises:
        ModelError: the engine fails, or returns an array of another shape.
    """
    if pixels.dtype == np.uint8:
        return _fill_regions(pixels, hole, engine, options, unseen)
    known = pixels[~hole]
    low, high = int(known.min()), int(known.max())
    unit = 65535 / max(1, high - low)  # sensors use a part of the range: what is made stays in that part
    stretched = np.rint((np.clip(pixels, low, high) - np.float64(low)) * unit).astype(np.uint16)
    filled = _fill_regions(stretched, hole, engine, options, unseen)
    result = pixels.copy()
    result[hole] = np.rint(np.minimum(filled[hole] / unit, high - low)) + low
    return result


def _fill_regions(
    given: Samples, hole: Mask, engine: Engine, options: FillOptions, unseen: Mask | None
) -> Samples:
    pixels, left = given.copy(), hole.copy()
    regions = _plan(hole, engine)
    works = [region.size[0] * region.size[1] for region in regions]
    report(0, sum(works))
    for number, region in enumerate(regions, 1):
        _fill_region(pixels, _join(left, unseen, region), region, engine, options)
        region.close(left)  # what is filled is known to the regions after this one
        report(sum(works[:number]), sum(works))
    return pixels


def _join(left: Mask, unseen: Mask | None, region: Region) -> Mask:
    """Return (H, W) what is unknown: holes, and what cannot be seen unless that leaves nothing to look at."""
    if unseen is None:
        return left
    unknown = left | unseen
    return left if unknown[region.box.slices].all() else unknown


def fill_values(given: Doubles, hole: Mask, unknown: Mask, engine: Engine, options: FillOptions) -> Doubles:
    """Fill a copy of an array of any values, each hole in the scale of its own surroundings.

    Args:
        given: (H, W, 1 or 3) in [-1, 1], finite where it is known; what is unknown may hold anything.
        hole: (H, W) bool, the pixels to fill.
        unknown: (H, W) bool, the pixels that nothing is taken from, the hole's among them.
        engine: what fills.
        options: `detail` and `feather` are used.

    Returns:
        (H, W, 1 or 3); what is not in the hole is as given.

    Raises:
        ModelError: the engine fails, or returns an array of another shape.
    """
    values, left = given.copy(), unknown.copy()
    regions = _plan(hole, engine)
    for number, region in enumerate(regions, 1):
        part, gaps = values[region.box.slices], left[region.box.slices]
        if gaps.all():  # gaps that stay leave nothing to look at here
            values[region.core.slices][region.hole] = np.median(given[~unknown], axis=0)
            region.close(left)
            continue
        core = shift(region.core, region.box)
        local = replace(
            region, box=shift(region.box, region.box), frame=shift(region.frame, region.box), core=core
        )
        for scale in find_scales(part, gaps, local):
            pixels = scale.to_unit(part)
            if not scale.is_flat:
                _fill_region(pixels, gaps | scale.outliers, replace(local, hole=scale.hole), engine, options)
            part[core.slices][scale.hole] = scale.from_unit(pixels[core.slices][scale.hole])
        region.close(left)
        report(number, len(regions))
    return values


def _plan(hole: Mask, engine: Engine) -> list[Region]:
    regions = frame.plan(hole, engine.size_rule)
    coarse.warn(engine.size_rule, hole, max(max(region.core[2:]) for region in regions))
    return regions


def _fill_region(pixels: Levels, left: Mask, region: Region, engine: Engine, options: FillOptions) -> None:
    """Fill the hole of one region, in place.

    Args:
        pixels: (H, W, 1 or 3) uint8, uint16, or float32 in [0, 1]; written to.
        left: (H, W) bool, what is unknown.
        region: the crop, and the pixels to fill.
        engine: what fills.
        options: `detail` and `feather` are used.
    """
    image, unknown = region.cut(pixels, left)
    filled = coarse.fill_crop(engine, image, unknown)
    if filled.shape != image.shape:
        raise ModelError(f"engine {engine.name} gave {filled.shape} for an image {image.shape}")
    gaps = masks.bounding_box(left[region.box.slices])  # of other regions too: `_finish` looks at these
    restored = region.restore(filled, gaps)
    if options.detail and (engine.size_rule.working_size or engine.size_rule.fixed_size):
        restored = _finish(pixels, left, restored, region)
    blend.paste(pixels, restored, left, region, feather=options.feather, out=pixels)


def _finish(pixels: Levels, hole: Mask, restored: Floats, region: Region) -> Floats:
    """Redraw a fill with texture from around it, the same every time, and match its colours at the seam.

    A network that saw the whole picture as it is has filled it as it learned to: that stays as it is. In a
    reduced crop its fill is blurred; in a part of a larger picture, of which it has seen few, copies of what
    is around the hole are sharper and nearer to the truth. `restored` is written to and returned.
    """
    is_reduced = region.size != (region.frame.height, region.frame.width)
    if is_reduced or (region.box.height, region.box.width) != hole.shape:
        from infilling.filling.detail import FIRM_HINT, HINT, REACH, recover  # not for small pictures

        near = masks.widen(region.core, REACH, region.box)
        inside = shift(near, region.box).slices
        image, rng = to_float(pixels[near.slices]), np.random.default_rng(0)
        hint = HINT if is_reduced else FIRM_HINT
        restored[inside] = recover(image, hole[near.slices], restored[inside], rng, hint=hint)
    near = masks.widen(region.core, 2, region.box)
    inside = shift(near, region.box).slices
    restored[inside] = match_seam(to_float(pixels[near.slices]), restored[inside], hole[near.slices])
    return restored
