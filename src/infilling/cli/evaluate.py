"""`infill evaluate`: engines side by side on the same pictures with the same holes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infilling.cli import console
from infilling.cli.options import Device, Engines, Features, Fid, Holes, Lpips, Seed, Side, Threads, Verbose

if TYPE_CHECKING:
    from infilling.judging.evaluate import Progress


def evaluate(
    data: Annotated[
        list[Path],
        typer.Option("--data", metavar="DIR|TAR", help="Pictures to judge on. Repeat it for more."),
    ],
    engine: Engines,
    holes: Holes = "block",
    seed: Seed = 7,
    features: Features = None,
    lpips: Lpips = None,
    fid: Fid = None,
    count: Annotated[
        int | None, typer.Option("--count", "-n", metavar="N", help="So many pictures.", show_default="all")
    ] = None,
    size: Side = 128,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="REPORT", help="Folder for report.json, per-image.csv, report.html."
        ),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    jobs: Annotated[
        int, typer.Option("--jobs", "-j", min=1, metavar="N", help="Processes that share the pictures.")
    ] = 1,
    device: Device = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
) -> None:
    """Judge engines side by side.

    Same pictures, same holes, one table. Every figure is a mean over pictures. Telea is the bar:
    name it beside whatever is judged.
    """
    from infilling.judging import evaluate as judging
    from infilling.judging.report import make_table, to_markdown, write

    with console.folder(out), _show_progress() as report:  # the folder before hours of judging
        found = judging.evaluate(
            data,
            engines=engine,
            holes=holes,
            seed=seed,
            features=features,
            lpips=lpips or (),
            fid=fid,
            count=count,
            size=size,
            threads=threads,
            jobs=jobs,
            device=device,
            report=report,
        )
    if markdown:
        console.put(to_markdown(found).rstrip())
    else:
        console.put_table(*make_table(found))
        for note in found.notes:
            console.say(f"note: {note}")
    if out:
        write(found, out)  # last, so that a full disk does not take the figures
        console.say(f"the report with pictures is {out / 'report.html'}")


@contextmanager
def _show_progress() -> "Iterator[Progress]":
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("pictures", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
