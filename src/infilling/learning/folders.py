"""Folders that are there whole or not at all."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infilling.errors import DataError, StorageError


def require_new(out: Path) -> None:
    """Refuses a folder that holds something, before work is done for it.

    Raises:
        DataError: `out` is a file, or a folder that is not empty.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} is not empty: name a new folder")


@contextmanager
def make_whole(out: Path) -> Iterator[Path]:
    """Gives a folder to write into; it takes the name `out` if all goes well, and is gone if not.

    Raises:
        StorageError: something cannot be written.
    """
    unfinished = out.with_name(f"{out.name}.{secrets.token_hex(4)}.unfinished")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        if out.exists():
            out.rmdir()
        unfinished.rename(out)
    except OSError as error:
        raise StorageError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
