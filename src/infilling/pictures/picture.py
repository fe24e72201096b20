"""The picture as a value, the table of file formats, conversion to and from floats, and array types.

A `Picture` holds what Pillow would lose: 16 bits, colour profile, EXIF, XMP, resolution, and the compression
of a JPEG.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from infilling.errors import InputError, check_argument, check_count, did_you_mean, show_value

Array = npt.NDArray[Any]
Samples = npt.NDArray[np.uint8 | np.uint16]
Levels = npt.NDArray[np.uint8 | np.uint16 | np.float32]
Deep = npt.NDArray[np.uint16]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Format:
    """A file format, and what of a picture it can hold.

    Attributes:
        extensions: endings of file names, the usual one first.
        depths: bits per sample that are read and written exactly.
        writable: whether `encode` writes it; what is read from another format is written as PNG.
        alpha: whether it holds transparency.
    """

    extensions: tuple[str, ...]
    depths: tuple[int, ...] = (8,)
    writable: bool = True
    alpha: bool = True


FORMATS = {
    "PNG": Format((".png",), depths=(8, 16)),
    "JPEG": Format((".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), alpha=False),
    "WEBP": Format((".webp",)),
    "TIFF": Format((".tif", ".tiff"), depths=(8, 16)),
    "BMP": Format((".bmp",)),
    "AVIF": Format((".avif",)),
    "GIF": Format((".gif",), writable=False),
    "HEIC": Format((".heic", ".heif", ".hif"), writable=False),
}
WRITABLE = tuple(name for name, format in FORMATS.items() if format.writable)
EXTENSIONS = {ending: name for name, format in FORMATS.items() for ending in format.extensions}
_WRITTEN = [ending for ending, name in EXTENSIONS.items() if name in WRITABLE]


# What each EXIF orientation does to the picture as it is stored.
TURNS = {
    2: "mirrors it",
    3: "turns it by 180°",
    4: "turns it upside down by mirroring",
    5: "turns it by 90° and mirrors it",
    6: "turns it by 90°",
    7: "turns it by 270° and mirrors it",
    8: "turns it by 270°",
}


@dataclass(frozen=True)
class JpegStyle:
    """How a JPEG was compressed, so that it can be compressed like that again.

    Attributes:
        tables: one to four quantisation tables, each 64 numbers by rows.
        subsampling: of the colours, 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0.
    """

    tables: tuple[tuple[int, ...], ...]
    subsampling: int


_FIELDS: tuple[tuple[str, Any, str], ...] = (
    ("pixels", np.ndarray, "an array"),
    ("alpha", np.ndarray | None, "an array, or None"),
    ("icc", bytes | None, "bytes, or None"),
    ("exif", bytes | None, "bytes, or None"),
    ("xmp", bytes | None, "bytes, or None"),
    ("dpi", tuple | None, "two numbers, or None"),
    ("format", str, "the name of a format"),
    ("jpeg", JpegStyle | None, "a JpegStyle, or None"),
    ("lossless", bool, "True or False"),
    ("chunks", tuple, "pairs of bytes"),
    ("warnings", tuple, "texts"),
)
"""Fields of a picture, their types, and what a message says of them."""


def _is_resolution(dpi: tuple[Any, ...] | None) -> bool:
    return dpi is None or (len(dpi) == 2 and all(map(_is_length, dpi)))


def _is_length(value: Any) -> bool:
    return isinstance(value, Real) and 0 < float(value) < math.inf


def _are_chunks(chunks: tuple[Any, ...]) -> bool:
    return all(isinstance(chunk, tuple) and len(chunk) == 2 and _are(bytes, chunk) for chunk in chunks)


def _are(kind: type, values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, kind) for value in values)


_CONTENTS: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("dpi", _is_resolution, "two numbers above 0"),
    ("chunks", _are_chunks, "pairs of bytes"),
    ("warnings", partial(_are, str), "texts"),
)
"""Fields that are tuples, what fits in them, and what a message says of it."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture as it is seen, with what its file said about it.

    Attributes:
        pixels: (H, W, C) uint8 or uint16, C 1 (grey) or 3 (RGB).
        alpha: (H, W) of the same type, 0 transparent; not multiplied into the pixels. None if opaque.
        icc: colour profile.
        exif: EXIF block from its TIFF header on; Orientation 1, no thumbnail.
        xmp: XMP packet.
        dpi: dots per inch, across and down.
        format: what `encode` writes by default, one of WRITABLE.
        jpeg: how the JPEG it came from was compressed.
        lossless: it came from a WebP that keeps every pixel.
        turn: EXIF orientation by which it was turned when it was read, 1 to 8.
        chunks: kind and body of what is kept as it is: chunks of a PNG, comment and captions of a JPEG.
        warnings: what of its file is not in it, or is in it in another form, one line each.
    """

    pixels: Samples
    alpha: Samples | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    format: str = "PNG"
    jpeg: JpegStyle | None = None
    lossless: bool = False
    turn: int = 1
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, kinds, wanted in _FIELDS:
            check_argument(name, getattr(self, name), kinds, wanted)
        check_count("turn", self.turn, 1, 8)
        for name, fits, wanted in _CONTENTS:
            if not fits(getattr(self, name)):
                raise InputError(f"{name} {show_value(getattr(self, name))} cannot be used: give {wanted}")
        _check_samples(self.pixels, self.alpha)

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.pixels.shape[1])

    @property
    def clear(self) -> Bools:
        """(H, W) bool, what is wholly transparent: its colour means nothing."""
        if self.alpha is None:
            return np.zeros(self.pixels.shape[:2], dtype=bool)
        return np.asarray(self.alpha == 0)

    def with_pixels(self, pixels: Samples) -> "Picture":
        """Return the same picture with other pixels of the same size."""
        return dataclasses.replace(self, pixels=pixels)


def _check_samples(pixels: Array, alpha: Array | None) -> None:
    """Refuse arrays that are no picture's: of another shape or type, or alpha that does not fit the pixels.

    Raises:
        InputError: the message names the field.
    """
    shape, kind = pixels.shape, pixels.dtype
    if shape[2:] not in ((1,), (3,)) or 0 in shape:
        raise InputError(f"pixels must be (H, W, 1) or (H, W, 3) and at least 1×1, not {shape}")
    if kind not in (np.uint8, np.uint16):
        raise InputError(f"pixels must be uint8 or uint16, not {kind}")
    if alpha is not None and (alpha.shape, alpha.dtype) != (shape[:2], kind):
        found = f"{alpha.shape} {alpha.dtype}"
        raise InputError(f"alpha must be {shape[:2]} {kind} like the pixels, not {found}")


def find_format(name: str | Path) -> str:
    """Return the format that an extension, a file name or its own name stands for: "jpg" → "JPEG".

    Raises:
        InputError: it is none that `encode` writes.
    """
    text = str(name)
    key = (os.path.splitext(text)[1] or text).lower()
    ending = f".{key.removeprefix('.')}"
    format = EXTENSIONS.get(ending)
    if format in WRITABLE:
        return format
    hint = f"; {ending[1:].upper()} is read only: png keeps every pixel"
    if format is None:
        hint = did_you_mean(key, [*_WRITTEN, *map(str.lower, WRITABLE)])
    raise InputError(f"{text}: not a format that can be written ({', '.join(WRITABLE)}){hint}")


def cut_strips(pixels: Samples, alpha: Samples | None, rows: int) -> Iterator[Samples]:
    """Yield a picture in strips of some rows, (rows, W, C), from the top; alpha is the last channel.

    Args:
        pixels: (H, W, 1 or 3).
        alpha: (H, W) of the same type, or None.
        rows: of a strip; the last one may have fewer.
    """
    for top in range(0, len(pixels), rows):
        planes = [pixels[top : top + rows]]
        if alpha is not None:
            planes.append(alpha[top : top + rows, :, None])
        yield np.concatenate(planes, axis=2)


def turn_upright(plane: Array, turn: int) -> Array:
    """Turn (H, W) or (H, W, C) by an EXIF orientation, 1 to 8, as a view.

    >>> turn_upright(np.array([[1, 2, 3], [4, 5, 6]]), 6).tolist()  # the top row becomes the right column
    [[4, 1], [5, 2], [6, 3]]
    """
    plane = plane.swapaxes(0, 1) if turn >= 5 else plane
    return plane[:: -1 if turn in (3, 4, 7, 8) else 1, :: -1 if turn in (2, 3, 6, 7) else 1]


def lay_down(plane: Array, turn: int) -> Array:
    """Turn (H, W) or (H, W, C) back to how it is stored, as a view: the inverse of `turn_upright`.

    >>> lay_down(np.array([[4, 1], [5, 2], [6, 3]]), 6).tolist()
    [[1, 2, 3], [4, 5, 6]]
    """
    inverse = {6: 8, 8: 6}  # the others undo themselves
    return turn_upright(plane, inverse.get(turn, turn))


def find_profile(icc: bytes | None, channels: int) -> bytes | None:
    """Return a colour profile if it is one of grey, for 1 channel, or of RGB, for 3; else None."""
    space = b"GRAY" if channels == 1 else b"RGB "
    return icc if icc and icc[16:20] == space else None


def to_float(pixels: Levels, out: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
    """Turn (H, W, 1 or 3) uint8, uint16 or float32 into (H, W, 3) float32 in [0, 1]; grey is repeated.

    The result is written to `out`, (H, W, 3), unless it is None.

    >>> to_float(np.full((1, 1, 1), 51, np.uint8)).tolist()
    [[[0.20000000298023224, 0.20000000298023224, 0.20000000298023224]]]
    """
    top = find_top(pixels.dtype)
    values = np.divide(pixels, np.float32(top), out=out, dtype=np.float32)
    return values if values.shape[2] == 3 else np.repeat(values, 3, axis=2)


def from_float(values: npt.NDArray[np.floating[Any]], dtype: npt.DTypeLike = np.uint8) -> Any:
    """Turn floats in [0, 1] into uint8 or uint16 of the same shape: round (half to even), then clip.

    As float32 they are only clipped.

    Raises:
        InputError: there is a NaN among them.

    >>> from_float(np.array([-0.1, 0.5, 2.0])).tolist()
    [0, 128, 255]
    """
    top = find_top(dtype)
    scaled = values * np.float32(top)
    if scaled.size and math.isnan(scaled.min()):
        raise InputError("cannot turn values into pixels: there is NaN among them")
    if top > 1:
        np.rint(scaled, out=scaled)
    np.clip(scaled, 0, top, out=scaled)
    return scaled.astype(dtype)


def find_top(dtype: npt.DTypeLike) -> int:
    """Return the value that stands for white."""
    kind = np.dtype(dtype)
    return 1 if kind == np.float32 else int(np.iinfo(kind).max)


def from_array(array: npt.NDArray[Any]) -> Picture:
    """Make a picture of an array: (H, W) or (H, W, 1) grey; of 2 channels grey and alpha, 3 RGB, 4 RGBA.

    Raises:
        InputError: another shape, or not uint8 or uint16.
    """
    values = array[..., None] if array.ndim == 2 else array
    return Picture(*split_channels(values))


def split_channels(planes: Array) -> tuple[Array, Array | None]:
    """Split (H, W, C) into its colours and its alpha, (H, W), which is the last of 2 or of 4 channels."""
    if planes.shape[2:] in ((2,), (4,)):
        return planes[..., :-1], planes[..., -1]
    return planes, None
