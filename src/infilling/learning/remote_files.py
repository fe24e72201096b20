"""Files on a disk or behind a URL, read whole and asked for again where that fails."""

import logging
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from infilling.errors import DataError, InfillingError, InputError, describe_error
from infilling.locations import Url, is_local, locate
from infilling.storage import MOST_BYTES

log = logging.getLogger(__name__)
Result = TypeVar("Result")

WAITS_S = (1.0, 4.0)  # before the second and the third try
STAMPS = ("size", "ETag", "LastModified", "Last-Modified", "mtime")  # a server's facts about a file


def fetch_file(url: str, size: int | None = None) -> bytes:
    """Read all bytes of a file, in several tries.

    Args:
        url: a path or a URL.
        size: expected number of bytes. A file that is shorter in every try is returned as it is.

    Raises:
        DataError: it cannot be read.
        DependencyError: a package for such URLs is missing.
    """
    if size is not None and size > MOST_BYTES:
        raise DataError(f"{url} has {size / 1e9:.1f} GB, and is read whole: pack it into smaller shards")
    if is_local(url) and os.path.exists(url) and not os.path.isfile(url):
        raise DataError(f"{url} is not a regular file")
    cut: list[bytes] = []  # the bytes of a try that ended too early

    def read() -> bytes:
        data = bytes(locate(url).read_bytes())
        if size is not None and len(data) < size:
            cut[:] = [data]
            raise OSError(f"it ends after {len(data):,} of {size:,} bytes")
        return data

    try:
        return _retry(url, read)
    except DataError as error:
        if not cut:
            raise
        log.warning("%s", error)
        return cut[0]


def list_remote_folder(url: str, index: str) -> list[str] | None:
    """List the files of a folder behind a URL; None where it has a file called `index`.

    Raises:
        DataError: it cannot be read.
        DependencyError: a package for such URLs is missing.
    """
    folder = Url(url)

    def list_names() -> list[str]:
        with folder.store() as (store, path):
            names: list[str] = store.ls(path, detail=False)
            return names

    return None if _retry(url, (folder / index).exists) else _retry(url, list_names)


def read_stamp(url: str) -> tuple[str, int | None]:
    """Return what a disk or server says of a file, in which a change shows; and its size, where known.

    Raises:
        DataError: it cannot be read.
        DependencyError: a package for such URLs is missing.
    """
    return _retry(url, partial(_read_stamp, url))


def _read_stamp(url: str) -> tuple[str, int | None]:
    if is_local(url):
        status = Path(url).stat()
        seen = (str(Path(url).absolute()), status.st_size, status.st_mtime_ns, status.st_ino)
        return repr(seen), status.st_size
    with Url(url).store() as (store, path):
        facts: dict[str, Any] = store.info(path)
    stamp = repr((url, [str(facts.get(key)) for key in STAMPS]))
    return stamp, facts.get("size")


def _retry(url: str, read: Callable[[], Result]) -> Result:
    """Try until it works or the tries are used up."""
    for wait in (*WAITS_S, None):
        try:
            return read()
        except InputError as error:  # there are no such URLs
            raise DataError(str(error)) from error
        except InfillingError:
            raise
        except Exception as error:  # every kind of server has exceptions of its own
            reason = _explain_failure(error)
            if wait is None:
                raise DataError(f"cannot read {url} in {len(WAITS_S) + 1} tries: {reason}") from error
            log.info("%s: %s; trying again in %g s", url, reason, wait)
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _explain_failure(error: Exception) -> str:
    """Return one line on what went wrong."""
    if not isinstance(error, FileNotFoundError):
        return describe_error(error)
    cause = error.__cause__  # fsspec calls some other errors missing files, too
    return _explain_failure(cause) if isinstance(cause, Exception) else "it is not there"
