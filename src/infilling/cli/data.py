"""`infill data`: look at pictures before learning from them, and take the reference's subset."""

from pathlib import Path
from typing import Annotated

import typer

from infilling.cli import console
from infilling.cli.options import Seed, Verbose

app = typer.Typer(
    help="Look at pictures before learning from them.", no_args_is_help=True, rich_markup_mode=None
)


@app.command("check")
def check(
    paths: Annotated[
        list[Path], typer.Argument(metavar="DIR|TAR…", help="Folders, tar shards or IDX files.")
    ],
    verbose: Verbose = False,
) -> None:
    """Read every picture; print counts, classes, sizes and the files that are bad."""
    from infilling.learning import check as checks

    for line in checks.describe(checks.check(paths)):
        console.put(line)


@app.command("places365")
def places365(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="An unpacked Places365, or its training folder.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    classes: Annotated[int, typer.Option("--classes", min=1, metavar="N", help="How many classes.")] = 20,
    per_class: Annotated[
        int, typer.Option("--per-class", min=1, metavar="N", help="Pictures of each.")
    ] = 5000,
    seed: Seed = 0,
    verbose: Verbose = False,
) -> None:
    """Take the subset that the reference was trained on: some pictures of some classes."""
    from infilling.learning.places365 import places365_subset

    counts = places365_subset(source, out, classes=classes, per_class=per_class, seed=seed)
    console.put_table(["class", "pictures"], [(name, str(count)) for name, count in counts.items()])
