"""Writer of tar shards that can be streamed: few large files in place of many small ones.

OUT/000000.tar   members <class>/<name>.jpg, as webdataset reads them
OUT/index.json   the number of pictures in each shard, as webdataset's `wids` reads it
"""

import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from io import BytesIO
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from infilling.errors import DataError, describe_error
from infilling.learning.picture_items import Item, Skipped, read_item, refuse_unreadable
from infilling.learning.picture_sources import find_sources, list_items
from infilling.learning.shard_sets import INDEX
from infilling.storage import make_folder_whole, require_new_folder, write_through

WIDS_VERSION = 1  # of the index's format


class Packed(NamedTuple):
    """What was packed.

    Attributes:
        shards: number of shards.
        pictures: number of pictures in all of them.
        size: bytes of all of them.
        skipped: what was left out, and why.
    """

    shards: int
    pictures: int
    size: int
    skipped: tuple[Skipped, ...]


def pack_pictures(
    paths: str | Path | Iterable[str | Path], out: str | Path, *, per_shard: int = 1000, seed: int = 0
) -> Packed:
    """Pack the pictures of folders, or of other shards, shuffled, so that every shard is a mixture.

    The files go in as they are. OUT follows from their names and bytes and from the seed, to the last bit,
    wherever and whenever it is made. It is there whole or not at all.

    Args:
        paths: folders or tar shards, one or several.
        out: a new or empty folder.
        per_shard: number of pictures in a shard; the last one has the rest.
        seed: another seed, another order.

    Raises:
        DataError: no pictures, or a folder that is not empty.
        StorageError: OUT cannot be written.
    """
    out = Path(out)
    require_new_folder(out)
    items, cut = list_items(find_sources(paths))
    if any(item.grey for item in items):
        raise DataError("IDX files hold no picture files to pack; learn from them as they are")
    named = sorted(zip(_name_members(items), items, strict=True), key=lambda pair: _hash_name(seed, pair[0]))
    with make_folder_whole(out, f"cannot write {out}") as unfinished:
        packed = _write_shards(named, unfinished, per_shard, cut)
    return packed


def _write_shards(
    named: Sequence[tuple[str, Item]], folder: Path, per_shard: int, skipped: list[Skipped]
) -> Packed:
    """Write shards and index."""
    entries: list[tuple[str, int, int]] = []
    pictures = _read_all(named, skipped)
    for number, first in enumerate(pictures):
        path, count = folder / f"{number:06}.tar", 0
        with path.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                for member, data in chain([first], islice(pictures, per_shard - 1)):
                    info = tarfile.TarInfo(member)  # of no owner and no time: only name and bytes count
                    info.size = len(data)
                    archive.addfile(info, BytesIO(data))
                    count += 1
            write_through(file)
        entries.append((path.name, count, path.stat().st_size))
    if not entries:
        raise refuse_unreadable(len(named), skipped)
    with (folder / INDEX).open("wb") as file:
        shards = [{"url": url, "nsamples": count, "filesize": size} for url, count, size in entries]
        index = {"wids_version": WIDS_VERSION, "shardlist": shards}
        write_through(file, json.dumps(index, indent=1).encode())
    _, counts, sizes = zip(*entries, strict=True)
    return Packed(len(entries), sum(counts), sum(sizes), tuple(skipped))


def _read_all(named: Sequence[tuple[str, Item]], skipped: list[Skipped]) -> Iterator[tuple[str, bytes]]:
    """Yield the pictures' names and bytes; add those that cannot be read to what is left out."""
    for member, item in named:
        try:
            data = read_item(item)
        except (OSError, DataError) as error:
            skipped.append(Skipped(item.name, describe_error(error)))
            continue
        if data:
            yield member, data
        else:
            skipped.append(Skipped(item.name, "the file is empty"))


def _name_members(items: Sequence[Item]) -> list[str]:
    """Return names under which webdataset finds one picture in each sample.

    It takes the part before the first dot of a file's name for the sample, and the rest for the kind.
    """
    taken: set[str] = set()
    names = []
    for item in items:
        path = PurePosixPath(item.name)
        folder = item.name.rpartition("/")[0]
        if not folder.endswith(item.label):  # the class is in a file beside the picture
            folder = item.label
        stem = f"{folder}/{path.stem.replace('.', '_')}".removeprefix("/")
        key, number = stem, 1
        while key in taken:
            number += 1
            key = f"{stem}-{number}"
        taken.add(key)
        names.append(f"{key}{path.suffix.lower()}")
    return names


def _hash_name(seed: int, name: str) -> bytes:
    return sha256(f"{seed} {name}".encode(errors="surrogatepass")).digest()
