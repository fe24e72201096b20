"""What a worker process does to find something in a picture: files in, a mask out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from infilling.errors import InputError
from infilling.filling.workers import Progress
from infilling.pictures.files import encode
from infilling.pictures.mask import Mask
from infilling.pictures.picture import Picture, from_array
from infilling.pictures.scratches import find_scratches
from infilling.pictures.select import Point, select_object
from infilling.serving.fill_task import FillRequest, read_pictures
from infilling.serving.problems import Problem


@dataclass(frozen=True)
class Places:
    """Where to look, (x, y) in pixels: points on the thing, and points on what does not belong to it."""

    points: tuple[Point, ...] = ()
    background: tuple[Point, ...] = ()


def _find_object(picture: Picture, places: Places) -> Mask:
    return select_object(picture, places.points, background=places.background)


def _find_scratches(picture: Picture, places: Places) -> Mask:
    return find_scratches(picture.pixels)


FINDERS: Mapping[str, Callable[[Picture, Places], Mask]] = {
    "object": _find_object,
    "scratches": _find_scratches,
}
"""What can be found, by the name that callers use."""


def run_find(progress: Progress, request: FillRequest, name: str, places: Places, max_pixels: int) -> bytes:
    """Find something in a picture.

    Args:
        progress: receives nothing: none of this takes long.
        request: the picture, with what has been filled before.
        name: one of `FINDERS`.
        places: where to look.
        max_pixels: largest picture.

    Returns:
        A PNG of the picture's size: white is what was found.

    Raises:
        Problem: the request cannot be carried out.
    """
    _, picture = read_pictures(request, max_pixels)
    try:
        found = FINDERS[name](picture, places)
    except InputError as error:
        raise Problem("invalid", str(error), field="point") from error
    return encode(from_array(np.where(found, np.uint8(255), np.uint8(0))), "PNG")
