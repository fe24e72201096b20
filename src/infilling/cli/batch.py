"""`infill batch`: every picture of a folder."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from infilling.cli import console
from infilling.cli.options import (
    EngineChoice,
    GroupedCommand,
    Jobs,
    mask_option,
    result_option,
    take_fill_options,
)
from infilling.filling.options import FillOptions
from infilling.machine import limit_threads, share_cores

if TYPE_CHECKING:
    from infilling.filling.batch import Report, Summary
    from infilling.filling.batch_results import Result

RAY = "--ray"
ADDRESS = re.compile(r"auto|local|([^\s/:]+|\[[\da-fA-F:]+\]):\d+")
"""What `--ray` takes; no other word behind it is its value."""


@take_fill_options
def batch(
    pictures: Annotated[str, typer.Argument(metavar="IN", help="The folder with pictures: a path or a URL.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="The folder for results.")],
    masks: Annotated[
        str | None,
        mask_option(
            "--masks",
            "-m",
            metavar="DIR|FILE",
            help="Same stem or NAME_mask001; a file is for all. White is hole.",
        ),
    ] = None,
    mask_helper: Annotated[
        list[str] | None,
        mask_option(
            metavar="NAME[:OPTION=VALUE,…]",
            help="Fill what a command of `infill mask` finds, such as scratches. Repeatable.",
        ),
    ] = None,
    count: Annotated[
        int,
        result_option(
            min=1,
            max=16,
            metavar="N",
            help="Different fills to make of each picture. The best is written, and results.jsonl says how "
            "far they differ (doubt).",
        ),
    ] = 1,
    jobs: Annotated[
        int | None,
        Jobs(help="Processes that share the pictures.", show_default="1; with --ray one for each core"),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.1,
            max=86_400,
            metavar="SECONDS",
            help="Time for one picture, after which it is given up and the next one begins.",
            show_default="no limit",
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Fill on a Ray cluster: HOST:PORT, local, or else what RAY_ADDRESS or this machine knows.",
        ),
    ] = None,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Only the I-th of N parts, from 1.")] = "1/1",
    skip_unmasked: Annotated[
        bool,
        mask_option("--skip-unmasked", help="Pass over pictures that have no mask, instead of failing them."),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Fill what is finished again; replace files of other origin.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")
    ] = False,
    *,
    choice: EngineChoice,
    options: FillOptions,
) -> None:
    """Fill every picture of a folder and those below it.

    Tree, names, formats and metadata stay. What is finished is skipped the next time, unless picture, mask or
    options have changed. Prints the path of results.jsonl, which has a line for every picture. A bad picture
    stops nothing; the exit code is then 1.
    """
    part = _parse_shard(shard)
    if ray is not None:
        _check_cluster(ray, timeout)
    where = choice.as_arguments()
    if jobs and not ray and choice.threads is None:
        where["threads"] = limit_threads(share_cores(jobs))
    from infilling.filling.batch import batch as fill_folder

    logging.getLogger("infilling.filling.cluster").setLevel(logging.INFO)  # it says where it fills
    with _keep_stdout(ray, dry_run), _show_progress(dry_run) as report:
        summary = fill_folder(
            pictures,
            out,
            masks=masks,
            mask_helpers=mask_helper or (),
            options=options,
            count=count,
            jobs=jobs if ray else jobs or 1,
            timeout=timeout,
            ray=ray,
            shard=part,
            skip_unmasked=skip_unmasked,
            overwrite=overwrite,
            dry_run=dry_run,
            report=report,
            **where,
        )
    _put_summary(summary)


def _check_cluster(ray: str, timeout: float | None) -> None:
    """Refuse an address that is none, and what a cluster cannot do."""
    if not ADDRESS.fullmatch(ray):
        raise typer.BadParameter(f"{ray!r} is no address: write HOST:PORT, local, or nothing", param_hint=RAY)
    if timeout:
        raise typer.BadParameter("pictures on a Ray cluster have no deadline", param_hint="--timeout")


def _keep_stdout(ray: str | None, dry_run: bool) -> AbstractContextManager[Any]:
    """Keep stdout for data: Ray says there that a worker was lost."""
    return redirect_stdout(sys.stderr) if ray and not dry_run else nullcontext()


def _put_summary(summary: "Summary") -> None:
    """Print how many pictures had which outcome, and where the results are; exit with 1 if one failed."""
    from infilling.filling.batch_results import State

    counts = [f"{summary.counts[state]:,} {state}" for state in get_args(State) if state in summary.counts]
    console.say(", ".join(counts) or "nothing to do")
    if summary.results:
        console.put(str(summary.results))
    if summary.failed:
        raise typer.Exit(1)


class BatchCommand(GroupedCommand):
    """A command whose `--ray` may have no value, which the parser does not allow."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words, each `--ray` with its value."""
        return super().parse_args(ctx, _tie_address(args))


COMMAND_CLASS = BatchCommand


def _tie_address(args: list[str]) -> list[str]:
    """Write `--ray` alone as `--ray=auto`, and `--ray ADDRESS` as `--ray=ADDRESS`."""
    options = args[: args.index("--")] if "--" in args else args
    tied: list[str] = []
    for before, word in zip(["", *options], options, strict=False):
        if before == RAY and ADDRESS.fullmatch(word):
            if os.path.exists(word):
                text = f"{word!r} may be an address or a file here: write --ray={word} or ./{word}"
                raise typer.BadParameter(text, param_hint=RAY)
            tied[-1] = f"{RAY}={word}"
        else:
            tied.append(f"{RAY}=auto" if word == RAY else word)
    return tied + args[len(options) :]


def _parse_shard(text: str) -> tuple[int, int]:
    try:
        part, parts = (int(number) for number in text.split("/"))
    except ValueError:
        part, parts = 0, 0
    if not 1 <= part <= parts:
        raise typer.BadParameter(f"{text!r} is not I/N with I from 1 to N, such as 2/4", param_hint="--shard")
    return part, parts


@contextmanager
def _show_progress(dry_run: bool) -> "Iterator[Report]":
    """Show a bar with rate and time left on a terminal, failures anywhere, a dry run's plan on stdout."""

    def show_line(result: "Result", done: int, total: int | None) -> None:
        for line in _describe_result(result):
            console.say(line)
        if dry_run and result.state != "failed":
            console.put(f"{result.state}\t{result.picture}\t{result.output}")

    if dry_run or not sys.stderr.isatty():
        yield show_line
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with console.show_bar(*columns) as bar:
        assert bar is not None
        task = bar.add_task("pictures", total=None, rate="")

        def show(result: "Result", done: int, total: int | None) -> None:
            seconds = bar.tasks[0].elapsed
            rate = f"{done / seconds:.1f} pictures/s" if seconds else ""
            bar.update(task, completed=done, total=total, rate=rate)
            for line in _describe_result(result):
                bar.console.print(line, markup=False, highlight=False)

        yield show


def _describe_result(result: "Result") -> "Iterator[str]":
    """Yield a line for what a person should know about a picture."""
    if result.state == "failed":
        yield f"failed: {result.picture}: {result.error}"
    yield from (f"warning: {result.picture}: {text}" for text in result.warnings)
