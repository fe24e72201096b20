"""Sets of tar shards, on a disk or behind a URL: which shards there are, what each holds, and its bytes.

A set is named by its folder, its index or its shards: `s3://photos/train-{0000..0099}.tar` are a hundred. The
index is a JSON file as webdataset's `wids` has it; `infill data shards` writes one. The pictures of a set
without one are counted, for which every shard is read once; the counts are remembered in the cache folder.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urljoin, urlsplit

from infilling.errors import DataError, DependencyError, InfillingError, StorageError, install_hint
from infilling.learning import sources
from infilling.learning.sources import Item, Skipped
from infilling.storage import write_atomic

log = logging.getLogger(__name__)
Result = TypeVar("Result")

INDEX = "index.json"
WAITS_S = (1.0, 4.0)  # before the second and the third try to read what a disk or server did not give
SILENCE_S = 60.0  # after which a server that sends nothing more has failed
READERS = 8  # shards read at once
STAMPS = ("size", "ETag", "LastModified", "Last-Modified", "mtime")  # what servers say of a file
MOST_BYTES = 4 << 30  # of one shard, which is held in memory whole
LEAST_BYTES = 1024  # of one picture in it, with its header


class Shard(NamedTuple):
    """One tar of a set.

    Attributes:
        url: where it is: a path or a URL.
        pictures: how many it holds.
        size: bytes; None where the index does not say.
    """

    url: str
    pictures: int
    size: int | None

    @property
    def name(self) -> str:
        """What it is called wherever it lies."""
        return PurePosixPath(urlsplit(self.url).path).name


def find(paths: Iterable[str], counts: Path) -> tuple[Shard, ...]:
    """Finds the shards of one or several sets. What cannot be read is left out, with a warning for all.

    Args:
        paths: folders, indexes or shards, on a disk or behind URLs.
        counts: folder that keeps what was counted.

    Raises:
        DataError: no shard at a path, or none that can be read.
        DependencyError: a package for such URLs is missing.
    """
    listed = [entry for path in paths for entry in _find_one(path)]
    with ThreadPoolExecutor(READERS) as pool:
        known = list(pool.map(partial(_recall, counts=counts), listed))
        if uncounted := sum(isinstance(entry, _Uncounted) for entry in known):
            log.warning("counting the pictures of %d shards, once: no %s says how many", uncounted, INDEX)
        found = list(pool.map(_count, known))
    shards = tuple(shard for shard in found if isinstance(shard, Shard))
    missing = [entry for entry in found if isinstance(entry, Skipped)]
    if missing:
        log.warning("left out %d of %d shards: first %s", len(missing), len(found), missing[0].reason)
    if not shards:
        raise DataError(f"none of {len(found)} shards can be read: {missing[0].reason}")
    return shards


def read_items(url: str, size: int | None = None) -> list[Item]:
    """Reads a shard and lists its pictures in the order in which they lie; of a cut one those before the cut.

    Args:
        url: a path or a URL.
        size: bytes that it should have.

    Raises:
        DataError: it cannot be read, also not when asked again, or is no tar of pictures.
        DependencyError: a package for such URLs is missing.
    """
    block = fetch(url, size)
    cut: list[Skipped] = []
    items = sources.list_tar(Path(url) if is_local(url) else Path(url.partition("://")[2]), cut, block)
    if cut:
        log.warning("%s: %s", url, cut[0].reason)
    return items


def fetch(url: str, size: int | None = None) -> bytes:
    """Reads all bytes of a file, and asks again, after a while, what does not give them.

    Args:
        url: a path or a URL.
        size: bytes that it should have. What stays shorter after all tries is given as it is.

    Raises:
        DataError: it cannot be read.
        DependencyError: a package for such URLs is missing.
    """
    shortest: list[bytes] = []

    def read() -> bytes:
        data = Path(url).read_bytes() if is_local(url) else _ask(url, "cat_file")
        if size is not None and len(data) < size:
            shortest[:] = [data]
            raise OSError(f"it ends after {len(data):,} of {size:,} bytes")
        return bytes(data)

    if size is not None and size > MOST_BYTES:
        raise DataError(f"{url} has {size / 1e9:.1f} GB, and is read whole: pack it into smaller shards")
    try:
        return _insist(url, read)
    except DataError as error:
        if not shortest:
            raise
        log.warning("%s", error)
        return shortest[0]


def expand(url: str) -> list[str]:
    """Writes out the numbers in braces.

    >>> expand("s3://photos/{08..10}.tar")
    ['s3://photos/08.tar', 's3://photos/09.tar', 's3://photos/10.tar']
    """
    braces = re.search(r"\{(\d+)\.\.(\d+)\}", url)
    if not braces:
        return [url]
    first, last = braces.groups()
    numbers = [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]
    return [whole for number in numbers for whole in expand(url.replace(braces.group(), number, 1))]


def is_local(url: str) -> bool:
    """Whether it is a path on this machine."""
    return "://" not in url


Listed = tuple[str, int | None, int | None]
"""A shard's URL, and its pictures and bytes where these are known."""


