"""What a worker process does to find something in a picture: files in, a mask out."""

from functools import partial
from hashlib import sha256
from typing import Any

from infilling.errors import InputError
from infilling.filling.finders import Finder
from infilling.filling.mask_helpers import HELPERS, import_function
from infilling.filling.options import Option
from infilling.filling.workers import Progress
from infilling.pictures.files import encode_mask
from infilling.pictures.mask import Box, bounding_box
from infilling.serving.fill_task import FillAnswer, FillRequest, read_others, read_pictures
from infilling.serving.problems import explain_errors

FINDERS = {name: helper for name, helper in HELPERS.items() if helper.is_offered}
"""What can be found, by the name that callers use."""


def list_fields() -> dict[str, Option]:
    """Return the options of all finders by the names of their fields; those of one name are one field."""
    return {option.key: option for helper in FINDERS.values() for option in helper.options}


_prepared: dict[bytes, Any] = {}
"""What was asked about last in this process, by the digest of its files: clicks are followed by clicks."""


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
    seen = _read(request, finder, max_pixels)
    with explain_errors(partial(_blame, finder)):
        found = finder.find(seen)
    box = None
    if request.patch_only:
        box = bounding_box(found) if found.any() else Box(0, 0, 1, 1)
        found = found[box.slices]
    return FillAnswer(encode_mask(found), "PNG", box)


def _blame(finder: Finder, error: InputError) -> str:
    """Return the field at fault: the one that the error names, else what the finder goes by."""
    if error.field is None:
        return "other" if FINDERS[finder.name].many else "point"
    keys = {option.name: key for key, option in list_fields().items()} | {"boxes": "box"}
    return keys.get(error.field, error.field)


def _read(request: FillRequest, finder: Finder, max_pixels: int) -> Any:
    """Return what a finder looks at: a picture, several, or what was made of the picture for it."""
    helper = FINDERS[finder.name]
    if helper.prepare is None or "box" in finder.options:
        _, picture = read_pictures(request, max_pixels)
        pictures = read_others(request, picture, max_pixels)
        return pictures if helper.many else picture
    digest = sha256(f"{finder.name} {max_pixels} {[box for _, box in request.patches]}".encode())
    for data in (request.image, *(data for data, _ in request.patches)):
        digest.update(sha256(data).digest())
    key = digest.digest()
    if key not in _prepared:
        _, picture = read_pictures(request, max_pixels)
        _prepared.clear()
        _prepared[key] = import_function(helper.prepare)(picture)
    return _prepared[key]
