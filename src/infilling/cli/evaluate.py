"""`infill evaluate`: engines side by side on the same pictures with the same holes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infilling.cli import console
from infilling.cli.options import (
    Device,
    Features,
    Fid,
    Holes,
    Jobs,
    Lpips,
    Seed,
    Side,
    Threads,
    Verbose,
    count_option,
    engines_option,
    out_option,
)

if TYPE_CHECKING:
    from infilling.judging.results import Evaluation


def evaluate(
    data: Annotated[
        list[Path], typer.Option(metavar="DIR|TAR", help="Pictures to judge on. Repeat it for more.")
    ],
    engine: Annotated[
        list[str],
        engines_option(
            help="What is judged: an engine, an .onnx file, or a RUN folder. Repeat it to compare."
        ),
    ],
    holes: Holes = "block",
    seed: Seed = 7,
    features: Features = None,
    lpips: Lpips = None,
    fid: Fid = None,
    count: Annotated[
        int | None, count_option(help="Number of pictures, spread evenly over all.", show_default="all")
    ] = None,
    size: Side = 128,
    out: Annotated[
        Path | None,
        out_option(metavar="REPORT", help="Folder for report.json, per-image.csv and report.html."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as Markdown.")] = False,
    jobs: Annotated[int, Jobs(help="Processes that share the pictures.")] = 1,
    device: Device = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
) -> None:
    """Judge engines side by side.

    All engines get the same pictures with the same holes. Every figure is a mean over pictures. The second
    table has the differences from telea (or from the first engine), with 95 % confidence intervals.
    """
    from infilling.judging import evaluate as judging
    from infilling.judging.report import to_markdown, write_report
    from infilling.judging.settings import EvaluationSettings

    settings = EvaluationSettings(
        data=judging.list_paths(data),
        holes=holes,
        seed=seed,
        count=count,
        size=size,
        networks=judging.find_networks(features, lpips, fid),
        threads=threads,
        jobs=jobs,
        device=device,
    )
    with console.folder(out), console.show_bar() as bar:  # the folder is made before hours of judging
        found = judging.evaluate(engine, settings, console.count_on(bar, "pictures"))
    if markdown:
        console.put(to_markdown(found).rstrip())
    else:
        _print_tables(found)
    if out:
        write_report(found, out)  # last, so that a full disk does not take the figures
        console.say(f"the report with pictures is {out / 'report.html'}")


def _print_tables(found: "Evaluation") -> None:
    """Print the figures and the differences on stdout, and the notes on stderr."""
    from infilling.judging import figures

    table, differences = figures.make_table(found.rows), figures.make_differences(found.rows)
    console.put_table(table.header, table.lines)
    if differences:
        console.put("")
        console.put_table(differences.header, differences.lines)
    for note in found.notes:
        console.say(f"note: {note}")
