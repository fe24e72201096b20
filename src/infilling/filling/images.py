"""Images of any kind as pictures."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from infilling.pictures.files import decode, from_pil
from infilling.pictures.picture import Picture, from_array


def open_image(image: Any) -> Picture:
    """Return an image as a picture: a path, the bytes of a file, a Pillow image, an array, or a picture.

    Raises:
        InputError: it cannot be read.
    """
    if isinstance(image, Picture):
        return image
    if isinstance(image, Image.Image):
        return from_pil(image)
    if isinstance(image, np.ndarray):
        return from_array(image)
    return decode(Path(image) if isinstance(image, str) else image)
