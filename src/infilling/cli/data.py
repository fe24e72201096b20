"""`infill data`: look at pictures before learning from them, pack them, take the reference's subset."""

from pathlib import Path
from typing import Annotated

import typer

from infilling.cli import console
from infilling.cli.options import Seed, Verbose
from infilling.errors import DataError

app = typer.Typer(
    help="Look at pictures before learning from them; pack them.", no_args_is_help=True, rich_markup_mode=None
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


@app.command("shards")
def shards(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of pictures, or of other shards.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new folder.")],
    per_shard: Annotated[
        int, typer.Option("--per-shard", min=1, metavar="N", help="Pictures in a shard.")
    ] = 1000,
    seed: Seed = 0,
    verbose: Verbose = False,
) -> None:
    """Pack pictures into tar shards, shuffled, with an index: what `train` can stream from a server.

    The same pictures and seed give the same bytes. Exit code 5 if pictures had to be left out.
    """
    from infilling.learning.pack import pack

    packed = pack(source, out, per_shard=per_shard, seed=seed)
    console.put_table(
        ["shards", "pictures", "MB"], [(f"{packed.shards}", f"{packed.pictures}", f"{packed.size / 1e6:.1f}")]
    )
    for name, reason in packed.skipped:
        console.say(f"left out {name}: {reason}")
    if packed.skipped:
        raise typer.Exit(DataError.exit_code)


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
