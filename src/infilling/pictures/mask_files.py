"""Masks from files, images and arrays: one rule for all of what marks a hole."""

import os
import re
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image

from infilling.errors import InputError, check_argument, check_count, check_number, show_value, warn
from infilling.pictures.files import decode, decode_raster, from_pil, read_source
from infilling.pictures.mask import LUMA, Mask
from infilling.pictures.mask_placing import place_mask
from infilling.pictures.picture import Array, Floats, Picture, split_channels

HALF = 0.5  # share of white from which a grey is hole, unless the mask has two values only
FAINTEST = 0.02  # share of white below which a soft mask marks nothing: noise of a JPEG
MOST_STEPS = 65535  # of a tolerance
FAINT = 0.1  # share of white up to which a grey is nearly black; and nearly the brightest, that far below
FEW_GREYS = 16  # a mask may be drawn in
SOME_ROWS = 200  # of a mask that are looked at to see whether it is a picture
FRAMES = ("seen", "stored")
COLOR = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6}|[0-9a-fA-F]{12})")


class Readable(Protocol):
    """A file object, open for reading bytes."""

    def read(self) -> bytes:
        """Return all that is left in it."""


MaskSource = bytes | str | Path | Readable | Picture | Array | list[Any] | Image.Image


class _Levels(NamedTuple):
    """What a mask source holds before it is made a mask."""

    values: Array  # (H, W, C), C 1 or 3, from 0 to `top`
    alpha: Array | None  # (H, W), from 0 to `top`
    top: int


def read_mask(
    source: MaskSource,
    *,
    size: tuple[int, int] | None = None,
    invert: bool = False,
    threshold: float | None = None,
    color: str | None = None,
    tolerance: int = 0,
    from_alpha: bool = False,
    resize: bool = False,
    turn: int = 1,
    frame: str | None = None,
) -> Mask:
    """Read a mask from a file, an image or an array.

    Bright is hole. Of a mask with two values, the brighter one is hole, whatever the values are. In any other
    mask a pixel is hole where its grey reaches `threshold` of white. Colours count by their luma, and what is
    transparent counts as black. A mask that is not black but marks nothing by this rule is refused.

    Args:
        source: bytes of an image file, its path, an open file, a Picture, a Pillow image, or an array (or
            what NumPy makes one of) of (H, W) or (H, W, 1 to 4): booleans, integers from 0, or floats in
            [0, 1].
        size: (height, width) of the picture; None accepts any size.
        invert: the source marks what to keep. Applied last.
        threshold: share of white, in (0, 1], from which a grey is hole; with `from_alpha`, share of opaque
            below which alpha is hole. None: 0.5 unless the mask has two values; with `from_alpha`, what is
            less opaque than the most opaque pixel.
        color: hole is what has this colour: '#ff00ff', '#f0f', or in 16 bits '#ffff0000ffff'.
        tolerance: distance of each channel from `color`, in steps of 1/255 (of 1/65535 for a colour in 16
            bits), up to which a pixel has this colour; 0 to 255 (65535).
        from_alpha: hole is what an eraser left, hard or soft: what is not opaque.
        resize: bring a mask of another size to `size` by its nearest pixels instead of refusing it.
        turn: EXIF orientation by which the picture was turned, 1 to 8.
        frame: what the mask was drawn on: the picture as "seen", or as "stored" before that turn. None
            refuses a mask that fits both in different ways.

    Returns:
        (H, W) bool, True = hole; never a view of the source. It may be empty.

    Raises:
        InputError: the source cannot be read as a mask, an option makes no sense, or the sizes differ.

    >>> read_mask(np.array([[0, 127, 128, 255]], dtype=np.uint8))
    array([[False, False,  True,  True]])
    >>> read_mask(np.array([[0, 2, 0]], dtype=np.uint8))
    array([[False,  True, False]])
    """
    _check_arguments(locals())
    _check_rule(threshold, color, tolerance, from_alpha)
    hole = _find_hole(_open(source), threshold, color, tolerance, from_alpha)
    hole = ~hole if invert else hole
    return hole if size is None else place_mask(hole, size, resize, turn, frame)


