"""`infill data`: check pictures before learning from them, and pack them into shards."""

from pathlib import Path
from typing import Annotated

import typer

from infilling.cli import console
from infilling.cli.options import Seed, Verbose
from infilling.errors import DataError

app = typer.Typer(
    help="Check pictures before learning from them; pack them into shards.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("check")
def check(
    paths: Annotated[
        list[Path], typer.Argument(metavar="DIR|TAR…", help="Folders, tar shards or IDX files.")
    ],
    verbose: Verbose = False,
) -> None:
    """Read every picture; print counts, classes, sizes and the files that are bad."""
    from infilling.learning.picture_check import check_pictures, describe_report

    for line in describe_report(check_pictures(paths)):
        console.put(line)


@app.command("shards")
def shards(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of pictures or of other shards.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder.")],
    per_shard: Annotated[
        int,
        typer.Option("--per-shard", min=1, max=1_000_000, metavar="N", help="Number of pictures in a shard."),
    ] = 1000,
    seed: Seed = 0,
    verbose: Verbose = False,
) -> None:
    """Pack pictures into tar shards, shuffled, with an index, which `train` can stream from a server.

    The same pictures and seed give the same bytes. The exit code is 5 if pictures had to be left out.
    """
    from infilling.learning.shard_writer import pack_pictures

    packed = pack_pictures(source, out, per_shard=per_shard, seed=seed)
    console.put_table(
        ["shards", "pictures", "MB"], [(f"{packed.shards}", f"{packed.pictures}", f"{packed.size / 1e6:.1f}")]
    )
    for name, reason in packed.skipped:
        console.say(f"left out {name}: {reason}")
    if packed.skipped:
        raise typer.Exit(DataError.exit_code)
