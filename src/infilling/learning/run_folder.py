"""The folder of a run: its lock, its config, its figures as rows and as TensorBoard events.

config.toml      the resolved config
history.jsonl    one row for each start: the pictures, their number, the step at which it began
stats.jsonl      one row every `log_every` steps
events.out.*     the same for TensorBoard, with the sample grids and the config, where it is installed
samples/         a grid of the fixed held-out pictures every `sample_every` steps
samples.webp     all of them, one after the other
losses.png       both losses over the steps
batch.png        the first batch before and after masking
final.png        the last batch, masked and filled
checkpoint/      see `checkpoint`
fidelity.onnx    the model before the discriminator's first step, of systems that start without one
model.onnx       written when the run has reached its end
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from infilling.errors import InputError, StorageError, describe_error
from infilling.learning.event_file import EventFile
from infilling.storage import lock_file, parse_json, read_file, write_atomic

log = logging.getLogger(__name__)

CONFIG = "config.toml"
HISTORY = "history.jsonl"
STATS = "stats.jsonl"
LOCK = ".lock"


@contextmanager
def lock_run(run: Path) -> Iterator[None]:
    """Make the folder and hold it for this process; the hold ends with the process, however it ends.

    A new folder that stays empty is removed again.

    Raises:
        StorageError: the folder cannot be made, or another process trains in it.
    """
    new = not os.path.isdir(run)
    try:
        run.mkdir(parents=True, exist_ok=True)
        file = (run / LOCK).open("a+")
    except OSError as error:
        raise StorageError(f"cannot train in {run}: {describe_error(error)}") from error
    with file:
        if not lock_file(file):
            file.seek(0)
            owner = f"process {file.read(20).strip() or '?'} is training in {run}"
            raise StorageError(f"{owner}; wait for it, or choose another folder")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        try:
            yield
        finally:
            if new and os.listdir(run) == [LOCK]:
                with suppress(OSError):  # Windows keeps what is open
                    (run / LOCK).unlink()
                    run.rmdir()


class RunLog:
    """Rows of figures, appended to `stats.jsonl` and to TensorBoard's events.

    Args:
        run: the run's folder.
        step: step at which the run continues; later rows are dropped, as their steps will be taken again.

    Attributes:
        last_step: step of the last row; 0 without rows.
        events: TensorBoard's events.
    """

    def __init__(self, run: Path, step: int) -> None:
        self._path = run / STATS
        rows = [row for row in read_stats(run) if row["step"] <= step]
        write_atomic(self._path, "".join(map(_to_line, rows)).encode())
        self.last_step = int(rows[-1]["step"]) if rows else 0
        self.events = EventFile(run, step)

    def write(self, row: Mapping[str, float]) -> None:
        """Add a row; `step` is among its figures.

        Raises:
            StorageError: the disk is full.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_to_line(row))
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {describe_error(error)}") from error
        self.last_step = int(row["step"])
        self.events.add_scalars(row, self.last_step)


def read_stats(run: Path) -> list[dict[str, float]]:
    """Return the rows of `stats.jsonl`, without what is no row of figures."""
    return read_rows(run / STATS, "step")


def add_history(run: Path, row: Mapping[str, Any]) -> None:
    """Add a row to `history.jsonl`.

    Raises:
        StorageError: the disk is full.
    """
    rows = [*read_rows(run / HISTORY), row]
    write_atomic(run / HISTORY, "".join(json.dumps(each) + "\n" for each in rows).encode())


def read_rows(path: Path, *required: str) -> list[dict[str, Any]]:
    """Read a file of JSON objects, one a line.

    Other lines are left out with a warning; a last line that was cut by a kill, without one.

    Args:
        path: path of the file; without one there are no rows.
        required: names of numbers that every row has.
    """
    try:
        lines = read_file(path).splitlines(keepends=True)
    except InputError:
        return []
    rows, damaged = [], 0
    for number, line in enumerate(lines, 1):
        row = _parse_row(line, required)
        if row is not None:
            rows.append(row)
        elif number < len(lines) or line.endswith(b"\n"):
            damaged += 1
    if damaged:
        log.warning("left out %d of %d lines of %s as damaged", damaged, len(lines), path)
    return rows


def _parse_row(line: bytes, required: tuple[str, ...]) -> dict[str, Any] | None:
    try:
        row = parse_json(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or not all(type(row.get(name)) in (int, float) for name in required):
        return None
    return row


def _to_line(row: Mapping[str, float]) -> str:
    """Keep six digits, enough for figures that are read by people and plotted."""
    rounded = {name: float(f"{value:.6g}") for name, value in row.items() if isinstance(value, float)}
    return json.dumps({**row, **rounded}) + "\n"