def _find_one(path: str) -> list[Listed]:
    """The shards of one set."""
    place = urlsplit(path).path.lower()
    if place.endswith(".json"):
        return _read_index(path)
    if place.endswith(sources.COMPRESSED_TAR):
        raise DataError(f"{path} is compressed: unpack it to a .tar")
    if place.endswith(".tar"):
        return [(url, None, None) for url in expand(path)]
    return _find_in_folder(path) if is_local(path) else _find_behind(path)


def _find_in_folder(path: str) -> list[Listed]:
    if (Path(path) / INDEX).is_file():
        return _read_index(str(Path(path) / INDEX))
    found = sources.find(path)
    if found[0].kind != "tar":
        raise DataError(
            f"{path} holds no tar shards to stream: pack its pictures with `infill data shards`, or leave "
            "data.stream out"
        )
    return [(str(source.path), None, None) for source in found]


def _find_behind(url: str) -> list[Listed]:
    """The shards of a folder behind a URL: those of its index, or those that its server lists."""
    folder = url.rstrip("/")
    if _insist(url, lambda: _ask(f"{folder}/{INDEX}", "exists")):
        return _read_index(f"{folder}/{INDEX}")
    scheme = folder.partition("://")[0]
    names: list[str] = _insist(url, lambda: _ask(folder, "ls", detail=False))
    tars = sorted(name for name in names if urlsplit(name).path.lower().endswith(".tar"))
    if not tars:
        raise DataError(f"no shards at {url}: looked for {INDEX} and for names that end in .tar")
    return [(name if "://" in name else f"{scheme}://{name}", None, None) for name in tars]


