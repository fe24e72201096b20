"""Sources: where texture may be copied from, and the part of a picture that is looked at for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from infilling.errors import InputError
from infilling.filling.contract import Engine, find_taken, run_engine
from infilling.filling.options import FillOptions
from infilling.filling.pyramid import ENOUGH_SOURCES, count_sources
from infilling.pictures.frame import Region
from infilling.pictures.mask import Box, Mask, shift, widen
from infilling.pictures.mask_files import read_mask
from infilling.pictures.picture import Floats, Levels, to_float

SIDE = 3  # px, of the smallest patch that any engine copies
FIRST_REACH = 640  # distance from the hole, in px, within which a source is looked for first


def read_sources(options: FillOptions, hole: Mask, engine: Engine, turn: int = 1) -> FillOptions:
    """Read the masks of where texture may be copied from, and of what may not be copied.

    Args:
        options: `source` and `avoid` are used; `resize_mask` and `mask_frame` hold for them too.
        hole: (H, W) bool, which is no source.
        engine: what fills.
        turn: EXIF orientation by which the picture was turned, 1 to 8.

    Returns:
        Options whose `source` is (H, W) bool, both in one, or None if there is neither; without `avoid`.

    Raises:
        InputError: a mask cannot be read, it leaves nothing to copy, or the engine copies nothing.
    """
    if not options.choose_source:
        return options
    name = "source" if options.source is not None else "avoid"
    if not (is_finished(engine, options) or "source" in find_taken(engine)):
        how = "" if options.detail else " without detail"
        raise InputError(
            f"{engine.name} copies no texture{how}: {name!r} is for default, fidelity and patch-synthesis",
            field=name,
        )
    about: dict[str, Any] = {
        "size": hole.shape,
        "resize": options.resize_mask,
        "turn": turn,
        "frame": options.mask_frame,
    }
    allowed = ~hole
    if options.source is not None:
        allowed &= _read(options.source, "source", about)
    if options.avoid is not None:
        allowed &= ~_read(options.avoid, "avoid", about)
    if not count_sources(~allowed, SIDE // 2):
        raise InputError("'source' and 'avoid' leave nothing to copy from: widen the source", field=name)
    return dataclasses.replace(options, source=allowed, avoid=None)


def is_finished(engine: Engine, options: FillOptions) -> bool:
    """Say whether fills of this engine are finished: those of one that works at a size of its own."""
    return options.detail and bool(engine.size_rule.working_size or engine.size_rule.fixed_size)


def _read(mask: Any, field: str, about: dict[str, Any]) -> Mask:
    try:
        return read_mask(mask, **about)
    except InputError as error:
        raise InputError(f"{field}: {error}", field=field) from error


def find_window(core: Box, source: Mask) -> Box:
    """Return the part of a picture to copy in: the surroundings of a hole, wide enough to hold its source.

    Args:
        core: box round the hole.
        source: (H, W) bool, where texture may be copied from.
    """
    whole, reach = Box(0, 0, source.shape[1], source.shape[0]), FIRST_REACH
    near = widen(core, reach, whole)
    while near != whole and count_sources(~source[near.slices], SIDE) < ENOUGH_SOURCES:
        reach *= 2
        near = widen(core, reach, whole)
    return near


def fill_from_source(
    engine: Engine, pixels: Levels, hole: Mask, region: Region, options: FillOptions
) -> Floats:
    """Fill a region with an engine that takes a source.

    Args:
        engine: what fills.
        pixels: (H, W, 1 or 3) uint8, uint16, or float32 in [0, 1].
        hole: (H, W) bool, what is unknown.
        region: the pixels to fill.
        options: `seed` and `source`, (H, W) bool, are used.

    Returns:
        (region.box.height, region.box.width, 3) in [0, 1]; 0 outside `region.core`.
    """
    near = find_window(region.core, options.source)
    image = np.ascontiguousarray(to_float(pixels[near.slices]).transpose(2, 0, 1)[None])
    gap, source = (mask[near.slices][None, None].astype(np.float32) for mask in (hole, options.source))
    filled = run_engine(engine, image, gap, seed=options.seed, source=source)
    restored = np.zeros((region.box.height, region.box.width, 3), np.float32)
    part = filled[0].transpose(1, 2, 0)[shift(region.core, near).slices]
    restored[shift(region.core, region.box).slices] = part
    return restored
