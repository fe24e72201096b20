"""What a worker process does to find something in a picture: files in, a mask out."""

import numpy as np

from infilling.errors import InputError
from infilling.filling.finders import Finder
from infilling.filling.mask_helpers import HELPERS
from infilling.filling.options import Option
from infilling.filling.workers import Progress
from infilling.pictures.files import encode
from infilling.pictures.mask import Box, bounding_box
from infilling.pictures.picture import from_array
from infilling.serving.fill_task import FillAnswer, FillRequest, read_others, read_pictures
from infilling.serving.problems import Problem

FINDERS = {name: helper for name, helper in HELPERS.items() if helper.is_offered}
"""What can be found, by the name that callers use."""


def list_fields() -> dict[str, Option]:
    """Return the options of all finders by the names of their fields; those of one name are one field."""
    return {option.key: option for helper in FINDERS.values() for option in helper.options}


def run_find(progress: Progress, request: FillRequest, finder: Finder, max_pixels: int) -> FillAnswer:
    """Find something in a picture.

    Args:
        progress: receives nothing: none of this takes long.
        request: the picture, with what has been filled before, and what it is compared with.
        finder: one of `FINDERS`, with its options.
        max_pixels: largest picture.

    Returns:
        A PNG of the picture's size, or of the box round what was found with `patch_only`. White was found.

    Raises:
        Problem: the request cannot be carried out.
    """
    _, picture = read_pictures(request, max_pixels)
    pictures = read_others(request, picture, max_pixels)
    many = FINDERS[finder.name].many
    try:
        found = finder.find(pictures if many else picture)
    except InputError as error:
        keys = {option.name: key for key, option in list_fields().items()} | {"boxes": "box"}
        field = keys.get(error.field, error.field) if error.field else None
        raise Problem("invalid", str(error), field=field or ("other" if many else "point")) from error
    box = None
    if request.patch_only:
        box = bounding_box(found) if found.any() else Box(0, 0, 1, 1)
        found = found[box.slices]
    return FillAnswer(encode(from_array(np.where(found, np.uint8(255), np.uint8(0))), "PNG"), "PNG", box)
