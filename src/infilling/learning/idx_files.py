"""MNIST's IDX files: raw grey pictures, and their labels in a second file."""

import gzip
import math
import struct
import sys
import zlib
from pathlib import Path
from typing import BinaryIO, cast

from infilling.errors import DataError
from infilling.learning.picture_items import Item
from infilling.storage import MOST_BYTES

IDX_IMAGES = 0x00000803  # magic number of unsigned bytes in three dimensions
IDX_LABELS = 0x00000801  # magic number of unsigned bytes in one dimension


def is_idx_name(name: str) -> bool:
    """Return whether a file's name is one of IDX pictures."""
    return name.lower().removesuffix(".gz").endswith(("idx3-ubyte", "idx3-ubyte.idx"))


def find_idx_labels(images: Path) -> Path | None:
    """Return `train-labels-idx1-ubyte` beside `train-images-idx3-ubyte`, compressed or not, or None."""
    name = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    candidates = (images.with_name(name), images.with_name(f"{name}.gz"))
    return next((path for path in candidates if path.exists()), None)


def list_idx_items(path: Path) -> list[Item]:
    """List the pictures of an IDX file, with their labels as classes where there are such.

    Raises:
        DataError: the file or its labels are damaged.
    """
    block, (count, height, width) = _read_idx(path, IDX_IMAGES)
    labels = find_idx_labels(path)
    classes = [""] * count
    if labels:
        values, (length,) = _read_idx(labels, IDX_LABELS)
        if length != count:
            raise DataError(f"{labels} has {length} labels for the {count} pictures of {path.name}")
        classes = [sys.intern(str(value)) for value in values]
    stem, size = path.name.partition("-idx3")[0].partition(".")[0], height * width
    return [
        Item(f"{stem}/{index:06d}", label, path, index * size, size, block, (height, width))
        for index, label in enumerate(classes)
    ]


def _read_idx(path: Path, magic: int) -> tuple[bytes, tuple[int, ...]]:
    """Read the values of an IDX file, gzip or plain, and its dimensions, which must account for every byte.

    Format: http://yann.lecun.com/exdb/mnist/ - big-endian: magic, one size for each dimension, the bytes.
    """
    dimensions = magic & 0xFF
    header = 4 + 4 * dimensions
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as opened:
            file = cast(BinaryIO, opened)
            head = file.read(header)
            if len(head) < header or int.from_bytes(head[:4]) != magic:
                found = f"it begins with {head[:4].hex()!r}, not {magic:08x}"
                raise DataError(f"{path} is not an IDX file of this kind: {found}")
            sizes = struct.unpack(f">{dimensions}I", head[4:])
            expected = math.prod(sizes)
            values = file.read(min(expected, MOST_BYTES) + 1)  # one more byte than there may be
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if len(values) != expected:
        shape, more = "×".join(map(str, sizes)), " or more" if len(values) > expected else ""
        found = f"has {header + len(values)} bytes{more}, its header's {shape} need {header + expected}"
        raise DataError(f"{path} {found}")
    return values, sizes
