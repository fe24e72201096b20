"""`infill extend`: a larger canvas, on which a picture continues beyond its edges."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from infilling.cli import console
from infilling.cli.options import EngineChoice, result_out_option, take_options
from infilling.filling.border import OPTIONS, USED
from infilling.filling.options import list_options
from infilling.storage import check_targets

LISTED = (*OPTIONS, *(each for each in list_options() if each.name in USED))


@partial(take_options, listed=LISTED)
def extend(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="The picture.", show_default=False)],
    out: Annotated[Path | None, result_out_option(metavar="FILE", show_default="NAME.extended.EXT")] = None,
    *,
    choice: EngineChoice,
    options: dict[str, Any],
) -> None:
    """Add a border to a picture, and continue the picture in it.

    Prints the path of the result. The picture itself and its metadata stay as they are. What is added is
    invented: sky, sea, sand and floors continue well for 15 % of a side.
    """
    path = Path(picture)
    check_targets({"--out": out}, [path])
    from infilling.filling.extend import extend as extend_image

    console.put(str(extend_image(path, out=out, **choice.as_arguments(), **options)))
