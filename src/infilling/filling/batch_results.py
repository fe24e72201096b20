"""Results of a batch: `results.jsonl`, a line for each picture of a run, and what earlier runs finished.

On this machine lines are appended as they are made. Most stores behind a URL cannot append: there the lines
of each minute become a part, `results.part-00001.jsonl`, and all parts become one file at the end.
"""

import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from infilling.errors import StorageError, describe_error, warn
from infilling.locations import Location, Url, list_folder, write_location
from infilling.storage import parse_json

RESULTS = "results.jsonl"
PART_S = 60.0  # seconds after which lines are stored as a part
LINE_CHARACTERS = 1 << 20  # longest line that is read in one piece

State = Literal["filled", "unchanged", "pending", "skipped", "unmasked", "failed"]


@dataclass(frozen=True)
class Result:
    """A line of `results.jsonl`: the outcome for one picture.

    Attributes:
        picture: name of the picture, from the folder of pictures.
        output: name of the result, from the folder of results.
        state: `filled`; `unchanged`, it has no hole; `skipped`, it was finished before; `pending`, a dry run
            would fill it; `unmasked`, it has no mask and was passed over; `failed`.
        seconds: time from reading the picture to the written file.
        holes: number of connected groups of hole pixels; None if the picture was not filled.
        error: one line that says why it failed; None if it did not.
        key: digest of everything that the result depends on, in hexadecimal.
        warnings: sentences for the person who asked.
        digest: SHA-256 of the file of the network that filled; None for a method without a network.
        doubt: mean standard deviation, in the hole, of the several fills that were made, from 0 to 0.5; None
            for one.
    """

    picture: str
    output: str
    state: State
    seconds: float = 0.0
    holes: int | None = None
    error: str | None = None
    key: str | None = None
    warnings: tuple[str, ...] = ()
    digest: str | None = None
    doubt: float | None = None


def shorten_name(output: str) -> bytes:
    """Return a digest of a name in 16 bytes, which stands for it in memory."""
    return hashlib.sha256(output.encode("utf-8", "surrogateescape")).digest()[:16]


def read_finished(out: Location) -> dict[bytes, bytes]:
    """Read which results are finished, from every part.

    Of several lines for one result, the last one counts. Lines that cannot be read are ignored.

    Returns:
        Shortened name of each finished result → its key.

    Raises:
        StorageError: the folder is there and cannot be read.
    """
    finished: dict[bytes, bytes] = {}
    with _storing(out, "read"):
        names = list_folder(out)[1] if out.is_dir() else []
        for name in names:
            if re.fullmatch(r"results\b.*\.jsonl", name):
                finished.update(_read_keys(out / name))
    return finished


def read_results(path: Location) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file of results, by the names of `Result`.

    Raises:
        StorageError: the file cannot be read.
    """
    with _storing(path, "read"), _open_text(path) as lines:
        for line in lines:
            yield parse_json(line)


def _read_keys(path: Location) -> Iterator[tuple[bytes, bytes]]:
    """Yield short name and key of each finished result; lines that are none are counted in a warning.

    The last line of a run that was killed may be torn, which is no reason to warn.
    """
    count, unreadable, is_torn = 0, 0, False
    with _open_text(path) as lines:
        while line := lines.readline(LINE_CHARACTERS):
            count += 1
            unreadable += is_torn
            key = _read_key(line)
            is_torn = key is None
            if key:
                yield key
    if unreadable:
        found = f"{path}: {unreadable:,} of {count:,} lines cannot be read"
        warn(f"{found}; pictures without a line are filled again")


def _read_key(line: str | bytes) -> tuple[bytes, bytes] | tuple[()] | None:
    """Return short name and key; nothing if the line is of a picture that failed; None if it is no line."""
    try:
        row = parse_json(line)
        if row["state"] == "failed" or not row["key"]:
            return ()
        return shorten_name(row["output"]), bytes.fromhex(row["key"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _open_text(path: Location) -> IO[str]:
    if isinstance(path, Url):
        return path.open_lines()
    # A pipe of this name would never end.
    return path.open(encoding="utf-8", errors="surrogateescape") if path.is_file() else io.StringIO()


@contextmanager
def open_lines(path: Location | None) -> Iterator[Callable[[Result], None]]:
    """Yield a function that appends a result to a file; at the end, remove the lines of earlier runs.

    Args:
        path: the file; None writes nothing.

    Raises:
        StorageError: the file cannot be written.
    """
    if path is None:
        yield lambda result: None
    elif isinstance(path, Url):
        with _store_parts(path) as put_line:
            yield lambda result: put_line(_to_line(result))
    else:
        with _append(path) as put_line:
            yield lambda result: put_line(_to_line(result))


def _to_line(result: Result) -> bytes:
    return (json.dumps(dataclasses.asdict(result)) + "\n").encode()


@contextmanager
def _append(path: Path) -> Iterator[Callable[[bytes], None]]:
    with _storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b", buffering=0)  # what a full disk refuses must not be tried again on closing
    with closing(file):
        with _storing(path):
            _end_line(file)
            start = file.tell()

        def put(line: bytes) -> None:
            with _storing(path):
                while line:
                    line = line[file.write(line) :]

        yield put
        if start:
            with _storing(path):
                _keep_from(path, file, start)


@contextmanager
def _store_parts(path: Url) -> Iterator[Callable[[bytes], None]]:
    """Buffer the lines, and store those of each minute, so that a run that is killed loses little."""
    front = f"{path.stem}.part-"
    with _storing(path):
        names = list_folder(path.parent)[1] if path.parent.is_dir() else []
    numbers = {name: re.fullmatch(rf"{re.escape(front)}(\d+)\.jsonl", name) for name in names}
    parts = [name for name, found in numbers.items() if found]
    part = max([int(found[1]) for found in numbers.values() if found], default=0) + 1
    parts.append(f"{front}{part:05}.jsonl")
    # A store that cannot be written to shows before a million pictures are filled.
    write_location(path.parent / parts[-1], b"")
    with tempfile.TemporaryFile() as file:
        start, stored = 0, time.monotonic()

        def put(line: bytes) -> None:
            nonlocal part, start, stored
            with _storing(path):
                file.write(line)
                if time.monotonic() - stored < PART_S:
                    return
                file.seek(start)
                if start:
                    part += 1
                    parts.append(f"{front}{part:05}.jsonl")
                write_location(path.parent / parts[-1], file.read())
                start, stored = file.tell(), time.monotonic()

        yield put
        with _storing(path):
            file.seek(0)
            write_location(path, file.read())
            for name in parts:
                (path.parent / name).unlink()


@contextmanager
def _storing(path: Location, verb: str = "written") -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise StorageError(f"{path}: cannot be {verb} ({describe_error(error)})") from error


def _end_line(file: IO[bytes]) -> None:
    """Cut off a last line that a kill or a full disk left unfinished; end one that only lacks its end."""
    start = max(file.seek(0, os.SEEK_END) - LINE_CHARACTERS, 0)
    file.seek(start)
    last = file.read().rpartition(b"\n")[2]
    if last and _read_key(last) is None and len(last) < LINE_CHARACTERS:
        file.truncate(file.tell() - len(last))
    elif last:
        file.write(b"\n")
    file.seek(0, os.SEEK_END)


def _keep_from(path: Path, file: IO[bytes], start: int) -> None:
    """Replace a file by what it holds from a place on."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as rest:
            file.seek(start)
            shutil.copyfileobj(file, rest)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
