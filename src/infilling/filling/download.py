"""Fetch the file of a model, or take one that was fetched by hand: checked, and there whole or not at all.

A download that is cut off is resumed by the next try, also of another process: what came is kept beside the
target under a name that begins with a dot. Proxies are those of the environment (`HTTPS_PROXY`).
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from infilling.errors import ModelError, StorageError, describe_error
from infilling.filling.models import Model, explain_missing, find_model, find_path, is_offline, verify
from infilling.filling.session import digest_files
from infilling.storage import MOST_BYTES, lock_file, make_folder, require_room
from infilling.version import VERSION

CHUNK = 1 << 18  # bytes that are read at a time
TIMEOUT_S = 30.0  # seconds without a byte after which a connection is given up
TRIES = 10  # connections to a server that breaks off, as long as each brings something

Progress = Callable[[int, int], None]
"""Called with the number of bytes that are here, and of all."""


def download(name: str, *, force: bool = False, progress: Progress | None = None) -> Path:
    """Return the path of a model's checked file; fetch it first if it is not here.

    Args:
        name: a name in `models.MODELS`.
        force: fetch it again even if the file here is good.
        progress: called after each chunk; None: not.

    Raises:
        ModelError: unknown name, offline, unreachable, or the file is not the one that the table names.
        StorageError: the cache folder cannot be written, or is too full.
    """
    model = find_model(name)
    path = find_path(model)
    if model.url is None or (path.is_file() and not force):
        return verify(name)
    if is_offline():
        raise ModelError(explain_missing(name))
    with _open_part(path, model) as part:
        _fetch(name, model, part, progress or _ignore)
        _check(Path(part.name), model, f"{name} from {model.url}")
        _put(part, path)
    return path


def add_file(name: str, source: Path) -> Path:
    """Take the file of a model that was fetched by hand, and return its path in the cache.

    Args:
        name: a name in `models.MODELS`.
        source: the file.

    Raises:
        ModelError: unknown name, or the file is not the one that the table names.
        StorageError: the cache folder cannot be written, or is too full.
    """
    model = find_model(name)
    if model.url is None:
        return verify(name)
    if not os.path.isfile(source):
        raise ModelError(f"{source}: no such file")
    _check(source, model, str(source))
    path = find_path(model)
    with _open_part(path, model) as part:
        _truncate(part, 0)
        with source.open("rb") as file:
            while chunk := file.read(CHUNK):
                _write(part, chunk)
        _put(part, path)
    return path


def _ignore(done: int, total: int) -> None:
    pass


def _check(path: Path, model: Model, what: str) -> None:
    digest = digest_files(path)
    if not digest.startswith(model.sha256):
        raise ModelError(
            f"{what} is not the file in the table: SHA-256 {digest[:12]}…, expected {model.sha256[:12]}…"
        )


@contextmanager
def _open_part(path: Path, model: Model) -> Iterator[IO[bytes]]:
    """Open what there is of a file for appending, by this process alone.

    What came is kept if the connection broke; if the disk is full or the content is wrong, it is removed.
    """
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.{model.sha256[:12]}.part")
    try:
        file = part.open("ab", buffering=0)  # what a full disk refuses must not be tried again on closing
    except OSError as error:
        raise StorageError(f"cannot write in {path.parent}: {describe_error(error)}") from error
    with file:
        if not lock_file(file):
            raise ModelError(f"{path.name} is being downloaded by another process: wait for it")
        if file.tell() > model.size:
            _truncate(file, 0)
        try:
            require_room(path.parent, model.size - file.tell())
            yield file
        except OSError as error:
            part.unlink(missing_ok=True)
            raise StorageError(f"cannot write {path}: {describe_error(error)}") from error
        except StorageError:
            part.unlink(missing_ok=True)
            raise
        except ModelError:
            if not 0 < file.tell() < model.size:
                part.unlink(missing_ok=True)
            raise


def _put(part: IO[bytes], path: Path) -> None:
    """Give a whole file its name."""
    os.fsync(part.fileno())
    os.chmod(part.name, 0o644)
    os.replace(part.name, path)


def _fetch(name: str, model: Model, part: IO[bytes], progress: Progress) -> None:
    """Bring a part to the size that the table says; a connection that breaks off is made again.

    Raises:
        ModelError: the server cannot be reached, refuses, or breaks off again and again.
    """
    for _ in range(TRIES):
        before = part.tell()
        try:
            _append(model, part, progress)
        except _Broken as broken:
            if part.tell() <= before:
                raise ModelError(f"cannot download {name} from {model.url}: {broken}") from broken.__cause__
            continue
        if part.tell() >= model.size:
            return
        if part.tell() <= before:
            break
    raise ModelError(
        f"{name} from {model.url} was cut short: {part.tell()} of {model.size} bytes came; "
        "the same command continues from there"
    )


class _Broken(Exception):
    """A connection that could not be made or that broke; the text says why."""


def _write(part: IO[bytes], data: bytes) -> None:
    """Write all of the bytes."""
    while data:
        data = data[part.write(data) :]


def _truncate(part: IO[bytes], size: int) -> None:
    part.truncate(size)
    part.seek(size)


def _append(model: Model, part: IO[bytes], progress: Progress) -> None:
    """Append what a server sends from where the part ends.

    A server that cannot begin there sends all: then the part begins again. More than the table says is not
    taken.
    """
    for chunk, place in _read_chunks(str(model.url), part.tell(), model.size):
        if place != part.tell():
            _truncate(part, place)
        room = (model.size or MOST_BYTES) - part.tell()
        _write(part, chunk[: room + 1])  # a byte too many shows by the digest that it is another file
        progress(part.tell(), model.size)
        if len(chunk) > room:
            return


def _read_chunks(url: str, start: int, size: int) -> Iterator[tuple[bytes, int]]:
    """Yield the bytes of a file from a place on, each chunk with its place in the file.

    Args:
        url: the address.
        start: where to begin; a server that cannot begins at 0.
        size: of the whole file, in bytes; 0 where it is not known. A login page has another.
    """
    # Here: these take as long to load as a model's file to check.
    import http.client
    import urllib.error
    import urllib.request

    headers = {"User-Agent": f"infilling/{VERSION}"} | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(url, headers=headers)
    place = start
    try:
        with urllib.request.build_opener().open(request, timeout=TIMEOUT_S) as answer:
            place = start if _continues(answer, start) else 0
            length = int(answer.headers.get("Content-Length") or 0)
            end = place + length
            if size and length and end != size:
                raise _Broken(f"the server has {end} bytes there, not {size}")
            while chunk := answer.read1(CHUNK):
                yield chunk, place
                place += len(chunk)
            if place < end and not size:
                raise _Broken("the connection broke off")
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        if error.code != 416 or not start:
            raise _Broken(f"{error.code} {error.reason}") from error
        yield b"", 0  # there is nothing after what came: begin again
    except http.client.IncompleteRead as error:
        yield error.partial, place
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(getattr(error, "reason", None) or error) from error


def _continues(answer: Any, start: int) -> bool:
    """Return whether a server begins where it was asked to."""
    if start == 0 or answer.status != 206:
        return start == 0
    with suppress(ValueError, IndexError):
        return int(str(answer.headers["Content-Range"]).split()[1].split("-")[0]) == start
    return False
