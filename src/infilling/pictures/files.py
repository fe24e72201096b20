"""Files and Pillow images to pictures, and back."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from numbers import Integral
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from infilling.errors import (
    ConfigError,
    InfillingError,
    InputError,
    check_argument,
    check_count,
    describe_error,
    show_value,
)
from infilling.pictures import readers, writers
from infilling.pictures.mask import Mask
from infilling.pictures.picture import Picture, find_format, from_array
from infilling.pictures.rasters import Raster, read_raster
from infilling.pictures.sniffing import sniff
from infilling.storage import read_file

MAX_PIXELS = 200_000_000
MAX_PIXELS_VARIABLE = "INFILLING_MAX_PIXELS"

Result = TypeVar("Result")

_AHEAD: "dict[int, tuple[bytes, Future[Picture]]]" = {}
"""What `decode_ahead` decodes, by its number of bytes: the file, and the picture to be."""


def decode(
    source: bytes | str | os.PathLike[str], *, max_pixels: int | None = None, name: str | None = None
) -> Picture:
    """Read a picture in one of FORMATS; a GIF or HEIC, which are not written, becomes a PNG.

    Grey stays grey, a palette becomes RGB, transparency becomes alpha, CMYK becomes RGB (through its profile,
    which is dropped), 16 bits stay 16 bits. AVIF and HEIC of 10 or 12 bits are read at 8. The EXIF
    turn is applied. The format is recognised by the bytes, not by the name.

    Args:
        source: the bytes of a file, or its path.
        max_pixels: refuse larger pictures, before they are decoded. By default the environment variable
            INFILLING_MAX_PIXELS, or else 200 million.
        name: what errors call it. By default its path; bytes have no name.

    Raises:
        InputError: missing, empty, truncated, damaged, too large, animated, of several pages, of another
            format, or with samples that are neither 8 nor 16 bit.
        ConfigError: INFILLING_MAX_PIXELS is not a number.
        DependencyError: HEIC, and pillow-heif is not installed.
    """
    data = read_source(source)
    if name is None and isinstance(source, str | os.PathLike):
        name = os.fsdecode(source)
    if max_pixels is None and len(data) in _AHEAD:
        begun, picture = _AHEAD.pop(len(data))
        if begun == data:
            return picture.result()
    return _explain(readers.read_picture, data, max_pixels, name)


def decode_ahead(path: Path) -> None:
    """Begin to decode a file on a thread of its own, while the caller has modules to load.

    Decoding needs Python's lock for a fraction of its time. The next call of `decode` for these bytes waits
    for the picture and returns it, or raises the error. It is for a process that fills one picture.
    """
    try:
        data = read_file(path)
    except InputError:  # who reads it next says so
        return
    picture: Future[Picture] = Future()

    def work() -> None:
        try:
            picture.set_result(_explain(readers.read_picture, data, None, str(path)))
        except BaseException as error:
            picture.set_exception(error)
        Image.preinit()  # or else `Image.save` does, when nothing is left to wait for

    _AHEAD[len(data)] = data, picture
    threading.Thread(target=work, daemon=True).start()  # Ctrl-C does not wait for it


def decode_raster(data: bytes, *, max_pixels: int | None = None, name: str | None = None) -> Raster | None:
    """Read a TIFF of data: bands beyond colour and alpha, signed, floating-point or wide samples.

    Args:
        data: the file.
        max_pixels: refuse larger files.
        name: what errors call the file.

    Returns:
        The bands; None if the file is a picture, or no TIFF.

    Raises:
        InputError: damaged, too large, or of a kind that is not read.
    """
    return _explain(read_raster, data, max_pixels, name)


def _explain(
    read: Callable[[bytes, int], Result], data: bytes, max_pixels: int | None, name: str | None
) -> Result:
    """Read a file, and put into one line why it cannot be read."""
    check_argument("name", name, str | None, "what errors call the picture")
    check_count("max_pixels", max_pixels, optional=True)
    front = f"{name}: " if name else ""
    try:
        return read(data, _read_limit() if max_pixels is None else max_pixels)
    except InfillingError as error:
        raise type(error)(f"{front}{error}") from error.__cause__
    except MemoryError as error:
        raise InputError(f"{front}not enough memory to decode it") from error
    except Exception as error:  # a decoder may raise anything at all on hostile bytes
        reason = describe_error(error)
        raise InputError(f"{front}damaged or truncated {sniff(data)} ({reason})") from error


def encode(picture: Picture, format: str | None = None, *, quality: int | None = None) -> bytes:
    """Write a picture to the bytes of a file: PNG, TIFF and BMP exactly, the others at high quality.

    A picture that came from a JPEG is compressed with that JPEG's tables; one from a lossless WebP stays so.
    Profile, EXIF, XMP and resolution are kept where the format has room for them. 16 bits become 8 in JPEG,
    WebP, BMP and AVIF: v / 257, rounded.

    Args:
        picture: what to write.
        format: name of a writable format, or one of its extensions; by default the picture's own.
        quality: 1 to 100, for JPEG, WebP and AVIF; by default like the source, or else high. PNG, TIFF and
            BMP ignore it.

    Raises:
        InputError: unknown format or quality, alpha that is not opaque for a JPEG, a side longer than the
            format allows.
    """
    check_argument("picture", picture, Picture, "a Picture, as decode() gives it")
    check_argument("format", format, str | None, "the name of a format")
    name = find_format(format or picture.format)
    check_argument("quality", quality, Integral | None, "a whole number, 1 to 100")
    if quality is not None and not 1 <= quality <= 100:
        raise InputError(f"quality {show_value(quality)} is not in 1 to 100")
    try:
        return writers.write_picture(picture, name, quality)
    except (OSError, RuntimeError, TypeError, ValueError, LookupError, OverflowError, MemoryError) as error:
        reason = describe_error(error)
        raise InputError(f"cannot write {picture.width}×{picture.height} as {name} ({reason})") from error


def encode_mask(mask: Mask) -> bytes:
    """Write a mask as a grey PNG, white where it is True."""
    return encode(from_array(np.where(mask, np.uint8(255), np.uint8(0))), "PNG")


def from_pil(image: Image.Image) -> Picture:
    """Make a picture of a Pillow image, as it stands: an EXIF turn is neither applied nor reset.

    Raises:
        InputError: a mode that is neither 8-bit nor `I;16`, or no pixels.
    """
    if not image.width * image.height:
        raise InputError(f"the image has no pixels: it is {image.width}×{image.height}")
    return readers.read_image(image)


def to_pil(picture: Picture) -> Image.Image:
    """Make a Pillow image, L, LA, RGB, RGBA or I;16, with profile, EXIF, XMP and dpi in its `info`.

    Raises:
        InputError: 16 bits and colour or alpha, which Pillow cannot hold.
    """
    return writers.make_image(picture)


def _read_limit() -> int:
    """Return the limit on pixels from the environment, or the default."""
    text = os.environ.get(MAX_PIXELS_VARIABLE)
    if not text:
        return MAX_PIXELS
    try:
        limit = int(text)
    except ValueError:
        limit = 0
    if limit < 1:
        raise ConfigError(
            f"{MAX_PIXELS_VARIABLE}={text!r} is not a whole number of pixels, such as {MAX_PIXELS}"
        )
    return limit


def read_source(source: bytes | str | os.PathLike[str]) -> bytes:
    """Return the bytes of a source.

    Raises:
        InputError: a path that cannot be read, or neither bytes nor a path.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    check_argument("source", source, str | os.PathLike, "the bytes of a file, or its path")
    try:
        path = os.fsdecode(source)
    except Exception as error:  # the caller's own class may raise anything
        raise InputError(f"{show_value(source)} is no path of a file") from error
    return read_file(path)