_ARGUMENTS: tuple[tuple[str, Any, str], ...] = (
    ("size", tuple | list | None, "(height, width)"),
    ("invert", bool | np.bool, "True or False"),
    ("threshold", Real | None, "a share of white"),
    ("color", str | None, "a colour such as '#ff00ff'"),
    ("from_alpha", bool | np.bool, "True or False"),
    ("resize", bool | np.bool, "True or False"),
    ("frame", str | None, "'seen' or 'stored'"),
)
"""Arguments of both readers, their types, and what a message says of them."""


def _check_arguments(given: dict[str, Any]) -> None:
    """Refuse arguments that have another type or are out of range."""
    for name, kinds, wanted in _ARGUMENTS:
        check_argument(name, given.get(name), kinds, wanted)
    check_count("turn", given["turn"], 1, 8)
    if given["frame"] not in (None, *FRAMES):
        raise InputError(f"frame {show_value(given['frame'])} cannot be used: give 'seen' or 'stored'")
    size = given["size"]
    if size is not None and [isinstance(side, Integral) for side in size] != [True, True]:
        raise InputError(f"size {show_value(size)} cannot be used: give (height, width)")


def _check_rule(threshold: float | None, color: str | None, tolerance: int, from_alpha: bool) -> None:
    """Refuse what a hole cannot be found by: numbers out of range, and rules that exclude each other."""
    check_number("tolerance", tolerance, 0, MOST_STEPS)
    if threshold is not None and not 0 < threshold <= 1:
        raise InputError(
            f"mask threshold {show_value(threshold)} is outside (0, 1]: it is a share of white, such as 0.5"
        )
    if color is not None and from_alpha:
        raise InputError("a mask is read from its alpha or from a colour, not both: drop one of them")


def read_soft_mask(
    source: MaskSource,
    *,
    size: tuple[int, int] | None = None,
    invert: bool = False,
    from_alpha: bool = False,
    resize: bool = False,
    turn: int = 1,
    frame: str | None = None,
) -> Floats:
    """Read a mask whose grey is the share of the fill in the result; see `read_mask` for the arguments.

    Returns:
        (H, W) in [0, 1]; what is fainter than FAINTEST is 0.

    Raises:
        InputError: as `read_mask`.

    >>> read_soft_mask(np.array([[0, 51, 255]], dtype=np.uint8)).tolist()
    [[0.0, 0.20000000298023224, 1.0]]
    """
    _check_arguments(locals())
    weight = _measure_weight(_open(source), from_alpha, invert)
    return weight if size is None else place_mask(weight, size, resize, turn, frame)


# -- opening -------------------------------------------------------------------------------------------------


