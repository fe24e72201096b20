"""Files and folders: atomic writes, reads that say why they fail, cache folders."""

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from infilling.errors import DataError, InfillingError, InputError, StorageError, describe_error

HOME_VARIABLE = "INFILLING_HOME"
MOST_BYTES = 4 << 30  # of a file that is read whole; a TIFF cannot be larger
MODEL_FILE = "model.onnx"  # name of the network in the folder of a run
UNFINISHED = ".unfinished"  # end of the hidden name of a folder that is not whole

# What is not a regular file, by the test that recognises it.
_KINDS = (
    (stat.S_ISDIR, "a folder; name a file in it"),
    (stat.S_ISFIFO, "a pipe; give - to read from a pipe"),
    (stat.S_ISSOCK, "a socket; name a file"),
    (stat.S_ISCHR, "a device; name a file"),
    (stat.S_ISBLK, "a device; name a file"),
)


def find_home() -> Path:
    """Return the package's cache folder, which may not exist yet.

    It is `$INFILLING_HOME`, else `$XDG_CACHE_HOME/infilling`, else `~/.cache/infilling`; `~` is expanded.
    """
    if home := os.environ.get(HOME_VARIABLE):
        return Path(home).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "infilling"


def make_folder(path: Path) -> Path:
    """Make a folder and those above it, where they are missing, and return it.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {path}: {describe_error(error)}") from error
    return path


def require_room(folder: Path, needed: int, advice: str = "") -> None:
    """Refuse to begin what a disk has no room for.

    Args:
        folder: a folder on the disk.
        needed: bytes that will be written.
        advice: what else can be done, for the message.

    Raises:
        StorageError: less is free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        text = f"no room in {folder}: {needed / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free"
        raise StorageError(f"{text}; {advice}" if advice else text)


