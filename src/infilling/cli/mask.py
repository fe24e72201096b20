"""`infill mask`: a command for each mask helper."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from infilling.cli import console
from infilling.cli.console import PIPE
from infilling.cli.options import GroupedCommand, result_option, take_options
from infilling.errors import InputError, count_things
from infilling.filling.finders import find_mask
from infilling.filling.mask_helpers import HELPERS, MaskHelper
from infilling.filling.values import parse_box
from infilling.storage import check_png_name, check_targets

if TYPE_CHECKING:
    from infilling.pictures.mask import Mask
    from infilling.pictures.picture import Picture

app = typer.Typer(
    help="Make masks: of scratches, dust, creases, stamps, watermarks, things, a colour or transparency.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

mask_file_option = partial(result_option, metavar="FILE")

Out = Annotated[Path | None, mask_file_option("--out", "-o", help="A PNG.", show_default="NAME.mask.png")]
GrowBy = Annotated[int, result_option("--grow", min=0, metavar="N", help="Pixels to widen the mask by.")]
Preview = Annotated[Path | None, mask_file_option(help="Write the picture with the mask shown over it, too.")]
LookIn = Annotated[
    str | None,
    typer.Option(metavar="X,Y,W,H", help="Look only there, in pixels.", rich_help_panel="Where to look"),
]
Add = Annotated[Path | None, mask_file_option(help="Mark what this mask marks, too.")]
Intersect = Annotated[Path | None, mask_file_option(help="Mark only what this mask marks.")]
Subtract = Annotated[Path | None, mask_file_option(help="Leave out what this mask marks.")]


def make_command(name: str, helper: MaskHelper) -> Callable[..., None]:
    """Return the command of a helper."""

    def run(
        picture: Annotated[
            str,
            typer.Argument(
                metavar="FOLDER" if helper.many else "PICTURE",
                help="A folder with at least five pictures." if helper.many else "The picture; - is stdin.",
                show_default=False,
            ),
        ],
        out: Out = None,
        preview: Preview = None,
        grow: GrowBy = helper.grow,
        add: Add = None,
        intersect: Intersect = None,
        subtract: Subtract = None,
        box: LookIn = None,
        unblend: Annotated[
            Path | None,
            result_option(
                metavar="FOLDER",
                help="Divide out what is half transparent, write the pictures there, and mark what remains.",
                hidden=helper.divide is None,
            ),
        ] = None,
        *,
        options: dict[str, Any],
    ) -> None:
        if unblend is not None:
            if helper.divide is None or box is not None:
                raise typer.BadParameter("is for watermarks, and not for a box", param_hint="--unblend")
            _write_divided(name, Path(picture), unblend, out, options)
            return
        if box is not None:
            options["box"] = _read_box(box)
        path = _name_mask(picture, out)
        check_png_name(out)
        check_targets({"--out": path, "--preview": preview}, [picture])
        pictures = _read_pictures(picture, helper)
        found = find_mask(name, pictures if helper.many else pictures[0], grow=grow, **options)
        if not found.any():
            console.say(f"nothing found ({name})")
        combined = _combine_masks(found, add, intersect, subtract)
        if out is not None and not combined.any():  # whoever named the file reads it next
            if found.any():
                console.say(f"nothing is marked: what was found is left out; {out} is black")
            console.write_mask(combined, out)
            console.put(str(out))
            return
        _write_mask(combined, pictures[0], path, preview)

    run.__doc__ = (
        f"{helper.help}\n\n{helper.note} Prints the mask's path. If nothing is found, a black mask is "
        "written where --out names one, and none else."
    )
    return run


def _read_box(text: str) -> tuple[int, int, int, int]:
    try:
        return parse_box(text)
    except InputError as error:
        raise typer.BadParameter(str(error), param_hint="--box") from None


def _name_mask(picture: str, out: Path | None) -> Path:
    """Return the path of the mask: beside the picture, unless it is named."""
    if out is None and picture == PIPE:
        raise typer.BadParameter("name the mask's file for a picture from stdin", param_hint="--out")
    return out or Path(picture).with_name(f"{Path(picture).stem}.mask.png")


def _read_pictures(source: str, helper: MaskHelper) -> "list[Picture]":
    from infilling.filling.folder import list_pictures
    from infilling.pictures.files import decode

    if helper.many:
        return [decode(path) for path in list_pictures(Path(source))]
    return [decode(console.read_input(source), name=None if source == PIPE else source)]


def _write_divided(name: str, folder: Path, target: Path, out: Path | None, options: dict[str, Any]) -> None:
    """Write the pictures of a folder without what is half transparent, and the mask of what remains."""
    from infilling.filling.finders import divide_out
    from infilling.filling.folder import list_pictures
    from infilling.pictures.files import decode, encode
    from infilling.storage import make_folder, write_atomic

    paths = list_pictures(folder)
    if os.path.exists(target) and target.samefile(folder):
        raise typer.BadParameter(f"{target} is what is read: name another folder", param_hint="--unblend")
    pictures = [decode(path) for path in paths]
    divided, left = divide_out(name, pictures, **options)
    make_folder(target)
    changed = False
    for path, before, after in zip(paths, pictures, divided, strict=True):
        is_same = after is before
        changed |= not is_same
        write_atomic(target / path.name, path.read_bytes() if is_same else encode(after, after.format))
    if not changed:
        kept = "nothing is half transparent, so nothing was divided out"
        console.say(kept if left.any() else "nothing found")
    console.put(str(target))
    _write_mask(left, divided[0], _name_mask(str(target), out), None)


def _combine_masks(found: "Mask", add: Path | None, intersect: Path | None, subtract: Path | None) -> "Mask":
    """Combine a mask with others of its size: first what is added, last what is left out."""
    from infilling.pictures.mask_files import read_mask

    size = found.shape[0], found.shape[1]
    if add:
        found = found | read_mask(add, size=size)
    if intersect:
        found = found & read_mask(intersect, size=size)
    if subtract:
        found = found & ~read_mask(subtract, size=size)
    return found


def _write_mask(found: "Mask", picture: "Picture", path: Path, preview: Path | None) -> None:
    """Write the mask as a PNG, and say how much it marks and how far that stands out."""
    from infilling.pictures.files import encode
    from infilling.pictures.inspection import lay_over, measure_contrast
    from infilling.pictures.mask import find_groups
    from infilling.storage import write_atomic

    if not found.any():
        left = f"; {path} is from before" if path.exists() else ""
        console.say(f"nothing is marked, so no mask was written{left}")
        return
    shown = encode(lay_over(picture, found), str(preview)) if preview else b""
    console.write_mask(found, path)
    if preview:
        write_atomic(preview, shown)
    places = count_things(len(find_groups(found).boxes), "place")
    console.say(
        f"{found.mean():.2%} of the picture is marked, in {places}; "
        f"score {measure_contrast(picture, found):.1f} "
        "(its contrast to what is around it, in standard deviations of that)"
    )
    console.put(str(path))


for _name, _helper in HELPERS.items():
    app.command(_name, cls=GroupedCommand)(take_options(make_command(_name, _helper), _helper.options))
