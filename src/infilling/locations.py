"""Locations of files: a path on this machine, or a URL such as `s3://bucket/photos` that fsspec knows.

`Url` has the few methods of `Path` that are used here, so most code need not ask which of the two it has.
"""

import os
import posixpath
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

from infilling.errors import DependencyError, InputError, StorageError, describe_error, install_hint
from infilling.storage import read_file, write_atomic

WHOLE = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "memory"}
"""Stores that show nothing of an object before all of it is there; others are written to and renamed."""
SILENCE_S = 60.0  # after which an HTTP server that sends nothing more has failed


@dataclass(frozen=True)
class Url:
    """A place behind a URL. What its store raises comes out as OSError."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: object) -> "Url":
        return self if str(name) == "." else Url(f"{self.text.rstrip('/')}/{name}")

    @property
    def name(self) -> str:
        """The part after the last slash."""
        return self.text.rstrip("/").rpartition("/")[2]

    @property
    def is_private(self) -> bool:
        """Whether only this process sees what is stored there."""
        return self.text.startswith("memory:")

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return posixpath.splitext(self.name)[0]

    @property
    def parent(self) -> "Url":
        """The folder that it is in."""
        return Url(self.text.rstrip("/").rpartition("/")[0])

    def absolute(self) -> "Url":
        """Return itself: a URL is always absolute."""
        return self

    def resolve(self) -> "Url":
        """Return itself without a slash at the end; a store has no links."""
        return Url(self.text.rstrip("/"))

    def is_file(self) -> bool:
        """Return whether an object has this name."""
        with self.store() as (store, path):
            return bool(store.isfile(path))

    def is_dir(self) -> bool:
        """Return whether objects lie below this name."""
        with self.store() as (store, path):
            return bool(store.isdir(path))

    def exists(self) -> bool:
        """Return whether it is a file or a folder."""
        with self.store() as (store, path):
            return bool(store.exists(path))

    def read_bytes(self) -> bytes:
        """Return the content."""
        with self.store() as (store, path):
            data: bytes = store.cat_file(path)
            return data

    def open_lines(self) -> IO[str]:
        """Open the content as UTF-8 text."""
        with self.store() as (store, path):
            file: IO[str] = store.open(path, "r", encoding="utf-8", errors="surrogateescape")
            return file

    def unlink(self) -> None:
        """Delete the object."""
        with self.store() as (store, path):
            store.rm_file(path)

    def write(self, data: bytes) -> None:
        """Write the object whole, or leave nothing under its name."""
        with self.store() as (store, path):
            if WHOLE.isdisjoint([store.protocol] if isinstance(store.protocol, str) else store.protocol):
                folder, _, name = path.rpartition("/")
                store.makedirs(folder, exist_ok=True)
                part = f"{folder}/.{name}.{secrets.token_hex(8)}.part"
                store.pipe_file(part, data)
                store.mv(part, path)
            else:
                store.pipe_file(path, data)

    def list(self) -> tuple[list[str], list[str]]:
        """Names of the folders and of the files in it, sorted."""
        with self.store() as (store, path):
            kinds = {each["name"].rstrip("/"): each["type"] for each in store.ls(path, detail=True)}
        kinds.pop(path.rstrip("/"), None)  # some stores list the folder itself
        found: dict[bool, list[str]] = {True: [], False: []}
        for name, kind in kinds.items():
            found[kind == "directory"].append(name.rpartition("/")[2])
        return sorted(found[True]), sorted(found[False])

    @contextmanager
    def store(self) -> Iterator[tuple[Any, str]]:
        """Give the file system and the path in it.

        Raises:
            DependencyError: a package for such URLs is missing.
            InputError: there are no such URLs.
        """
        try:
            from fsspec.core import url_to_fs
        except ImportError as error:
            raise DependencyError(f"{self.text} needs fsspec: {install_hint('stream')}") from error
        scheme = self.text.partition("://")[0]
        try:
            options = _make_http_options() if scheme in ("http", "https") else {}
            found = url_to_fs(self.text, use_listings_cache=False, **options)  # other hosts write there too
        except ImportError as error:  # it names the package
            advice = f"for s3:// and https://: {install_hint('stream')}"
            raise DependencyError(f"cannot read {self.text}: {error}; {advice}") from error
        except ValueError as error:
            raise InputError(f"cannot read {self.text}: {scheme}:// is unknown") from error
        try:
            yield found
        except (OSError, InputError):
            raise
        except Exception as error:  # each store has exceptions of its own
            raise OSError(0, describe_error(error)) from error


def _make_http_options() -> dict[str, Any]:
    """Allow a large file any time, but end a server that falls silent."""
    from aiohttp import ClientTimeout

    return {"client_kwargs": {"timeout": ClientTimeout(total=None, connect=SILENCE_S, sock_read=SILENCE_S)}}


Location: TypeAlias = Path | Url


def is_local(text: str | Path) -> bool:
    """Return whether it is a path on this machine."""
    return "://" not in str(text)


def locate(text: str | Path | Url) -> Location:
    """Take a URL for a URL, and all else for a path.

    Example:
        >>> locate("s3://bucket/photos") / "a.jpg"
        Url(text='s3://bucket/photos/a.jpg')
        >>> locate("photos") / "a.jpg"
        PosixPath('photos/a.jpg')
    """
    if isinstance(text, Url):
        return text
    return Path(text) if is_local(text) else Url(str(text))


def list_folder(folder: Location) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files in a folder, sorted; without hidden ones and links to folders.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    folders, files = folder.list() if isinstance(folder, Url) else _scan(folder)
    return _list_shown(folders), _list_shown(files)


def _list_shown(names: list[str]) -> list[str]:
    return [name for name in names if not name.startswith(".")]


def _scan(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders, without links to any, and of the files in a folder, sorted."""
    folders, files = [], []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if not _is_folder(entry):
                files.append(entry.name)
            elif not entry.is_symlink():
                folders.append(entry.name)
    return folders, files


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry is a folder or a link to one; what cannot be looked at counts as a file."""
    try:
        return entry.is_dir()
    except OSError:  # a link that points at itself
        return False


def read_location(path: Location) -> bytes:
    """Read a file.

    Raises:
        InputError: it cannot be read, or is no regular file.
    """
    if isinstance(path, Path):
        return read_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({describe_error(error)})") from error


def write_location(target: Location, data: bytes) -> None:
    """Write a file, and the folders above it, so that it is there whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        if isinstance(target, Url):
            target.write(data)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({describe_error(error)})") from error
    write_atomic(target, data)
