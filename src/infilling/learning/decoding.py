"""Decoding of a data set's pictures to squares of one size."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps

from infilling.errors import DataError, InfillingError, describe_error
from infilling.learning.picture_items import Item, read_item
from infilling.machine import count_cores
from infilling.pictures import files
from infilling.pictures.limits import check_jpeg

CHUNK_BYTES = 64 << 20  # of decoded pictures in memory at a time
DRAFT_PIXELS = 40_000_000  # above which a JPEG is left to files.decode, which knows the limits

Decoded = tuple[NDArray[np.uint8], tuple[int, int]]
"""(side, side, 3) RGB, and the picture's own (height, width)."""

Progress = Callable[[int, int], None]
"""Called with the number of pictures done, and of all."""


def decode_item(item: Item, side: int) -> Decoded:
    """Decode one picture to its middle square of `side` pixels.

    Raises:
        InfillingError: it cannot be read; one line that says why.
    """
    try:
        data = read_item(item)
    except OSError as error:
        raise DataError(describe_error(error)) from error
    if not data:
        raise DataError("the file is empty")
    if item.grey is not None:
        image, size = _pad_grey(data, *item.grey), item.grey
    else:
        image, size = _decode_jpeg(data, side) or _decode_any(data)
    # To resize the middle square gives what to resize all and then cut would. The square starts at whole
    # pixels, so that a picture whose short side fits keeps its own pixels.
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    square = (left, top, left + short, top + short)
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, square)), size


def decode_items(
    items: Sequence[Item], side: int, workers: int | None = None, progress: Progress | None = None
) -> Iterator[tuple[Item, Decoded | str]]:
    """Decode pictures in order, on all CPUs: each with the result of `decode_item`, or why it failed.

    Args:
        items: pictures to decode.
        side: side of the squares, pixels.
        workers: number of threads; None: one for each CPU.
        progress: called while pictures are decoded.
    """
    workers = workers or count_cores()
    chunk = max(workers, CHUNK_BYTES // (side * side * 3))
    with ThreadPoolExecutor(workers) as pool, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # decoders warn of odd headers
        for start in range(0, len(items), chunk):
            part = items[start : start + chunk]
            decoded = zip(part, pool.map(partial(try_decode, side=side), part), strict=True)
            for done, pair in enumerate(decoded, start + 1):
                yield pair
                if progress:
                    progress(done, len(items))


def try_decode(item: Item, side: int) -> Decoded | str:
    """Decode one picture, or say in one line why that fails."""
    try:
        return decode_item(item, side)
    except InfillingError as error:
        return str(error)
    except Exception as error:  # one file that breaks a decoder in a new way must not end hours of work
        return f"{type(error).__name__}: {error}"


def _decode_jpeg(data: bytes, side: int) -> tuple[Image.Image, tuple[int, int]] | None:
    """Decode a common JPEG the quick way, halved by the decoder to no less than twice the side; else None."""
    if not data.startswith(b"\xff\xd8"):
        return None
    check_jpeg(data)
    try:
        with Image.open(BytesIO(data), formats=("JPEG",)) as image:
            width, height = image.size
            if image.mode not in ("RGB", "L") or width * height > DRAFT_PIXELS:
                return None
            image.draft(image.mode, (2 * side, 2 * side))
            turn = image.getexif().get(ExifTags.Base.Orientation, 1) if "exif" in image.info else 1
            if turn <= 1:
                return image.convert("RGB"), (height, width)
            size = (width, height) if turn > 4 else (height, width)
            return ImageOps.exif_transpose(image).convert("RGB"), size
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None  # `_decode_any` says what is wrong


def _decode_any(data: bytes) -> tuple[Image.Image, tuple[int, int]]:
    """Decode any other picture: 16 bits to 8, grey to RGB, alpha dropped."""
    pixels = files.decode(data).pixels
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    height, width, _ = pixels.shape
    return Image.fromarray(np.broadcast_to(pixels, (height, width, 3))), (height, width)


def _pad_grey(data: bytes, height: int, width: int) -> Image.Image:
    """Put black round raw grey bytes, to a multiple of 32: MNIST's 28 become 32."""
    pixels = np.frombuffer(data, np.uint8).reshape(height, width)
    spare = [(-length) % 32 for length in (height, width)]
    padded = np.pad(pixels, [(space // 2, space - space // 2) for space in spare])
    return Image.fromarray(padded).convert("RGB")
