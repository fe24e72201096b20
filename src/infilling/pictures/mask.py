"""Masks: read them from anything, and do arithmetic on them. True = hole, everywhere.

A mask here is a boolean array (H, W). Whatever convention a file follows is turned into this one by `read`,
at the door, so that no later step has to ask.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Union

import numpy as np

from infilling.errors import InputError
from infilling.pictures.files import decode, from_pil
from infilling.pictures.picture import Array, Bools, Ints, Picture

if TYPE_CHECKING:
    from PIL import Image

Mask = Bools
Source = Union[bytes, Path, Array, Picture, "Image.Image"]

# ITU-R BT.601 luma in thousandths: integers, so that a grey (v, v, v) weighs exactly 1000 v.
LUMA = (299, 587, 114)


class Box(NamedTuple):
    """A rectangle in pixels: left edge, top edge, width, height (the order of `--box x,y,w,h`)."""

    x: int
    y: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of this box in an array (H, W, ...)."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


def shift(box: Box, whole: Box) -> Box:
    """A box as it lies in another one.

    >>> shift(Box(5, 7, 2, 2), Box(4, 4, 9, 9))
    Box(x=1, y=3, width=2, height=2)
    """
    return box._replace(x=box.x - whole.x, y=box.y - whole.y)


class _Levels(NamedTuple):
    """What a mask source holds before it is binarised."""

    values: Array  # (H, W, C), C 1 or 3, from 0 to `top`
    alpha: Array | None  # (H, W), from 0 to `top`
    top: int


def read(
    source: Source,
    *,
    size: tuple[int, int] | None = None,
    invert: bool = False,
    threshold: float = 0.5,
    color: str | None = None,
    tolerance: int = 0,
    from_alpha: bool = False,
    resize: bool = False,
) -> Mask:
    """Read a mask from a file, an image or an array.

    Without options, bright is hole: a pixel is hole where its grey reaches `threshold` of white, so of the
    8-bit greys 128 is hole and 127 is known; the noise of a JPEG mask goes away. Colours count by their luma
    and what is transparent as black. An array of integers that holds only 0 and 1 is taken as it is; an
    array of floats spans 0 to 1.

    Args:
        source: bytes of an image file, its path, a Picture, a Pillow image, or an array (H, W) or
            (H, W, 1 to 4).
        size: (height, width) of the picture; None accepts any size.
        invert: the source marks what to keep. Applied last, whatever the source.
        threshold: share of white, in (0, 1], from which a grey is hole; for `from_alpha`, of opaque.
        color: hole is what has this colour, '#ff00ff' or '#f0f'.
        tolerance: how far each 8-bit channel may lie from `color`, 0 to 255.
        from_alpha: hole is what is less opaque than `threshold`, as an eraser in an editor leaves it.
        resize: bring a mask of another size to `size` by its nearest pixels instead of refusing it.

    Returns:
        (H, W) bool, True = hole; never a view of the source. It may be empty.

    Raises:
        InputError: the source cannot be read as a mask, an option makes no sense, or the sizes differ.

    >>> read(np.array([[0, 127, 128, 255]], dtype=np.uint8))
    array([[False, False,  True,  True]])
    """
    if not 0 < threshold <= 1:
        raise InputError(f"mask threshold {threshold} is outside (0, 1]: it is a share of white, such as 0.5")
    if color is not None and from_alpha:
        raise InputError("a mask is read from its alpha or from a colour, not both: drop one of them")
    levels = _open(source)
    if from_alpha:
        hole = _alpha_holes(levels, threshold)
    elif color is not None:
        hole = _color_holes(levels, color, tolerance)
    else:
        hole = _bright_holes(levels, threshold)
    if invert:
        hole = ~hole
    if size is None or hole.shape == tuple(size):
        return hole
    if not resize:
        raise InputError(
            f"the mask is {hole.shape[1]}×{hole.shape[0]} but the picture is {size[1]}×{size[0]} "
            "(width × height): use a mask of the picture's size, or ask for it to be resized"
        )
    return resize_nearest(hole, *size)


def from_boxes(boxes: Sequence[tuple[int, int, int, int]], height: int, width: int) -> Mask:
    """Make a mask (height, width) whose holes are boxes (x, y, width, height), cut off at its edges.

    Raises:
        InputError: a box is empty or lies wholly outside the picture.

    >>> from_boxes([(1, 0, 9, 1)], height=2, width=3)
    array([[False,  True,  True],
           [False, False, False]])
    """
    mask = np.zeros((height, width), dtype=bool)
    for x, y, box_width, box_height in boxes:
        name = f"box {x},{y},{box_width},{box_height} (x,y,width,height)"
        if box_width <= 0 or box_height <= 0:
            raise InputError(f"{name} has no area: width and height must be at least 1")
        if x >= width or y >= height or x + box_width <= 0 or y + box_height <= 0:
            raise InputError(f"{name} lies outside the picture, which is {width}×{height} (width × height)")
        mask[max(y, 0) : y + box_height, max(x, 0) : x + box_width] = True
    return mask


def require_known(mask: Mask) -> None:
    """Refuse a mask that leaves nothing to fill from.

    Raises:
        InputError: every pixel is hole.
    """
    if mask.all():
        raise InputError(
            "the mask covers the whole picture, so nothing is left to fill from: "
            "if it marks what to keep, invert it"
        )


def grow(mask: Mask, pixels: int) -> Mask:
    """Widen every hole by a disc: hole is what lies within `pixels` (Euclidean) of a hole.

    Raises:
        InputError: `pixels` is negative.
    """
    if pixels < 0:
        raise InputError(f"cannot grow a mask by {pixels} pixels: give 0 or more")
    grown = mask.copy()
    holes = bounding_box(mask)
    if pixels == 0 or holes.width == 0:
        return grown
    near = widen(holes, pixels, Box(0, 0, mask.shape[1], mask.shape[0])).slices
    hole, disc = mask[near], grown[near]
    # From its rim to its middle the rows of a disc get wider; so does `wide`, the holes widened sideways.
    wide, reach = hole.copy(), 0
    for dy in range(pixels, -1, -1):
        while reach < math.isqrt(pixels * pixels - dy * dy):
            reach += 1
            wide[:, reach:] |= hole[:, :-reach]
            wide[:, :-reach] |= hole[:, reach:]
        rest = max(0, hole.shape[0] - dy)
        disc[dy:] |= wide[:rest]
        disc[:rest] |= wide[dy:]
    return grown


def bounding_box(mask: Mask) -> Box:
    """Find the smallest box that holds every hole pixel; Box(0, 0, 0, 0) when there is none."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return Box(0, 0, 0, 0)
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return Box(
        x=int(columns[0]),
        y=int(rows[0]),
        width=int(columns[-1] - columns[0]) + 1,
        height=int(rows[-1] - rows[0]) + 1,
    )


