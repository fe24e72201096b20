"""`infill train` and `infill export`."""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infilling.cli import console
from infilling.cli.options import Threads, Verbose, out_option
from infilling.storage import MODEL_FILE

if TYPE_CHECKING:
    from infilling.learning.progress import Progress as TrainProgress
    from infilling.learning.progress import Report
    from infilling.learning.settings import Config
    from infilling.learning.train import Outcome

EVERY_S = 10.0  # between lines about an activity that lasts


def train(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG",
            readable=False,
            help="A TOML file, or the name of a built-in config, such as reference.",
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR|TAR|URL",
            help="Pictures to learn from: a folder, tar shards or IDX files. Repeat it for more.",
        ),
    ] = None,
    out: Annotated[
        Path | None, out_option(metavar="RUN", help="The run's folder. A run that is there is continued.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="A.B=C", help="Change a key of the config, such as train.batch=8. Repeatable."
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=10**12,
            help="Learn from N pictures. The recipe's stages are scaled with it.",
        ),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            metavar="M",
            help="End after M minutes, all that the command does included. A recipe is scaled to fit.",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="auto|cpu|cuda:N", help="The device that computes.")
    ] = None,
    grad_accumulate: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, max=65_536, help="Learn from each batch in N parts, one at a time in memory."
        ),
    ] = None,
    threads: Threads = None,
    allow_new_data: Annotated[
        bool,
        typer.Option(
            "--allow-new-data", help="Continue a run on other pictures than it learned from so far."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the resolved config, sizes, speed and total time; learn nothing."
        ),
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Train a system, or continue a run.

    Prints the path of the exported model. Ctrl-C and SIGTERM save first; the same command continues from
    there. Started by torchrun or srun, its processes train together.
    """
    started = time.monotonic()
    if out is None and not dry_run:
        raise typer.BadParameter("name the run's folder", param_hint="--out")
    from infilling.filling.contract import require_torch

    require_torch("learning")
    leads = _read_rank() == 0
    with _show_progress(leads) as report:
        from infilling.learning.config import read_config, rescale_config

        console.limit_torch(threads)
        own = _list_overrides(data, max_minutes, device, grad_accumulate)
        resolved = read_config(config, [*own, *(set_ or [])])
        if images is not None:
            resolved = rescale_config(resolved, images)
        if dry_run:
            lines = _list_dry_run(resolved)
        else:
            from infilling.learning.train import train as train_system

            assert out is not None
            outcome = train_system(
                resolved,
                out,
                report=report,
                allow_new_data=allow_new_data,
                fit_minutes=images is None and max_minutes is not None,
                started=started,
            )
    if dry_run:
        console.put("\n".join(lines))
    else:
        _put_outcome(outcome, leads)


def _put_outcome(outcome: "Outcome", leads: bool) -> None:
    """Print how a run ended, in its first process; leave with the code of the signal that ended it."""
    from infilling.learning.process_state import STOP_SIGNALS

    code = STOP_SIGNALS.get(outcome.ended_by)
    if leads:
        console.say(f"{outcome.step:,} steps, {outcome.images_seen:,} pictures, ended by {outcome.ended_by}")
        if code:
            console.say("saved; the same command continues from here")
        else:
            console.put(str(outcome.model))
    if code:
        raise typer.Exit(code)


def _read_rank() -> str | int:
    """Return which of several processes this is, before torch is there to say it; 0 for one that is alone."""
    rank = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0"
    return int(rank) if rank.isdecimal() else rank


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder or one of its checkpoints.")],
    out: Annotated[
        Path | None, out_option(metavar="FILE", help="The ONNX file.", show_default=f"RUN/{MODEL_FILE}")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store the weights in 16 bits: half the size.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Write a run's generator as an ONNX file.

    It has the moving average of the weights and is checked against torch. Prints the path.
    """
    from infilling.filling.contract import require_torch

    require_torch("learning")
    from infilling.learning.export import export_model

    console.put(str(export_model(run, out or run / MODEL_FILE, half=half)))


def _list_overrides(
    data: list[str] | None, max_minutes: float | None, device: str | None, accumulate: int | None
) -> Iterator[str]:
    """Yield the options that are keys of the config, as `--set` would write them."""
    given = {
        "data.paths": data or None,
        "train.max_minutes": max_minutes,
        "train.device": device,
        "train.accumulate": accumulate,
    }
    yield from (f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None)


def _list_dry_run(config: "Config") -> list[str]:
    """Measure a run before it starts, and return the lines that describe it."""
    from infilling.learning.dry_run import dry_run

    found = dry_run(config)
    precision = "bf16" if found.place.bf16 else "fp32"
    layout = "channels last" if found.place.channels_last else "channels first"
    facts = {
        "device": f"{found.place.device}, {precision}, {layout}",
        **{network: f"{count:,} parameters" for network, count in found.parameters.items()},
        "memory": f"{found.memory / 2**30:.2f} GiB for batches of {config.train.batch}",
        "speed": f"{found.images_per_second:.1f} pictures/s, {found.seconds_per_step:.2f} s a step",
    }
    if found.measured < config.train.batch:
        facts["measured"] = f"on {found.measured} pictures a step, and scaled to {config.train.batch}"
    if found.pictures:
        took = _format_time(found.preparing_seconds)
        facts["preparing"] = f"{took} for {found.pictures:,} pictures, the first time"
    if found.training_seconds is not None:
        took = _format_time(found.training_seconds)
        facts["learning"] = f"{took} for {found.images:,} pictures, with the samples"
        facts["total"] = _format_time(found.training_seconds + found.preparing_seconds)
    if config.train.max_minutes:
        facts["at most"] = f"{_format_time(60 * config.train.max_minutes)} (train.max_minutes)"
    return [found.config, *(f"# {name:<13} {fact}" for name, fact in facts.items())]


def _format_time(seconds: float) -> str:
    """Return a duration in words.

    >>> _format_time(8.2), _format_time(200), _format_time(20_000)
    ('8 s', '3 min 20 s', '5 h 33 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours = minutes // 60
    if hours:
        return f"{hours:,} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextmanager
def _show_progress(leads: bool) -> "Iterator[Report]":
    """Show a line that moves on a terminal, elsewhere plain lines; only of the first process."""
    if not leads:
        # What ends this process is shown, and the shards that it cannot read, which no other process reads.
        logging.getLogger("infilling").setLevel(logging.ERROR)
        for name in ("shard_sets", "shard_stream", "remote_files"):
            logging.getLogger(f"infilling.learning.{name}").setLevel(logging.WARNING)
        yield lambda progress: None
        return
    with _show_bar() if sys.stderr.isatty() else _Lines() as report:
        yield report


@contextmanager
def _show_bar() -> "Iterator[Report]":
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("step {task.fields[step]:,}"), BarColumn(), TimeRemainingColumn())
    with console.show_bar(*columns, TextColumn("{task.fields[row]}"), transient=False) as bar:
        assert bar is not None
        task = bar.add_task("train", total=1.0, step=0, row="loading torch")

        def show(progress: "TrainProgress") -> None:
            bar.update(task, completed=progress.share, step=progress.step)
            if text := _format_row(progress) if progress.row else progress.activity:
                bar.update(task, row=text)
            if progress.note:
                bar.console.print(progress.note, markup=False, highlight=False)

        yield show


class _Lines:
    """Plain lines on stderr: rows and notes at once, an activity when it lasts a second, then every ten."""

    def __init__(self) -> None:
        self._activity = "loading torch"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._tick, name="activity", daemon=True)

    def __enter__(self) -> "Report":
        self._thread.start()
        return self.show

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def show(self, progress: "TrainProgress") -> None:
        """Print the news of a run."""
        self._activity = progress.activity
        if progress.note:
            console.say(progress.note)
        if progress.row:
            console.say(f"step {progress.step:,}  {progress.share:.0%}  {_format_row(progress)}")

    def _tick(self) -> None:
        said, since, again = "", 0.0, 0.0
        while not self._ended.wait(1.0):
            activity, now = self._activity, time.monotonic()
            kind = activity.rstrip("0123456789,/ ")
            if kind != said:
                said, since, again = kind, now, 0.0
            if activity and now >= again:
                console.say(f"{activity}, {now - since:.0f} s" if again else activity)
                again = now + EVERY_S


def _format_row(progress: "TrainProgress") -> str:
    """Return the figures that the reference prints, and the speed."""
    from infilling.learning.scalars import SHOWN

    figures = [f"{name} {progress.row[name]:.4g}" for name in SHOWN if name in progress.row]
    return "  ".join([*figures, f"{progress.row['images_per_second']:.1f} pictures/s"])
