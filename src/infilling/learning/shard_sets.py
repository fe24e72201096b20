"""Sets of tar shards, on a disk or behind a URL: which shards there are, and the pictures in each.

A set is named by its folder, its index or its shards: `s3://photos/train-{0000..0099}.tar` are a hundred. The
index is a JSON file as webdataset's `wids` has it; `infill data shards` writes one. The pictures of a set
without one are counted, for which every shard is read once; the counts are kept in the cache folder.
"""

import hashlib
import json
import logging
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from infilling.errors import DataError, DependencyError, StorageError
from infilling.learning.picture_items import Item
from infilling.learning.picture_sources import find_sources
from infilling.learning.remote_files import fetch_file, list_remote_folder, read_stamp
from infilling.learning.tar_files import COMPRESSED_TAR, list_tar_items
from infilling.locations import is_local
from infilling.storage import MOST_BYTES, make_folder, parse_json, write_atomic

log = logging.getLogger(__name__)

INDEX = "index.json"
READERS = 8  # shards read at once
LEAST_BYTES = 1024  # of one picture in a shard, with its header
MOST_SHARDS = 1_000_000  # that braces in a name may stand for


class Shard(NamedTuple):
    """One tar of a set.

    Attributes:
        url: where it is: a path or a URL.
        pictures: number of pictures in it.
        size: bytes; None where the index does not say.
    """

    url: str
    pictures: int
    size: int | None

    @property
    def name(self) -> str:
        """Its file's name, the same wherever the set is stored."""
        return PurePosixPath(urlsplit(self.url).path).name


class _Listed(NamedTuple):
    """A shard as a folder or an index lists it; None for what is not known."""

    url: str
    pictures: int | None = None
    size: int | None = None


def find_shards(paths: Iterable[str], counts: Path) -> tuple[Shard, ...]:
    """Find the shards of one or several sets. What cannot be read is left out, with one warning for all.

    Args:
        paths: folders, indexes or shards, on a disk or behind URLs.
        counts: folder that keeps the counts of shards without an index.

    Raises:
        DataError: no shard at a path, or none that can be read.
        DependencyError: a package for such URLs is missing.
    """
    listed = list(chain.from_iterable(map(_list_shards, paths)))
    with ThreadPoolExecutor(READERS) as pool:
        known = list(pool.map(partial(_recall_shard, counts=counts), listed))
        uncounted = [entry for entry in known if isinstance(entry, _Uncounted)]
        if uncounted:
            log.warning(
                "reading %d shards once to count their pictures: there is no %s", len(uncounted), INDEX
            )
        found = list(pool.map(_count_pictures, known))
    shards = tuple(shard for shard in found if isinstance(shard, Shard))
    missing = [reason for reason in found if isinstance(reason, str)]
    if not shards:
        raise DataError(f"none of {len(found)} shards can be read: {missing[0]}")
    if missing:
        log.warning("left out %d of %d shards: first %s", len(missing), len(found), missing[0])
    return shards


def read_shard(url: str, size: int | None = None) -> list[Item]:
    """Read a shard and list its pictures in their order; of a cut shard those before the cut.

    Raises:
        DataError: it cannot be read after several tries, or holds no pictures.
        DependencyError: a package for such URLs is missing.
    """
    block = fetch_file(url, size)
    items, cut = list_tar_items(Path(url) if is_local(url) else Path(url.partition("://")[2]), block)
    if cut:
        log.warning("%s: %s", url, cut.reason)
    return items


def expand_braces(url: str) -> list[str]:
    """Write out the numbers in braces.

    >>> expand_braces("s3://photos/{08..10}.tar")
    ['s3://photos/08.tar', 's3://photos/09.tar', 's3://photos/10.tar']

    Raises:
        DataError: they are more than a million.
    """
    urls = [url]
    while braces := re.search(r"\{(\d{1,18})\.\.(\d{1,18})\}", urls[0]):
        first, last = braces.groups()
        numbers = range(int(first), int(last) + 1)
        if len(numbers) * len(urls) > MOST_SHARDS:
            raise DataError(f"{url} stands for more than {MOST_SHARDS:,} shards")
        written = [f"{number:0{len(first)}}" for number in numbers]
        urls = [each.replace(braces.group(), number, 1) for each in urls for number in written]
        if not urls:
            raise DataError(f"{url} stands for no shard: {braces.group()} counts down")
    return urls


