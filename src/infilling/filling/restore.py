"""Restore a picture: find its damage with mask helpers, and fill that."""

import dataclasses
from collections.abc import Callable, Sequence

from infilling.errors import InputError
from infilling.filling.contents import fill_content
from infilling.filling.contract import Engine
from infilling.filling.finders import Finder, find_all
from infilling.filling.options import FillOptions, list_options
from infilling.filling.pipeline import FilledFile
from infilling.pictures.files import decode

FITTING = ("boxes", "grow")
"""Options of the group `mask` that go together with a mask that is found."""


def restore_file(
    data: bytes,
    finders: Sequence[Finder],
    engine: Engine,
    options: FillOptions,
    *,
    max_pixels: int | None = None,
    name: str | None = None,
    fill: Callable[..., FilledFile] = fill_content,
) -> FilledFile:
    """Find damage in a picture that is given as the bytes of its file, and fill it.

    Where nothing is found the bytes come back as they were.

    Args:
        data: the picture's file.
        finders: what is looked for.
        engine: what fills.
        options: how; of the group `mask` only those in FITTING, `source` and `avoid` may be set.
        max_pixels: refuse larger pictures; see `decode`.
        name: what errors call the picture.
        fill: what fills the file, by its mask; it takes what `fill_content` takes.

    Raises:
        InputError: picture or an option cannot be used.
        ModelError: the engine fails.
    """
    options = _fit(options)
    found = find_all(finders, decode(data, max_pixels=max_pixels, name=name))
    return fill(data, found, engine, options, max_pixels=max_pixels, name=name)


def _fit(options: FillOptions) -> FillOptions:
    """Return options for a mask that was found on the picture as seen.

    Raises:
        InputError: one of them says how a mask is read.
    """
    for each in list_options():
        fits = each.group != "mask" or each.name in FITTING or each.is_file
        if not fits and getattr(options, each.name) != each.default:
            raise InputError(
                f"{each.name} is for masks that are given, not for those that are found", field=each.name
            )
    return dataclasses.replace(options, mask_frame="seen")
