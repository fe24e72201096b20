"""`infill train` and `infill export`."""

import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infilling.cli import console
from infilling.cli.options import Threads, Verbose

if TYPE_CHECKING:
    from infilling.learning.settings import Config
    from infilling.learning.train import Progress as TrainProgress
    from infilling.learning.train import Report

SIGNALS = {"SIGINT": 130, "SIGTERM": 143}


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
        typer.Option("--data", metavar="DIR|TAR|URL", help="Pictures to learn from. Repeat it for more."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="RUN", help="The run's folder; a run that is there goes on."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Change a key of the config. Repeatable."),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images", metavar="N", min=1, help="Learn from N pictures; the recipe's stages scale with it."
        ),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            "--max-minutes", metavar="M", help="Stop after so long; a recipe in pictures is scaled to fit in."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", metavar="auto|cpu|cuda:N", help="Where it learns.")
    ] = None,
    grad_accumulate: Annotated[
        int | None,
        typer.Option(
            "--grad-accumulate", metavar="N", min=1, help="Learn from a batch in N parts, to save memory."
        ),
    ] = None,
    threads: Threads = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the resolved config, sizes and speed; learn nothing.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Train a system, or go on with a run.

    Prints the path of the exported model. Ctrl-C and SIGTERM save first; the same command goes on from there.
    Started by torchrun or srun, its processes train together.
    """
    if out is None and not dry_run:
        raise typer.BadParameter("name the run's folder", param_hint="--out")

    _require_packages()
    from infilling.learning import config as configs

    _use_threads(threads)
    options = _override(data, max_minutes, device, grad_accumulate)
    resolved = configs.read_config(config, [*options, *(set_ or [])])
    if images is not None:
        resolved = configs.rescale_config(resolved, images)
    if dry_run:
        _print_dry_run(resolved)
        return

    from infilling.learning.distributed import find_ranks
    from infilling.learning.train import train as train_system

    assert out is not None
    ranks = find_ranks(os.environ)
    if images is None and max_minutes is not None and ranks.world == 1:
        resolved = _fit(resolved, out, max_minutes)
    if not ranks.leads:
        _train_in_silence(resolved, out)
        return
    with _show_progress() as report:
        outcome = train_system(resolved, out, report=report)
    console.say(f"{outcome.step:,} steps, {outcome.images_seen:,} pictures, ended by {outcome.ended_by}")
    if code := SIGNALS.get(outcome.ended_by):
        console.say("saved; the same command goes on from here")
        raise typer.Exit(code)
    console.put(str(outcome.model))


def _fit(config: "Config", out: Path, minutes: float) -> "Config":
    """Scale a recipe of so many pictures to these minutes, and say so."""
    from infilling.learning import run_folder
    from infilling.learning.dry_run import fit_run

    begun = (out / run_folder.CONFIG).is_file()
    fitted = fit_run(config, out, minutes)
    if fitted.train.images != config.train.images and not begun:
        scaled = f"{fitted.train.images:,} pictures, as many as get through all stages here"
        console.say(f"the recipe is scaled to {scaled} in {minutes:g} minutes; --images N says how many")
    return fitted


def _train_in_silence(config: "Config", out: Path) -> None:
    """What every process but the first does: it tells what ends it, and which shards it cannot read."""
    from infilling.learning.train import train as train_system

    logging.getLogger("infilling").setLevel(logging.ERROR)
    for name in ("shard_sets", "shard_stream", "remote_files"):  # what they read no other process reads
        logging.getLogger(f"infilling.learning.{name}").setLevel(logging.WARNING)
    if code := SIGNALS.get(train_system(config, out).ended_by):
        raise typer.Exit(code)


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder or one of its checkpoints.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", show_default="RUN/model.onnx")
    ] = None,
    half: Annotated[
        bool, typer.Option("--half", help="Store the weights in 16 bits: half the size.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Write a run's generator as an ONNX file.

    The moving average of its weights, checked against torch. Prints the path.
    """
    _require_packages()
    from infilling.learning.export import export_model

    console.put(str(export_model(run, out or run / "model.onnx", half=half)))


def _require_packages() -> None:
    """Say what to install where the base install is all there is.

    Raises:
        DependencyError: torch or safetensors is missing.
    """
    from infilling.filling.contract import require

    for package in ("torch", "safetensors"):
        require(package, "learning", "train")


def _override(
    data: list[str] | None, max_minutes: float | None, device: str | None, accumulate: int | None
) -> Iterator[str]:
    """The options that are keys of the config, as `--set` would say them."""
    if data:
        yield f"data.paths={json.dumps(data)}"
    if max_minutes is not None:
        yield f"train.max_minutes={max_minutes}"
    if device is not None:
        yield f"train.device={json.dumps(device)}"
    if accumulate is not None:
        yield f"train.accumulate={accumulate}"


def _use_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _print_dry_run(config: "Config") -> None:
    from infilling.learning.dry_run import dry_run

    found = dry_run(config)
    console.put(found.config)
    precision = "bf16" if found.place.bf16 else "fp32"
    layout = "channels last" if found.place.channels_last else "channels first"
    console.put(f"# device      {found.place.device}, {precision}, {layout}")
    for network, count in found.parameters.items():
        console.put(f"# {network:<11} {count:,} parameters")
    console.put(f"# memory      {found.memory / 2**30:.2f} GiB for batches of {config.train.batch}")
    console.put(
        f"# speed       {found.images_per_second:.1f} pictures/s, {found.seconds_per_step:.2f} s a step"
    )


@contextmanager
def _show_progress() -> "Iterator[Report]":
    """One line that moves on a terminal; elsewhere a plain line for every row of `stats.jsonl`."""
    if not sys.stderr.isatty():
        yield _say_row
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("step {task.fields[step]:,}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.fields[row]}"), console=Console(stderr=True)) as bar:
        task = bar.add_task("train", total=1.0, step=0, row="")

        def show(progress: "TrainProgress") -> None:
            bar.update(task, completed=progress.share, step=progress.step)
            if progress.row:
                bar.update(task, row=_describe(progress))
            if progress.note:
                bar.console.print(progress.note, markup=False, highlight=False)

        yield show


def _say_row(progress: "TrainProgress") -> None:
    if progress.note:
        console.say(progress.note)
    if progress.row:
        console.say(f"step {progress.step:,}  {progress.share:.0%}  {_describe(progress)}")


def _describe(progress: "TrainProgress") -> str:
    """The figures that the reference prints, and the speed."""
    from infilling.learning.scalars import SHOWN

    figures = [f"{name} {progress.row[name]:.4g}" for name in SHOWN if name in progress.row]
    return "  ".join([*figures, f"{progress.row['images_per_second']:.1f} pictures/s"])
