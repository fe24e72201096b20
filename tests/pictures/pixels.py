"""Drawn pixels for tests of formats, and their way through Pillow and OpenCV."""

import io

import numpy as np
from PIL import Image

from infilling.pictures.picture import Picture

RNG = np.random.default_rng(7)
DTYPES = {8: np.uint8, 16: np.uint16}


def draw(height: int, width: int, channels: int, bits: int = 8) -> np.ndarray:
    """A smooth picture with noise on it, which reaches both ends of the range; (H, W, channels)."""
    top = 2**bits - 1
    slope = np.add.outer(np.linspace(0, 0.7, height), np.linspace(0, 0.5, width))[..., None]
    values = (slope + RNG.uniform(-0.15, 0.15, (height, width, channels))) * top
    return np.clip(np.rint(values), 0, top).astype(DTYPES[bits])


def save(image: Image.Image, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def join(picture: Picture) -> np.ndarray:
    """Pixels and alpha as one array (H, W, 1 to 4)."""
    parts = [picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha[..., None]]
    return np.concatenate(parts, axis=2)


def swap(array: np.ndarray) -> np.ndarray:
    """OpenCV's channel order to ours, or back."""
    array = array[..., None] if array.ndim == 2 else array
    return array[..., {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[array.shape[2]]]
