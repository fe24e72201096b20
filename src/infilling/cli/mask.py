"""`infill mask`: make masks, from scratches, a colour or transparency."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infilling.cli import console
from infilling.cli.console import PIPE
from infilling.cli.options import Verbose

if TYPE_CHECKING:
    from infilling.pictures.mask import Mask

app = typer.Typer(
    help="Make masks: of scratches, a colour, or what is transparent.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

PicturePath = Annotated[
    str, typer.Argument(metavar="PICTURE", help="The picture; - reads it from stdin.", show_default=False)
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FILE", help="A PNG.", show_default="NAME.mask.png"),
]
GrowBy = Annotated[int, typer.Option("--grow", min=0, metavar="N", help="Pixels to widen the mask by.")]


@app.command("scratches")
def scratches(
    picture: PicturePath,
    out: Out = None,
    width: Annotated[
        int, typer.Option("--width", min=1, metavar="N", help="How wide a scratch may be, in pixels.")
    ] = 7,
    length: Annotated[
        int, typer.Option("--length", min=1, metavar="N", help="How long it is at least, in pixels.")
    ] = 40,
    sensitivity: Annotated[
        float, typer.Option("--sensitivity", metavar="X", help="2 finds what is half as strong.")
    ] = 1.0,
    grow: GrowBy = 1,
    verbose: Verbose = False,
) -> None:
    """Mark thin bright or dark lines, as on a scratched print.

    Look at the mask before you fill: wires, hair and writing are thin lines too. Prints the mask's path.
    """
    from infilling.pictures.files import decode
    from infilling.pictures.scratches import find_scratches

    pixels = decode(console.read(picture)).pixels
    found = find_scratches(pixels, width=width, length=length, sensitivity=sensitivity, margin=grow)
    _write(found, picture, out)


@app.command("color")
def color(
    value: Annotated[str, typer.Argument(metavar="#RRGGBB", help="The colour that marks the hole.")],
    picture: PicturePath,
    out: Out = None,
    tolerance: Annotated[
        int,
        typer.Option("--tolerance", min=0, max=255, metavar="N", help="How far each channel may be off."),
    ] = 0,
    grow: GrowBy = 0,
    verbose: Verbose = False,
) -> None:
    """Mark what has a colour, such as what was painted over in an editor. Prints the mask's path."""
    from infilling.pictures.mask import grow as widen
    from infilling.pictures.mask_files import read_mask

    found = read_mask(console.read(picture), color=value, tolerance=tolerance)
    _write(widen(found, grow), picture, out)


@app.command("alpha")
def alpha(
    picture: PicturePath,
    out: Out = None,
    threshold: Annotated[
        float,
        typer.Option("--threshold", min=0, max=1, metavar="SHARE", help="Hole is what is less opaque."),
    ] = 0.5,
    grow: GrowBy = 0,
    verbose: Verbose = False,
) -> None:
    """Mark what is transparent, such as what was erased in an editor. Prints the mask's path."""
    from infilling.pictures.mask import grow as widen
    from infilling.pictures.mask_files import read_mask

    found = read_mask(console.read(picture), from_alpha=True, threshold=threshold)
    _write(widen(found, grow), picture, out)


def _write(found: "Mask", picture: str, out: Path | None) -> None:
    """Write the mask as a PNG, and say how much it marks."""
    import numpy as np

    from infilling.pictures.files import encode
    from infilling.pictures.picture import from_array
    from infilling.storage import write_atomic

    if out is None and picture == PIPE:
        raise typer.BadParameter("name the mask's file for a picture from stdin", param_hint="--out")
    path = out or Path(picture).with_name(f"{Path(picture).stem}.mask.png")
    write_atomic(path, encode(from_array(np.where(found, np.uint8(255), np.uint8(0))), "PNG"))
    console.say(f"{found.mean():.2%} of the picture is marked")
    console.put(str(path))
