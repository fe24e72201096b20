"""One picture of a data set: its name, its class, and where its bytes are."""

import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from infilling.errors import DataError
from infilling.pictures.picture import EXTENSIONS, WRITABLE
from infilling.storage import MOST_BYTES

PICTURE_SUFFIXES = frozenset(end for end, format in EXTENSIONS.items() if format in WRITABLE)


@dataclass(frozen=True, slots=True)
class Item:
    """A picture that can be read.

    Attributes:
        name: path inside its folder or shard, the same wherever the data set is stored.
        label: its class, "" without one.
        file: the file that holds it.
        offset: first byte of the picture in that file.
        length: number of bytes; None: the whole file.
        block: the file's bytes where they are already in memory.
        grey: (height, width) of raw grey bytes; None for a picture file.
    """

    name: str
    label: str
    file: Path
    offset: int = 0
    length: int | None = None
    block: bytes | None = None
    grey: tuple[int, int] | None = None


class Skipped(NamedTuple):
    """A picture, or the rest of a shard, that is left out, and why."""

    name: str
    reason: str


def refuse_unreadable(count: int, skipped: Sequence[Skipped]) -> DataError:
    """Return the error of `count` pictures of which none can be read, with the first reason."""
    name, reason = skipped[0]
    return DataError(f"none of {count} pictures can be read: {name}: {reason}")


def read_item(item: Item) -> bytes:
    """Read the bytes of one picture.

    Raises:
        OSError: the file cannot be read.
        DataError: the file is not a regular one, is too large, or ends before the picture does.
    """
    if item.block is not None and item.length is not None:
        return item.block[item.offset : item.offset + item.length]
    status = os.stat(item.file)
    if not stat.S_ISREG(status.st_mode):  # opening a FIFO would wait for ever
        raise DataError("not a regular file")
    if (item.length or status.st_size) > MOST_BYTES:
        raise DataError(f"has more bytes than the limit of {MOST_BYTES:,}")
    if item.length is None:
        return item.file.read_bytes()
    if item.offset + item.length > status.st_size:
        raise DataError("the shard ends inside it")
    with item.file.open("rb") as file:
        file.seek(item.offset)
        return file.read(item.length)


def name_class(name: str) -> str:
    """Return the folder of a picture's name, as one interned string for all pictures of the class."""
    return sys.intern(name.rpartition("/")[0])