def lock_file(file: IO[Any]) -> bool:
    """Hold an open file for this process until it is closed; False if another process holds it.

    Windows has no such locks: there two processes are not noticed.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return True
    except OSError:
        return False
    return True


def require_new_folder(path: Path) -> None:
    """Refuse a folder that holds something, before work is done for it.

    Raises:
        DataError: it is a file, or a folder that is not empty.
    """
    if os.path.exists(path) and not (os.path.isdir(path) and not any(path.iterdir())):
        raise DataError(f"{path} is not empty: name a new folder")


def is_same_file(one: str | Path, other: str | Path) -> bool:
    """Return whether two paths name one file, which need not be there yet."""
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)


def check_targets(targets: Mapping[str, str | Path | None], sources: Iterable[object]) -> None:
    """Refuse, before work is done, results that would replace what is read, or each other.

    Args:
        targets: what asks for a file → its path, or None.
        sources: what is read; only paths count.

    Raises:
        InputError: it is so.
        StorageError: the folder of a file is not there.
    """
    read = [source for source in sources if isinstance(source, str | Path)]
    taken: list[str | Path] = []
    for name, target in targets.items():
        if target is None:
            continue
        if any(is_same_file(target, source) for source in read):
            raise InputError(f"{target} is what is read: name another file for {name}")
        if any(is_same_file(target, other) for other in taken):
            raise InputError(f"{target} is named twice: name another file for {name}")
        if not Path(target).absolute().parent.is_dir():
            raise StorageError(f"{target}: cannot be written (its folder is not there)")
        taken.append(target)


def check_png_name(path: str | Path | None) -> None:
    """Refuse a name that says that a PNG is something else.

    Raises:
        InputError: it is so.
    """
    if path is not None and Path(path).suffix.lower() not in ("", ".png"):
        raise InputError(f"{path}: what is written there is a PNG: name it .png")


@contextmanager
def make_folder_whole(path: Path, refusal: str) -> Iterator[Path]:
    """Give a folder to write into; it is renamed to `path` if all goes well, and removed if not.

    Args:
        path: a new folder, or an empty one.
        refusal: how the message begins if something cannot be written.

    Raises:
        StorageError: something cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.urandom(4).hex()}{UNFINISHED}")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        if os.path.exists(path):
            path.rmdir()
        unfinished.rename(path)
    except OSError as error:
        raise StorageError(f"{refusal}: {describe_error(error)}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def read_file(path: str | Path, *, raises: type[InfillingError] = InputError) -> bytes:
    """Read a regular file. Pipes, devices and sockets are refused without waiting for them.

    Args:
        path: path of the file.
        raises: class of the error.

    Raises:
        InputError: or another class in `raises`; one line that says why the file cannot be read.
    """
    try:
        with open(path, "rb", opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if reason := _find_kind(status.st_mode):
                raise raises(f"{path}: is {reason}")
            if status.st_size > MOST_BYTES:
                raise raises(f"{path}: has {status.st_size:,} bytes, more than the limit of {MOST_BYTES:,}")
            return file.read() or b""  # None: a file of /proc that has nothing to say yet
    except FileNotFoundError as error:
        raise raises(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise raises(f"{path}: is {_find_kind(stat.S_IFDIR)}") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = _find_kind_of(path) or f"cannot be read ({describe_error(error)})"
        raise raises(f"{path}: {reason}") from error


def parse_json(text: str | bytes) -> Any:
    """Parse JSON that anyone may have written.

    Raises:
        ValueError: it is no JSON, or its lists and tables are too deep.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("lists and tables in one another are too deep") from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also when the process is killed.

    Where the system can do that, the file gets its name when it is whole; elsewhere it has a temporary name
    beside the target and is renamed. A file that is replaced keeps its permissions, a symbolic link is
    followed, and a device or pipe is written to directly.

    Raises:
        StorageError: it cannot be written; nothing is left behind.
    """
    try:
        target = Path(os.path.realpath(path))
        mode = target.stat().st_mode if os.path.exists(target) else None
        if mode is not None and not stat.S_ISREG(mode):
            _write_directly(target, data)
            return
        if mode is None and _write_nameless(target, data):
            return
        temporary = target.with_name(f".{os.urandom(8).hex()}.part")
        try:
            if mode is None or not _write_nameless(temporary, data):
                with open(temporary, "xb") as file:
                    write_through(file, data)
            if mode is not None:
                temporary.chmod(stat.S_IMODE(mode))
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a null byte or half a surrogate pair in the name
        raise StorageError(f"{path}: cannot be written ({describe_error(error)})") from error


def _write_directly(target: Path, data: bytes) -> None:
    """Write to a device or pipe; one that nobody reads from is an error, instead of waited for."""
    try:
        file = open(target, "wb", opener=_open_without_waiting)  # noqa: SIM115, closed below
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "nobody reads from it") from error
        raise
    with file:
        if hasattr(os, "set_blocking"):
            os.set_blocking(file.fileno(), True)
        file.write(data)


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file without waiting for who is at the other end of a pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _find_kind(mode: int) -> str | None:
    """Return what a file is instead of a regular one, and what to do about it; None for a regular file."""
    return next((reason for is_kind, reason in _KINDS if is_kind(mode)), None)


def _find_kind_of(path: str | Path) -> str | None:
    """Return what is at a path that cannot be opened, if it is no regular file: a socket, for one."""
    try:
        reason = _find_kind(os.stat(path).st_mode)
    except (OSError, ValueError):
        return None
    return f"is {reason}" if reason else None


def _write_nameless(target: Path, data: bytes) -> bool:
    """Write a new file that gets its name when it is whole; False if this system or file system cannot."""
    try:
        descriptor = os.open(target.parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except (AttributeError, OSError):
        return False
    with open(descriptor, "wb") as file:
        write_through(file, data)
        try:
            # With a descriptor, which an absolute path makes no use of, os.link follows the link in /proc.
            os.link(f"/proc/self/fd/{descriptor}", target, src_dir_fd=descriptor)
        except OSError:  # no /proc, or another process was quicker
            return False
    return True


def write_through(file: IO[bytes], data: bytes | memoryview = b"") -> None:
    """Write to an open file, and flush all that was written to it to the disk."""
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