def components(mask: Mask) -> list[Box]:
    """Find the connected groups of hole pixels (sides or corners touching) and return the box round each.

    The boxes come in the order in which a scan by rows meets their groups.
    """
    return [Box(*box) for box in find_groups(mask).boxes.tolist()]


@dataclass(frozen=True, eq=False)
class Groups:
    """The runs of hole pixels along the rows of a mask, in order, and the connected groups that they form.

    Attributes:
        rows, starts, ends: (runs,) row, first column, and column behind the last of each run.
        labels: (runs,) index of the run's group.
        boxes: (groups, 4) x, y, width, height of each group.
    """

    rows: Ints
    starts: Ints
    ends: Ints
    labels: Ints
    boxes: Ints

    def find(self, rows: Ints, columns: Ints) -> Ints:
        """Label of each hole pixel (rows[i], columns[i])."""
        stride = 1 + max(self.ends.max(initial=0), columns.max(initial=0))
        places = np.searchsorted(self.rows * stride + self.starts, rows * stride + columns, side="right")
        return np.asarray(self.labels[places - 1])

    def paint(self, labels: Ints, height: int, width: int) -> Mask:
        """Make a mask (height, width) of some of the groups."""
        chosen = np.isin(self.labels, labels)
        lengths = (self.ends - self.starts)[chosen]
        # The first pixel of each run, and from there a step for each pixel of the run.
        begin = np.repeat((self.rows * width + self.starts)[chosen] - (np.cumsum(lengths) - lengths), lengths)
        mask = np.zeros(height * width, dtype=bool)
        mask[begin + np.arange(lengths.sum())] = True
        return mask.reshape(height, width)


