"""Where pictures lie: folders, tar shards, MNIST's IDX files. Finds and names them and reads their bytes.

A picture's name is its path inside its folder or shard, so it stays the same wherever the data are put. Its
class is the folder it is in.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import sys
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from infilling.errors import DataError
from infilling.pictures.picture import EXTENSIONS, WRITABLE

SUFFIXES = frozenset(end for end, format in EXTENSIONS.items() if format in WRITABLE)
COMPRESSED_TAR = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
IDX_IMAGES, IDX_LABELS = 0x00000803, 0x00000801  # unsigned bytes in three dimensions, in one


@dataclass(frozen=True)
class Source:
    """A folder of pictures, or one file that holds many.

    Attributes:
        kind: what it is.
        path: the folder or the file.
        names: the pictures of a folder, as paths inside it with "/"; empty for a file.
        ignored: how many files of each suffix a folder holds that are no pictures.
    """

    kind: Literal["folder", "tar", "idx"]
    path: Path
    names: tuple[str, ...] = ()
    ignored: Counter[str] | None = None

    def files(self) -> Iterator[tuple[str, Path]]:
        """The files whose content is the source's, each with the name by which the content is known."""
        if self.kind == "folder":
            yield from ((name, self.path / name) for name in self.names)
        else:
            yield self.kind, self.path
            if self.kind == "idx" and (labels := _find_labels(self.path)):
                yield "labels", labels


