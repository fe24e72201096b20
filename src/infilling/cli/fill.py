"""`infill fill`: one picture in, one picture out."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from infilling.cli import console
from infilling.cli.console import PIPE
from infilling.cli.options import Device, Engine, Threads, Verbose
from infilling.errors import InputError


def fill(
    picture: Annotated[
        str, typer.Argument(metavar="PICTURE", help="The picture; - reads it from stdin.", show_default=False)
    ],
    mask: Annotated[
        str | None, typer.Option("--mask", "-m", metavar="FILE|-", help="Where the holes are: white is hole.")
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="X,Y,W,H", help="A hole in pixels. Repeat it for more."),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE|-",
            help="Where the result goes; - is stdout.",
            show_default="NAME.filled.EXT, or stdout for stdin",
        ),
    ] = None,
    engine: Engine = "default",
    grow: Annotated[
        int, typer.Option("--grow", min=0, metavar="N", help="Pixels to widen every hole by.")
    ] = 0,
    feather: Annotated[
        int,
        typer.Option(
            "--feather",
            min=0,
            metavar="N",
            help="Pixels inwards from the seam over which colours are matched.",
        ),
    ] = 0,
    invert_mask: Annotated[bool, typer.Option("--invert-mask", help="White is what to keep.")] = False,
    mask_from_alpha: Annotated[
        bool,
        typer.Option(
            "--mask-from-alpha", help="What is transparent in the mask, or in the picture, is hole."
        ),
    ] = False,
    mask_color: Annotated[
        str | None,
        typer.Option("--mask-color", metavar="#RRGGBB", help="What has this colour there is hole."),
    ] = None,
    resize_mask: Annotated[
        bool, typer.Option("--resize-mask", help="Bring a mask of another size to the picture's.")
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="NAME", help="png, jpeg, webp, tiff, bmp, avif.", show_default="the picture's"
        ),
    ] = None,
    quality: Annotated[
        int | None, typer.Option("--quality", min=1, max=100, metavar="N", help="For JPEG, WebP and AVIF.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Let --out replace the picture or the mask itself.")
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    verbose: Verbose = False,
) -> None:
    """Fill the holes of a picture.

    Prints the path of the result. Known pixels, size, format, alpha, profile and metadata stay as they
    are. What is filled is invented.
    """
    boxes = [_parse_box(text) for text in box or []]
    if picture == mask == PIPE:
        raise typer.BadParameter("picture and mask cannot both come from stdin", param_hint="--mask")
    piped = out == PIPE or (out is None and picture == PIPE)
    if piped and sys.stdout.isatty():
        raise typer.BadParameter(
            "a picture is not for a terminal: name a file, or pipe it", param_hint="--out"
        )
    if out and not piped and not overwrite:
        _keep(out, picture, mask)

    from infilling.filling.fill import fill as fill_image
    from infilling.pictures.picture import write_atomic

    source = console.read(picture) if picture == PIPE or piped else Path(picture)
    result = fill_image(
        source,
        console.read(mask) if mask == PIPE else mask,
        engine,
        boxes=boxes,
        invert_mask=invert_mask,
        resize_mask=resize_mask,
        mask_from_alpha=mask_from_alpha,
        mask_color=mask_color,
        grow=grow,
        feather=feather,
        out=out if isinstance(source, Path) else None,
        format=format or (out if out and isinstance(source, bytes) and not piped else None),
        quality=quality,
        threads=threads,
        device=device,
    )
    if isinstance(result, Path):
        console.put(str(result))
    elif piped:
        console.put_bytes(result)
    elif out:
        write_atomic(Path(out), result)
        console.put(out)


def _parse_box(text: str) -> tuple[int, int, int, int]:
    """Read `x,y,w,h`; anything else is a usage error."""
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not x,y,width,height in whole pixels, such as 40,30,64,64", param_hint="--box"
        ) from None
    return x, y, width, height


def _keep(out: str, *sources: str | None) -> None:
    """Refuse to write over what is read.

    Raises:
        InputError: `out` is one of the files read, be it by another name.
    """
    for source in filter(None, sources):
        is_read = source != PIPE and Path(source).exists() and Path(out).exists()
        if is_read and Path(out).samefile(source):
            raise InputError(f"{out} is what is read: name another file with --out, or add --overwrite")