def find_groups(mask: Mask) -> Groups:
    """Find the connected groups of hole pixels: sides or corners touching. See `components`."""
    rows, starts, ends = _find_runs(mask)
    roots = _connect_runs(mask.shape[1], rows, starts, ends)
    # A root is its group's first run: counting the roots up to it numbers the groups in the order of the
    # scan.
    labels = (np.cumsum(roots == np.arange(rows.size)) - 1)[roots]
    order = np.argsort(labels, kind="stable")
    first = np.flatnonzero(np.diff(labels[order], prepend=-1))
    left, right = np.minimum.reduceat(starts[order], first), np.maximum.reduceat(ends[order], first)
    top, bottom = np.minimum.reduceat(rows[order], first), np.maximum.reduceat(rows[order], first) + 1
    return Groups(rows, starts, ends, labels, np.stack([left, top, right - left, bottom - top], axis=1))


def widen(box: Box, pixels: int, limit: Box) -> Box:
    """Widen a box on every side, but not beyond another.

    >>> widen(Box(1, 5, 4, 4), 2, limit=Box(0, 0, 20, 10))
    Box(x=0, y=3, width=7, height=7)
    """
    left, top = max(box.x - pixels, limit.x), max(box.y - pixels, limit.y)
    right = min(box.x + box.width + pixels, limit.x + limit.width)
    bottom = min(box.y + box.height + pixels, limit.y + limit.height)
    return Box(left, top, right - left, bottom - top)


def resize_nearest(mask: Mask, height: int, width: int) -> Mask:
    """Resize a mask by taking, for each new pixel, the old one under its centre."""
    rows = (2 * np.arange(height) + 1) * mask.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * mask.shape[1] // (2 * width)
    return mask[np.ix_(rows, columns)]


# -- reading -------------------------------------------------------------------------------------------------


def _open(source: Source) -> _Levels:
    if isinstance(source, np.ndarray):
        return _read_array(source)
    if isinstance(source, Picture):
        picture = source
    elif isinstance(source, bytes | Path):
        picture = decode(source)
    else:
        if source.mode in ("1", "I", "F"):  # bits, 32-bit integers, floats: no Picture holds them
            return _read_array(np.asarray(source))
        picture = from_pil(source)
    return _Levels(picture.pixels, picture.alpha, int(np.iinfo(picture.pixels.dtype).max))


def _read_array(array: Array) -> _Levels:
    shape = "×".join(str(side) for side in array.shape)
    pixels = array[..., None] if array.ndim == 2 else array
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 2, 3, 4):
        raise InputError(f"a mask array is (height, width) or (height, width, 1 to 4 channels), not {shape}")
    if pixels.size == 0:
        raise InputError(f"the mask has no pixels: its array is {shape}")
    if pixels.dtype == bool:
        pixels, top = pixels.astype(np.uint8), 1
    elif np.issubdtype(pixels.dtype, np.integer):
        top = _find_top(pixels)
    elif np.issubdtype(pixels.dtype, np.floating):
        if not (pixels.min() >= 0 and pixels.max() <= 1):  # so written, NaN is refused too
            raise InputError(
                f"a mask of floats lies in [0, 1]; this one spans {pixels.min():g} to {pixels.max():g}"
            )
        top = 1
    else:
        raise InputError(f"a mask array holds booleans, integers or floats, not {pixels.dtype}")
    colors = 1 if pixels.shape[2] < 3 else 3
    return _Levels(pixels[..., :colors], pixels[..., colors] if pixels.shape[2] > colors else None, top)


