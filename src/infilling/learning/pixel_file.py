"""Squares of RGB pixels in one .npy file: written one by one, read by row.

Rows are read, not mapped into memory: of a file that was cut short a read says so, where a map ends the
process with SIGBUS.
"""

import os
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from infilling.errors import StorageError, describe_error
from infilling.storage import write_through


class PixelFile:
    """An open file of N pictures, (N, S, S, 3) uint8. For one thread at a time.

    Attributes:
        path: the file.
        shape: (N, S, S, 3).

    Raises:
        OSError: it cannot be opened.
        ValueError: it is not such a file, or is not whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        if np.lib.format.read_magic(self._file) != (1, 0):
            raise ValueError(f"{path} has another format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(self._file)
        self._start = self._file.tell()
        if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8:
            raise ValueError(f"{path} holds no pictures")
        self.shape: tuple[int, int, int, int] = shape
        self._bytes = shape[1] * shape[2] * shape[3]
        if os.fstat(self._file.fileno()).st_size < self._start + shape[0] * self._bytes:
            raise ValueError(f"{path} is not whole")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Read pictures by row, (len(rows), S, S, 3).

        Raises:
            StorageError: the file was cut short meanwhile, or the disk fails.
        """
        pixels = np.empty((len(rows), *self.shape[1:]), np.uint8)
        for picture, row in zip(pixels, rows.tolist(), strict=True):
            try:
                self._file.seek(self._start + row * self._bytes)
                count = self._file.readinto(picture.data) or 0
            except OSError as error:
                raise StorageError(f"cannot read {self.path}: {describe_error(error)}") from error
            if count < self._bytes:
                raise StorageError(f"{self.path} was cut short: delete the folder {self.path.parent}")
        return pixels


def write_pixel_file(file: BinaryIO, pictures: Iterable[NDArray[np.uint8]], most: int, side: int) -> int:
    """Write pictures as a file for `PixelFile`, and return their number.

    Plain writes, not a memory map: on a full disk a write is an error, and a map ends the process.

    Args:
        file: empty file, open for writing.
        pictures: pictures, (side, side, 3) each.
        most: largest number of pictures.
        side: side of the pictures, pixels.

    Raises:
        OSError: the disk is full.
    """
    _write_header(file, most, side)
    count = 0
    for picture in pictures:
        file.write(np.ascontiguousarray(picture).data)
        count += 1
    file.seek(0)
    _write_header(file, count, side)
    write_through(file)
    return count


def _write_header(file: BinaryIO, count: int, side: int) -> None:
    """Write a .npy header; numpy leaves room in it for any count, so it can be written again in place."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
    )
