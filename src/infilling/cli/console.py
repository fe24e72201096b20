"""Output of the commands: data on stdout; messages in one line on stderr; a trace only when asked for."""

import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from infilling.errors import InfillingError, InputError, StorageError, describe_error
from infilling.storage import make_folder, read_file, write_atomic

if TYPE_CHECKING:
    from rich.progress import Progress

    from infilling.pictures.mask import Mask

PIPE = "-"

_VERBOSE = "INFILLING_VERBOSE"


def put(text: str) -> None:
    """Print a line of data on stdout.

    Raises:
        StorageError: it goes to a file, and the disk is full.
    """
    with _explain_full_disk():
        typer.echo(text)


def put_bytes(data: bytes) -> None:
    """Write bytes to stdout; errors as in `put`."""
    with _explain_full_disk():
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def put_json(value: object) -> None:
    """Print a value as JSON."""
    put(json.dumps(value, indent=2, ensure_ascii=False))


def write_mask(mask: "Mask", path: Path) -> None:
    """Write a mask as a PNG, white where it is True.

    Raises:
        StorageError: it cannot be written.
    """
    from infilling.pictures.files import encode_mask

    write_atomic(path, encode_mask(mask))


@contextmanager
def _explain_full_disk() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # the reader has had enough, which is no error
        raise
    except OSError as error:
        raise StorageError(f"stdout: cannot be written ({describe_error(error)})") from error


def read_input(source: str) -> bytes:
    """Read a file, or all of stdin for `-`.

    Raises:
        InputError: it cannot be read.
    """
    if source != PIPE:
        return read_file(source)
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(f"stdin: cannot be read ({describe_error(error)})") from error


def put_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under a header: ruled and coloured on a terminal, tab-separated in a pipe."""
    if not sys.stdout.isatty():
        for row in [header, *rows]:
            put("\t".join(row))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*row)
    Console().print(table, markup=False)


def limit_torch(threads: int | None) -> None:
    """Let torch take N threads; None leaves all cores to it."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


@contextmanager
def folder(path: Path | None) -> Iterator[None]:
    """Make a folder and those above it, if they are missing; remove it again if it is still empty at the end.

    Args:
        path: path of the folder; None makes none.

    Raises:
        StorageError: it cannot be made.
    """
    if path is None or os.path.isdir(path):
        yield
        return
    make_folder(path)
    try:
        yield
    finally:
        with suppress(OSError):  # it holds something
            path.rmdir()


@contextmanager
def show_bar(*columns: Any, transient: bool = True) -> "Iterator[Progress | None]":
    """Show a bar on stderr where that is a terminal; give None elsewhere.

    Args:
        columns: columns of the bar, as rich has them; none: rich's own.
        transient: remove the bar at the end.
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(*columns, console=Console(stderr=True), transient=transient) as bar:
        yield bar


def count_on(bar: "Progress | None", what: str) -> Callable[[int, int], None] | None:
    """Return a function that shows on a bar how many of how many are done; None without a bar."""
    if bar is None:
        return None
    task = bar.add_task(what, total=None)
    return lambda done, total: bar.update(task, completed=done, total=total)


def say(text: str) -> None:
    """Print a message on stderr."""
    typer.echo(text, err=True)


def ask_for_trace(wanted: bool) -> bool:
    """Remember `--verbose`: the callback of that option. `INFILLING_VERBOSE=1` asks for the same."""
    if wanted:
        os.environ[_VERBOSE] = "1"
    return wanted


def fail(line: str, *, code: int) -> int:
    """Print one line about an error on stderr, and return the exit code."""
    colour = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    typer.echo(typer.style("error:", fg="red") + f" {line}" if colour else f"error: {line}", err=True)
    return code


def fail_with(error: Exception) -> int:
    """Print one line about an error, after its trace if that was asked for, and return its exit code."""
    if os.environ.get(_VERBOSE):
        traceback.print_exception(error)
    line = " ".join(str(error).split())
    if isinstance(error, InfillingError):
        return fail(line, code=error.exit_code)
    return fail(f"unexpected {type(error).__name__}: {line} (--verbose shows where)", code=1)


class _WarningHandler(logging.Handler):
    """A handler that prints what the package logs: warnings as `warning: …`, information as it is."""

    def emit(self, record: logging.LogRecord) -> None:
        front = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        say(front + " ".join(record.getMessage().split()))


def show_warnings_in_one_line() -> None:
    """Print what is logged or warned of as `warning: …` on stderr, without file names and source lines."""
    log = logging.getLogger("infilling")
    if not log.handlers:
        log.addHandler(_WarningHandler())

    def show(message: Warning | str, *_where: Any, **_more: Any) -> None:
        say(f"warning: {' '.join(str(message).split())}")

    warnings.showwarning = show
