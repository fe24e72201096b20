"""`infill fill`: one picture in, one picture out."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer

from infilling.cli import console
from infilling.cli.console import PIPE
from infilling.cli.options import (
    HEADINGS,
    Adapter,
    Device,
    Engine,
    Threads,
    Verbose,
    take_fill_options,
)
from infilling.errors import InputError
from infilling.filling.options import FillOptions

COUNT = 4  # fills behind a sheet or a map of doubt, unless a number is given


@take_fill_options
def fill(
    picture: Annotated[
        str, typer.Argument(metavar="PICTURE", help="The picture; - reads it from stdin.", show_default=False)
    ],
    mask: Annotated[
        str | None,
        typer.Option(
            "--mask",
            "-m",
            metavar="FILE|-",
            help="Where the holes are: white is hole.",
            rich_help_panel=HEADINGS["mask"],
        ),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|-",
            help="Where the result goes; - is stdout.",
            show_default="NAME.filled.EXT, or stdout for stdin",
            rich_help_panel=HEADINGS["result"],
        ),
    ] = None,
    engine: Engine = "default",
    adapter: Adapter = None,
    patch_out: Annotated[
        Path | None,
        typer.Option(
            "--patch-out",
            metavar="FILE",
            help="Write the filled part, alone, to this PNG too, with alpha and its position.",
            rich_help_panel=HEADINGS["result"],
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--count",
            min=1,
            max=16,
            metavar="N",
            help="Different fills to make, best first: NAME.filled.EXT, NAME.filled-2.EXT and so on.",
            show_default="1; 4 with --sheet or --doubt",
            rich_help_panel=HEADINGS["result"],
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            metavar="FILE",
            help="Write the fills beside each other, with how each was made, to this file.",
            rich_help_panel=HEADINGS["result"],
        ),
    ] = None,
    doubt: Annotated[
        Path | None,
        typer.Option(
            "--doubt",
            metavar="FILE",
            help="Write where the fills differ, and so are guesses, to this PNG: white is where.",
            rich_help_panel=HEADINGS["result"],
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Let --out replace the picture or the mask itself.",
            rich_help_panel=HEADINGS["result"],
        ),
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
    *,
    options: FillOptions,
) -> None:
    """Fill the holes of a picture.

    Prints the path of the result. Known pixels, size, format, alpha, profile and metadata stay as they
    are. What is filled is invented.
    """
    if picture == mask == PIPE:
        raise typer.BadParameter("picture and mask cannot both come from stdin", param_hint="--mask")
    piped = out == PIPE or (out is None and picture == PIPE)
    if piped and sys.stdout.isatty():
        raise typer.BadParameter(
            "a picture is not for a terminal: name a file, or pipe it", param_hint="--out"
        )
    if out and not piped and not overwrite:
        _keep(out, picture, mask)
    if count is None:
        count = COUNT if sheet or doubt else 1
    if count > 1 and (picture == PIPE or piped):
        raise typer.BadParameter("several fills are files: name the picture, and --out", param_hint="--count")
    if count > 1 and patch_out:
        raise typer.BadParameter("it is for one fill: leave out --count", param_hint="--patch-out")

    from infilling.filling.open_engines import open_ahead

    open_ahead(engine, threads, device, adapter)
    from infilling.filling.fill import fill as fill_image
    from infilling.storage import write_atomic

    if count > 1:
        from infilling.filling.fills import fills as fill_several

        several = fill_several(
            Path(picture),
            console.read_input(mask) if mask == PIPE else mask,
            engine,
            count=count,
            out=out,
            sheet=sheet,
            doubt=doubt,
            threads=threads,
            device=device,
            adapter=adapter,
            options=options,
        )
        for path, label, score in zip(several, several.labels, several.scores, strict=True):
            console.say(f"{path}: {label}, score {score:.2f}")
            console.put(str(path))
        console.say(f"the fills differ by {several.doubt:.3f} of 1 on average; lower scores are better")
        return
    source = console.read_input(picture) if picture == PIPE or piped else Path(picture)
    if out and isinstance(source, bytes) and not piped and options.format is None:
        options = dataclasses.replace(options, format=out)
    result = fill_image(
        source,
        console.read_input(mask) if mask == PIPE else mask,
        engine,
        options=options,
        patch_out=patch_out,
        out=out if isinstance(source, Path) else None,
        threads=threads,
        device=device,
        adapter=adapter,
    )
    if isinstance(result, Path):
        console.put(str(result))
    elif piped:
        console.put_bytes(result)
    elif out:
        write_atomic(Path(out), result)
        console.put(out)


def _keep(out: str, *sources: str | None) -> None:
    """Refuse to write over what is read.

    Raises:
        InputError: `out` is one of the files read, be it by another name.
    """
    for source in filter(None, sources):
        is_read = source != PIPE and Path(source).exists() and Path(out).exists()
        if is_read and Path(out).samefile(source):
            raise InputError(f"{out} is what is read: name another file with --out, or add --overwrite")
