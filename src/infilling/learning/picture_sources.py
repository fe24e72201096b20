"""Where the pictures of a data set are: folders, tar shards and MNIST's IDX files."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from infilling.errors import DataError
from infilling.learning.idx_files import find_idx_labels, is_idx_name, list_idx_items
from infilling.learning.picture_items import PICTURE_SUFFIXES, Item, Skipped, name_class
from infilling.learning.tar_files import COMPRESSED_TAR, list_tar_items

Kind = Literal["folder", "tar", "idx"]


@dataclass(frozen=True)
class Source:
    """A folder of pictures, or one file that holds many.

    Attributes:
        kind: what it is.
        path: the folder or the file.
        names: the pictures of a folder, as paths inside it with "/"; empty for a file.
        ignored: number of other files in a folder, by suffix.
    """

    kind: Kind
    path: Path
    names: tuple[str, ...] = ()
    ignored: Counter[str] = field(default_factory=Counter)

    def files(self) -> Iterator[tuple[str, Path]]:
        """Yield the files that the source's content depends on, each under a name that does not move."""
        if self.kind == "folder":
            yield from ((name, self.path / name) for name in self.names)
            return
        yield self.kind, self.path
        labels = find_idx_labels(self.path) if self.kind == "idx" else None
        if labels:
            yield "labels", labels


def find_sources(paths: str | Path | Iterable[str | Path]) -> list[Source]:
    """Find what paths hold: shards and IDX files; of a folder its pictures, else shards, else IDX files.

    Of a folder with MNIST's training and test files, only those that begin with "train" are taken.

    Raises:
        DataError: a path that does not exist, or that holds none of these.
    """
    listed = [paths] if isinstance(paths, (str, Path)) else list(paths)
    if not listed:
        raise DataError("no data given: name a folder, a .tar shard or an IDX file")
    return [source for path in listed for source in _find_at(Path(path))]


def list_items(sources: Sequence[Source]) -> tuple[list[Item], list[Skipped]]:
    """List the pictures of all sources in a fixed order, and the shards that end early.

    Raises:
        DataError: a shard or IDX file that cannot be read as one.
    """
    items: list[Item] = []
    skipped: list[Skipped] = []
    for source in sources:
        if source.kind == "folder":
            items += [Item(name, name_class(name), source.path / name) for name in source.names]
        elif source.kind == "idx":
            items += list_idx_items(source.path)
        else:
            found, cut = list_tar_items(source.path)
            items += found
            skipped += [cut] if cut else []
    return items, skipped


def _find_at(path: Path) -> list[Source]:
    if os.path.isdir(path):
        return _find_in_folder(path)
    if not os.path.isfile(path):
        raise DataError(_explain_missing(path))
    if path.name.lower().endswith(COMPRESSED_TAR):
        raise DataError(f"{path} is compressed, and cannot be read at random: unpack it to a .tar")
    if path.suffix.lower() == ".tar":
        return [Source("tar", path)]
    if is_idx_name(path.name):
        return [Source("idx", path)]
    raise DataError(f"{path} is no folder, .tar shard or IDX file (…idx3-ubyte, or with .gz)")


def _explain_missing(path: Path) -> str:
    if os.path.exists(path):
        return f"{path} is neither a folder nor a regular file"
    if ":/" in str(path):
        return f"{path} is an address, which only `infill train` reads: name a folder or a shard"
    return f"there is nothing at {path}"


def _find_in_folder(folder: Path) -> list[Source]:
    """Find the pictures of a folder, else its shards, else its IDX files."""
    found: dict[Kind | None, list[str]] = {"folder": [], "tar": [], "idx": [], None: []}
    for name in sorted(_walk_folder(folder)):
        found[_find_kind(name)].append(name)
    pictures, tars, idx, others = found.values()
    ignored = Counter(PurePosixPath(name).suffix.lower() or "no suffix" for name in others)
    if pictures:
        ignored += Counter({".tar": len(tars), "IDX": len(idx)})
        return [Source("folder", folder, tuple(pictures), ignored)]
    if tars:
        return [Source("tar", folder / name) for name in tars]
    if idx:
        training = [name for name in idx if PurePosixPath(name).name.startswith("train")]
        return [Source("idx", folder / name) for name in training or idx]
    seen = ", ".join(f"{count} of {suffix}" for suffix, count in ignored.most_common(3))
    looked_for = f"{', '.join(sorted(PICTURE_SUFFIXES))}, for .tar shards and for IDX files"
    raise DataError(
        f"no pictures in {folder}: looked in it and its sub-folders for {looked_for}; "
        f"found {seen or 'nothing'}"
    )


def _find_kind(name: str) -> Kind | None:
    """Return what a file holds, by its name; None if it is of no use."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in PICTURE_SUFFIXES:
        return "folder"
    if suffix == ".tar":
        return "tar"
    return "idx" if is_idx_name(name) else None


def _walk_folder(folder: Path) -> Iterator[str]:
    """Yield the names of all files below a folder, with "/".

    Links are followed, but no folder is entered twice; hidden files and folders are left out.
    """
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