@dataclass(frozen=True, slots=True)
class Item:
    """One picture and where its bytes are.

    Attributes:
        name: path inside its folder or shard.
        label: its class, "" without one.
        file: the file that holds it.
        offset, length: its bytes in that file; length None: all of it.
        block: the file's bytes where they had to be read at once.
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


def find(paths: str | Path | Iterable[str | Path]) -> list[Source]:
    """Finds what a path holds: a shard or IDX file; of a folder its pictures, else shards, else IDX files.

    Of a folder with MNIST's training and test files, only those that begin with "train" are taken.

    Raises:
        DataError: a path that does not exist, or that holds none of these.
    """
    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not listed:
        raise DataError("no data given: name a folder, a .tar shard or an IDX file")
    return [source for path in listed for source in _find_one(Path(path))]


def list_items(sources: Sequence[Source]) -> tuple[list[Item], list[Skipped]]:
    """Lists the pictures of all sources in a fixed order, and the shards that end too early.

    Raises:
        DataError: a shard or IDX file that is none.
    """
    items: list[Item] = []
    cut: list[Skipped] = []
    for source in sources:
        if source.kind == "folder":
            items += [Item(name, _name_class(name), source.path / name) for name in source.names]
        elif source.kind == "tar":
            items += list_tar(source.path, cut)
        else:
            items += _list_idx(source.path)
    return items, cut


def read(item: Item) -> bytes:
    """Reads the bytes of one picture.

    Raises:
        OSError: the file cannot be read.
        DataError: the file ends before the picture does.
    """
    if item.length is None:
        return item.file.read_bytes()
    if item.block is not None:
        return item.block[item.offset : item.offset + item.length]
    with item.file.open("rb") as file:
        file.seek(item.offset)
        data = file.read(item.length)
    if len(data) < item.length:
        raise DataError("the shard ends inside it")
    return data


def _find_one(path: Path) -> list[Source]:
    if path.is_dir():
        return _find_in_folder(path)
    if not path.exists():
        if ":/" in str(path):
            raise DataError(
                f"{path} is an address, which only `infill train` reads: name a folder or a shard"
            )
        raise DataError(f"there is nothing at {path}")
    if path.name.lower().endswith(COMPRESSED_TAR):
        raise DataError(f"{path} is compressed, and cannot be read at random: unpack it to a .tar")
    if path.suffix.lower() == ".tar":
        return [Source("tar", path)]
    if _is_idx_name(path.name):
        return [Source("idx", path)]
    raise DataError(f"{path} is no folder, .tar shard or IDX file (…idx3-ubyte, or with .gz)")


def _find_in_folder(folder: Path) -> list[Source]:
    names, tars, idx, ignored = [], [], [], Counter[str]()
    for name in sorted(_walk(folder)):
        suffix = PurePosixPath(name).suffix.lower()
        if suffix in SUFFIXES:
            names.append(name)
        elif suffix == ".tar":
            tars.append(folder / name)
        elif _is_idx_name(name):
            idx.append(folder / name)
        else:
            ignored[suffix or "no suffix"] += 1
    if names:
        ignored += Counter({".tar": len(tars), "IDX": len(idx)})
        return [Source("folder", folder, tuple(names), ignored)]
    training = [path for path in idx if path.name.startswith("train")]
    if sources := [Source("tar", path) for path in tars] or [Source("idx", path) for path in training or idx]:
        return sources
    found = ", ".join(f"{count} of {suffix}" for suffix, count in ignored.most_common(3)) or "nothing"
    raise DataError(
        f"no pictures in {folder}: looked in it and its sub-folders for {', '.join(sorted(SUFFIXES))}, "
        f"for .tar shards and for IDX files; found {found}"
    )


def _walk(folder: Path) -> Iterator[str]:
    """Names of all files below a folder, with "/"; through links, never in a circle; hidden ones left out."""
    seen = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        inside = Path(place).relative_to(folder).as_posix()
        for name in files:
            if not name.startswith("."):
                yield name if inside == "." else f"{inside}/{name}"


def _name_class(name: str) -> str:
    """The folder that a picture is in; one string for all of them, of which there may be millions."""
    return sys.intern(name.rpartition("/")[0])


def list_tar(path: Path, cut: list[Skipped], block: bytes | None = None) -> list[Item]:
    """Lists the pictures of a webdataset tar; their class is the folder, or stands in a `.cls` beside them.

    Args:
        path: the shard.
        cut: gets an entry if the shard ends too early.
        block: its bytes, where it lies on no disk.

    Raises:
        DataError: it is no tar, or holds no picture.
    """
    found: list[tuple[str, int, int]] = []
    classes: dict[str, str] = {}
    try:
        with tarfile.open(path, "r:", fileobj=None if block is None else BytesIO(block)) as archive:
            try:
                for member in archive:
                    name = PurePosixPath(member.name).as_posix()
                    stem, suffix = os.path.splitext(name)
                    if not member.isfile() or PurePosixPath(name).name.startswith("."):
                        continue
                    if suffix.lower() in SUFFIXES:
                        found.append((name, member.offset_data, member.size))
                    elif suffix == ".cls" and (text := archive.extractfile(member)):
                        classes[stem] = text.read().decode("utf-8", "replace").strip()
                # tarfile takes rubbish, or the end of the file, for the archive's end: look for its mark.
                archive.fileobj.seek(archive.offset)
                complete = archive.fileobj.read(tarfile.BLOCKSIZE) == tarfile.NUL * tarfile.BLOCKSIZE
            except (tarfile.ReadError, OSError):
                complete = False
    except tarfile.TarError as error:
        raise DataError(f"{path} is no tar that can be read: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if not complete:
        cut.append(Skipped(path.name, f"the shard ends early, after {len(found)} pictures"))
    if not found:
        raise DataError(f"no pictures in {path}: looked for members with {', '.join(sorted(SUFFIXES))}")
    shared = _shared_folder([name for name, _, _ in found])
    items = []
    for name, offset, length in found:
        label = classes.get(os.path.splitext(name)[0], _name_class(name.removeprefix(shared)))
        items.append(Item(name, sys.intern(label), path, offset, length, block))
    return items


def _shared_folder(names: Sequence[str]) -> str:
    """The outermost folder, with its "/", where a shard has all its classes inside one; else ""."""
    first = names[0].partition("/")[0] + "/"
    return first if all(name.startswith(first) and name.count("/") > 1 for name in names) else ""


def _is_idx_name(name: str) -> bool:
    return name.lower().removesuffix(".gz").endswith(("idx3-ubyte", "idx3-ubyte.idx"))


def _find_labels(images: Path) -> Path | None:
    """`train-labels-idx1-ubyte` beside `train-images-idx3-ubyte`, compressed or not."""
    name = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    candidates = (images.with_name(name), images.with_name(f"{name}.gz"))
    return next((path for path in candidates if path.exists()), None)


def _list_idx(path: Path) -> list[Item]:
    """The pictures of an IDX file: raw grey bytes, one after the other."""
    block, (count, height, width) = _read_idx(path, IDX_IMAGES)
    labels = _find_labels(path)
    classes = _read_idx(labels, IDX_LABELS)[0][8:] if labels else None
    if classes is not None and len(classes) != count:
        raise DataError(f"{labels} has {len(classes)} labels for the {count} pictures of {path.name}")
    stem, length = path.name.partition("-idx3")[0].partition(".")[0], height * width
    return [
        Item(
            f"{stem}/{index:06d}",
            sys.intern(str(classes[index])) if classes is not None else "",
            path,
            16 + index * length,
            length,
            block,
            (height, width),
        )
        for index in range(count)
    ]


def _read_idx(path: Path, magic: int) -> tuple[bytes, tuple[int, ...]]:
    """Reads an IDX file, gzip or plain, and its dimensions, which must account for every byte.

    Format: http://yann.lecun.com/exdb/mnist/ - big-endian: magic, one size per dimension, then the bytes.
    """
    try:
        block = path.read_bytes()
        if path.suffix == ".gz":
            block = gzip.decompress(block)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    dimensions = magic & 0xFF
    header = 4 + 4 * dimensions
    if len(block) < header or int.from_bytes(block[:4]) != magic:
        raise DataError(f"{path} is no such IDX file: it begins with {block[:4].hex()!r}, not {magic:08x}")
    sizes = struct.unpack(f">{dimensions}I", block[4:header])
    if len(block) != header + math.prod(sizes):
        shape = "×".join(map(str, sizes))
        raise DataError(
            f"{path} has {len(block)} bytes, its header's {shape} need {header + math.prod(sizes)}"
        )
    return block, sizes
