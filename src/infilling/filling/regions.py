"""The holes of one array of values, filled region by region: cut, fill, finish, paste."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np

from infilling.errors import ModelError
from infilling.filling import coarse
from infilling.filling.contract import Engine, find_taken
from infilling.filling.options import FillOptions
from infilling.filling.progress import report, share
from infilling.filling.scales import Scale, find_scales
from infilling.filling.smooth import fill_thin
from infilling.filling.sources import fill_from_source, find_window, is_finished
from infilling.filling.threads import Beside, wait_to_work, work_behind
from infilling.pictures import blend, frame
from infilling.pictures import mask as masks
from infilling.pictures.frame import Region
from infilling.pictures.mask import Box, Mask, overlap, shift, widen
from infilling.pictures.picture import Doubles, Floats, Levels, Samples

LARGEST_BESIDE = 512 * 512  # px of the largest crop that is finished while others are


def fill_samples(
    pixels: Samples, hole: Mask, engine: Engine, options: FillOptions, unseen: Mask | None = None
) -> Samples:
    """Fill the pixels of a picture, region by region.

    Args:
        pixels: (H, W, 1 or 3) uint8, or uint16, which is filled in the range of its known values.
        hole: (H, W) bool, the pixels to fill.
        engine: what fills.
        options: `seed`, `source`, as `read_sources` gives it, `detail` and `feather` are used.
        unseen: (H, W) bool, what is unknown too and stays as it is; None: nothing.

    Returns:
        `pixels` itself, written to, if they are uint8; a new array if they are uint16.

    Raises:
        ModelError: the engine fails, or returns an array of another shape.
    """
    return fill_in_range(pixels, hole, lambda given: _fill_regions(given, hole, engine, options, unseen))


def fill_in_range(pixels: Samples, hole: Mask, fill: Callable[[Samples], Samples]) -> Samples:
    """Fill uint16 in the range of its known values, uint8 as it is.

    Args:
        pixels: (H, W, 1 or 3) uint8 or uint16.
        hole: (H, W) bool, the pixels to fill.
        fill: fills an array of the same shape and type; it may write to it.

    Returns:
        What `fill` returns for uint8; a new array for uint16.
    """
    if pixels.dtype == np.uint8:
        return fill(pixels)
    known = pixels[~hole]
    low, high = int(known.min()), int(known.max())
    unit = 65535 / max(1, high - low)  # sensors use a part of the range: what is made stays in that part
    stretched = np.rint((np.clip(pixels, low, high) - np.float64(low)) * unit).astype(np.uint16)
    filled = fill(stretched)
    result = pixels.copy()
    result[hole] = np.rint(np.minimum(filled[hole] / unit, high - low)) + low
    return result


def _fill_regions(
    pixels: Samples, hole: Mask, engine: Engine, options: FillOptions, unseen: Mask | None
) -> Samples:
    left = hole.copy()
    if is_finished(engine, options) and options.source is None:
        fill_thin(pixels, left, unseen)
    regions = _plan(left, hole, engine)
    works = [region.size[0] * region.size[1] for region in regions]
    done, total = 0, sum(works)

    def lead(region: Region, beside: Beside) -> Callable[[], None]:
        report(done, total)  # also ends a fill that nobody waits for, before the engine begins again
        unknown = _join(left, unseen, region)
        part = partial(share, done, region.size[0] * region.size[1], total)
        with part():
            rest = _begin_region(pixels, unknown, region, engine, options, hole, beside)

        def follow() -> None:
            with part():
                rest()
            region.close(left)  # what is filled is known to the regions that see it after this one

        return follow

    def clash(one: Region, other: Region) -> bool:
        return options.source is not None or _clash(one, other)

    for work, _ in zip(works, work_behind(lead, regions, clash), strict=True):
        done += work
    report(done, total)
    return pixels


def _clash(one: Region, other: Region) -> bool:
    """Say whether one of two regions sees what the other fills; large ones are not held at once either."""
    is_large = max(region.box.width * region.box.height for region in (one, other)) > LARGEST_BESIDE
    return is_large or overlap(one.core, other.box) or overlap(one.box, other.core)


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
        options: `seed`, `source`, as `read_sources` gives it, `detail` and `feather` are used.

    Returns:
        (H, W, 1 or 3); what is not in the hole is as given.

    Raises:
        ModelError: the engine fails, or returns an array of another shape.
    """
    values, left = given.copy(), unknown.copy()
    regions = _plan(hole, hole, engine)
    for number, region in enumerate(regions, 1):
        seen = region.box if options.source is None else find_window(region.box, options.source)
        if left[seen.slices].all():  # gaps that stay leave nothing to look at here
            values[region.core.slices][region.hole] = np.median(given[~unknown], axis=0)
        else:
            with share(number - 1, 1, len(regions)):
                _fill_in_scales(values, left, region, seen, engine, options)
        region.close(left)
        report(number, len(regions))
    return values