def _list_shards(path: str) -> list[_Listed]:
    """List the shards of one set."""
    place = urlsplit(path).path.lower()
    if place.endswith(".json"):
        return _read_index(path)
    if place.endswith(COMPRESSED_TAR):
        raise DataError(f"{path} is compressed: unpack it to a .tar")
    if place.endswith(".tar"):
        return [_Listed(url) for url in expand_braces(path)]
    return _list_local_folder(path) if is_local(path) else _list_remote_folder(path)


def _list_local_folder(path: str) -> list[_Listed]:
    if os.path.isfile(Path(path) / INDEX):
        return _read_index(str(Path(path) / INDEX))
    found = find_sources(path)
    if found[0].kind != "tar":
        advice = "pack its pictures with `infill data shards`, or leave data.stream out"
        raise DataError(f"{path} holds no tar shards to stream: {advice}")
    return [_Listed(str(source.path)) for source in found]


def _list_remote_folder(url: str) -> list[_Listed]:
    """List the shards of a folder behind a URL: those of its index, or those that its server lists."""
    folder = url.rstrip("/")
    names = list_remote_folder(folder, INDEX)
    if names is None:
        return _read_index(f"{folder}/{INDEX}")
    tars = sorted(name for name in names if urlsplit(name).path.lower().endswith(".tar"))
    if not tars:
        raise DataError(f"no shards at {url}: looked for {INDEX} and for names that end in .tar")
    scheme = folder.partition("://")[0]
    return [_Listed(name if "://" in name else f"{scheme}://{name}") for name in tars]


def _read_index(url: str) -> list[_Listed]:
    """Read an index; the URLs in it may be relative to its own place."""
    try:
        entries = [_read_entry(url, each) for each in parse_json(fetch_file(url))["shardlist"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"a JSON object with a shardlist: {error}"
        raise DataError(f"{url} is not an index of shards, {reason}") from error
    if not entries:
        raise DataError(f"{url} lists no shards")
    return entries


def _read_entry(index: str, entry: dict[str, Any]) -> _Listed:
    """Read one shard of an index, which somebody else may have written."""
    url, pictures = _join_url(index, str(entry["url"])), int(entry["nsamples"])
    size = None if entry.get("filesize") is None else int(entry["filesize"])
    if url.startswith(("file:", "local:")):
        raise ValueError(f"{url} is a file of this machine")
    if not 0 <= pictures <= (MOST_BYTES if size is None else size) // LEAST_BYTES:
        raise ValueError(f"{pictures} pictures do not fit into {url}")
    return _Listed(url, pictures, size)


def _join_url(index: str, place: str) -> str:
    """Return where a shard is that an index names.

    >>> _join_url("s3://photos/small/index.json", "a/0.tar"), _join_url("data/index.json", "0.tar")
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


def _recall_shard(listed: _Listed, counts: Path) -> Shard | _Uncounted | str:
    """Return a shard with the count of its index or of the cache, or why it cannot be read."""
    if listed.pictures is not None:
        return Shard(listed.url, listed.pictures, listed.size)
    try:
        stamp, size = read_stamp(listed.url)
    except DependencyError:
        raise
    except DataError as error:
        return str(error)
    memo = counts / hashlib.sha256(stamp.encode(errors="surrogatepass")).hexdigest()[:32]
    uncounted = _Uncounted(listed.url, size, memo)
    try:
        pictures, size = map(int, parse_json(memo.read_text(encoding="ascii")))
    except FileNotFoundError:
        return uncounted
    except (OSError, ValueError, TypeError, OverflowError):
        pictures = size = 0
    if 0 < pictures <= size:
        return Shard(listed.url, pictures, size)
    log.warning("%s is damaged: counting the pictures of %s again", memo, listed.url)
    return uncounted


def _count_pictures(shard: Shard | _Uncounted | str) -> Shard | str:
    """Read a shard to count its pictures, if they are not counted yet."""
    if not isinstance(shard, _Uncounted):
        return shard
    try:
        items = read_shard(shard.url, shard.size)
    except DataError as error:
        return str(error)
    size = len(items[0].block or b"")
    with suppress(StorageError):  # to count again only costs time
        make_folder(shard.memo.parent)
        write_atomic(shard.memo, json.dumps([len(items), size]).encode())
    return Shard(shard.url, len(items), size)
