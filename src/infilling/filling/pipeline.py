"""The one pipeline that every surface calls: decode, find the hole, fill, mark, encode."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from infilling.errors import Advice, InputError, collect_warnings, warn
from infilling.filling.contract import Engine, check_hole, is_trained, require_engine
from infilling.filling.options import AUTO, FillOptions, make_options
from infilling.filling.regions import fill_samples
from infilling.filling.sources import read_sources
from infilling.filling.visible import see_visible
from infilling.pictures import marks
from infilling.pictures import mask as masks
from infilling.pictures.files import decode, encode
from infilling.pictures.mask import Box, Mask
from infilling.pictures.mask_files import MaskSource, read_mask, read_soft_mask
from infilling.pictures.picture import Array, Floats, Picture, find_format
from infilling.pictures.rim import measure_rim
from infilling.pictures.sniffing import sniff
from infilling.pictures.xmp import SourceType

NEARLY_ALL = 0.9  # share of a picture that few holes take


@dataclass(frozen=True, eq=False)
class Filled:
    """A filled picture, and what there is to know about it.

    Attributes:
        picture: the result; the very picture that was given if nothing changed.
        hole: (H, W) bool, the pixels that were filled.
        warnings: sentences for the person who asked.
        changed: whether anything was filled.
    """

    picture: Picture
    hole: Mask
    warnings: tuple[str, ...] = ()
    changed: bool = True

    @property
    def box(self) -> Box:
        """The smallest box that holds every filled pixel; (0, 0, 0, 0) if there is none."""
        return masks.bounding_box(self.hole)


@dataclass(frozen=True, eq=False)
class FilledFile:
    """The file of a filled picture or array, and what there is to know about it.

    Attributes:
        data: bytes of the file.
        format: name of its format.
        hole: (H, W) bool, the pixels that were filled.
        picture: the result; None for data and arrays.
        warnings: sentences for the person who asked.
        doubt: mean standard deviation, in the hole, of several fills; None for one.
    """

    data: bytes
    format: str
    hole: Mask
    picture: Picture | None = None
    warnings: tuple[str, ...] = ()
    doubt: float | None = None


def fill_file(
    data: bytes,
    mask: MaskSource | None,
    engine: Engine,
    options: FillOptions | None = None,
    *,
    max_pixels: int | None = None,
    name: str | None = None,
) -> FilledFile:
    """Fill the holes of a picture that is given as the bytes of its file.

    Where there is no hole, and no other format or quality is asked for, the bytes come back as they were.

    Args:
        data: the picture's file.
        mask: where the hole is, beside what `options` say.
        engine: what fills.
        options: how; None: the defaults.
        max_pixels: refuse larger pictures; see `decode`.
        name: what errors call the picture.

    Raises:
        InputError: picture, mask or an option cannot be used.
        ModelError: the engine fails.
    """
    options = options or FillOptions()
    with collect_warnings() as reported:
        picture = decode(data, max_pixels=max_pixels, name=name)
        filled = fill_decoded(picture, mask, engine, options, owned=True)
        written, format = write_file(data, picture, filled, options)
    warnings = tuple(dict.fromkeys([*reported, *filled.warnings]))
    return FilledFile(written, format, filled.hole, filled.picture, warnings)


def fill_decoded(
    picture: Picture,
    mask: MaskSource | None,
    engine: Engine,
    options: FillOptions,
    *,
    within: Box | None = None,
    owned: bool = False,
) -> Filled:
    """Fill the holes of a picture by all of its options but those of the file.

    Args:
        picture: what has holes.
        mask: where the hole is, beside what `options` say.
        engine: what fills.
        options: how.
        within: holes outside this box are left alone; None: all are filled.
        owned: nobody else looks at the picture's pixels: the result may be written into them.

    Raises:
        InputError: the mask or an option cannot be used; its `field` names the option.
        ModelError: the engine fails.
    """
    if options.nodata is not None:
        raise InputError(
            "'nodata' is for arrays and TIFFs of data: in a picture, mark what is missing by its colour",
            field="nodata",
        )
    with collect_warnings() as reported:
        hole, weight = find_mark(picture, mask, options)
        if within is not None:
            inside = np.zeros_like(hole)
            inside[within.slices] = True
            hole &= inside
        hole = masks.grow(hole, find_growth(picture, hole, options))
        if not hole.any():
            warn("nothing is marked as hole, so nothing was filled")
            return Filled(picture, hole, tuple(reported), changed=False)
        result = _fill_hole(picture, hole, engine, options, owned=owned and weight is None)
        if weight is not None:
            result = blend_softly(picture, result, weight)
        if mask is None and options.mask_from_alpha:
            result = _make_opaque(result, hole)
        if options.mark:
            result = mark_as_filled(result, engine)
    return Filled(result, hole, tuple(reported))


def fill_picture(
    picture: Picture, mask: Mask, engine: Engine, options: FillOptions | None = None, **changes: Any
) -> Picture:
    """Fill the holes of a picture.

    Known pixels, alpha, profile and metadata stay as they are: a pixel that was transparent is filled and
    still transparent. A grey picture stays grey. With 16 bits, what is filled is in the range of the known
    values.

    Args:
        picture: of any size, 8 or 16 bit.
        mask: (H, W) bool, True = hole. If there is none, `picture` itself is returned.
        engine: what fills.
        options: `grow`, `feather` and `detail` are used; None: the defaults.
        changes: options by name, in place of those.

    Raises:
        InputError: the mask has another size, leaves nothing to fill from, or is not for this engine.
        ModelError: the engine fails.
    """
    options = make_options(options, changes)
    _require_picture(picture)
    require_engine(engine)
    size = picture.height, picture.width
    if not isinstance(mask, np.ndarray):
        raise InputError(f"the mask is a boolean array, not {type(mask).__name__}")
    if mask.dtype != np.bool_ or mask.shape != size:
        raise InputError(f"the mask is {mask.dtype} {mask.shape}, but this picture takes bool {size}")
    # No warning at a rim: this is also for holes that were drawn anywhere, as in evaluations.
    pixels = _measure_rim(picture, mask, None) if options.grow == AUTO else int(options.grow)
    hole = masks.grow(mask, pixels)
    return _fill_hole(picture, hole, engine, options) if hole.any() else picture


def find_growth(picture: Picture, hole: Mask, options: FillOptions, unseen: Mask | None = None) -> int:
    """Return by how many pixels `grow` widens a hole; warn if it then still ends on an edge.

    Args:
        picture: with what the hole covers still in place.
        hole: (H, W) bool.
        options: `grow` is used.
        unseen: (H, W) bool, pixels whose colour means nothing, beside those under alpha 0.
    """
    if options.grow == AUTO:
        return _measure_rim(picture, hole, unseen)
    pixels = int(options.grow)
    grown = masks.grow(hole, pixels) if pixels else hole
    if rim := _measure_rim(picture, grown, unseen):
        text = f"the mask ends on the edge of what it covers: --grow {pixels + rim} would take in the rim"
        warn(Advice.make("tight-mask", text, grow=pixels + rim))
    return pixels


def _measure_rim(picture: Picture, hole: Mask, unseen: Mask | None) -> int:
    clear = picture.clear
    return measure_rim(picture.pixels, hole, clear if unseen is None else clear | unseen)


def _fill_hole(
    picture: Picture, hole: Mask, engine: Engine, options: FillOptions, *, owned: bool = False
) -> Picture:
    masks.require_known(hole)
    check_hole(engine, hole)
    options = read_sources(options, hole | picture.clear, engine, picture.turn)
    seen, unseen = see_visible(picture, hole)
    if seen is picture.pixels:
        pixels = seen if owned else seen.copy()
        return picture.with_pixels(fill_samples(pixels, hole, engine, options, unseen))
    filled = fill_samples(seen, hole, engine, options, unseen)
    pixels, near = picture.pixels.copy(), masks.bounding_box(hole).slices
    pixels[near][hole[near]] = filled[near][hole[near]]
    return picture.with_pixels(pixels)


def find_hole(
    picture: Picture, mask: MaskSource | None = None, options: FillOptions | None = None, **changes: Any
) -> Mask:
    """Combine all the ways in which the hole of a picture can be given.

    Args:
        picture: what has holes; its own alpha or colours say where, if there is no mask.
        mask: where the hole is.
        options: those of the group `mask` are used, but not `grow`; None: the defaults.
        changes: options by name, in place of those.

    Returns:
        (H, W) bool: what the mask marks, and the boxes.

    Raises:
        InputError: nothing says where the hole is, or what says it cannot be used.
    """
    _require_picture(picture)
    return find_mark(picture, mask, make_options(options, changes))[0]


def _require_picture(picture: object) -> None:
    if not isinstance(picture, Picture):
        raise InputError(f"a picture is a Picture, as decode() gives it, not {type(picture).__name__}")


def find_mark(picture: Picture, mask: MaskSource | None, options: FillOptions) -> tuple[Mask, Floats | None]:
    """Return (H, W) the hole, and for a soft mask the share of the fill in the result; see `find_hole`."""
    is_read = mask is not None or options.mark_by_sight
    if not is_read:
        _require_boxes(options)
    size = picture.height, picture.width
    boxes = masks.from_boxes(options.boxes, *size)
    hole, weight = _read_mark(picture, mask, options) if is_read else (boxes, None)
    hole = hole | boxes
    if weight is not None:
        weight = np.maximum(weight, boxes)
    if mask is not None and _seems_inverted(hole):
        share = round(100 * hole.mean())
        text = f"the mask marks {share} % of the picture as hole: if it marks what to keep, invert it"
        warn(Advice.make("mostly-hole", text, share=share))
    return hole, weight


def _seems_inverted(hole: Mask) -> bool:
    """Say whether a hole is nearly all of a picture and what is left are things, not scattered pixels."""
    if not NEARLY_ALL * hole.size <= np.count_nonzero(hole) < hole.size:
        return False
    kept = ~hole
    inner = kept[:-1, :-1] & kept[1:, :-1] & kept[:-1, 1:] & kept[1:, 1:]
    return bool(np.count_nonzero(inner) > np.count_nonzero(kept) / 2)


def _require_boxes(options: FillOptions) -> None:
    """Refuse a fill of which nothing says where, or boxes to be inverted."""
    if not options.boxes:
        raise InputError("nothing says where the hole is: give a mask, boxes, its colour, or take the alpha")
    if options.invert_mask:
        raise InputError("boxes cannot be inverted: give a mask", field="invert_mask")


def _read_mark(picture: Picture, mask: MaskSource | None, options: FillOptions) -> tuple[Mask, Floats | None]:
    """Read the hole, and the weight of a soft mask, from a mask; without one, from the picture itself.

    Raises:
        InputError: it cannot be read; the `field` is "mask" where it is not an option's.
    """
    about: dict[str, Any] = {
        "size": (picture.height, picture.width),
        "invert": options.invert_mask,
        "resize": options.resize_mask,
        "from_alpha": options.mask_from_alpha,
        "turn": 1 if mask is None else picture.turn,  # the picture itself was turned with its hole
        "frame": options.mask_frame,
    }
    rule: dict[str, Any] = {
        "threshold": options.mask_threshold,
        "color": options.mask_color,
        "tolerance": options.tolerance,
    }
    source = picture if mask is None else mask
    try:
        if not options.soft_mask:
            return read_mask(source, **about, **rule), None
        weight = read_soft_mask(source, **about)
        return weight > 0, weight
    except InputError as error:
        field = error.field or (None if mask is None else "mask")
        raise InputError(str(error), field=field) from error


def write_file(data: bytes, picture: Picture, filled: Filled, options: FillOptions) -> tuple[bytes, str]:
    """Write the file of a filled picture.

    Args:
        data: the file that was given; returned where nothing changed and no other form is asked for.
        picture: what `data` holds, as it was given to the pipeline.
        filled: what became of it.
        options: `format` and `quality` are used.

    Returns:
        The bytes of the file, and its format.

    Raises:
        InputError: the picture cannot be written in this format.
    """
    format = find_format(options.format) if options.format else picture.format
    is_same = filled.picture is picture and options.quality is None
    if is_same and format == picture.format == sniff(data):  # a GIF or HEIC becomes a PNG
        return data, format
    for text in picture.warnings:
        warn(text)
    return encode(filled.picture, format, quality=options.quality), format


def mark_as_filled(picture: Picture, engine: Engine) -> Picture:
    """Write in the picture's XMP that parts of it are made up, and whether a trained network made them.

    Raises:
        InputError: its XMP is not such that it could be added to.
    """
    source_type: SourceType = (
        "compositeWithTrainedAlgorithmicMedia" if is_trained(engine) else "compositeSynthetic"
    )
    try:
        return marks.mark(picture, source_type)
    except InputError as error:
        raise InputError(str(error), field="mark") from error


def blend_softly(given: Picture, filled: Picture, weight: Floats) -> Picture:
    """Mix a fill into the picture by a soft mask.

    Args:
        given: the picture as it was.
        filled: the same picture, filled.
        weight: (H, W) in [0, 1], the share of the fill.
    """
    return filled.with_pixels(mix(given.pixels, filled.pixels, weight))


def mix(given: Array, filled: Array, weight: Floats) -> Array:
    """Return `given`, mixed with `filled` by (H, W) shares of the latter; integers are rounded."""
    before, after = given.astype(np.float64), filled.astype(np.float64)
    share = weight.reshape(weight.shape + (1,) * (given.ndim - 2))
    mixed = np.where(share == 1, after, before + share * (after - before))
    return (mixed if given.dtype.kind == "f" else np.rint(mixed)).astype(given.dtype)


def _make_opaque(picture: Picture, hole: Mask) -> Picture:
    """Make the filled pixels opaque: their alpha was what marked them."""
    if picture.alpha is None:
        return picture
    alpha = picture.alpha.copy()
    alpha[hole] = np.iinfo(alpha.dtype).max
    return dataclasses.replace(picture, alpha=alpha)