def _fill_in_scales(
    values: Doubles, left: Mask, region: Region, seen: Box, engine: Engine, options: FillOptions
) -> None:
    """Fill the holes of one region, in place, each in the scale of what is seen around it.

    Args:
        values: (H, W, 1 or 3).
        left: (H, W) bool, what is unknown.
        region: the pixels to fill.
        seen: the part that is looked at.
        engine: what fills.
        options: see `fill_values`.
    """
    part, gaps, core = values[seen.slices], left[seen.slices], shift(region.core, seen)
    local = replace(region, box=shift(region.box, seen), frame=shift(region.frame, seen), core=core)
    if options.source is not None:
        options = replace(options, source=options.source[seen.slices])
    for scale in _find_scales(part, gaps, local, options):
        pixels, unknown = scale.to_unit(part), gaps | scale.outliers
        known = part[~unknown]
        if not scale.is_flat:
            _fill_scaled(pixels, unknown, replace(local, hole=scale.hole), engine, options)
        part[core.slices][scale.hole] = scale.from_unit(pixels[core.slices][scale.hole], known)


def _find_scales(part: Doubles, gaps: Mask, region: Region, options: FillOptions) -> Iterable[Scale]:
    """Return the scales of the region's holes; where there is a source, one that holds all known values."""
    if options.source is None:
        return find_scales(part, gaps, region)
    known = part[~gaps]
    return [Scale(float(known.min()), float(known.max()), region.hole, np.zeros_like(gaps))]


def _plan(left: Mask, hole: Mask, engine: Engine) -> list[Region]:
    """Plan what is left of a hole, and warn of holes beyond what the engine learned."""
    regions = frame.plan(left, engine.size_rule)
    coarse.warn_of_size(engine.size_rule, hole, max((max(region.core[2:]) for region in regions), default=0))
    return regions


def _fill_scaled(pixels: Levels, unknown: Mask, region: Region, engine: Engine, options: FillOptions) -> None:
    """Fill the hole of one region of scaled values, in place; first what is thin."""
    given, hole = unknown, np.zeros_like(unknown)
    hole[region.core.slices] = region.hole
    if is_finished(engine, options) and options.source is None:
        left = hole.copy()
        fill_thin(pixels, left, unknown)
        unknown = unknown & ~(hole & ~left)
        region = replace(region, hole=left[region.core.slices])
    if region.hole.any():
        _begin_region(pixels, unknown, region, engine, options, given)()


def _begin_region(
    pixels: Levels,
    left: Mask,
    region: Region,
    engine: Engine,
    options: FillOptions,
    given: Mask,
    beside: Beside = wait_to_work,
) -> Callable[[], None]:
    """Begin to fill the hole of one region, in place: let the engine fill its crop, if that is needed.

    Args:
        pixels: (H, W, 1 or 3) uint8, uint16, or float32 in [0, 1]; written to.
        left: (H, W) bool, what is unknown.
        region: the crop, and the pixels to fill.
        engine: what fills.
        options: `seed`, `source`, `detail`, `guide` and `feather` are used.
        given: (H, W) bool, what was unknown before anything was filled.
        beside: begins what does not need the engine's fill.

    Returns:
        What finishes the fill and pastes it. It may run in another thread.
    """
    if options.source is not None and "source" in find_taken(engine):
        restored = fill_from_source(engine, pixels, left, region, options)
        return partial(_paste, pixels, restored, left, region, options)
    if is_finished(engine, options) and options.source is None:
        return _begin_studied(pixels, left, region, engine, options, given, beside)
    filled = _fill_crop(pixels, left, region, engine, options)

    def finish_crop() -> None:
        restored = _restore(filled, left, region)
        if is_finished(engine, options):
            from infilling.filling.finish import copy_from_source

            seed, source, guide = options.seed, options.source, options.guide
            restored = copy_from_source(pixels, left, restored, region, seed, source, guide)
        _paste(pixels, restored, left, region, options)

    return finish_crop


def _begin_studied(
    pixels: Levels,
    left: Mask,
    region: Region,
    engine: Engine,
    options: FillOptions,
    given: Mask,
    beside: Beside,
) -> Callable[[], None]:
    """Begin a region whose fill is finished: its surroundings are studied while the engine works."""
    from infilling.filling.finish import finish, look, study  # not for engines that any size suits

    seen = look(pixels, left, given, region)
    get_study = beside(partial(study, pixels, left, seen))
    filled = None if seen.is_enough else _fill_crop(pixels, left, region, engine, options)

    # Of a large crop, what is near the hole is enough from here on.
    part = replace(region, box=widen(seen.near, options.feather, region.box))

    def finish_crop() -> None:
        restored = _restore(filled, left, part)
        finish(restored, part, get_study(), seed=options.seed, guide=options.guide)
        _paste(pixels, restored, left, part, options)

    return finish_crop


def _paste(pixels: Levels, restored: Floats, left: Mask, region: Region, options: FillOptions) -> None:
    blend.paste(pixels, restored, left, region, feather=options.feather, out=pixels)


def _fill_crop(pixels: Levels, left: Mask, region: Region, engine: Engine, options: FillOptions) -> Floats:
    """Return an engine's fill of the crop of a region; see `_begin_region`."""
    image, unknown = region.cut(pixels, left)
    is_part = (region.box.height, region.box.width) != left.shape
    filled = coarse.fill_crop(engine, image, unknown, seed=options.seed, is_part=is_part)
    if filled.shape != image.shape:
        raise ModelError(f"engine {engine.name} gave {filled.shape} for an image {image.shape}")
    return filled


def _restore(filled: Floats | None, left: Mask, region: Region) -> Floats:
    """Return the fill of a region's crop at the picture's scale; 0 where there is none."""
    if filled is None:
        return np.zeros((region.box.height, region.box.width, 3), np.float32)
    gaps = masks.bounding_box(left[region.box.slices])  # of other regions too: these are looked at
    return region.restore(filled, gaps)