def _read_index(url: str) -> list[Listed]:
    """Reads an index; the URLs in it may be relative to its own place."""
    try:
        entries = [_read_entry(url, each) for each in json.loads(fetch(url))["shardlist"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{url} is no index of shards, a JSON object with a shardlist: {error}") from error
    if not entries:
        raise DataError(f"{url} lists no shards")
    return entries


def _read_entry(index: str, entry: dict[str, Any]) -> Listed:
    """One shard of an index, which somebody else may have written."""
    url, pictures = _join(index, str(entry["url"])), int(entry["nsamples"])
    size = None if entry.get("filesize") is None else int(entry["filesize"])
    if url.startswith(("file:", "local:")):
        raise ValueError(f"{url} is a file of this machine")
    if not 0 <= pictures <= (MOST_BYTES if size is None else size) // LEAST_BYTES:
        raise ValueError(f"{pictures} pictures do not fit into {url}")
    return url, pictures, size


def _join(index: str, place: str) -> str:
    """Where a shard is that an index names.

    >>> _join("s3://photos/small/index.json", "a/0.tar"), _join("data/index.json", "0.tar")
    ('s3://photos/small/a/0.tar', 'data/0.tar')
    """
    if not is_local(place):
        return place
    if is_local(index):
        return str(Path(index).parent / place)
    if place.startswith("/"):
        return urljoin(index, place)
    return f"{index.rpartition('/')[0]}/{place}"


class _Uncounted(NamedTuple):
    """A shard whose pictures are to be counted, and where the count will be kept."""

    url: str
    size: int | None
    memo: Path


def _recall(listed: Listed, counts: Path) -> Shard | _Uncounted | Skipped:
    """A shard with the count that its index has, or that was taken before and still holds."""
    url, count, size = listed
    if count is not None:
        return Shard(url, count, size)
    try:
        stamp, size = _insist(url, partial(_look, url))
    except DependencyError:
        raise
    except DataError as error:
        return Skipped(url, str(error))
    memo = counts / hashlib.sha256(stamp.encode()).hexdigest()[:32]
    with suppress(OSError, ValueError, TypeError):
        return Shard(url, *json.loads(memo.read_text(encoding="ascii")))
    return _Uncounted(url, size, memo)


def _count(shard: Shard | _Uncounted | Skipped) -> Shard | Skipped:
    """Reads a shard to count its pictures, if nobody has."""
    if not isinstance(shard, _Uncounted):
        return shard
    try:
        items = read_items(shard.url, shard.size)
    except DataError as error:
        return Skipped(shard.url, str(error))
    size = len(items[0].block or b"")
    with suppress(OSError, StorageError):  # to count again only costs time
        shard.memo.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(shard.memo, json.dumps([len(items), size]).encode())
    return Shard(shard.url, len(items), size)


def _look(url: str) -> tuple[str, int | None]:
    """What a disk or server says of a file, so that a change shows; and its size, if that is said."""
    if is_local(url):
        status = Path(url).stat()
        seen = (str(Path(url).absolute()), status.st_size, status.st_mtime_ns, status.st_ino)
        return repr(seen), status.st_size
    told: dict[str, Any] = _ask(url, "info")
    stamp = repr((url, [str(told.get(key)) for key in STAMPS]))
    return stamp, told.get("size")


def _insist(url: str, read: Callable[[], Result]) -> Result:
    """Tries until it works or the tries are used up."""
    for wait in (*WAITS_S, None):
        try:
            return read()
        except InfillingError:
            raise
        except Exception as error:  # every kind of server has exceptions of its own
            if wait is None:
                tries = f"{len(WAITS_S) + 1} tries"
                raise DataError(f"cannot read {url} in {tries}: {_describe(error)}") from error
            log.info("%s: %s; asking again in %g s", url, _describe(error), wait)
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def _describe(error: Exception) -> str:
    """One line on what went wrong."""
    if isinstance(error, FileNotFoundError):  # which fsspec also makes of some other errors
        return _describe(error.__cause__) if isinstance(error.__cause__, Exception) else "it is not there"
    return " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__


def _ask(url: str, method: str, **options: Any) -> Any:
    """Calls a method of the file system behind a URL."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise DependencyError(f"{url} needs fsspec: {install_hint('stream')}") from error
    scheme = url.partition("://")[0]
    try:
        system, path = url_to_fs(url, **(_make_http_options() if scheme in ("http", "https") else {}))
    except ImportError as error:  # it names the package
        advice = "infilling[stream] has what s3:// and https:// need"
        raise DependencyError(f"cannot read {url}: {error}; {advice}") from error
    except ValueError as error:
        raise DataError(f"{url} cannot be read: {scheme}:// is unknown") from error
    return getattr(system, method)(path, **options)


def _make_http_options() -> dict[str, Any]:
    """Lets a large shard take its time, but not a server that falls silent."""
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, connect=SILENCE_S, sock_read=SILENCE_S)}}
