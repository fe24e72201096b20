"""Images of any kind as pictures."""

import os
from typing import Any

import numpy as np
from PIL import Image

from infilling.errors import check_argument
from infilling.pictures.files import decode, from_pil
from infilling.pictures.picture import Picture, from_array

_KINDS = "a path, the bytes of a file, a Pillow image, an array of uint8 or uint16, or a Picture"


def open_image(image: Any, name: str = "image") -> Picture:
    """Return an image as a picture.

    Args:
        image: a path, the bytes of a file, a Pillow image, an array, or a picture.
        name: of the argument, for messages.

    Raises:
        InputError: it cannot be read.
    """
    if isinstance(image, Picture):
        return image
    if isinstance(image, Image.Image):
        return from_pil(image)
    if isinstance(image, np.ndarray):
        return from_array(image)
    check_argument(name, image, str | os.PathLike | bytes | bytearray | memoryview, _KINDS)
    return decode(image)
