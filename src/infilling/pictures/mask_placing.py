"""Masks brought to their picture: to its size, and to the frame that they were drawn on.

A mask may be drawn on the picture as it is seen, or as it is stored, before the turn that its EXIF names.
"""

from typing import NoReturn

import numpy as np

from infilling.errors import InputError
from infilling.pictures.mask import resize_nearest
from infilling.pictures.picture import TURNS, Array, turn_upright


def place_mask(plane: Array, size: tuple[int, int], resize: bool, turn: int, frame: str | None) -> Array:
    """Bring a mask to the picture: turn it if it was drawn on the stored frame, resize it if asked to.

    Args:
        plane: (h, w), the mask as its file has it.
        size: (height, width) of the picture as it is seen.
        resize: bring a mask of another size to the picture's, instead of refusing it.
        turn: EXIF orientation by which the picture was turned, 1 to 8.
        frame: what the mask was drawn on: "seen", "stored", or None, which refuses a mask that fits both.

    Returns:
        (height, width), of the mask's type.

    Raises:
        InputError: the mask has another size, or may have been drawn on the stored picture.
    """
    size = int(size[0]), int(size[1])
    stored = size[::-1] if turn >= 5 else size
    if frame == "stored":
        return turn_upright(_fit(plane, stored, resize), turn)
    if plane.shape == stored != size:
        _refuse_stored(plane, size, turn)
    if plane.shape == stored and frame is None and not np.array_equal(turn_upright(plane, turn), plane):
        _refuse_both(turn)
    return _fit(plane, size, resize)


def _fit(plane: Array, size: tuple[int, ...], resize: bool) -> Array:
    """Bring a mask to (height, width) if it may be resized; refuse another size if not."""
    if plane.shape == size:
        return plane
    if not resize:
        raise InputError(
            f"the mask is {plane.shape[1]}×{plane.shape[0]} but the picture is {size[1]}×{size[0]} "
            "(width × height): use a mask of the picture's size, or ask for it to be resized"
        )
    height, width = size
    return resize_nearest(plane, height, width)


def _refuse_stored(plane: Array, size: tuple[int, int], turn: int) -> NoReturn:
    """Refuse a mask that was drawn on the picture as it is stored."""
    raise InputError(
        f"the mask is {plane.shape[1]}×{plane.shape[0]} like the picture as it is stored, but its EXIF "
        f"orientation {turn} {TURNS[turn]}, which makes it {size[1]}×{size[0]}: do not resize the mask, but "
        "give the mask frame 'stored'"
    )


def _refuse_both(turn: int) -> NoReturn:
    """Refuse a mask that may have been drawn on the picture as it is stored."""
    raise InputError(
        f"the picture's EXIF orientation {turn} {TURNS[turn]}, and the mask fits it before and after: "
        "give the mask frame 'seen' or 'stored', whichever it was drawn on"
    )
