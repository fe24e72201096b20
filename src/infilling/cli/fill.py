"""`infill fill`: one picture in, one picture out."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from infilling.cli import console
from infilling.cli.console import PIPE
from infilling.cli.options import (
    EngineChoice,
    mask_option,
    result_option,
    result_out_option,
    take_fill_options,
)
from infilling.filling.options import FillOptions
from infilling.storage import check_targets

COUNT = 4  # fills behind a sheet or a map of doubt, unless a number is given


@take_fill_options
def fill(
    picture: Annotated[
        str, typer.Argument(metavar="PICTURE", help="The picture; - reads it from stdin.", show_default=False)
    ],
    mask: Annotated[
        str | None,
        mask_option("--mask", "-m", metavar="FILE|-", help="Where the holes are: white is hole."),
    ] = None,
    out: Annotated[
        str | None,
        result_out_option(
            metavar="FILE|-",
            help="Where the result goes; - is stdout.",
            show_default="NAME.filled.EXT, or stdout for stdin",
        ),
    ] = None,
    patch_out: Annotated[
        Path | None,
        result_option(
            metavar="FILE", help="Write the filled part, alone, to this PNG too, with alpha and its position."
        ),
    ] = None,
    count: Annotated[
        int | None,
        result_option(
            min=1,
            max=16,
            metavar="N",
            help="Different fills to make, best first: NAME.filled.EXT, NAME.filled-2.EXT and so on.",
            show_default="1; 4 with --sheet or --doubt",
        ),
    ] = None,
    sheet: Annotated[
        Path | None,
        result_option(
            metavar="FILE", help="Write the fills beside each other, with how each was made, to this file."
        ),
    ] = None,
    doubt: Annotated[
        Path | None,
        result_option(
            metavar="FILE",
            help="Write where the fills differ, and so are guesses, to this PNG: white is where.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, result_option("--overwrite", help="Let --out replace the picture or the mask itself.")
    ] = False,
    *,
    choice: EngineChoice,
    options: FillOptions,
) -> None:
    """Fill the holes of a picture.

    Prints the path of the result. Known pixels, size, format, alpha, profile and metadata stay as they
    are. What is filled is invented.
    """
    piped = (out or picture) == PIPE
    _check_pipes(picture, mask, piped)
    if out and not piped and not overwrite:
        check_targets({"--out, or add --overwrite": out}, [picture, mask, options.source, options.avoid])
    compared = sheet is not None or doubt is not None
    count = count or (COUNT if compared else 1)
    several = compared or count > 1
    if several:
        _check_several(picture, piped, patch_out)

    from infilling.filling.open_engines import open_ahead

    open_ahead(None if picture == PIPE else Path(picture), **choice.as_arguments())
    hole = console.read_input(PIPE) if mask == PIPE else mask
    shared = {"options": options, **choice.as_arguments()}
    if several:
        _fill_several(Path(picture), hole, count=count, out=out, sheet=sheet, doubt=doubt, **shared)
    elif picture == PIPE or piped:
        _fill_bytes(picture, hole, None if piped else out, patch_out=patch_out, **shared)
    else:
        from infilling.filling.fill import fill as fill_image

        console.put(str(fill_image(Path(picture), hole, out=out, patch_out=patch_out, **shared)))


def _fill_bytes(
    picture: str, mask: bytes | str | None, out: str | None, *, options: FillOptions, **shared: Any
) -> None:
    """Fill a picture that comes from or goes to a pipe; without `out` it goes to stdout."""
    from infilling.filling.fill import fill as fill_image
    from infilling.storage import write_atomic

    if out and options.format is None:
        options = dataclasses.replace(options, format=out)
    data = fill_image(console.read_input(picture), mask, options=options, **shared)
    if out is None:
        console.put_bytes(data)
    else:
        write_atomic(Path(out), data)
        console.put(out)


def _fill_several(picture: Path, mask: bytes | str | None, **shared: Any) -> None:
    """Make several fills, and print the path of each."""
    from infilling.filling.fills import fills

    several = fills(picture, mask, **shared)
    for path, label, score in zip(several, several.labels, several.scores, strict=True):
        console.say(f"{path}: {label}, score {score:.2f}")
        console.put(str(path))
    console.say(f"the fills differ by {several.doubt:.3f} of 1 on average; lower scores are better")


def _check_pipes(picture: str, mask: str | None, piped: bool) -> None:
    if picture == mask == PIPE:
        raise typer.BadParameter("picture and mask cannot both come from stdin", param_hint="--mask")
    if piped and sys.stdout.isatty():
        raise typer.BadParameter(
            "a picture is not for a terminal: name a file, or pipe it", param_hint="--out"
        )


def _check_several(picture: str, piped: bool, patch_out: Path | None) -> None:
    if piped or picture == PIPE:
        raise typer.BadParameter("several fills are files: name the picture, and --out", param_hint="--count")
    if patch_out:
        raise typer.BadParameter("it is for one fill: leave out --count", param_hint="--patch-out")
