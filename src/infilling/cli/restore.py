"""`infill restore`: find the damage of a scan, and fill it."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infilling.cli import console
from infilling.cli.options import (
    EngineChoice,
    mask_option,
    result_option,
    result_out_option,
    take_options,
)
from infilling.errors import count_things
from infilling.filling.finders import Finder, list_damage, parse_finder
from infilling.filling.options import FillOptions, list_options

if TYPE_CHECKING:
    from infilling.filling.pipeline import FilledFile

LISTED = tuple(each for each in list_options() if each.group != "mask" or each.name == "grow" or each.is_file)
DAMAGE = ", ".join(finder.name for finder in list_damage())


@partial(take_options, listed=LISTED, gather=FillOptions)
def restore(
    picture: Annotated[str, typer.Argument(metavar="PICTURE", help="The scan.", show_default=False)],
    out: Annotated[Path | None, result_out_option(metavar="FILE", show_default="NAME.restored.EXT")] = None,
    mask_out: Annotated[
        Path | None,
        result_option(metavar="FILE", help="Where the mask goes, as PNG.", show_default="NAME.mask.png"),
    ] = None,
    find: Annotated[
        list[str] | None,
        mask_option(
            metavar="NAME[:OPTION=VALUE,…]",
            help="What to look for: a command of `infill mask`. Repeatable.",
            show_default=DAMAGE,
        ),
    ] = None,
    *,
    choice: EngineChoice,
    options: FillOptions,
) -> None:
    """Find scratches, dust and creases in a scan, and fill them.

    Prints the paths of the result and of the mask. Look at both: what is filled is invented. Where nothing is
    found, the result is a copy of the file, and there is no mask.
    """
    from infilling.filling.fill import name_result
    from infilling.filling.open_engines import keep_open
    from infilling.filling.restore import restore_file
    from infilling.pictures.picture import find_format
    from infilling.storage import check_png_name, check_targets, read_file, write_atomic

    path = Path(picture)
    check_png_name(mask_out)
    check_targets({"--out": out, "--mask-out": mask_out}, [path])
    finders = tuple(map(parse_finder, find)) if find else list_damage()
    if out is not None and out.suffix and options.format is None:
        options = dataclasses.replace(options, format=find_format(out))
    opened = keep_open(**choice.as_arguments())
    done = restore_file(read_file(path), finders, opened, options, name=picture)
    if done.hole.any():
        for text in done.warnings:
            console.say(f"warning: {text}")
    target = out or name_result(path, done.format, "restored")
    write_atomic(target, done.data)
    console.put(str(target))
    _write_mask(done, finders, mask_out or path.with_name(f"{path.stem}.mask.png"))


def _write_mask(done: "FilledFile", finders: tuple[Finder, ...], path: Path) -> None:
    """Write what was found, or say that it is nothing."""
    from infilling.pictures.mask import find_groups

    if not done.hole.any():
        names = ", ".join(finder.name for finder in finders)
        console.say(f"nothing found ({names}); the result is a copy, and no mask was written")
        return
    console.write_mask(done.hole, path)
    places = count_things(len(find_groups(done.hole).boxes), "place")
    console.say(f"{done.hole.mean():.2%} of the picture was filled, in {places}")
    console.put(str(path))