def _open(source: MaskSource) -> _Levels:
    """Read a source of any kind into levels."""
    if isinstance(source, Picture):
        return _take_levels(source)
    if isinstance(source, Image.Image):
        if source.mode in ("1", "I", "F"):  # bits, 32-bit integers, floats: no Picture holds them
            return _read_array(np.asarray(source))
        return _take_levels(from_pil(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return _read_levels(bytes(source), "the mask")
    if isinstance(source, str | os.PathLike):
        return _read_levels(read_source(source), os.fsdecode(source))
    if callable(getattr(source, "read", None)):
        return _open(_read_bytes(source))
    try:
        array = np.ma.filled(source, 0) if isinstance(source, np.ma.MaskedArray) else np.asarray(source)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different lengths; a tensor on a GPU
        raise InputError(f"cannot make a mask of {type(source).__name__}: {error}") from error
    return _read_array(array)


def _read_bytes(file: Any) -> bytes:
    """Return what is left in an open file."""
    try:
        data = file.read()
    except (OSError, ValueError) as error:  # closed, or open for writing; or no UTF-8, if it is one of text
        raise InputError(f"the mask's file cannot be read: {error}") from error
    if not isinstance(data, bytes):
        raise InputError("the mask's file is one of text: open it for bytes, with mode 'rb'")
    return data


def _read_levels(data: bytes, name: str) -> _Levels:
    """Read a file: a picture, or a TIFF of integers or floats of any width."""
    raster = decode_raster(data, name=name)
    return _take_levels(decode(data, name=name)) if raster is None else _read_array(raster.bands)


def _take_levels(picture: Picture) -> _Levels:
    """Return the levels of a picture."""
    return _Levels(picture.pixels, picture.alpha, int(np.iinfo(picture.pixels.dtype).max))


def _read_array(array: Array) -> _Levels:
    """Check an array and find what stands for white in it."""
    shape = "×".join(str(side) for side in array.shape) or "a single value"
    pixels = array[..., None] if array.ndim == 2 else array
    if array.dtype.kind not in "buif":
        raise InputError(f"a mask array holds booleans, integers or floats, not {array.dtype}")
    if pixels.shape[2:] not in ((1,), (2,), (3,), (4,)):
        raise InputError(f"a mask array is (height, width) or (height, width, 1 to 4 channels), not {shape}")
    if pixels.size == 0:
        raise InputError(f"the mask has no pixels: its array is {shape}")
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8)
    pixels, top = _find_top(pixels)
    return _Levels(*split_channels(pixels), top)


def _find_top(pixels: Array) -> tuple[Array, int]:
    """Find the value that stands for white in an array of integers or floats.

    Returns:
        The array, and that value. Two values of which the greater is beyond all whites become 0 and 1.
    """
    low, high = pixels.min(), pixels.max()
    is_float, is_plain = pixels.dtype.kind == "f", pixels.shape[2] == 1
    kind, span, most = ("floats", "[0, 1]", 1) if is_float else ("integers", "0 to 65535", 65535)
    is_in_range = low >= 0 and high <= most  # so written, NaN is out of range
    if not is_in_range:
        is_mark = is_plain and 0 <= low <= high < np.inf and _has_two_values(pixels)
        if not is_mark:
            raise InputError(f"a mask of {kind} is in {span}; this one spans {low:g} to {high:g}")
        return (pixels == high).astype(np.uint8), 1
    has_bits = high <= 1 and is_plain
    has_bytes = high <= 255 and pixels.dtype != np.uint16
    if is_float or has_bits:
        return pixels, 1
    return pixels, 255 if has_bytes else 65535


def _has_two_values(values: Array) -> bool:
    """Return whether there are no values between the least and the greatest, and these two differ."""
    extremes = np.count_nonzero(values == values.min()) + np.count_nonzero(values == values.max())
    return bool(extremes == values.size)


# -- levels to holes -----------------------------------------------------------------------------------------


def _find_hole(
    levels: _Levels, threshold: float | None, color: str | None, tolerance: int, from_alpha: bool
) -> Mask:
    """Find what a mask that is not soft marks."""
    if from_alpha:
        return _find_clear(_require_alpha(levels), threshold, levels.top)
    if color is not None:
        return _find_color(levels, color, tolerance)
    grey, white = _measure_grey(levels)
    if threshold is None and _has_two_values(grey):
        return np.asarray(grey == grey.max())
    share = HALF if threshold is None else threshold
    _require_bright(levels, grey.max() / white, share)
    _warn_of_greys(grey, share, white)
    return np.asarray(grey >= share * white)


def _find_clear(alpha: Array, threshold: float | None, top: int) -> Mask:
    """Find what is less opaque than a share of `top`, or than the most opaque pixel."""
    if threshold is None:
        return np.asarray((alpha < alpha.max()) | (alpha == 0))
    return np.asarray(alpha < threshold * top)


def _require_bright(levels: _Levels, brightest: float, share: float) -> None:
    """Refuse a mask that marks something, but nothing that counts as hole.

    Args:
        levels: what the mask holds.
        brightest: grey of its brightest pixel, as a share of white.
        share: share of white from which a grey is hole.
    """
    if 0 < brightest < share:
        raise InputError(
            f"the mask marks something, but nowhere reaches {share:.0%} of white: its brightest pixel has "
            f"{brightest:.1%}; give a lower mask threshold, or the colour that marks the hole"
        )
    if brightest == 0 and levels.alpha is not None and np.ptp(levels.alpha):
        raise InputError(
            "the mask is black where it is opaque: if its transparent part is the hole, read it from alpha; "
            "if its opaque part is, read it from alpha and invert it"
        )


def _warn_of_greys(grey: Array, share: float, white: float) -> None:
    """Warn of a mask that is hardly black and white, as a picture in which the hole is painted."""
    some = grey[:: -(-len(grey) // SOME_ROWS)]
    between = (some > FAINT * white) & (some < (1 - FAINT) * some.max())
    if np.count_nonzero(between) > some.size / 2 and len(np.unique(some)) > FEW_GREYS:
        warn(
            f"most of the mask is neither black nor bright, and it was cut at {share:.0%} of white: if it is "
            "a picture in which the hole is painted, give the colour that marks the hole"
        )


def _measure_grey(levels: _Levels) -> tuple[Array, float]:
    """Return (H, W) luma times alpha, and the value of opaque white."""
    values, alpha, top = levels
    if values.shape[2] == 1 and alpha is None:
        return values[..., 0], top
    wide = np.int64 if values.dtype.kind in "ui" else np.float64
    weights = LUMA if values.shape[2] == 3 else (1000,)
    luma: Array = np.zeros(values.shape[:2], wide)
    for channel, weight in enumerate(weights):
        luma = luma + weight * values[..., channel].astype(wide)
    if alpha is None:
        return luma, 1000 * top
    return luma * alpha.astype(wide), 1000 * top * top


def _measure_weight(levels: _Levels, from_alpha: bool, invert: bool) -> Floats:
    """Return (H, W) the share of white in [0, 1], or of what is not opaque; 0 where it is faint."""
    if from_alpha:
        grey, white = _require_alpha(levels), float(levels.top)
    else:
        grey, white = _measure_grey(levels)
    weight: Floats = (grey / white).astype(np.float32)
    if from_alpha != invert:
        weight = 1 - weight
    weight[weight < FAINTEST] = 0
    return weight


def _require_alpha(levels: _Levels) -> Array:
    """Return the alpha of a source that must have one."""
    if levels.alpha is None:
        raise InputError("the mask has no alpha channel: save it with transparency, or read its brightness")
    return levels.alpha


def _find_color(levels: _Levels, color: str, tolerance: int) -> Mask:
    """Find the pixels whose every channel is within `tolerance` of a colour; a grey has three equal ones."""
    wanted, white = _parse_color(color)
    if tolerance > white:
        raise InputError(f"mask colour tolerance {tolerance} is outside 0 to {white}")
    step = levels.top / white
    rounding = 0.5 if levels.values.dtype.kind == "f" else 0
    slack = (tolerance + rounding) * step
    planes = np.moveaxis(np.broadcast_to(levels.values, (*levels.values.shape[:2], 3)), 2, 0)
    hole = np.ones(planes.shape[1:], dtype=bool)
    for values, level in zip(planes, wanted, strict=True):
        hole &= values >= level * step - slack
        hole &= values <= level * step + slack
    return hole


def _parse_color(color: str) -> tuple[list[int], int]:
    """Return the three channels of a colour, and what is white in it.

    >>> _parse_color("#f0a")
    ([255, 0, 170], 255)
    """
    if not COLOR.fullmatch(color):
        raise InputError(f"mask colour {color!r} is not a colour: write it as '#ff00ff' or '#f0f'")
    if len(color) == len("#f0f"):
        color = "#" + "".join(2 * digit for digit in color[1:])
    size = len(color) // 3
    channels = [int(color[start : start + size], 16) for start in range(1, len(color), size)]
    return channels, 16**size - 1
