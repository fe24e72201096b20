"""Tar shards in webdataset's layout: the pictures in them and their classes."""

import sys
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from infilling.errors import DataError, describe_error
from infilling.learning.picture_items import PICTURE_SUFFIXES, Item, Skipped, name_class

COMPRESSED_TAR = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
MOST_CLASS_BYTES = 1024  # of a `.cls` member


class TarItems(NamedTuple):
    """The pictures of a shard.

    Attributes:
        items: one for each picture, in the order of the shard.
        cut: why pictures may be missing, where the shard ends early; else None.
    """

    items: list[Item]
    cut: Skipped | None


def list_tar_items(path: Path, block: bytes | None = None) -> TarItems:
    """List the pictures of a shard.

    A picture's class is its folder, or the text of a `.cls` member of the same name.

    Args:
        path: the shard; a name for messages alone where `block` is given.
        block: the shard's bytes, where it is not on a disk.

    Raises:
        DataError: it is not a tar file, or holds no picture.
    """
    members = _read_members(path, block)
    found = members.pictures
    if not found:
        looked_for = ", ".join(sorted(PICTURE_SUFFIXES))
        raise DataError(f"no pictures in {path}: looked for members with {looked_for}")
    shared = _find_shared_folder([name for name, _, _ in found])
    items = []
    for name, offset, length in found:
        stem = str(PurePosixPath(name).with_suffix(""))
        label = members.classes.get(stem, name_class(name.removeprefix(shared)))
        items.append(Item(name, sys.intern(label), path, offset, length, block))
    if members.complete:
        return TarItems(items, None)
    return TarItems(items, Skipped(path.name, f"the shard ends early, after {len(found)} pictures"))


@dataclass
class _Members:
    """What was read of a shard."""

    pictures: list[tuple[str, int, int]] = field(default_factory=list)  # name, offset, length
    classes: dict[str, str] = field(default_factory=dict)  # by a member's name without its suffix
    complete: bool = False

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Add a member that is a picture or a class; pass over any other."""
        name = PurePosixPath(member.name)
        if not member.isfile() or name.name.startswith("."):
            return
        if name.suffix.lower() in PICTURE_SUFFIXES:
            self.pictures.append((str(name), member.offset_data, member.size))
        elif name.suffix == ".cls" and (text := archive.extractfile(member)):
            label = text.read(MOST_CLASS_BYTES).decode("utf-8", "replace").strip()
            self.classes[str(name.with_suffix(""))] = label


def _read_members(path: Path, block: bytes | None) -> _Members:
    members = _Members()
    try:
        file = None if block is None else BytesIO(block)
        with tarfile.open(path, "r:", fileobj=file) as archive, suppress(tarfile.ReadError, OSError):
            for member in archive:
                members.add(archive, member)
            members.complete = _has_end_mark(archive)
    except tarfile.TarError as error:
        raise DataError(f"cannot read {path} as a tar file: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {describe_error(error)}") from error
    return members


def _has_end_mark(archive: tarfile.TarFile) -> bool:
    """Return whether a block of zeros follows the last member; `tarfile` ends at rubbish without a word."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    return bytes(archive.fileobj.read(tarfile.BLOCKSIZE)) == tarfile.NUL * tarfile.BLOCKSIZE


def _find_shared_folder(names: Sequence[str]) -> str:
    """Return the outermost folder, with its "/", where all classes of a shard are inside one; else ""."""
    first = names[0].partition("/")[0] + "/"
    inside = [name.startswith(first) and name.count("/") > 1 for name in names]
    return first if all(inside) else ""
