"""The options that several commands share, each written once so that it means the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

from infilling.cli import console
from infilling.machine import limit_threads


def engine_names(incomplete: str) -> list[str]:
    """Complete the name of an engine in the shell."""
    from infilling.filling.engine import ENGINES

    return [name for name in ENGINES if name.startswith(incomplete)]


def hole_names(incomplete: str) -> list[str]:
    """Complete the name of a hole maker in the shell."""
    from infilling.pictures.holes import HOLES

    return [name for name in HOLES if name.startswith(incomplete)]


Verbose = Annotated[
    bool, typer.Option("--verbose", callback=console.ask_for_trace, help="Show the trace of an error.")
]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda:N", help="Where the network runs.")]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        callback=limit_threads,
        help="CPU threads at most.",
        show_default="all cores",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Where the randomness starts.")]
Holes = Annotated[
    str,
    typer.Option(
        "--holes",
        metavar="HOLES",
        autocompletion=hole_names,
        help="A hole maker, a mix like '0.4 block + 0.6 freeform', or a folder of masks.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine",
        "-e",
        metavar="NAME|FILE",
        autocompletion=engine_names,
        help="An engine of `infill info`, or an .onnx file that `infill export` wrote.",
    ),
]
Engines = Annotated[
    list[str],
    typer.Option(
        "--engine",
        "-e",
        metavar="NAME|FILE|RUN",
        autocompletion=engine_names,
        help="What is judged: an engine, an .onnx file, or a RUN folder. Repeat it to compare.",
    ),
]
Features = Annotated[
    Path | None,
    typer.Option("--features", metavar="FILE", help="SqueezeNet, for lpips_like, fid_like and losses."),
]
Lpips = Annotated[list[Path] | None, typer.Option("--lpips", metavar="FILE", help="The weights of LPIPS.")]
Fid = Annotated[Path | None, typer.Option("--fid", metavar="FILE", help="The weights of FID's Inception-v3.")]
Side = Annotated[
    int, typer.Option("--size", min=16, metavar="N", help="Side in pixels that pictures are brought to.")
]
Box = Annotated[
    list[str] | None,
    typer.Option("--box", metavar="X,Y,W,H", help="A hole in pixels. Repeat it for more."),
]
Grow = Annotated[int, typer.Option("--grow", min=0, metavar="N", help="Pixels to widen every hole by.")]
Feather = Annotated[
    int,
    typer.Option(
        "--feather", min=0, metavar="N", help="Pixels inwards from the seam over which colours are matched."
    ),
]
InvertMask = Annotated[bool, typer.Option("--invert-mask", help="White is what to keep.")]
MaskFromAlpha = Annotated[
    bool,
    typer.Option("--mask-from-alpha", help="What is transparent in the mask, or in the picture, is hole."),
]
MaskColor = Annotated[
    str | None,
    typer.Option("--mask-color", metavar="#RRGGBB", help="What has this colour there is hole."),
]
ResizeMask = Annotated[
    bool, typer.Option("--resize-mask", help="Bring a mask of another size to the picture's.")
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="NAME", help="png, jpeg, webp, tiff, bmp, avif.", show_default="the picture's"
    ),
]
Quality = Annotated[
    int | None, typer.Option("--quality", min=1, max=100, metavar="N", help="For JPEG, WebP and AVIF.")
]


Detail = Annotated[
    bool,
    typer.Option(
        "--detail/--no-detail",
        help="Match a network's colours at the seam, and redraw its fill with texture from around it.",
    ),
]
Mark = Annotated[
    bool, typer.Option("--mark", help="Say in the metadata (IPTC, in XMP) that parts are made up.")
]


def parse_box(text: str) -> tuple[int, int, int, int]:
    """Read `x,y,w,h`; anything else is a usage error."""
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not x,y,width,height in whole pixels, such as 40,30,64,64", param_hint="--box"
        ) from None
    return x, y, width, height
