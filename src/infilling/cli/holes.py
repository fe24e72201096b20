"""`infill holes`: draw masks, to look at or to judge and train with."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infilling.cli import console
from infilling.cli.options import HOLES_HELP, Seed, Verbose, count_option, hole_names, out_option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LONGEST_SIDE = 16_384  # of a mask, in pixels
MOST_PIXELS = 2_000_000_000  # of all masks together, each a byte of memory
GAP = 4  # grey pixels between the masks of a preview

share_option = partial(typer.Option, min=0, max=1, metavar="SHARE")


def holes(
    kind: Annotated[
        str,
        typer.Argument(metavar="HOLES", autocompletion=hole_names, help=HOLES_HELP),
    ] = "block",
    out: Annotated[Path | None, out_option(metavar="DIR", help="Folder for one PNG per mask.")] = None,
    preview: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One picture of all masks, side by side.")
    ] = None,
    count: Annotated[int, count_option(min=1, help="How many.")] = 16,
    size: Annotated[
        str, typer.Option(metavar="S|WxH", help="Pixels: one side of a square, or width x height.")
    ] = "128",
    seed: Seed = 7,
    min_area: Annotated[float | None, share_option(help="Least share of the picture.")] = None,
    max_area: Annotated[float | None, share_option(help="Greatest share of the picture.")] = None,
    verbose: Verbose = False,
) -> None:
    """Draw random masks.

    White is hole. Prints the path of each file written; without --out and --preview, how large the holes are.
    """
    height, width = _parse_size(size)
    if count * height * width > MOST_PIXELS:
        reason = f"{count:,} masks of {width}×{height} have more than {MOST_PIXELS:,} pixels"
        raise typer.BadParameter(f"{reason}: draw fewer at a time", param_hint="--count")

    import numpy as np

    from infilling.pictures import holes as makers
    from infilling.pictures.files import encode
    from infilling.pictures.picture import from_array
    from infilling.storage import write_atomic

    rng = np.random.default_rng(seed)
    masks = makers.make_holes(kind, rng, count, height, width, min_area=min_area, max_area=max_area)
    if preview:
        grid = _tile_masks(np.where(masks, np.uint8(255), np.uint8(0)))
        write_atomic(preview, encode(from_array(grid), str(preview)))
        console.put(str(preview))
    if out:
        digits = len(str(count - 1))
        with console.folder(out):
            for number, mask in enumerate(masks):
                path = out / f"{number:0{digits}}.png"
                console.write_mask(mask, path)
                console.put(str(path))
    if not (out or preview):
        bins = [makers.area_bin(mask) for mask in masks]
        rows = [(name, str(bins.count(name))) for name in sorted(set(bins))]
        console.put_table(["hole", "masks"], [*rows, ("mean", f"{masks.mean():.1%}")])


def _parse_size(text: str) -> tuple[int, int]:
    """Read `128` or `640x480` as (height, width)."""
    try:
        width, times, height = text.partition("x")
        sides = int(height if times else width), int(width)
    except ValueError:
        sides = (0, 0)
    if not 1 <= min(sides) <= max(sides) <= LONGEST_SIDE:
        reason = f"{text[:80]!r} is not a side or WIDTHxHEIGHT, each from 1 to {LONGEST_SIDE:,}"
        raise typer.BadParameter(reason, param_hint="--size")
    return sides


def _tile_masks(masks: "NDArray[np.uint8]") -> "NDArray[np.uint8]":
    """Arrange (N, H, W) in a grid that is about square, grey between and behind them."""
    import numpy as np

    count, height, width = masks.shape
    columns = int(np.ceil(np.sqrt(count * height / width)))
    rows = -(-count // columns)
    grid = np.full((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP), 128, np.uint8)
    for number, mask in enumerate(masks):
        row, column = divmod(number, columns)
        y, x = GAP + row * (height + GAP), GAP + column * (width + GAP)
        grid[y : y + height, x : x + width] = mask
    return grid
