"""`infill fill`: one picture in, one picture out."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from infilling.cli import console
from infilling.cli.console import PIPE
from infilling.cli.options import (
    Box,
    Detail,
    Device,
    Engine,
    Feather,
    Format,
    Grow,
    InvertMask,
    Mark,
    MaskColor,
    MaskFromAlpha,
    Quality,
    ResizeMask,
    Threads,
    Verbose,
    parse_box,
)
from infilling.errors import InputError


def fill(
    picture: Annotated[
        str, typer.Argument(metavar="PICTURE", help="The picture; - reads it from stdin.", show_default=False)
    ],
    mask: Annotated[
        str | None, typer.Option("--mask", "-m", metavar="FILE|-", help="Where the holes are: white is hole.")
    ] = None,
    box: Box = None,
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
    grow: Grow = 0,
    feather: Feather = 0,
    detail: Detail = True,
    mark: Mark = False,
    patch_out: Annotated[
        Path | None,
        typer.Option(
            "--patch-out",
            metavar="FILE",
            help="Write what was filled alone, too: a PNG with alpha and its place.",
        ),
    ] = None,
    invert_mask: InvertMask = False,
    mask_from_alpha: MaskFromAlpha = False,
    mask_color: MaskColor = None,
    resize_mask: ResizeMask = False,
    format: Format = None,
    quality: Quality = None,
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
    boxes = [parse_box(text) for text in box or []]
    if picture == mask == PIPE:
        raise typer.BadParameter("picture and mask cannot both come from stdin", param_hint="--mask")
    piped = out == PIPE or (out is None and picture == PIPE)
    if piped and sys.stdout.isatty():
        raise typer.BadParameter(
            "a picture is not for a terminal: name a file, or pipe it", param_hint="--out"
        )
    if out and not piped and not overwrite:
        _keep(out, picture, mask)

    from infilling.filling.kept import open_ahead

    open_ahead(engine, threads, device)
    from infilling.filling.fill import fill as fill_image
    from infilling.storage import write_atomic

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
        detail=detail,
        mark=mark,
        patch_out=patch_out,
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


def _keep(out: str, *sources: str | None) -> None:
    """Refuse to write over what is read.

    Raises:
        InputError: `out` is one of the files read, be it by another name.
    """
    for source in filter(None, sources):
        is_read = source != PIPE and Path(source).exists() and Path(out).exists()
        if is_read and Path(out).samefile(source):
            raise InputError(f"{out} is what is read: name another file with --out, or add --overwrite")
