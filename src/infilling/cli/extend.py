"""`infill extend`: a larger canvas, on which a picture continues beyond its edges."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from infilling.cli import console
from infilling.cli.options import HEADINGS, Adapter, Device, Engine, Threads, Verbose, take_options
from infilling.filling.border import OPTIONS, USED
from infilling.filling.options import list_options

LISTED = (*OPTIONS, *(each for each in list_options() if each.name in USED))


@partial(take_options, listed=LISTED)
def extend(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="The picture.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Where the result goes.",
            show_default="NAME.extended.EXT",
            rich_help_panel=HEADINGS["result"],
        ),
    ] = None,
    engine: Engine = "default",
    adapter: Adapter = None,
    device: Device = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
    *,
    options: dict[str, Any],
) -> None:
    """Add a border to a picture, and continue the picture in it.

    Prints the path of the result. The picture itself and its metadata stay as they are. What is added is
    invented: sky, sea, sand and floors continue well for 15 % of a side.
    """
    path = Path(picture)
    if out is not None and out.exists() and path.exists() and out.samefile(path):
        raise typer.BadParameter(f"{out} is what is read: name another file", param_hint="--out")
    from infilling.filling.extend import extend as extend_image

    result = extend_image(path, engine, out=out, threads=threads, device=device, adapter=adapter, **options)
    console.put(str(result))
