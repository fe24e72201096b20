"""Digest of a data set's names and bytes, by which prepared pictures are found again."""

import hashlib
import logging
import os
import re
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from infilling.errors import StorageError, describe_error
from infilling.learning.picture_sources import Source
from infilling.machine import count_cores
from infilling.storage import make_folder, write_atomic

log = logging.getLogger(__name__)

RACY_NS = 2_000_000_000  # age under which a file may change again without its times showing it


def digest_content(found: Sequence[Source], known: Path, workers: int | None) -> str:
    """Digest the names and bytes of all files of some sources, wherever they are stored.

    Files are read again only when a size, a time or an inode changed.

    Args:
        found: the sources, in order.
        known: folder that keeps the digests of files seen before, under their sizes, times and inodes.
        workers: number of threads that read; None: one for each CPU.
    """
    files = [(source.kind, name, path) for source in found for name, path in source.files()]
    stamp, newest = _stamp_files(files)
    memo = known / stamp
    if remembered := _recall_digest(memo):
        return remembered
    total = hashlib.sha256()
    with ThreadPoolExecutor(workers or count_cores()) as pool:
        digests = pool.map(_digest_file, (path for _, _, path in files))
        for (kind, name, _), digest in zip(files, digests, strict=True):
            total.update(repr((kind, name, digest)).encode())
    if newest < time.time_ns() - RACY_NS:
        _remember_digest(memo, total.hexdigest())
    return total.hexdigest()


def _stamp_files(files: Sequence[tuple[str, str, Path]]) -> tuple[str, int]:
    """Return a digest of the files' sizes, times and inodes, and the newest of their times in nanoseconds."""
    stamp, newest = hashlib.sha256(), 0
    for kind, name, path in files:
        seen: tuple[int, ...] = ()
        with suppress(OSError):  # a file that cannot be read is a bad picture, reported later
            status = os.stat(path)
            seen = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            newest = max(newest, status.st_mtime_ns, status.st_ctime_ns)
        stamp.update(repr((kind, name, str(path.absolute()), seen)).encode(errors="surrogatepass"))
    return stamp.hexdigest()[:32], newest


def _digest_file(path: Path) -> str:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return "unreadable: not a regular file"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {describe_error(error)}"


def _recall_digest(memo: Path) -> str | None:
    if not memo.exists():
        return None
    with suppress(OSError, UnicodeDecodeError):
        text = memo.read_text(encoding="ascii")
        if re.fullmatch("[0-9a-f]{64}", text):
            return text
    log.warning("%s is damaged: reading the pictures again", memo)
    return None


def _remember_digest(memo: Path, digest: str) -> None:
    try:
        make_folder(memo.parent)
        write_atomic(memo, digest.encode("ascii"))
    except StorageError as error:
        log.debug("cannot remember the digest: %s", error)  # the files are only read again