def _find_top(pixels: Array) -> int:
    """Find the value that stands for white in an array of integers."""
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > 65535:
        raise InputError(f"a mask of integers lies in 0 to 65535; this one spans {low} to {high}")
    if high <= 1 and pixels.shape[2] == 1:
        return 1
    if pixels.dtype == np.uint16:
        return 65535
    return 255 if high <= 255 else 65535


def _bright_holes(levels: _Levels, threshold: float) -> Mask:
    values, alpha, top = levels
    limit = threshold * top
    if values.shape[2] == 1 and alpha is None:
        return np.asarray(values[..., 0] >= limit)
    wide = np.int32 if np.issubdtype(values.dtype, np.integer) else np.float64
    weights = LUMA if values.shape[2] == 3 else (1000,)
    luma = np.zeros(values.shape[:2], dtype=wide)
    for c, weight in enumerate(weights):
        luma += weight * values[..., c].astype(wide)
    if alpha is None:
        return np.asarray(luma >= limit * 1000)
    return np.asarray(luma * alpha.astype(np.float64) >= limit * 1000 * top)


def _alpha_holes(levels: _Levels, threshold: float) -> Mask:
    if levels.alpha is None:
        raise InputError("the mask has no alpha channel: save it with transparency, or read its brightness")
    return np.asarray(levels.alpha < threshold * levels.top)


def _color_holes(levels: _Levels, color: str, tolerance: int) -> Mask:
    if not re.fullmatch(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})", color):
        raise InputError(f"mask colour {color!r} is not a colour: write it as '#ff00ff' or '#f0f'")
    if not 0 <= tolerance <= 255:
        raise InputError(f"mask colour tolerance {tolerance} is outside 0 to 255")
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    hole = np.ones(levels.values.shape[:2], dtype=bool)
    scale = levels.top / 255
    for c in range(3):
        wanted = int(digits[2 * c : 2 * c + 2], 16)
        channel = levels.values[..., min(c, levels.values.shape[2] - 1)]
        # Half a step of slack takes in a 16-bit value that an 8-bit colour was rounded from.
        hole &= channel >= (wanted - tolerance - 0.5) * scale
        hole &= channel < (wanted + tolerance + 0.5) * scale
    return hole


# -- runs of hole pixels -------------------------------------------------------------------------------------


def _find_runs(mask: Mask) -> tuple[Ints, Ints, Ints]:
    """Find the runs of hole pixels along the rows, in order: row, first column, column behind the last."""
    height, width = mask.shape
    padded = np.zeros((height, width + 1), dtype=bool)  # the known column at the end keeps rows apart
    padded[:, :-1] = mask
    flat = padded.reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[:1].any():
        edges = np.concatenate([[0], edges])
    rows, starts = np.divmod(edges[0::2], width + 1)
    return rows, starts, edges[1::2] - rows * (width + 1)


def _connect_runs(width: int, rows: Ints, starts: Ints, ends: Ints) -> Ints:
    """Give every run the index of the first run of its 8-connected group: (n,)."""
    # One coordinate for all rows. Two free places between rows: a run never touches its neighbour row's by
    # wrapping.
    stride = width + 2
    first_place, last_place = rows * stride + starts, rows * stride + ends
    # The runs of the row above that touch a run are consecutive: those that end at or behind its start, and
    # start at or before its end (both may be one off to the side: corners count).
    low = np.searchsorted(last_place, first_place - stride, side="left")
    high = np.searchsorted(first_place, last_place - stride, side="right")
    counts = np.maximum(high - low, 0)
    below = np.repeat(np.arange(rows.size), counts)
    above = np.arange(counts.sum()) + np.repeat(low - (np.cumsum(counts) - counts), counts)
    # Union-find over all pairs at once: hang every root under the smallest root it touches, flatten, repeat.
    # Each round at least halves the number of roots that still touch another.
    parents = np.arange(rows.size)
    while True:
        one, other = parents[below], parents[above]
        apart = one != other
        if not apart.any():
            return parents
        one, other, below, above = one[apart], other[apart], below[apart], above[apart]
        np.minimum.at(parents, np.maximum(one, other), np.minimum(one, other))
        while not np.array_equal(flatter := parents[parents], parents):
            parents = flatter
