"""Tells by their content whether pictures are the same, by a digest of every file's name and bytes."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from infilling.errors import StorageError
from infilling.learning.sources import Source
from infilling.storage import write_atomic

log = logging.getLogger(__name__)

RACY_NS = 2_000_000_000  # a file younger than this may change again without its times showing it


def digest_content(found: Sequence[Source], known: Path, workers: int) -> str:
    """Digests the names and bytes of all files of some sources, wherever they lie.

    Files are read again only when a size, a time or an inode changed.

    Args:
        found: the sources, in order.
        known: folder that keeps the digests of files seen before, under their sizes, times and inodes.
        workers: threads that read.
    """
    files = [(source.kind, name, path) for source in found for name, path in source.files()]
    stamp, newest = _stamp(files)
    memo = known / stamp
    with suppress(OSError):
        return memo.read_text(encoding="ascii")
    total = hashlib.sha256()
    with ThreadPoolExecutor(workers) as pool:
        digests = pool.map(_digest_file, (path for _, _, path in files))
        for (kind, name, _), digest in zip(files, digests, strict=True):
            total.update(repr((kind, name, digest)).encode())
    if newest < time.time_ns() - RACY_NS:
        _remember(memo, total.hexdigest())
    return total.hexdigest()


def _stamp(files: Sequence[tuple[str, str, Path]]) -> tuple[str, int]:
    """A digest of what the file system says of the files, and the newest of their times in nanoseconds."""
    stamp, newest = hashlib.sha256(), 0
    for kind, name, path in files:
        seen: tuple[int, ...] = ()
        with suppress(OSError):  # a file that cannot be read is a bad picture, found out later
            status = os.stat(path)
            seen = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            newest = max(newest, status.st_mtime_ns, status.st_ctime_ns)
        stamp.update(repr((kind, name, str(path.absolute()), seen)).encode())
    return stamp.hexdigest()[:32], newest


def _digest_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def _remember(memo: Path, digest: str) -> None:
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(memo, digest.encode("ascii"))
    except (OSError, StorageError) as error:
        log.debug("cannot remember the digest: %s", error)  # it only costs reading the files again
