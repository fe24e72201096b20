"""The folder of a run: its lock, its config, its figures as rows and as TensorBoard events.

config.toml      the resolved config
stats.jsonl      one row every `log_every` steps
events.out.*     the same for TensorBoard, where it is installed
samples/         a grid of the fixed held-out pictures every `sample_every` steps
samples.webp     all of them, one after the other
losses.png       both losses over the steps
batch.png        the first batch before and after masking
final.png        the last one, and what became of it
checkpoint/      see `checkpoint`
fidelity.onnx    the model before the discriminator's first step, of systems that start without one
model.onnx       written when the run has reached its end
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from infilling.errors import StorageError
from infilling.learning import config as configs
from infilling.learning.settings import Config
from infilling.storage import write_atomic

try:
    import fcntl as _fcntl
except ImportError:  # Windows has no flock: two trainings of one folder are then not told apart
    fcntl: ModuleType | None = None
else:
    fcntl = _fcntl

CONFIG = "config.toml"
STATS = "stats.jsonl"
LOCK = ".lock"


@contextmanager
def lock_run(run: Path) -> Iterator[None]:
    """Makes the folder and holds it for this process; the hold ends with the process, however it ends.

    A new folder in which nothing came to lie is taken away again.

    Raises:
        StorageError: the folder cannot be made, or another process trains in it.
    """
    new = not run.is_dir()
    try:
        run.mkdir(parents=True, exist_ok=True)
        file = (run / LOCK).open("a+")
    except OSError as error:
        raise StorageError(f"cannot train in {run}: {error.strerror}") from error
    with file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                owner = f"process {file.read().strip() or '?'} is training in {run}"
                raise StorageError(f"{owner}; wait for it, or choose another folder") from error
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


def write_config(run: Path, config: Config) -> None:
    """Writes the resolved config."""
    write_atomic(run / CONFIG, configs.config_to_toml(config).encode())


class RunLog:
    """Rows of figures, appended to `stats.jsonl` and to TensorBoard's events.

    Args:
        run: the run's folder.
        step: where the run goes on; rows after it are of steps that will be taken again, and are dropped.
    """

    def __init__(self, run: Path, step: int) -> None:
        self._path = run / STATS
        rows = [row for row in read_stats(run) if row["step"] <= step]
        write_atomic(self._path, "".join(map(_to_line, rows)).encode())
        self._events = _open_events(run, step)

    def write(self, row: Mapping[str, float]) -> None:
        """Adds a row; `step` is among its figures.

        Raises:
            StorageError: the disk is full.
        """
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(_to_line(row))
        except OSError as error:
            raise StorageError(f"cannot write {self._path}: {error.strerror}") from error
        if self._events:
            for name, value in row.items():
                self._events.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Ends the events file."""
        if self._events:
            self._events.close()


def read_stats(run: Path) -> list[dict[str, float]]:
    """The rows of `stats.jsonl`; a last line that was cut short by a kill is left out."""
    path = run / STATS
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def _to_line(row: Mapping[str, float]) -> str:
    return json.dumps({name: _shorten(value) for name, value in row.items()}) + "\n"


def _shorten(value: float) -> float:
    """Six digits are enough for a figure that is read by people and plotted."""
    return value if isinstance(value, int) else float(f"{value:.6g}")


def _open_events(run: Path, step: int) -> Any:
    """TensorBoard's writer, or None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(run), purge_step=step + 1)
